"""Everything hostile or broken that we know of, through the command line.

Whatever it is: one readable message of at most 12 lines, without traceback and control characters; the documented exit
code; with `--json` one document that fits its schema; and other plugins keep working.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys

import pytest

from automodels.testing.sites import TOY_CONFIG, FakeSite, model_table
from automodels_cli import exit_codes

CODES = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)} - {70}
HEADLINE = re.compile(r"^(\w+Error \[AM\d+\]|registry): ", re.MULTILINE)
GOOD = "{head}" + model_table("good_plugin", model_type="good")


def judged(out: str, err: str, code: int) -> None:
    """What holds for every command, whatever it met."""
    for text in (out, err):
        assert "Traceback (most recent call last)" not in text
        assert all(char.isprintable() or char in "\n\t" for char in text), ascii(text[:2000])
    assert code in CODES, (code, err)
    found = HEADLINE.search(err)
    assert (found is None) == (code in (0, 1, 5) and not found), err
    if found:
        assert len(err[found.start() :].splitlines()) <= 12, err


@pytest.fixture
def answers(here, capsys, document_of):
    """Runs a command for people and with `--json`, judges both, and returns the exit code and the document."""

    def run(*arguments):
        code = here(list(arguments))
        captured = capsys.readouterr()
        judged(captured.out, captured.err, code)
        again = here([*_before_texts(arguments), "--json"])
        captured = capsys.readouterr()
        judged("", captured.err, again)
        assert again == code, (again, code)
        return code, document_of(captured.out)

    return run


def _before_texts(arguments):
    return arguments


# --- installations -------------------------------------------------------------------------------------------------

MANIFESTS = {
    "no TOML": "= = =",
    "empty": "",
    "no text": b"\xff\xfe\x00\x01",
    "null characters": b"\0" * 4096,
    "another schema": 'schema = 9\nname = "bad"\n',
    "a schema that is true": "schema = true\n",
    "another API": 'schema = 1\nname = "bad"\napi = ">=9"\n',
    "an impossible API": 'schema = 1\nname = "bad"\napi = "\x1b[31m"\n',
    "no name": "schema = 1\n",
    "another name": 'schema = 1\nname = "other"\napi = ">=1.0"\n',
    "the name of another distribution": 'schema = 1\nname = "good-plugin"\napi = ">=1.0"\n',
    "control characters": 'schema = 1\nname = "bad"\napi = ">=1.0"\nsummary = "\\u001b[2J\\u0007\\u202e"\n',
    "unknown keys": "{head}" + "".join(f"key{number} = 1\n" for number in range(500)),
    "keys of control characters": '{head}"\\u001b]0;x\\u0007" = 1\n',
    "deep nesting": "{head}x = " + "[" * 5000 + "]" * 5000,
    "deep keys": "{head}" + ".".join(["a"] * 5000) + " = 1\n",
    "long keys": "{head}" + "a" * 100_000 + " = 1\n",
    "too large": b"#" * (300 << 10),
    "thousands of tables": "{head}" + "[[model]]\n" * 2000,
    "wrong types": "{head}model = 3\nbackend = 'x'\ntask = [1]\nsource = [[]]\n",
    "huge numbers": "{head}x = 1" + "0" * 5000,
    "references that are none": "{head}" + model_table("bad").replace("bad.modeling:ToyModel", "../../etc:passwd"),
    "references of control characters": "{head}" + model_table("bad").replace("ToyModel", "\\u001b[31m"),
    "requirements that are none": "{head}" + model_table("bad", requires='["=== \\u001b", "a b c"]'),
    "a framework that is none": "{head}" + model_table("bad", framework="jax"),
    "backends out of bounds": "{head}[[backend]]\nname = 'x'\nframework = 'flax'\nimplementation = 'a:b'\n"
    "priority = 99999999999999999999\nmin_capability = -1\ndevices = ['\\u001b']\n",
    "a source without hooks": "{head}[[source]]\nscheme = 'x y'\n",
}
ENTRY_POINTS = {
    "no equals": "[automodels.plugins]\nx\n",
    "escapes": "[automodels.plugins]\n\x1b[31m = \x1b]0;x\x07\n",
    "no text": b"[automodels.plugins]\n\xff = \xff\n",
    "shell": "[automodels.plugins]\n$(touch ran) = `touch ran`:x\n",
    "outside": "[automodels.plugins]\nbad = good_plugin:../../../etc/passwd\n",
    "absolute": "[automodels.plugins]\nbad = good_plugin:/etc/passwd\n",
    "absent package": "[automodels.plugins]\nbad = nowhere:automodels.toml\n",
    "thousands": "[automodels.plugins]\n" + "".join(f"p{n} = nowhere:x.toml\n" for n in range(300)),
    "twice": "[automodels.plugins]\ngood-plugin = good_plugin:automodels.toml\n",
    "other group": "[other]\noh dear\n",
    "a long line": "[automodels.plugins]\n" + "x" * 200_000 + "\n",
}


def _manifest(content):
    return lambda site: site.plugin("bad", content)


def _points(content):
    return lambda site: site.distribution("bad", files={"entry_points.txt": content})


def _no_metadata(site):
    (site.distribution("bad") / "METADATA").unlink()


def _no_text_metadata(site):
    site.distribution("bad", files={"METADATA": b"\xff\x00\x1b[31m"})


def _odd_directory_names(site):
    for name in ("\x1b]0;x\x07.dist-info", "-.dist-info", "a-\x1b[31m.dist-info", "ä-1.dist-info", ".egg-info"):
        (site.path / name).mkdir()
    os.mkdir(os.fsencode(site.path) + b"/\xff\xfe-1.0.dist-info")


def _pipes(site):
    for name in ("entry_points.txt", "METADATA", "RECORD", "direct_url.json"):
        info = site.distribution(f"bad-{name.partition('.')[0].replace('_', '-').lower()}")
        (info / name).unlink(missing_ok=True)
        os.mkfifo(info / name)
    manifest = site.plugin("bad-manifest") / "automodels.toml"
    manifest.unlink()
    os.mkfifo(manifest)


def _links(site):
    (site.path / "round.dist-info").symlink_to("round.dist-info")
    manifest = site.plugin("bad") / "automodels.toml"
    manifest.unlink()
    manifest.symlink_to("/dev/zero")


def _two_copies(site):
    site.distribution("good-plugin", "0.1")
    site.distribution("Good.Plugin", "0.0.7")


def _two_plugins_of_one_name(site):
    for package in ("one", "two"):
        points = f"[automodels.plugins]\nsame = {package}:automodels.toml\n"
        site.distribution(package, files={"entry_points.txt": points})
        site.package(package, {"automodels.toml": 'schema = 1\nname = "same"\napi = ">=1.0"\n' + model_table(package)})


def _hostile_sources(site):
    config = "class ToyConfig(" + "(" * 3000
    site.plugin("bad", "{head}" + model_table("bad"), files={"config.py": config, "modeling.py": b"\xff"})


def _code_that_ends_everything(site):
    code = "import os, sys\nprint('\\x1b[31m')\nsys.exit(3)\n"
    files = {"config.py": code, "modeling.py": code, "__init__.py": code}
    site.plugin("bad", "{head}" + model_table("bad"), files=files)


INSTALLATIONS = {
    **{f"manifest: {name}": _manifest(content) for name, content in MANIFESTS.items()},
    **{f"entry points: {name}": _points(content) for name, content in ENTRY_POINTS.items()},
    "no metadata": _no_metadata,
    "metadata that are no text": _no_text_metadata,
    "odd names of directories": _odd_directory_names,
    "pipes": _pipes,
    "links round and round, and to endless files": _links,
    "two copies of one distribution": _two_copies,
    "two plugins of one name": _two_plugins_of_one_name,
    "hostile sources": _hostile_sources,
    "code that ends everything": _code_that_ends_everything,
}
LOOKING = [("list",), ("show", "bad"), ("show", "toy"), ("explain", "toy"), ("doctor",), ("backends",)]


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_a_broken_installation_is_told_and_stops_nobody_else(name, site, answers, capsys, here, tmp_path):
    site.plugin("good-plugin", GOOD, files={"config.py": TOY_CONFIG.replace('"toy"', '"good"')})
    INSTALLATIONS[name](site)

    for command in LOOKING:
        answers(*command)
    _, listed = answers("list")
    code, explained = answers("explain", "good")

    row = next(row for row in listed["rows"] if row["model_type"] == "good" or row["plugin"] == "good-plugin")
    if name not in ("entry points: twice",):  # which takes the good one's own name
        assert row["status"] == "ok"
        assert (code, explained.get("plugin")) == (0, "good-plugin")
    assert here(["list", "--names"]) == 0
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", line) for line in capsys.readouterr().out.splitlines())
    assert not (tmp_path / "ran").exists()


# --- checkpoints ----------------------------------------------------------------------------------------------------

CONFIGS = {
    "empty": (b"", 5),
    "no JSON": (b'{"model_type": "toy",}', 5),
    "a web page": (b"<!DOCTYPE html>", 5),
    "a list": (b'["toy"]', 5),
    "no text": (b'{"model_type": "\xff"}', 5),
    "twice": (b'{"model_type": "toy", "model_type": "opt"}', 5),
    "NaN": (b'{"model_type": "toy", "width": NaN}', 5),
    "deep": (b'{"model_type": "toy", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 5),
    "huge number": (b'{"model_type": "toy", "width": 1' + b"0" * 5000 + b"}", 5),
    "no model type": (b"{}", 5),
    "a number as model type": (b'{"model_type": 3}', 5),
    "control characters": (b'{"model_type": "\\u001b[31m\\u0007"}', 3),
    "a long model type": (b'{"model_type": "' + b"x" * 100_000 + b'"}', 3),
    "an unknown model type": (b'{"model_type": "nobody", "auto_map": {"AutoModel": "x.py"}}', 3),
    "too large": (b" " * (40 << 20) + b"{}", 5),
}
WEIGHTS = {
    "empty": b"",
    "zeros": bytes(4096),
    "a web page": b"<!DOCTYPE html><html>",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab12" * 16 + b"\nsize 5\n",
    "a pickle": pickle.dumps({"a": 1}),
    "compressed": gzip.compress(b"weights"),
    "text of control characters": b"\x1b[31mDenied\x07\n",
    "a header beyond the file": struct.pack("<Q", 1 << 62) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 4) + b"{{{{",
    "a name of control characters": b"",
    "deep": struct.pack("<Q", 100_000) + b"[" * 100_000,
}


def _named_badly():
    header = {"\x1b[31m": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4)


WEIGHTS["a name of control characters"] = _named_badly()
INDEXES = {
    "outside": {"weight_map": {"w": "../../../etc/passwd"}},
    "absolute": {"weight_map": {"w": "/etc/passwd"}},
    "control characters": {"weight_map": {"\x1b[31m": "\x1b]0;x\x07"}},
    "no map": {"weight_map": 3},
    "missing shard": {"weight_map": {"w": "model-00001-of-00001.safetensors"}},
    "many missing shards": {"weight_map": {f"w{n}": f"model-{n:05}-of-00500.safetensors" for n in range(500)}},
}


@pytest.fixture
def checkpoint(tmp_path, site):
    """A checkpoint of a model type that works, until a test changes it."""
    import numpy as np

    from automodels.checkpoint.writer import save_tensors

    site.toy("good-plugin")
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    save_tensors(directory, {"w": np.zeros(4, np.float32)}, files={"config.json": b'{"model_type": "toy"}'})
    return directory


def of_checkpoints(directory, target):
    return [
        ("explain", str(directory)),
        ("backends", "--for", str(directory)),
        ("run", "generate", str(directory), "a text"),
        ("run", "fill-mask", str(directory), "a [MASK]"),
        ("run", "embed", str(directory), "a text"),
    ], [
        ("verify", str(directory)),
        ("pull", str(directory)),
        ("convert", str(directory), str(target)),
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_hostile_config_is_refused_by_every_command(name, checkpoint, tmp_path, answers):
    content, expected = CONFIGS[name]
    (checkpoint / "config.json").write_bytes(content)

    for command in of_checkpoints(checkpoint, tmp_path / "target")[0]:
        code, document = answers(*command)
        tokenizer = document["kind"] == "error" and "tokenizer" in document["error"]["message"]
        assert code == expected or (tokenizer and command[0] == "run"), (command, document)
    for command in of_checkpoints(checkpoint, tmp_path / "target")[1]:
        answers(*command)
    assert answers("list")[0] == 0


def _check_weights(checkpoint, tmp_path, answers):
    for command in of_checkpoints(checkpoint, tmp_path / "target")[1]:
        code, _ = answers(*command)
        assert code in (3, 5), command
    assert answers("explain", str(checkpoint))[0] == 0
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", WEIGHTS)
def test_hostile_weights_are_refused_and_nothing_is_written(name, checkpoint, tmp_path, answers):
    (checkpoint / "model.safetensors").write_bytes(WEIGHTS[name])

    _check_weights(checkpoint, tmp_path, answers)


@pytest.mark.parametrize("name", INDEXES)
def test_a_hostile_index_is_refused_and_nothing_is_written(name, checkpoint, tmp_path, answers):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(INDEXES[name]))

    _check_weights(checkpoint, tmp_path, answers)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda file: os.symlink("/dev/zero", file)])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_what_is_no_file_is_not_waited_for(name, make, checkpoint, tmp_path, answers):
    (checkpoint / name).unlink(missing_ok=True)
    make(checkpoint / name)

    for commands in of_checkpoints(checkpoint, tmp_path / "target"):
        for command in commands:
            answers(*command)


# --- names and other arguments --------------------------------------------------------------------------------------

NAMES = {
    "empty": "",
    "spaces": "   ",
    "control characters": "\x1b]0;title\x07",
    "right to left": "\u202egnp.exe",
    "no text": "\udcff\udcfe",
    "enormous": "x" * 100_000,
    "a path out": "../../../../etc/passwd",
    "a device": "/dev/zero",
    "a scheme that nobody has": "s3://bucket/model",
    "a scheme of control characters": "\x1b://x",
    "a package path out": "pkg:good-plugin/../../etc",
    "a package that is not there": "pkg:nobody/model",
    "a package without a path": "pkg:",
    "shell": "$(touch ran)",
    "a format": "%s{0}%n",
    "lines": "a\nb\nc\n" * 20,
    "many slashes": "a/" * 2000,
}
TAKING_NAMES = [
    ("show",), ("explain",), ("verify",), ("pull",), ("backends", "--for"), ("list",), ("list", "--plugin"),
    ("list", "--task"), ("list", "--framework"), ("explain", "toy", "--task"), ("explain", "toy", "--plugin"),
    ("explain", "toy", "--framework"), ("schema",), ("completion",),
    ("run", "embed"), ("run", "generate", "checkpoint", "--stop"), ("run", "fill-mask"),
    ("backends", "--framework"), ("backends", "--for", "toy", "--dtype"), ("backends", "--for", "toy", "--backend"),
    ("verify", "checkpoint", "--subfolder"), ("run", "embed", "checkpoint", "--file"), (),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_one_message_for_every_command(name, checkpoint, tmp_path, answers, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(sys, "stdin", None)
    deep = tmp_path / "a" / "b" / "c" / "d"  # so that a path out stays below
    shutil.copytree(checkpoint, deep / "checkpoint")
    monkeypatch.chdir(deep)

    for command in [*TAKING_NAMES, ("convert", "checkpoint")]:  # last: it may write what others would find
        code, document = answers(*command, NAMES[name])
        is_like_none = name == "empty" and command[-1:] in (
            ("--subfolder",),
            ("--file",),
        )  # an option without a value, for some
        assert code != 0 or is_like_none or command[:1] in (("list",), ("convert",)), (command, document)
    assert not (tmp_path / "ran").exists()


# --- variables and project files ------------------------------------------------------------------------------------

VARIABLES = {
    "a framework that is none": {"AUTOMODELS_FRAMEWORK": "\x1b[31m"},
    "a mode that is none": {"AUTOMODELS_SAFE_MODE": "perhaps"},
    "a list of nonsense": {"AUTOMODELS_PLUGINS": "\x1b,,;;$(x)"},
    "a denied nonsense": {"AUTOMODELS_DISABLE": "x" * 100_000},
    "a pin of nonsense": {"AUTOMODELS_PIN_TOY": "\u202e"},
}
ODD_VARIABLES = {
    "a pin of nothing": {"AUTOMODELS_PIN_TOY": ""},
    "unknown": {"AUTOMODELS_NOSUCH": "\x1b[31m"},
    "an unknown pin": {"AUTOMODELS_PIN_NOBODY": "good-plugin"},
    "columns": {"COLUMNS": "-5"},
    "wide": {"COLUMNS": "9" * 5000},
    "one column": {"COLUMNS": "1"},
    "no terminal": {"TERM": "\x1b[31m"},
    "caches in odd places": {"HF_HUB_CACHE": "/dev/null/x", "XDG_CACHE_HOME": "\x1b[31m"},
    "home in an odd place": {"HOME": "/dev/null"},
}
PROJECTS = {
    "no TOML": b"= = =",
    "no text": b"\xff\xfe",
    "too large": b"#" * (65 << 10),
    "wrong types": b"framework = 3\npins = 7\n",
    "pins of nonsense": b'[pins]\n"\\u001b" = "\\u0007"\n',
    "unknown keys": b'"\\u001b[31m" = 1\n',
    "deep": b"x = " + b"[" * 5000 + b"]" * 5000,
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_malformed_variable_is_exit_code_2_and_doctor_still_answers(name, checkpoint, answers, monkeypatch):
    for variable, value in VARIABLES[name].items():
        monkeypatch.setenv(variable, value)

    codes = {answers(*command)[0] for command in [("list",), ("show", "toy"), ("explain", "toy"), ("backends",)]}
    doctor, document = answers("doctor")

    assert codes <= {0, 2, 4}
    assert doctor == 1
    assert any(each["subject"] == "settings" for each in document["findings"])


@pytest.mark.parametrize("name", ODD_VARIABLES)
def test_odd_variables_change_nothing(name, checkpoint, registry):
    for command in [("list",), ("explain", "toy"), ("show", "toy")]:
        process = registry(*command, **ODD_VARIABLES[name])
        judged(process.stdout, process.stderr, process.returncode)
        assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("name", PROJECTS)
def test_a_malformed_project_file_is_exit_code_2_and_doctor_still_answers(name, checkpoint, tmp_path, answers):
    (tmp_path / "automodels.toml").write_bytes(PROJECTS[name])

    codes = {answers(*command)[0] for command in [("list",), ("show", "toy"), ("explain", "toy"), ("backends",)]}
    doctor, _ = answers("doctor")

    assert codes <= {0, 2}
    assert doctor == 1


# --- streams, locales, disks ----------------------------------------------------------------------------------------

STREAMED = [
    ("list",), ("show", "toy"), ("explain", "toy"), ("doctor",), ("backends",), ("schema",), ("completion", "bash"),
    ("verify", "CHECKPOINT"), ("pull", "CHECKPOINT"), ("list", "--json"), ("explain", "nobody", "--json"), ("--help",),
]  # fmt: skip


@pytest.fixture
def streamed(environment, checkpoint, tmp_path):
    def run(command, redirection, **variables):
        words = [str(checkpoint) if word == "CHECKPOINT" else word for word in command]
        script = f'exec "$@" {redirection}'
        return subprocess.run(
            ["/bin/sh", "-c", script, "sh", sys.executable, "-m", "automodels_cli", *words],
            env={**environment, "HF_HUB_OFFLINE": "1", **variables}, cwd=tmp_path,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">/dev/full", "2>/dev/full"])
@pytest.mark.parametrize("command", STREAMED, ids=" ".join)
def test_streams_that_are_closed_or_full_are_no_crash(streamed, command, redirection):
    process = streamed(command, redirection)

    assert b"Traceback" not in process.stdout + process.stderr
    assert b"Exception ignored" not in process.stderr
    if redirection in (">&-", ">/dev/full"):
        assert process.returncode == 70
        assert process.stderr.count(b"\n") <= 12
    else:
        assert process.returncode == streamed(command, "").returncode


@pytest.mark.parametrize("buffering", ["", "1"])
def test_warnings_that_cannot_be_written_change_nothing(streamed, buffering):
    process = streamed(("list",), "2>/dev/full", AUTOMODELS_DISABLE="nobody", PYTHONUNBUFFERED=buffering)

    assert (process.returncode, process.stderr) == (0, b"")
    assert b"good-plugin" in process.stdout


@pytest.mark.parametrize("variables", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LANG": "xx"}])
@pytest.mark.parametrize("command", STREAMED, ids=" ".join)
def test_locales_without_our_characters_get_escapes(streamed, command, variables):
    process = streamed(command, "", **variables)

    assert b"Traceback" not in process.stdout + process.stderr
    assert process.returncode in CODES


@pytest.mark.parametrize("command", [("show",), ("explain",), ("verify",), ("list",), ("run", "embed"), ()])
def test_arguments_that_are_no_text_are_one_message(environment, site, tmp_path, command):
    site.toy("good-plugin")

    process = subprocess.run(
        [sys.executable, "-m", "automodels_cli", *command, b"\xff\xfe\x1b"],
        env={**environment, "HF_HUB_OFFLINE": "1"}, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=120, check=False,
    )  # fmt: skip

    judged(process.stdout.decode(), process.stderr.decode(), process.returncode)
    assert process.returncode in (1, 2, 3)


def test_enormous_inputs_are_read_or_refused(site, registry, checkpoint):
    process = registry("run", "fill-mask", str(checkpoint), stdin="x" * (10 << 20))

    judged(process.stdout, process.stderr, process.returncode)
    assert len(process.stderr) < 5000


def test_a_working_directory_that_is_gone_is_no_crash(environment, site, tmp_path):
    site.toy("good-plugin")
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd {gone} && rmdir {gone} && exec "$@"'

    for command in (["list"], ["doctor"], ["explain", "toy"], ["show", "toy"]):
        process = subprocess.run(
            ["/bin/sh", "-c", script, "sh", sys.executable, "-m", "automodels_cli", *command],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        gone.mkdir(exist_ok=True)
        judged(process.stdout, process.stderr, process.returncode)


def test_thousands_of_entries_fit_the_limits_of_messages(tmp_path, here, monkeypatch, answers):
    site = FakeSite(tmp_path / "many")
    for number in range(120):
        site.plugin(f"same-{number}", "{head}" + model_table(f"same_{number}", model_type="same"))
    monkeypatch.syspath_prepend(str(site.path))

    assert answers("explain", "same")[0] == 4
