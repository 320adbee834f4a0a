"""What is not imported: the reason why `import automodels` is quick and listing is safe."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"jax", "jaxlib", "flax", "torch", "transformers", "tensorflow"}
HEAVY = FRAMEWORKS | {"rich", "huggingface_hub", "pydantic", "numpy", "tokenizers", "ml_dtypes", "safetensors", "scipy"}
LISTING = HEAVY | {"pluggy", "packaging", "importlib.metadata", "email", "pkg_resources", "setuptools", "difflib"}


CHOOSING = """
from automodels.backends import Situation, choose_backend
from automodels.errors import BackendUnavailableError
from automodels.plugins.catalog import load_catalog
for framework in ("flax", "torch"):
    try:
        choose_backend(load_catalog(), "auto", Situation(framework=framework, device="cpu"))
    except BackendUnavailableError:  # where no runtime is installed
        pass
"""


def modules_after(code: str, *, isolated: str = "") -> set[str]:
    """Modules that an interpreter has imported after running `code`, without those of an idle one."""
    script = f"""
import sys
before = set(sys.modules)
{isolated}
{code}
after = set(sys.modules)
import json
print(json.dumps(sorted(after - before)))"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import automodels", LISTING | {"automodels.auto", "automodels.errors"}),
        ("from automodels import AutoModel", LISTING),
        ("from automodels import AutoConfig, AutoModelForCausalLM, pin, policy, resolve, catalog", LISTING),
        ("import automodels; automodels.FlaxAutoModelForMaskedLM", LISTING),
        ("import automodels; automodels.catalog().entries", LISTING),
        ("import automodels; automodels.AutoModel.task; dir(automodels)", LISTING),
        ("import automodels.errors", LISTING | {"automodels.auto"}),
        ("from automodels.backends import this_machine; this_machine()", LISTING),
        (CHOOSING, LISTING),
        ("from automodels.families.bert import BertConfig; BertConfig()", FRAMEWORKS | {"rich", "tokenizers", "numpy"}),
        ("from automodels.families.opt import OPTConfig; OPTConfig()", FRAMEWORKS | {"rich", "tokenizers", "numpy"}),
        ("from automodels import GenerationConfig; GenerationConfig()", FRAMEWORKS | {"rich", "tokenizers", "numpy"}),
    ],
)
def test_the_light_half_imports_nothing_heavy(code, forbidden):
    found = modules_after(code)

    assert found & forbidden == set()


def test_resolving_imports_nothing_heavy_and_nothing_of_any_plugin(site, checkpoint):
    site.toy("flax-toy", requires='["automodels>=0.1"]')
    site.toy("torch-toy", framework="torch")
    path = f"sys.path.insert(0, {str(site.path)!r})"
    code = f"import automodels; automodels.resolve({str(checkpoint())!r}); automodels.resolve('toy', framework='torch')"

    found = modules_after(code, isolated=path)

    assert found & LISTING == set()
    assert not {name for name in found if name.startswith(("flax_", "torch_"))}


def test_importing_the_auto_classes_stays_a_small_number_of_modules():
    found = modules_after("from automodels import AutoModel")

    assert len({name for name in found if name.startswith("automodels")}) <= 23
    assert len(found) <= 76, sorted(found)


def test_the_config_class_is_imported_only_when_a_config_is_made(site, checkpoint):
    site.toy("good-toy")
    path = f"sys.path.insert(0, {str(site.path)!r})"
    code = f"from automodels import AutoConfig; print(AutoConfig.from_pretrained({str(checkpoint())!r}).width)"

    found = modules_after(code, isolated=path)

    assert {"pydantic", "good_toy.config"} <= found
    assert found & (FRAMEWORKS | {"good_toy.modeling", "rich", "numpy"}) == set()
