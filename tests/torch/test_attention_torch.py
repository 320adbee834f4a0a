"""Attention backends: the same numbers from each, chosen by name before and after loading, compiled or not."""

from __future__ import annotations

import pytest
import torch
from tiny_models import IDS, copied, made

from automodels.errors import BackendUnavailableError, InputError
from torch_heads import BertForMaskedLM, BertLMHeadModel, BertModel, GPTNeoForCausalLM, OPTForCausalLM
from torch_runtime.attention import eager_attention
from torch_runtime.flex import flex_attention
from torch_runtime.sdpa import flash_attention, sdpa_attention

Q, K, V = (torch.randn(2, 3, length, 16, generator=torch.Generator().manual_seed(length)) for length in (5, 7, 7))
V = V.flip(0)
PADDING = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1]]).bool()[:, None, None]
EACH = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1)) > 0.4
BIAS = torch.randn(1, 3, 5, 7, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("backend", [sdpa_attention, flex_attention])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask": PADDING},
        {"mask": EACH},
        {"bias": BIAS},
        {"bias": BIAS, "mask": PADDING, "scale": 1.0},
        {"scale": 0.3},
    ],
    ids=["plain", "padding", "each", "bias", "bias-padding", "scale"],
)
def test_backends_compute_what_the_formula_says(backend, options):
    torch.testing.assert_close(backend(Q, K, V, **options), eager_attention(Q, K, V, **options), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("backend", [sdpa_attention, flex_attention])
def test_later_tokens_are_hidden_where_that_is_asked_for(backend):
    expected = eager_attention(K, K, V, is_causal=True)

    torch.testing.assert_close(backend(K, K, V, is_causal=True), expected, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(expected[:, :, 0], V[:, :, 0])


@pytest.mark.parametrize("backend", [sdpa_attention, flex_attention])
def test_a_row_without_keys_gives_numbers(backend):
    mask = EACH.clone()
    mask[0, :, 2] = False

    assert backend(Q, K, V, mask=mask).isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel is for GPUs")
@pytest.mark.parametrize("causal", [True, False])
def test_flash_computes_what_the_formula_says(causal):
    q, k, v = (x.half().cuda() for x in (K, K, V))

    found = flash_attention(q, k, v, is_causal=causal)

    torch.testing.assert_close(found, eager_attention(q, k, v, is_causal=causal), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("model_class", [BertForMaskedLM, BertLMHeadModel, OPTForCausalLM, GPTNeoForCausalLM])
def test_another_backend_is_chosen_after_loading(tmp_path, model_class):
    fields = {"is_decoder": True} if model_class is BertLMHeadModel else {}
    made(model_class, **fields).save_pretrained(tmp_path / "model")
    model = model_class.from_pretrained(tmp_path / "model")
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    logits = {}

    for name in ("sdpa", "eager", "flex", "auto"):
        model.set_attn_implementation(name)
        chosen = "sdpa" if name == "auto" else name
        assert model.backend_report.name == model.base_model.backend_report.name == chosen
        held = {part.attend.name for part in model.modules() if "attend" in part.__dict__}
        assert held == {chosen}
        with torch.no_grad():
            logits[name] = model(IDS, attention_mask=mask).logits[mask.bool()]

    for name, found in logits.items():
        torch.testing.assert_close(found, logits["eager"], atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("name", ["flash", "sdpaa", "cudnn"])
def test_a_backend_that_cannot_run_is_refused_and_the_model_stays(name):
    model = made(BertModel)
    before, attend = copied(model), model.attend

    with pytest.raises(BackendUnavailableError, match=name):
        model.set_attn_implementation(name)

    assert model.attend is attend is model.encoder.layer[0].attention.self.attend
    assert model.backend_report.name == "sdpa"
    assert all(torch.equal(parameter, before[key]) for key, parameter in model.named_parameters())


def test_what_is_no_name_is_refused():
    with pytest.raises(InputError, match="not a backend's name"):
        made(BertModel).set_attn_implementation(None)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("model_class", [BertModel, BertForMaskedLM])
def test_a_compiled_model_is_one_graph_and_computes_the_same(model_class, backend):
    model = made(model_class, backend=backend)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        expected = model(IDS)[0], model(IDS, attention_mask=mask)[0]
    graphs = []

    def counting(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=counting)
    with torch.no_grad():
        found = compiled(IDS)[0], compiled(IDS, attention_mask=mask)[0]

    assert len(graphs) == 2
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_a_model_compiles_itself_and_returns_the_same_outputs():
    model = made(BertModel)
    with torch.no_grad():
        expected = model(IDS)
        model.compile(fullgraph=True, backend="eager")
        found = model(IDS)

    assert type(found) is type(expected)
    torch.testing.assert_close(found.pooler_output, expected.pooler_output, atol=1e-6, rtol=1e-6)


def test_what_is_compiled_is_each_models_own_forward():
    """Torch compiles a function anew only a few times, so one that all models shared would soon not be compiled."""
    assert all(kind.__call__ is torch.nn.Module.__call__ for kind in (BertModel, OPTForCausalLM, GPTNeoForCausalLM))
