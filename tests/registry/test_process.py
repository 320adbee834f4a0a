"""What only a real process shows: pipes, terminals, signals, imports, exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from automodels.testing.sites import model_table

HEAVY = ("numpy", "pydantic", "rich", "jax", "jaxlib", "flax", "torch", "transformers", "huggingface_hub", "pluggy")


@pytest.fixture
def toys(site):
    backend = '\n[[backend]]\nname = "toy-backend"\nframework = "torch"\nimplementation = "toy_plugin:attend"\n'
    files = {"modeling.py": "raise SystemExit(3)"}
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin") + backend, files=files)
    site.plugin("toy-broken", "= = =")


def in_terminal(environment, *arguments, **variables):
    """stdout of the command on a pseudo-terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "automodels_cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=environment | variables,
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # Linux reports the end of a pseudo-terminal as an error
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    process.wait(timeout=60)
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_and_a_pipe_gets_none(toys, environment, registry):
    assert "\x1b[32mok\x1b[0m" in in_terminal(environment, "list", "toy")
    assert "\x1b" not in registry("list", "toy").stdout


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_can_be_refused(toys, environment, variables):
    assert "\x1b" not in in_terminal(environment, "list", "toy", **variables)


@pytest.mark.parametrize("command", [("list",), ("backends",), ("doctor",), ("show", "toy"), ("explain", "toy")])
def test_forty_columns_are_enough(toys, environment, command):
    out = in_terminal(environment, *command, COLUMNS="40", NO_COLOR="1")

    assert out
    assert max(map(len, out.splitlines())) <= 40


def test_columns_holds_for_pipes_too(toys, registry):
    out = registry("list", COLUMNS="40").stdout

    assert max(map(len, out.splitlines())) <= 40
    assert "toy-plugin" in out


def test_a_reader_that_goes_away_is_no_error(toys, environment):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "automodels_cli", "list"],
        stdout=write,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        check=False,
    )
    os.close(write)

    assert process.returncode == 141
    assert "Traceback" not in process.stderr
    assert "BrokenPipe" not in process.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_exit_code_70(toys, environment):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "automodels_cli", "list", "toy-plugin"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            check=False,
        )

    assert process.returncode == 70
    assert process.stderr == "registry: stdout cannot be written: No space left on device\n"


# A background job of a shell, as tests may be, ignores SIGINT, and so would its children.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from automodels_cli.main import main
sys.exit(main())
"""


def test_interrupting_is_exit_code_130_without_a_traceback(toys, environment, tmp_path):
    texts = tmp_path / "texts"
    os.mkfifo(texts)
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "run", "embed", str(tmp_path), "--file", str(texts)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )

    with texts.open("w"):  # opens when the command does, which then waits for a line
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err == "Interrupted.\n"


@pytest.mark.parametrize("command", [("list",), ("show", "toy"), ("explain", "toy"), ("doctor",), ("backends",)])
def test_no_framework_and_no_plugin_is_imported(toys, environment, command):
    program = (
        "import sys\n"
        "from automodels_cli.main import main\n"
        f"main({list(command)!r})\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "loaded += [name for name in sys.modules if name.startswith('toy_')]\n"
        "sys.exit(repr(loaded) if loaded else 0)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stderr


def test_help_is_answered_without_the_commands(environment):
    program = (
        "import sys\n"
        "from automodels_cli.main import main\n"
        "code = main(['--help'])\n"
        "assert not any(name.startswith('automodels.plugins') for name in sys.modules)\n"
        "sys.exit(code)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stderr
    assert "exit codes:" in process.stdout


def test_control_characters_from_the_file_system_never_reach_the_output(site, registry, tmp_path):
    (site.path / "evil\x1b]0;title\x07.dist-info").mkdir()
    place = tmp_path / "odd\x1b[2Jplace"
    site.path.rename(place)
    site.path = place
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    site.distribution("toy-broken", "1.0\x1b[31m", files={"entry_points.txt": "[automodels.plugins]\n\x1b[31m\n"})

    for command in (("list",), ("show", "toy"), ("explain", "toy"), ("doctor",), ("explain", "\x1b[31m")):
        process = registry(*command, PYTHONPATH=str(place))
        assert "\x1b" not in process.stdout + process.stderr, command
        assert "\x07" not in process.stdout + process.stderr, command


def test_a_terminal_without_utf8_gets_escapes(toys, registry):
    process = registry("show", "toy", PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert process.returncode == 0
    assert r"\u2192" in process.stdout


def test_a_closed_stdout_is_no_crash(toys, environment):
    process = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m automodels_cli list >&-"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 70
    assert "Traceback" not in process.stderr


def test_listing_works_whatever_is_broken(site, registry):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    site.plugin("toy-toml", "= = =")
    site.plugin("toy-bytes", b"\xff\xfe\x00")
    site.distribution("toy-points", files={"entry_points.txt": b"[automodels.plugins]\n\xff = \xff\n"})
    site.distribution("unrelated", files={"entry_points.txt": "[[[\n= x\n"})
    (site.distribution("unrelated-too") / "METADATA").unlink()
    os.mkfifo(site.distribution("unrelated-pipe") / "entry_points.txt")
    manifest = site.plugin("toy-pipe") / "automodels.toml"
    manifest.unlink()
    os.mkfifo(manifest)

    process = registry("list", "--json")

    rows = json.loads(process.stdout)["rows"]
    assert process.returncode == 0
    assert {row["plugin"].replace("_", "-"): row["status"] for row in rows if row["plugin"].startswith("toy")} == {
        "toy-plugin": "ok",
        "toy-toml": "broken",
        "toy-bytes": "broken",
        "toy-points": "broken",
        "toy-pipe": "broken",
    }
