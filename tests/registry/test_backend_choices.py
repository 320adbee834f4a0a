"""`registry backends --for MODEL`: what would be chosen, told from the config alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from automodels.testing.sites import model_table

BACKENDS = """
[[backend]]
name = "toy-plain"
framework = "flax"
implementation = "toy_heads.attention:plain"
priority = 1

[[backend]]
name = "toy-fast"
framework = "flax"
implementation = "toy_heads.attention:fast"
supports = ["causal", "padding"]
max_head_size = 64
dtypes = ["float32", "bfloat16"]
min_queries = 17
priority = 500

[[backend]]
name = "toy-cuda"
framework = "flax"
implementation = "toy_heads.attention:cuda"
devices = ["cuda"]
min_capability = 80
priority = 900

[[backend]]
name = "toy-run"
framework = "flax"
kind = "execution"
implementation = "toy_heads.attention:run"

[[backend]]
name = "toy-torch"
framework = "torch"
implementation = "toy_heads.attention:torch"
"""
CONFIG = """
from typing import ClassVar
from automodels.config import PretrainedConfig

class ToyConfig(PretrainedConfig):
    model_type: ClassVar[str] = "toy"
    hidden_size: int = 64
    num_attention_heads: int = 4
    attention_dropout: float = 0.0
"""
NO_MODELING = {"config.py": CONFIG, "modeling.py": "raise SystemExit(3)", "attention.py": "raise SystemExit(3)"}
UNASKED = "Probes were not asked; with --probe they are, each in a process of its own.\n"


@pytest.fixture
def toys(site, machine, monkeypatch):
    """A model type in both frameworks, in Flax with two tasks; called, it gets other backends or files."""

    def install(backends=BACKENDS, **files):
        manifest = "{head}" + model_table("toy_heads") + model_table("toy_heads", task="causal-lm")
        manifest += model_table("toy_heads", framework="torch") + backends
        site.plugin("toy-heads", manifest, files={**NO_MODELING, **files})

    install()
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-heads")
    yield install
    for name in [name for name in sys.modules if name.startswith("toy_heads")]:
        del sys.modules[name]


@pytest.fixture
def checkpoint(tmp_path):
    """A directory with a config and nothing else."""

    def write(**keys):
        directory = tmp_path / "checkpoint"
        directory.mkdir(exist_ok=True)
        (directory / "config.json").write_text(json.dumps({"model_type": "toy", **keys}))
        return str(directory)

    return write


@pytest.fixture
def choices(here, toys, capsys):
    """Framework → the choice, of the JSON document."""

    def run(*arguments):
        assert here(["backends", "--json", "--for", *arguments]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["schema"], document["kind"]) == (1, "backend-choices")
        return {choice["framework"]: choice for choice in document["choices"]}

    return run


def verdicts(choice):
    return {each["name"]: each["rejection"] or each["note"] for each in choice["candidates"] if "toy-" in each["name"]}


def test_the_choice_of_each_framework_is_printed_with_every_candidate(here, toys, checkpoint, capsys):
    name = checkpoint(architectures=["ToyForCausalLM"])

    assert here(["backends", "--for", name]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    flax, torch = captured.out.split("\n\ntorch: ")
    head, facts, table = flax.partition("flax: ")[0], *flax.partition("flax: ")[2].split("\n\n")
    assert head == f"{name}: model type toy\n\n"
    assert facts.splitlines() == [
        "toy-fast+toy-run on cpu in float32",
        "  plugin      toy-heads 1.0",
        "  task        causal-lm",
        "  heads       of 16 numbers",
        "  some calls  mask, padding",
    ]
    rows = [line for line in table.splitlines() if line.startswith(("BACKEND", "toy-"))]
    assert [row.split(maxsplit=4) for row in rows] == [
        ["BACKEND", "KIND", "PLUGIN", "PRIORITY", "VERDICT"],
        ["toy-cuda", "attention", "toy-heads", "900", "rejected: there is no NVIDIA driver here (no /dev/nvidiactl)"],
        [
            *("toy-fast", "attention", "toy-heads", "500"),
            "chosen (fewer than 17 query tokens: the plain formula; calls with mask: the plain formula)",
        ],
        ["toy-plain", "attention", "toy-heads", "1", "accepted"],
        ["toy-run", "execution", "toy-heads", "100", "chosen"],
    ]
    assert torch.startswith("toy-torch on cpu in float32\n")


def test_json_has_all_of_it(choices, checkpoint):
    flax = choices(checkpoint(is_decoder=True, attention_dropout=0.1, hidden_size=256), "--framework", "flax")["flax"]

    candidates = flax.pop("candidates")
    assert flax == {
        "framework": "flax",
        "task": "base",
        "plugin": "toy-heads",
        "version": "1.0",
        "error": None,
        "device": "cpu",
        "capability": None,
        "dtype": "float32",
        "needs": {"head_sizes": [64], "always": ["causal"], "possible": ["dropout", "mask", "padding"]},
        "spec": "toy-fast+toy-run",
        "attention": "toy-fast",
        "execution": "toy-run",
    }
    assert next(each for each in candidates if each["name"] == "toy-plain") == {
        "name": "toy-plain",
        "kind": "attention",
        "plugin": "toy-heads",
        "version": "1.0",
        "priority": 1,
        "chosen": False,
        "accepted": True,
        "rejection": None,
        "note": None,
    }
    assert [each["name"] for each in candidates if each["chosen"]] == ["toy-fast", "toy-run"]


def test_what_the_config_says_decides(choices, checkpoint):
    found = choices(checkpoint(hidden_size=512))["flax"]

    assert found["spec"] == "toy-plain+toy-run"
    assert verdicts(found)["toy-fast"] == "takes heads of up to 64 numbers; the model's have 128"


def test_the_type_decides(choices, checkpoint):
    assert choices(checkpoint(), "--dtype", "bfloat16")["flax"]["attention"] == "toy-fast"

    found = choices(checkpoint(), "--dtype", "float16")["flax"]

    assert (found["dtype"], found["attention"]) == ("float16", "toy-plain")
    assert verdicts(found)["toy-fast"] == "computes in float32, bfloat16, not in float16"


def test_the_fastest_device_that_the_framework_can_use_decides(choices, checkpoint, machine):
    machine("8.6", "jax-cuda12-plugin")

    found = choices(checkpoint())

    assert [found["flax"][key] for key in ("device", "capability", "attention")] == ["cuda", 86, "toy-cuda"]
    assert [found["torch"][key] for key in ("device", "capability", "attention")] == ["cpu", None, "toy-torch"]


def test_another_device_may_be_asked_for(choices, checkpoint, machine, here, capsys):
    machine("8.6", "jax-cuda12-plugin")

    found = choices(checkpoint(), "--device", "cpu")["flax"]

    assert (found["device"], found["attention"]) == ("cpu", "toy-fast")
    assert verdicts(found)["toy-cuda"] == "runs on cuda; here is cpu"
    assert here(["backends", "--for", checkpoint(), "--device", "cuda"]) == 0
    out = capsys.readouterr().out
    assert "flax: toy-cuda+toy-run on cuda in float32\n" in out
    assert "torch: torch cannot use 'cuda' here: torch 77.0+cpu is built without it.\n" in out
    assert "  capability  8.6\n" in out


def test_a_gpu_that_is_too_old_is_told(choices, checkpoint, machine):
    machine("7.0", "jax-cuda12-plugin")

    found = choices(checkpoint())["flax"]

    assert verdicts(found)["toy-cuda"] == "needs compute capability 8.0; this device has 7.0"


@pytest.mark.parametrize("device", ["cuda", "abacus", "\x1b[31m"])
def test_a_device_that_no_framework_can_use_is_exit_code_6(here, toys, checkpoint, capsys, device):
    assert here(["backends", "--for", checkpoint(), "--device", device]) == 6

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("BackendUnavailableError [AM501]: flax cannot use '")
    assert "\x1b" not in captured.err
    assert "Take one of: cpu\n" in captured.err


@pytest.mark.parametrize(
    ("architectures", "task", "expected"),
    [
        (["ToyForCausalLM"], None, "causal-lm"),
        (["ToyModel"], None, "base"),
        (["ToyLMHeadModel"], None, "causal-lm"),
        (["Unheard", "ToyForCausalLM"], None, "causal-lm"),
        (["ToyForTokenClassification"], None, "base"),
        ([], None, "base"),
        (None, None, "base"),
        ("ToyForCausalLM", None, None),
        (["ToyForCausalLM"], "base", "base"),
        (["ToyModel"], "causal-lm", "causal-lm"),
    ],
)
def test_the_task_is_that_of_the_architectures(here, toys, checkpoint, capsys, architectures, task, expected):
    arguments = ["--task", task] if task else []
    name = checkpoint(architectures=architectures)

    code = here(["backends", "--json", "--framework", "flax", "--for", name, *arguments])

    document = json.loads(capsys.readouterr().out)
    assert code == (0 if expected else 5), document
    if expected:
        assert document["choices"][0]["task"] == expected


def test_a_class_of_the_manifest_says_the_task_of_its_name(here, site, toys, checkpoint, capsys, monkeypatch):
    tasks = 'base = "odd.modeling:FlaxOddModel"\ncausal-lm = "odd.modeling:FlaxOddSpeaker"\n'
    table = model_table("odd", model_type="odd").partition("[model.tasks]")[0].replace("odd.config", "toy_heads.config")
    config = CONFIG.replace('"toy"', '"odd"')
    site.plugin(
        "odd", "{head}" + f"{table.replace('toy_heads', 'odd')}[model.tasks]\n{tasks}", files={"config.py": config}
    )
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-heads,odd")
    name = checkpoint(model_type="odd", architectures=["OddSpeaker"])

    code = here(["backends", "--json", "--framework", "flax", "--for", name])

    document = json.loads(capsys.readouterr().out)
    assert (code, document["choices"][0]["task"]) == (0, "causal-lm")


def test_a_framework_that_does_not_offer_the_task_says_so_beside_the_other(here, toys, checkpoint, capsys):
    assert here(["backends", "--for", checkpoint(), "--task", "causal-lm"]) == 0

    out = capsys.readouterr().out
    assert "flax: toy-fast" in out
    assert "torch: toy-torch" not in out


def test_a_backend_may_be_asked_for(choices, checkpoint):
    found = choices(checkpoint(), "--backend", "toy-plain+toy-run")

    assert list(found) == ["flax"]  # which alone has it
    assert found["flax"]["spec"] == "toy-plain+toy-run"
    assert verdicts(found["flax"])["toy-fast"] == "toy-plain was asked for"


def test_one_that_is_named_refuses_what_auto_would_give_to_the_plain_formula(choices, checkpoint):
    found = choices(checkpoint(), "--backend", "toy-fast")["flax"]

    assert verdicts(found)["toy-fast"].endswith("calls with mask: refused")


@pytest.mark.parametrize("extra", [[], ["--framework", "flax"], ["--json"]])
def test_a_backend_that_cannot_run_is_exit_code_6_with_the_reason(here, toys, checkpoint, capsys, extra):
    assert here(["backends", "--for", checkpoint(), "--backend", "toy-cuda", *extra]) == 6

    captured = capsys.readouterr()
    assert "toy-cuda of toy-heads 1.0: rejected: there is no NVIDIA driver here (no /dev/nvidiactl)" in captured.err
    if extra == ["--json"]:
        error = json.loads(captured.out)["error"]
        assert (error["code"], len(error["trace"]) >= 3) == ("AM501", True)


def test_a_backend_that_nobody_declares_is_exit_code_6_with_the_nearest(here, toys, checkpoint, capsys):
    assert here(["backends", "--for", checkpoint(), "--backend", "toy-fasst"]) == 6

    assert "did you mean 'toy-fast'?" in capsys.readouterr().err


def test_two_of_a_kind_are_exit_code_2(here, toys, checkpoint, capsys):
    assert here(["backends", "--for", checkpoint(), "--backend", "toy-fast+toy-plain"]) == 2

    assert "names two backends of kind attention" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dtype", "hint"), [("float23", "Did you mean 'float32'?"), ("\x1b[31m", "not one of float32")]
)
def test_a_type_that_there_is_not_is_exit_code_2(here, toys, checkpoint, capsys, dtype, hint):
    assert here(["backends", "--for", checkpoint(), "--dtype", dtype]) == 2

    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("./never-heard-of", [], 3),
        ("toy", ["--task", "never-heard-of"], 3),
        ("toy", ["--plugin", "never-heard-of"], 4),
        ("toy", ["--framework", "jax"], 2),
    ],
)
def test_what_from_pretrained_would_refuse_has_the_same_exit_code(here, toys, capsys, name, arguments, code):
    assert here(["backends", "--for", name, *arguments]) == code

    assert capsys.readouterr().out == ""


def test_a_broken_config_is_exit_code_5(here, toys, checkpoint, capsys):
    assert here(["backends", "--for", checkpoint(hidden_size="wide")]) == 5

    assert "hidden_size" in capsys.readouterr().err


def test_a_model_type_stands_for_its_familys_own_config(here, toys, capsys):
    assert here(["backends", "--for", "toy"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("toy: model type toy, with its family's own config\n")
    assert "of 16 numbers" in out


def test_two_rivals_are_told_beside_the_other_framework(here, site, toys, checkpoint, capsys, monkeypatch):
    site.plugin("toy-rival", "{head}" + model_table("toy_rival"))
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-heads,toy-rival")

    assert here(["backends", "--for", checkpoint()]) == 0
    assert "flax: base for 'toy' is provided by 2 flax plugins:" in capsys.readouterr().out
    assert here(["backends", "--for", checkpoint(), "--framework", "flax"]) == 4
    capsys.readouterr()
    assert here(["backends", "--for", checkpoint(), "--json"]) == 0
    failed, fine = json.loads(capsys.readouterr().out)["choices"]
    assert (failed["framework"], failed["error"]["code"], fine["error"]) == ("flax", "AM102", None)
    assert here(["backends", "--for", checkpoint(), "--plugin", "toy-heads"]) == 0


PROBED = BACKENDS.replace("min_queries = 17", 'probe = "toy_heads.probes:fast"')
PROBES = """
def fast(situation):
    needs = situation.needs
    return f"{situation.device} {situation.dtype} {needs.head_sizes} {sorted(needs.possible)}"
"""


def test_probes_are_asked_when_that_is_asked_for_and_in_processes_of_their_own(here, toys, checkpoint, capfd):
    toys(PROBED, **{"probes.py": PROBES})
    arguments = ["backends", "--framework", "flax", "--for", checkpoint()]

    assert here(arguments) == 0
    captured = capfd.readouterr()
    assert "flax: toy-fast+toy-run" in captured.out
    assert "chosen (calls with mask: the plain formula; its probe was not asked)" in captured.out
    assert captured.err == UNASKED

    assert here([*arguments, "--probe"]) == 0
    captured = capfd.readouterr()
    assert "flax: toy-plain+toy-run" in captured.out
    assert "rejected: cpu float32 (16,) ['mask', 'padding']" in captured.out
    assert captured.err.startswith("Probes are asked, each in a process of its own")
    assert "toy_heads.probes" not in sys.modules


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ("property(lambda self: 1 / 0)", "does not tell what it needs: ZeroDivisionError: division by zero"),
        ("7", "does not tell what it needs: attention_needs is 7"),
    ],
)
def test_a_config_that_fails_is_the_error_of_its_plugin(here, toys, checkpoint, capsys, needs, message):
    toys(**{"config.py": f"{CONFIG}\nToyConfig.attention_needs = {needs}\n"})

    assert here(["backends", "--for", checkpoint()]) == 6

    assert message in capsys.readouterr().err


def test_of_a_model_on_the_hub_only_the_config_is_fetched(here, toys, fake_hub, capsys):
    fake_hub.add("maker/toy", {"config.json": b'{"model_type": "toy"}', "model.safetensors": b"x" * 1000})

    assert here(["backends", "--for", "maker/toy"]) == 0

    assert "flax: toy-fast+toy-run" in capsys.readouterr().out
    assert [path for path in fake_hub.asked("GET") if "model.safetensors" in path] == []


@pytest.mark.parametrize("options", [[], ["--probe"], ["--json"]])
def test_no_framework_and_no_model_is_imported(toys, environment, checkpoint, options):
    command = ["backends", "--for", checkpoint(), *options]
    program = (
        "import sys\n"
        "from automodels_cli.main import main\n"
        f"code = main({command!r})\n"
        "names = ('jax', 'jaxlib', 'flax', 'torch', 'transformers', 'huggingface_hub', 'toy_heads.modeling')\n"
        "loaded = [name for name in names if name in sys.modules]\n"
        "sys.exit(repr(loaded) if loaded else code)\n"
    )

    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stderr
