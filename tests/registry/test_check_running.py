"""`registry check --imports` and `--run`: plugin code in processes of its own, however it behaves."""

from __future__ import annotations

import json

import pytest
from made_wheels import CONFIG, HEAD, MODEL, MODELING, make_wheel

WORKING = """
import numpy as np

from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from flax_nano.config import NanoConfig


class NanoModel:
    framework = "flax"
    config_class = NanoConfig

    def __init__(self, config, table=None):
        self.config = config
        self.table = np.arange(31 * config.width, dtype=np.float32).reshape(31, -1) if table is None else table

    @classmethod
    def from_pretrained(cls, name, *, config=None, resolution=None, **options):
        config = config or NanoConfig.from_pretrained(name)
        return cls(config, np.array(Checkpoint.open(name)["table"].numpy()))

    def save_pretrained(self, directory):
        save_tensors(directory, {"table": self.table}, files={"config.json": self.config.to_json_string().encode()})

    def __call__(self, input_ids):
        return {"states": self.table[input_ids]}
"""


@pytest.fixture
def check(here, capfd, tmp_path):
    """Checks a wheel with these files; the exit code, and (code, message) of each problem."""

    def run(changes, *options):
        wheel = make_wheel(tmp_path, changes)
        capfd.readouterr()
        code = here(["check", str(wheel), "--json", *options])
        found = capfd.readouterr()
        assert "Traceback" not in found.err
        document = json.loads(found.out)
        return code, [(each["code"], each["message"]) for each in document["findings"] if each["level"] == "problem"]

    return run


def test_a_plugin_that_works_passes_every_level(check):
    assert check({"flax_nano/modeling.py": WORKING}, "--run") == (0, [])


def test_static_checks_alone_run_nothing(check):
    assert check({"flax_nano/modeling.py": f"raise SystemExit\n{MODELING}"}) == (0, [])


IMPORTS = {
    "an exception": ({"flax_nano/modeling.py": f"1 / 0\n{MODELING}"}, "C301", "ZeroDivisionError"),
    "an end of the process": ({"flax_nano/modeling.py": f"raise SystemExit(0)\n{MODELING}"}, "C301", "SystemExit"),
    "a hard end of the process": (
        {"flax_nano/modeling.py": f"import os\nos._exit(0)\n{MODELING}"}, "C303", "exit code 0 before its work was done"
    ),
    "a crash": (
        {"flax_nano/modeling.py": f"import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n{MODELING}"},
        "C303", "SIGSEGV",
    ),
    "a success that was made up": (
        {"flax_nano/modeling.py": "import os\nprint('{\"kind\": \"done\"}', flush=True)\nos._exit(0)\n" + MODELING},
        "C303", "before its work was done",
    ),
    "a framework that only an import shows": (
        {"flax_nano/config.py": f"__import__('torch')\n{CONFIG}"}, "C204", "imports torch at flax_nano/config.py:1"
    ),
    "a config that cannot be imported": ({"flax_nano/config.py": f"{CONFIG}\n1 / 0\n"}, "C301", "ZeroDivisionError"),
    "a config that is none": ({"flax_nano/config.py": "class NanoConfig: ...\n"}, "C302", "derived from Pre"),
    "another model type": ({"flax_nano/config.py": CONFIG.replace('"nano"', '"mini"')}, "C302", "'mini', not 'nano'"),
    "a model that is no class": ({"flax_nano/modeling.py": "NanoModel = 3\n"}, "C302", "not a class"),
    "a model without from_pretrained": (
        {"flax_nano/modeling.py": MODELING.replace("from_pretrained", "load")}, "C302", "has no from_pretrained"
    ),
    "another framework": (
        {"flax_nano/modeling.py": MODELING.replace('"flax"', '"torch"')}, "C302", "'torch', not 'flax'"
    ),
    "another config class": (
        {"flax_nano/modeling.py": MODELING.replace("config_class = NanoConfig", "config_class = int")}, "C302", "int"
    ),
    "a name that is there only for the parser": (
        {"flax_nano/modeling.py": f"{MODELING}\ndel NanoModel\n"}, "C301", "has no 'NanoModel'"
    ),
    "a key map that is none": (
        {"flax_nano/automodels.toml": HEAD + MODEL.replace("arch", 'keymap = "flax_nano.config:NanoConfig"\narch')},
        "C302", "not a KeyMap",
    ),
    "hooks that do not fit": (
        {
            "flax_nano/automodels.toml": f'hooks = "flax_nano.hooks"\n{HEAD}{MODEL}',
            "flax_nano/hooks.py": "from automodels.plugins.hooks import hookimpl\n@hookimpl\n"
            "def model_loaded(modle): ...\n",
        },
        "C301", "do not fit",
    ),
    "a backend that takes no mask": (
        {
            "flax_nano/automodels.toml": HEAD + MODEL + '\n[[backend]]\nname = "n"\nframework = "flax"\n'
            'implementation = "flax_nano.kernels:run"\n',
            "flax_nano/kernels.py": "def run(q, k, v, *, scale=None, bias=None): ...\n",
        },
        "C302", "does not take what the manifest says it supports",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(IMPORTS))
def test_what_an_import_shows_is_a_problem(check, case):
    changes, code, words = IMPORTS[case]

    status, problems = check(changes, "--imports")

    assert status == 1
    assert [message for found, message in problems if found == code and words in message], problems


def test_an_import_that_never_ends_is_ended(check):
    changes = {"flax_nano/modeling.py": f"import time\ntime.sleep(600)\n{MODELING}"}

    status, problems = check(changes, "--imports", "--timeout", "3")

    assert status == 1
    assert [code for code, _ in problems] == ["C303"]
    assert "took more than 3 s" in problems[0][1]


def test_what_a_plugin_prints_reaches_nobody(check):
    loud = "import os\nprint('{}', flush=True)\nos.write(1, b'noise')\nos.write(2, b'noise')\n"

    assert check({"flax_nano/modeling.py": loud + WORKING}, "--run") == (0, [])


RUNS = {
    "a constructor that fails": (WORKING.replace("self.config = config", "1 / 0"), "C401", "cannot be built"),
    "saving that fails": (WORKING.replace("save_tensors(directory", "save_tensors(1 / 0"), "C401", "cannot be saved"),
    "a model that is not found again": (
        WORKING.replace("self.config.to_json_string().encode()", "b'{}'"), "C401", "found as a saved checkpoint"
    ),
    "loading that fails": (WORKING.replace('open(name)["table"]', 'open(name)["tables"]'), "C401", "cannot be loaded"),
    "loading that loses something": (
        WORKING.replace('open(name)["table"].numpy()', 'open(name)["table"].numpy() + 1'), "C402", "has other values"
    ),
    "a call that fails": (WORKING.replace("self.table[input_ids]", "self.table[1 / 0]"), "C401", "called with"),
    "numbers that are none": (WORKING.replace("self.table[input_ids]", "np.array([np.nan])"), "C401", "not finite"),
    "a call that returns nothing": (WORKING.replace('{"states": self.table[input_ids]}', "{}"), "C401", "no array"),
    "a crash in a call": (
        WORKING.replace("        return {", "        import os; os.abort()\n        return {"), "C303", "SIGABRT"
    ),
    "a text that does not follow its prompt": (
        WORKING + "\n    generates = True\n\n    def generate(self, ids, **options):\n        return ids + 1\n",
        "C401", "asked for text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(RUNS))
def test_what_a_run_shows_is_a_problem(check, case):
    source, code, words = RUNS[case]
    assert source != WORKING

    status, problems = check({"flax_nano/modeling.py": source}, "--run")

    assert status == 1
    assert [message for found, message in problems if found == code and words in message], problems


def test_an_example_that_does_not_fit_is_a_problem(check):
    manifest = (HEAD + MODEL).replace("width = 3", 'width = "wide"')

    status, problems = check({"flax_nano/modeling.py": WORKING, "flax_nano/automodels.toml": manifest}, "--run")

    assert status == 1
    assert "cannot be built from the example" in problems[0][1]


def test_a_plugin_that_may_not_be_used_is_not_imported(check):
    manifest = (HEAD + MODEL).replace(">=1.0,<2", ">=7,<8")
    loud = {"flax_nano/modeling.py": "import os\nos._exit(3)\n", "flax_nano/automodels.toml": manifest}

    _, problems = check(loud, "--run")

    assert {code for code, _ in problems} == {"P301", "C202"}


def test_settings_of_whoever_checks_do_not_count(check, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_DISABLE", "flax-nano")

    assert check({"flax_nano/modeling.py": WORKING}, "--run") == (0, [])
