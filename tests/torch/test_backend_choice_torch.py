"""Backends of PyTorch models: chosen when one is made, changed afterwards, brought by others, refused."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import IDS, made

from automodels.errors import BackendUnavailableError, InputError
from automodels.testing.sites import FakeSite
from torch_heads import (
    BertForMaskedLM,
    BertModel,
    GPTNeoForCausalLM,
    OPTForCausalLM,
)
from torch_runtime.attend import Attend

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = {"bert": BertForMaskedLM, "opt": OPTForCausalLM, "gpt_neo": GPTNeoForCausalLM}
MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])

MANIFEST = """
    schema = 1
    name = "plain-attention"
    api = ">=1.0,<2"
    summary = "Attention in a few lines of torch"

    [[backend]]
    name = "few-lines"
    framework = "torch"
    implementation = "plain_attention:attend"
    devices = ["cpu", "cuda"]
    supports = ["mask"]
    priority = {priority}

    [[backend]]
    name = "noted"
    kind = "execution"
    framework = "torch"
    implementation = "plain_attention:noted"
    devices = ["cpu"]
    priority = 1
"""
FUNCTION = """
    calls, runs = [], []

    def attend(q, k, v, *, mask=None, scale=None):
        calls.append(q.shape)
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        scores = q @ k.mT * scale
        if mask is not None:
            scores = scores.masked_fill(~mask, -1e9)
        return scores.softmax(-1) @ v

    def noted(model):
        runs.append(type(model).__name__)
"""


@pytest.fixture
def others(tmp_path, monkeypatch):
    """An installed plugin that has backends and nothing else; the module with its calls."""

    def install(priority: int = 1) -> Any:
        site = FakeSite(tmp_path / "site")
        site.plugin("plain-attention", MANIFEST.format(priority=priority), files={"__init__.py": FUNCTION})
        monkeypatch.syspath_prepend(str(site.path))
        monkeypatch.delitem(sys.modules, "plain_attention", raising=False)
        import plain_attention

        return plain_attention

    yield install
    sys.modules.pop("plain_attention", None)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backend_of_another_plugin_computes_every_family(others, family, tmp_path):
    plugin, own = others(), made(FAMILIES[family])
    own.save_pretrained(tmp_path / "model")

    model = FAMILIES[family].from_pretrained(tmp_path / "model", backend="few-lines")
    found = model(IDS, attention_mask=MASK).logits

    assert len(plugin.calls) == 2  # one for each layer
    assert model.backend_report.name == "few-lines"
    assert model.load_report.backend is model.backend_report
    torch.testing.assert_close(found[MASK != 0], own(IDS, attention_mask=MASK).logits[MASK != 0], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("family", ["opt", "gpt_neo"])
def test_a_backend_of_another_plugin_generates_the_same_tokens(others, family):
    plugin, model = others(), made(FAMILIES[family])
    prompt: dict[str, Any] = {"attention_mask": MASK, "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0}

    found = model.with_backend("few-lines").generate(IDS, **prompt)

    assert torch.equal(found, model.generate(IDS, **prompt))
    assert {shape[2] for shape in plugin.calls} == {5, 1}  # the prompt, and single tokens


def test_the_highest_priority_is_taken_whoever_declares_it(others):
    others(priority=1000)

    report = made(BertModel).backend_report

    assert report.name == "few-lines"
    assert "sdpa of torch-runtime" in str(report)


def test_calls_that_it_cannot_do_go_to_the_plain_formula_unless_it_was_asked_for_by_name(others):
    plugin = others(priority=1000)
    model = made(BertModel)
    chosen, named = (model.with_backend(name).train() for name in ("auto", "few-lines"))

    chosen(IDS)

    assert plugin.calls == []
    assert "calls with dropout: the plain formula" in str(chosen.backend_report)
    assert "calls with dropout: refused" in str(named.backend_report)
    with pytest.raises(InputError, match="few-lines cannot do this call: it has no dropout"):
        named(IDS)


def test_a_way_of_executing_of_another_plugin_is_given_the_whole_model_whenever_it_is_made(others, tmp_path):
    plugin, model = others(), made(OPTForCausalLM, backend="noted")
    model.save_pretrained(tmp_path / "model")
    steps = {
        "made": lambda: OPTForCausalLM(model.config, backend="noted"),
        "loaded": lambda: OPTForCausalLM.from_pretrained(tmp_path / "model", backend="eager+noted"),
        "changed": lambda: made(OPTForCausalLM).with_backend("noted"),
        "copied": lambda: copy.deepcopy(model),
        "unpickled": lambda: pickle.loads(pickle.dumps(model)),
        "set": lambda: model.set_attn_implementation("eager"),
    }

    for name, step in steps.items():
        plugin.runs.clear()
        found = step()
        assert plugin.runs == ["OPTForCausalLM"], name
        assert (found or model).backend_report.execution.table.name == "noted", name


def test_loading_says_in_one_line_what_was_chosen(tmp_path, caplog):
    made(OPTForCausalLM).save_pretrained(tmp_path)

    with caplog.at_level(logging.INFO, logger="automodels"):
        OPTForCausalLM.from_pretrained(tmp_path)

    lines = [record.message for record in caplog.records if "backend" in record.message]
    assert lines == ["OPTForCausalLM: backend sdpa+uncompiled on cpu in float32."]


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [
        ("cudnn", BackendUnavailableError, "cudnn of torch-runtime .*: rejected: runs on cuda; here is cpu"),
        ("flash", BackendUnavailableError, "flash of torch-runtime .*: rejected: runs on cuda; here is cpu"),
        ("sdpaa", BackendUnavailableError, "did you mean 'sdpa'"),
        ("compile-reduce-overhead", BackendUnavailableError, "rejected: runs on cuda, rocm; here is cpu"),
        ("", BackendUnavailableError, "''"),
        ("sdpa+flex", InputError, "two backends of kind attention: sdpa and flex"),
        ("compile+uncompiled", InputError, "two backends of kind execution"),
        (None, InputError, "not a backend's name"),
    ],
)
def test_what_cannot_run_is_refused_and_the_model_stays(backend, error, message):
    model = made(BertModel)

    with pytest.raises(error, match=message):
        model.with_backend(backend)

    assert model.backend_report.spec == "sdpa+uncompiled"


def test_an_encoder_without_dropout_may_be_computed_by_flex_and_is_told_of_windows_in_a_decoder():
    told = []

    def watched(q, k, v, **given):
        told.append({name: getattr(value, "shape", value) for name, value in given.items()})
        return function(q, k, v, **given)

    model = made(GPTNeoForCausalLM, backend="flex")
    function = model.transformer.attend.function
    expected = model.with_backend("eager")(IDS).logits
    attend = Attend(watched, "watched", model.transformer.attend.supports, is_named=True)
    for part in model.modules():
        if "attend" in part.__dict__:
            part.attend = attend

    found = model(IDS).logits

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert told == [{"is_causal": True, "scale": 1.0}, {"is_causal": True, "window": 4, "scale": 1.0}]


@pytest.mark.parametrize("model_class", [OPTForCausalLM, GPTNeoForCausalLM])
def test_masks_of_a_function_that_knows_no_causality_are_made_once_for_all_layers(model_class):
    seen = []

    def watched(q, k, v, *, mask=None, **given):
        seen.append(mask)
        return function(q, k, v, mask=mask, **given)

    is_neo = model_class is GPTNeoForCausalLM
    fields = {"attention_types": [(["global", "local"], 2)], "num_layers": 4} if is_neo else {}
    model = made(model_class, backend="eager", **fields)
    function = model.attend.function
    for part in model.modules():
        if "attend" in part.__dict__:
            part.attend = Attend(watched, "watched", model.attend.supports)

    model(IDS)

    masks = {id(mask) for mask in seen}
    assert len(masks) == (2 if is_neo else 1)
    assert len(seen) == model.config.num_hidden_layers


def test_nothing_of_cuda_is_initialised_for_a_model_on_the_cpu(tmp_path):
    made(OPTForCausalLM).save_pretrained(tmp_path)
    code = f"""
import torch

def refuse():
    raise AssertionError("CUDA is being initialised")

torch.cuda._lazy_init = torch._C._cuda_init = refuse
from torch_heads import OPTForCausalLM
model = OPTForCausalLM.from_pretrained({str(tmp_path)!r})
OPTForCausalLM(model.config)
model.with_backend("eager").generate(torch.tensor([[2, 5]]), max_new_tokens=2)
print(model.backend_report)
assert not torch.cuda.is_initialized()
"""

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("backend sdpa+uncompiled on cpu in float32\n")
