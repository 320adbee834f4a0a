"""Ways of executing: compiled models are called, generate, are copied, saved and pickled like others."""

from __future__ import annotations

import copy
import pickle
import shutil
import warnings

import pytest
import torch
from tiny_models import IDS, made

from torch_heads import BertModel, OPTForCausalLM

PROMPT = {"max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0, "attention_mask": torch.ones_like(IDS)}
has_compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
pytestmark = pytest.mark.skipif(not has_compiler, reason="there is no C++ compiler")


@pytest.fixture
def graphs(monkeypatch):
    """What is compiled, which is traced only: kernels would take minutes."""
    found, modes, compiling = [], [], torch.compile

    def counting(graph, _inputs):
        found.append(graph)
        return graph.forward

    def traced(function, *, mode=None):
        modes.append(mode)
        return compiling(function, backend=counting)

    monkeypatch.setattr(torch, "compile", traced)
    torch.compiler.reset()
    with torch.no_grad():
        yield found, modes
    torch.compiler.reset()


def test_a_compiled_model_computes_and_generates_the_same(graphs):
    found, modes = graphs
    model = made(OPTForCausalLM)
    other = model.with_backend("compile")

    logits, tokens = other(IDS).logits, other.generate(IDS, **PROMPT)
    compiled = len(found)
    expected = model(IDS).logits, model.generate(IDS, **PROMPT)

    assert other.backend_report.spec == "sdpa+compile"
    assert modes == [None]
    assert 0 < compiled == len(found)
    torch.testing.assert_close(logits, expected[0], atol=1e-6, rtol=1e-6)
    assert torch.equal(tokens, expected[1])


def test_it_is_compiled_for_gradients_too(graphs):
    model = made(OPTForCausalLM, dropout=0.0, attention_dropout=0.0)
    other = model.with_backend("compile").train()

    with torch.enable_grad():
        other(IDS, labels=IDS).loss.backward()
        found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        model.zero_grad()
        model.train()(IDS, labels=IDS).loss.backward()

    assert graphs[0]
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["compile", "compile-max-autotune"])
def test_compiled_models_are_copied_pickled_saved_and_changed_back(graphs, tmp_path, name):
    found, modes = graphs
    model = made(OPTForCausalLM, backend=f"eager+{name}")
    expected = model(IDS).logits
    model.save_pretrained(tmp_path / "model")

    others = {
        "copied": copy.deepcopy(model),
        "pickled": pickle.loads(pickle.dumps(model)),
        "loaded": OPTForCausalLM.from_pretrained(tmp_path / "model", backend=f"eager+{name}"),
    }

    assert modes == [{"compile": None, "compile-max-autotune": "max-autotune"}[name]] * 4
    for how, other in others.items():
        assert other.backend_report.spec == f"eager+{name}"
        torch.testing.assert_close(other(IDS).logits, expected, msg=how)
        assert other._compiled_call_impl is not None
        assert other.model._compiled_call_impl is None  # a part of the compiled whole
    plain = model.with_backend("uncompiled")
    assert plain._compiled_call_impl is None
    before = len(found)
    torch.testing.assert_close(plain(IDS).logits, expected, atol=1e-5, rtol=1e-5)
    assert len(found) == before


def test_another_attention_function_is_compiled_anew(graphs):
    model = made(BertModel, backend="compile")
    first = model(IDS).last_hidden_state

    model.set_attn_implementation("eager")
    second = model(IDS).last_hidden_state

    assert model.backend_report.spec == "eager+compile"
    texts = [str(graph.graph) for graph in graphs[0]]
    assert ["scaled_dot_product" in text for text in texts] == [True, False]
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    model.set_attn_implementation("sdpa+uncompiled")
    assert model._compiled_call_impl is None


def test_kernels_of_the_compiler_compute_the_same():
    model = made(BertModel, num_hidden_layers=1)
    torch.compiler.reset()

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own about itself
        found = model.with_backend("compile")(IDS).last_hidden_state

    torch.compiler.reset()
    with torch.no_grad():
        torch.testing.assert_close(found, model(IDS).last_hidden_state, atol=1e-5, rtol=1e-5)
