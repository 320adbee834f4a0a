"""What each command prints on a fixed installation, kept as files: for people at 100 columns, and as JSON.

After a change that is wanted: RENEW_GOLDEN=1 python -m pytest tests/registry/test_golden.py; then look at what changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from automodels.testing.sites import FakeSite, model_table
from automodels_cli.schemas import kinds

pytest.importorskip("tokenizers")
GOLDEN = Path(__file__).parent / "golden"
RENEW = bool(os.environ.get("RENEW_GOLDEN"))

# Only the throw-away site is on the path that is scanned; what the command itself needs is imported from elsewhere.
PROGRAM = """
import importlib.machinery, os, sys
import sysconfig
library = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
is_library = lambda entry: entry.endswith(".zip") or any(
    entry == place or entry.startswith(os.path.join(place, "lib-dynload")) for place in library
)
hidden = [entry for entry in sys.path if entry and not is_library(entry)]
class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib.machinery.PathFinder.find_spec(name, hidden) if path is None else None
sys.meta_path.append(Hidden)
sys.path[:] = [sys.argv.pop(1), *(entry for entry in sys.path if entry and is_library(entry))]
from automodels_cli.main import main
sys.exit(main())
"""
CONFIG = '''
from typing import ClassVar

from automodels.config import PretrainedConfig, Size


class ToyConfig(PretrainedConfig):
    """A toy."""

    model_type: ClassVar[str] = "toy"

    width: Size = 4
    """Beads in a row."""

    colours: tuple[str, ...] = ("red", "blue")
    """Of the beads."""

    max_position_embeddings: Size = 16
    """Longest sequence, in tokens."""
'''
KEYMAP = """
from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap

KEYMAP = KeyMap(
    ("beads.{i}.weight", "beads.{i}.kernel", TRANSPOSED),
    ("string.bias", "string.bias", SAME),
    prefix="toy.",
    older=(("gamma", "weight"),),
    buffers=("string.mask",),
)
"""
MODELING = """
from types import SimpleNamespace

import numpy as np

from automodels.generation import GenerationConfig


class ToyModel:
    config = {"max_position_embeddings": 64}
    generation_config = GenerationConfig(do_sample=False)
    load_report = SimpleNamespace(missing=(), mismatched=())

    @classmethod
    def from_pretrained(cls, location, *, config, **options):
        return cls()

    def encode(self, texts, batch_size=32):
        return np.array([[text.count(letter) for letter in "abct"] for text in texts], dtype=np.float32)

    def __call__(self, input_ids, *, attention_mask):
        logits = np.zeros((*input_ids.shape, 8))
        logits[..., 4], logits[..., 5] = 2.0, 1.0
        return SimpleNamespace(logits=logits)

    def stream(self, input_ids, *, attention_mask, tokenizer, **options):
        yield np.array([[5]])
        yield np.array([[6]])
"""
MANIFEST = """{head}summary = "A toy"
hooks = "toy_plugin.hooks"

[[model]]
model_type = "toy"
framework = "flax"
config = "toy_plugin.config:ToyConfig"
keymap = "toy_plugin.keymap:KEYMAP"
architectures = ["ToyModel"]
[model.tasks]
base = "toy_plugin.modeling:ToyModel"
masked-lm = "toy_plugin.modeling:ToyModel"
causal-lm = "toy_plugin.modeling:ToyModel"
sentence-embedding = "toy_plugin.modeling:ToyModel"
colour-naming = "toy_plugin.modeling:ToyModel"

[[task]]
name = "colour-naming"
auto_class = "AutoModelForColourNaming"

[[backend]]
name = "fast"
framework = "flax"
implementation = "toy_plugin.attention:fast"
summary = "fast beads"
devices = ["cpu"]
supports = ["mask", "causal"]
probe = "toy_plugin.probes:fast"

[[backend]]
name = "run"
framework = "flax"
kind = "execution"
implementation = "toy_plugin.execution:run"
devices = ["cpu"]

[[source]]
scheme = "toys"
"""

COMMANDS = {
    "list": ["list"],
    "list-names": ["list", "--names"],
    "list-filtered": ["list", "to*", "--framework", "torch", "--task", "base"],
    "list-nothing": ["list", "tyo"],
    "show-plugin": ["show", "toy-plugin"],
    "show-model-type": ["show", "toy"],
    "show-fields": ["show", "toy-plugin", "--fields"],
    "show-keymap": ["show", "toy", "--keymap"],
    "show-broken": ["show", "toy-broken"],
    "show-unknown": ["show", "toy-plugni"],
    "explain": ["explain", "toy"],
    "explain-torch": ["explain", "toy", "--framework", "torch"],
    "explain-ambiguous": ["explain", "other"],
    "explain-task": ["explain", "toy", "--task", "base-ment"],
    "explain-checkpoint": ["explain", "checkpoint", "--task", "masked-lm"],
    "doctor": ["doctor"],
    "lock": ["lock", "checkpoint"],
    "lock-check-without": ["lock", "--check"],
    "pin": ["pin", "toy", "toy-torch"],
    "pin-unknown": ["pin", "toy", "toy-trch"],
    "unpin": ["unpin", "toy"],
    "disable": ["disable", "toy-torch"],
    "enable": ["enable", "toy-torch"],
    "backends": ["backends"],
    "backends-for": ["backends", "--for", "checkpoint"],
    "backends-for-type": ["backends", "--for", "toy", "--framework", "torch"],
    "backends-unknown": ["backends", "--for", "checkpoint", "--backend", "fsat"],
    "pull": ["pull", "checkpoint"],
    "verify": ["verify", "checkpoint"],
    "check": ["check", "toy-plugin"],
    "check-unknown": ["check", "toy-plugni"],
    "new-wrong": ["new", "flax pico", "--framework", "flax"],
    "verify-bad": ["verify", "bad"],
    "verify-absent": ["verify", "./absent"],
    "convert-names": ["convert", "checkpoint", "converted", "--format", "msgpack"],
    "convert": ["convert", "checkpoint", "converted", "--max-shard-size", "1MB"],
    "run-embed": ["run", "embed", "checkpoint", "a cat", "a bat", "--similarity"],
    "run-fill-mask": ["run", "fill-mask", "checkpoint", "the [MASK] sat", "--top-k", "2"],
    "run-fill-mask-without": ["run", "fill-mask", "checkpoint", "the cat sat"],
    "run-generate": ["run", "generate", "checkpoint", "the cat", "--seed", "1"],
    "schema": ["schema"],
    "schema-error": ["schema", "error"],
    "completion-error": ["completion", "tcsh"],
    "nothing": [],
    "unknown-command": ["lst"],
    "unknown-option": ["list", "--plugni", "x"],
}
ONLY_JSON = {"new": ["new", "flax-pico", "--framework", "flax"], "completion": ["completion", "bash"]}


@pytest.fixture(scope="module")
def place():
    """A directory whose path is always as long: columns of tables depend on it."""
    directory = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    site = FakeSite(directory / "site")
    files = {"config.py": CONFIG, "keymap.py": KEYMAP, "modeling.py": MODELING, "hooks.py": ""}
    site.plugin("toy-plugin", MANIFEST, files=files)
    site.plugin("toy-torch", "{head}" + model_table("toy_torch", framework="torch"))
    for name in ("other-one", "other-two"):
        site.plugin(name, "{head}" + model_table(name.replace("-", "_"), model_type="other"))
    site.plugin("toy-needy", "{head}" + model_table("toy_needy", model_type="needy", requires='["nowhere>=2"]'))
    site.plugin("toy-old", 'schema = 1\nname = "toy-old"\napi = ">=9"\n' + model_table("toy_old"))
    site.plugin("toy-broken", "= = =")
    site.plugin("toy-empty")
    site.distribution("toy-points", files={"entry_points.txt": "[automodels.plugins]\n= \x1b[31m\n"})
    for name in ("jax", "flax", "torch"):
        site.distribution(name, "77.0")
    (site.distribution("unrelated") / "METADATA").unlink()
    _checkpoint(directory / "here" / "checkpoint")
    shutil.copytree(directory / "here" / "checkpoint", directory / "here" / "bad")
    with (directory / "here" / "bad" / "model.safetensors").open("r+b") as stream:
        stream.truncate(100)
    yield directory
    shutil.rmtree(directory)


def _checkpoint(directory):
    import numpy as np
    from tokenizers import Tokenizer, models, pre_tokenizers

    from automodels.checkpoint.writer import save_tensors

    directory.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[MASK]", "the", "cat", "sat", "on", "bat"]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["[MASK]"])
    backend.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text('{"mask_token": "[MASK]"}')
    config = b'{"model_type": "toy", "architectures": ["ToyModel"]}'
    tensor = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_tensors(directory, {"beads.0.weight": tensor}, files={"config.json": config})


def ran(place, arguments):
    """The command, its exit code, and what it printed, without what differs from run to run."""
    kept = {key: value for key, value in os.environ.items() if not re.match(r"AUTOMODELS_|HF_|XDG_|JAX_", key)}
    environment = {**kept, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1"}
    environment |= {"XDG_CACHE_HOME": str(place / "cache"), "CUDA_VISIBLE_DEVICES": "", "TERM": "dumb"}
    environment.pop("PYTHONPATH", None)
    shutil.rmtree(place / "here" / "converted", ignore_errors=True)
    for name in ("automodels.toml", "automodels.lock"):
        (place / "here" / name).unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place / "site"), *arguments],
        cwd=place / "here", env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    parts = [f"$ registry {' '.join(arguments)}", f"exit code {done.returncode}", "-- stdout", done.stdout]
    return done, settled("\n".join([*parts, "-- stderr", done.stderr]), place)


def settled(text, place):
    """The text without paths, times, versions, and what this machine has."""
    text = text.replace(str(place), "/tmp/g12345678")
    text = re.sub(r"\d+\.\d+( s\b)", r"0.00\1", text)
    text = re.sub(r'("(?:load|first|again|seconds|tokens_per_second)": )[\d.]+', r"\g<1>0.0", text)
    text = re.sub(r"[\d.]+ (?:[kMGT]?B)/s", "0 B/s", text)
    text = re.sub(r'("python": ")[^"]+|(  Python +)\S+', lambda match: (match[1] or match[2]) + "3.x", text)
    text = re.sub(r'("free": )\d+', r"\g<1>0", text)
    text = re.sub(r"(the interpreter|Python) \d+\.\d+\.\d+", r"\1 3.x", text)
    text = re.sub(r"(A command is needed, one of )[^.]*", r"\1…", text)
    text = re.sub(r"\(choose from [^)]*\)", "(choose from …)", text)  # argparse spells it in several ways
    text = re.sub(r"^\s+not for (?:flax|torch) .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r'("(?:cuda|rocm|tpu|mps|xpu|cpu)": ")[^"]*(")', r"\g<1>…\2", text)


def held_against(name, text):
    file = GOLDEN / f"{name}.txt"
    if RENEW:
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_for_people_what_it_did_before(name, place):
    done, text = ran(place, COMMANDS[name])

    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    held_against(name, text)


@pytest.mark.parametrize("name", [*COMMANDS, *ONLY_JSON])
def test_a_command_prints_with_json_what_it_did_before(name, place, document_of):
    done, text = ran(place, [*{**COMMANDS, **ONLY_JSON}[name], "--json"])

    document_of(done.stdout)
    held_against(f"{name}.json", text)


def test_every_kind_of_document_has_a_golden_file():
    found = {kind for file in GOLDEN.glob("*.json.txt") for kind in re.findall(r'"kind": "([\w-]+)"', file.read_text())}

    assert set(kinds()) <= found


def test_no_golden_file_is_left_over():
    names = {f"{name}.txt" for name in COMMANDS} | {f"{name}.json.txt" for name in [*COMMANDS, *ONLY_JSON]}

    assert {file.name for file in GOLDEN.iterdir()} == names


def test_json_and_text_end_in_the_same_exit_code():
    for name in COMMANDS:
        text, document = ((GOLDEN / f"{each}.txt").read_text() for each in (name, f"{name}.json"))

        assert text.splitlines()[1] == document.splitlines()[1], name
