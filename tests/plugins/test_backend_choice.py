"""Backends of Flax models: chosen when one is made, changed afterwards, brought by others, refused."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.errors import BackendUnavailableError, InputError
from automodels.testing.sites import FakeSite
from flax_bert import BertConfig, FlaxBertForMaskedLM
from flax_gptneo import FlaxGPTNeoForCausalLM, GPTNeoConfig
from flax_opt import FlaxOPTForCausalLM, OPTConfig
from flax_runtime.attend import Attend
from flax_runtime.attention import xla_attention

SIZES: dict[str, Any] = {"vocab_size": 31, "hidden_size": 16, "max_position_embeddings": 32}
MODELS = {
    "bert": (
        FlaxBertForMaskedLM,
        BertConfig(**SIZES, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24),
    ),
    "opt": (FlaxOPTForCausalLM, OPTConfig(**SIZES, num_hidden_layers=2, num_attention_heads=2, ffn_dim=24)),
    "gpt_neo": (
        FlaxGPTNeoForCausalLM,
        GPTNeoConfig(
            **SIZES, num_layers=2, num_heads=2, attention_types=[(["global", "local"], 1)], window_size=4,
            eos_token_id=None, bos_token_id=None,
        ),
    ),
}  # fmt: skip
IDS = np.array([[5, 7, 2, 9, 11, 3, 8], [1, 1, 6, 2, 4, 9, 12]])
MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1]])

MANIFEST = """
    schema = 1
    name = "plain-attention"
    api = ">=1.0,<2"
    summary = "Attention in a few lines of jax.numpy"

    [[backend]]
    name = "few-lines"
    framework = "flax"
    implementation = "plain_attention:attend"
    devices = ["cpu", "cuda", "tpu"]
    supports = ["mask"]
    priority = {priority}
"""
FUNCTION = """
    import jax.numpy as jnp

    calls = []

    def attend(q, k, v, *, mask=None, scale=None):
        calls.append(q.shape)
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        scores = jnp.einsum("btnh,bsnh->bnts", q, k) * scale
        if mask is not None:
            scores = jnp.where(mask, scores, -1e9)
        powers = jnp.exp(scores - scores.max(-1, keepdims=True))
        return jnp.einsum("bnts,bsnh->btnh", powers / powers.sum(-1, keepdims=True), v)
"""


@pytest.fixture(scope="module")
def models():
    return {name: model_class(config) for name, (model_class, config) in MODELS.items()}


@pytest.fixture
def others(tmp_path, monkeypatch):
    """An installed plugin that has a backend and nothing else; the module with its calls."""

    def install(priority: int = 1) -> Any:
        site = FakeSite(tmp_path / "site")
        site.plugin("plain-attention", MANIFEST.format(priority=priority), files={"__init__.py": FUNCTION})
        monkeypatch.syspath_prepend(str(site.path))
        monkeypatch.delitem(sys.modules, "plain_attention", raising=False)
        import plain_attention

        return plain_attention

    yield install
    sys.modules.pop("plain_attention", None)


@pytest.mark.parametrize("family", MODELS)
def test_a_backend_of_another_plugin_computes_every_family(models, others, family, tmp_path):
    plugin = others()
    models[family].save_pretrained(tmp_path / "model")

    model = type(models[family]).from_pretrained(tmp_path / "model", backend="few-lines")
    found = model(IDS, attention_mask=MASK).logits

    assert len(plugin.calls) == 2  # one for each layer
    assert model.backend_report.name == "few-lines"
    assert model.load_report.backend is model.backend_report
    expected = models[family](IDS, attention_mask=MASK).logits
    np.testing.assert_allclose(found[MASK != 0], expected[MASK != 0], atol=2e-5)


@pytest.mark.parametrize("family", ["opt", "gpt_neo"])
def test_a_backend_of_another_plugin_generates_the_same_tokens(models, others, family):
    plugin = others()
    prompt: dict[str, Any] = {"attention_mask": MASK, "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0}

    found = models[family].with_backend("few-lines").generate(IDS, **prompt).sequences

    np.testing.assert_array_equal(found, models[family].generate(IDS, **prompt).sequences)
    assert {shape[1] for shape in plugin.calls} == {16, 1}  # the prompt's bucket, and single tokens


def test_the_highest_priority_is_taken_whoever_declares_it(models, others):
    others(priority=1000)

    report = models["bert"].with_backend("auto").backend_report

    assert report.name == "few-lines"
    assert "xla of flax-runtime" in str(report)


def test_calls_that_it_cannot_do_go_to_the_plain_formula_unless_it_was_asked_for_by_name(models, others):
    plugin = others(priority=1000)
    key = jax.random.key(0)
    chosen, named = (models["bert"].with_backend(name) for name in ("auto", "few-lines"))

    chosen(IDS, train=True, dropout_rng=key)

    assert plugin.calls == []
    assert "calls with dropout: the plain formula" in str(chosen.backend_report)
    assert "calls with dropout: refused" in str(named.backend_report)
    with pytest.raises(InputError, match="few-lines cannot do this call: it has no dropout"):
        named(IDS, train=True, dropout_rng=key)


@pytest.mark.parametrize("family", MODELS)
def test_a_model_with_another_backend_has_the_same_parameters_and_leaves_the_first_as_it_is(models, family):
    model = models[family]
    expected = model(IDS).logits

    other = model.with_backend("eager")

    assert (model.backend_report.spec, other.backend_report.spec) == ("headwise+jit", "headwise+eager")
    pairs = zip(jax.tree.leaves(model.params), jax.tree.leaves(other.params), strict=True)
    assert all(one is same for one, same in pairs)
    np.testing.assert_allclose(other(IDS).logits, expected, atol=1e-5)
    other.config.num_labels = 7
    assert model.config.num_labels == 2
    assert pickle.loads(pickle.dumps(other)).backend_report.spec == "headwise+eager"


def test_the_load_report_of_a_changed_model_names_its_backend(models, tmp_path):
    models["opt"].save_pretrained(tmp_path)
    model = FlaxOPTForCausalLM.from_pretrained(tmp_path)

    other = model.with_backend("eager")

    assert other.load_report.backend is other.backend_report
    assert model.load_report.backend.spec == "headwise+jit"
    assert other.load_report.loaded == model.load_report.loaded


def test_eager_calls_see_numbers_and_compiled_ones_do_not(models, monkeypatch):
    seen = []

    def watching(*arrays, **given):
        seen.append(isinstance(arrays[0], jax.core.Tracer))
        return xla_attention(*arrays, **given)

    watched = Attend(watching, "watching", frozenset({"mask", "bias", "dropout"}))
    monkeypatch.setattr(Attend, "of", classmethod(lambda cls, report: watched))

    models["bert"].with_backend("eager")(IDS)
    models["bert"].with_backend("jit")(IDS)

    assert seen == [False, False, True, True]


def test_eager_generation_makes_the_same_tokens(models):
    prompt: dict[str, Any] = {"attention_mask": MASK, "max_new_tokens": 5, "eos_token_id": None, "pad_token_id": 0}

    found = models["opt"].with_backend("eager").generate(IDS, **prompt).sequences

    np.testing.assert_array_equal(found, models["opt"].generate(IDS, **prompt).sequences)


def test_programs_are_kept_on_disk_when_that_is_asked_for(tmp_path):
    """In processes of their own: the cache is switched on for a whole process, and looked for once."""
    code = """
import jax
from flax_bert import BertConfig, FlaxBertModel

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
found = []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event.rpartition("/")[2]))
sizes = dict(vocab_size=31, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
FlaxBertModel(BertConfig(**sizes), backend="jit-cached")([[5, 7]])
print(jax.config.jax_compilation_cache_dir, found.count("cache_hits"), found.count("cache_misses"))
"""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)

    first, second = (
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split()
        for _ in range(2)
    )

    assert first[0] == second[0] == str(tmp_path / "automodels" / "xla")
    assert (int(first[1]), int(second[2])) == (0, 0)
    assert int(second[1]) == int(first[2]) > 0


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [
        ("cudnn", BackendUnavailableError, "cudnn of flax-runtime .*: rejected: runs on cuda; here is cpu"),
        ("pallas", BackendUnavailableError, "pallas of flax-runtime .*: rejected"),
        ("xlla", BackendUnavailableError, "did you mean 'xla'"),
        ("sdpa", BackendUnavailableError, "declared: cudnn, eager, headwise, jit, jit-cached, pallas, xla"),
        ("", BackendUnavailableError, "''"),
        ("xla+cudnn", InputError, "two backends of kind attention: xla and cudnn"),
        ("jit+eager", InputError, "two backends of kind execution"),
        (None, InputError, "not a backend's name"),
    ],
)
def test_what_cannot_run_is_refused_and_the_model_stays(models, backend, error, message):
    model = models["bert"]

    with pytest.raises(error, match=message):
        model.with_backend(backend)

    assert model.backend_report.spec == "headwise+jit"


def test_loading_says_in_one_line_what_was_chosen(models, tmp_path, caplog):
    models["bert"].save_pretrained(tmp_path)

    with caplog.at_level(logging.INFO, logger="automodels"):
        FlaxBertForMaskedLM.from_pretrained(tmp_path)

    lines = [record.message for record in caplog.records if "backend" in record.message]
    assert lines == ["FlaxBertForMaskedLM: backend headwise+jit on cpu in float32."]


def test_nothing_is_initialised_before_a_model_is_made():
    """A parent may import the plugins, look around, and fork."""
    code = """
import flax_bert, flax_gptneo, flax_opt, flax_runtime.modeling, flax_runtime.probes
from automodels import AutoConfig
from automodels.backends import Situation, choose_backend
from automodels.plugins.catalog import load_catalog
from flax_opt import FlaxOPTForCausalLM
from jax._src import xla_bridge

AutoConfig.for_model("opt")
choose_backend(load_catalog(), "auto", Situation(framework="flax", device="cuda"), probing=False)
assert not xla_bridge.backends_are_initialized()
"""

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_kernel_that_has_no_such_shape_leaves_the_call_to_the_plain_formula():
    def picky(q, k, v, **given):
        raise NotImplementedError("heads of 6 numbers")

    arrays = [jnp.ones((1, 20, 2, 6)) for _ in range(3)]
    supports = frozenset({"mask"})

    found = Attend(picky, "picky", supports)(*arrays, causal=True)

    np.testing.assert_allclose(found, xla_attention(*arrays), atol=1e-6)
    with pytest.raises(InputError, match="picky cannot do this call: it has no heads of 6 numbers"):
        Attend(picky, "picky", supports, is_named=True)(*arrays, causal=True)


def test_a_function_is_told_what_it_knows_in_its_own_words():
    told = []

    def kernel(q, k, v, **given):
        told.append({name: getattr(value, "shape", value) for name, value in given.items()})
        return q

    x = jnp.ones((2, 20, 2, 4))
    padding = jnp.ones((2, 1, 1, 20), bool)
    words = Attend(kernel, "kernel", frozenset({"padding", "causal", "window"}), min_queries=2)
    masks = Attend(kernel, "kernel", frozenset({"mask"}))
    numbers = Attend(kernel, "kernel", frozenset({"bias"}))
    both = Attend(kernel, "kernel", frozenset({"padding", "bias"}))

    for attend in (words, masks, numbers, both):
        attend(x, x, x, mask=padding, causal=True, window=5)
    both(x, x, x, mask=padding)
    words(x, x, x, causal=True, offset=jnp.asarray(0))  # where the first query stands is not known: no word for it
    words(x[:, :1], x, x, mask=padding)  # one token

    whole = (2, 1, 20, 20)
    assert told == [
        {"mask": padding.shape, "causal": True, "window": 5},
        {"mask": whole},
        {"bias": whole},
        {"bias": whole},
        {"mask": padding.shape},
    ]
