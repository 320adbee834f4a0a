"""A plugin that was built against plugin API 1.0, as a wheel: its PyTorch models, attention and execution."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import automodels
from automodels.errors import BackendUnavailableError

sys.path.insert(0, str(Path(__file__).parents[1] / "frozen"))

from installing import installed

IDS = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])


@pytest.fixture(scope="module", autouse=True)
def frozen(tmp_path_factory):
    """The plugin, installed."""
    with installed(tmp_path_factory.mktemp("site-packages")) as directory:
        yield directory


@pytest.fixture(scope="module")
def saved(frozen, tmp_path_factory):
    """A checkpoint of a small decoder."""
    directory = tmp_path_factory.mktemp("saved")
    config = automodels.AutoConfig.for_model("frozen-lm", num_hidden_layers=1)
    model = automodels.AutoModelForCausalLM.from_config(config, framework="torch")
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def model(saved):
    return automodels.AutoModelForCausalLM.from_pretrained(saved, framework="torch")


def test_what_is_saved_is_loaded_and_saved_again(model, saved, tmp_path):
    report = model.save_pretrained(tmp_path)

    assert report.files == ("config.json", "model.safetensors")
    for name in report.files:
        assert (tmp_path / name).read_bytes() == (saved / name).read_bytes()
    assert model.load_report.plugin.startswith("frozen-plugin 1.0")


def test_tensors_bear_the_names_of_the_key_map(saved):
    from automodels.checkpoint.reader import Checkpoint

    names = set(Checkpoint.open(saved))

    assert {"body.words.weight", "body.layers.0.qkv.weight", "head.weight"} <= names
    assert len(names) == 10


def test_its_hooks_are_called(saved):
    import frozen_plugin.hooks

    frozen_plugin.hooks.seen.clear()

    automodels.AutoModel.from_pretrained(saved, framework="torch")

    assert frozen_plugin.hooks.seen == [("configure_load", "frozen-lm"), ("model_loaded", "FrozenModel")]


def test_text_is_generated_as_calls_would_choose_it(model):
    logits = model(IDS).logits

    tokens = model.generate(IDS, max_new_tokens=3, pad_token_id=0)

    assert tokens.shape == (2, 7)
    assert (tokens[:, 4] == logits[:, -1].argmax(-1)).all()


def test_its_attention_and_its_execution_compute_the_same(model):
    import frozen_plugin.torch_backends

    other = model.with_backend("frozen-attention+frozen-counted")
    found = other(IDS)

    assert other.backend_report.spec == "frozen-attention+frozen-counted"
    assert torch.allclose(found.logits, model(IDS).logits, atol=1e-5)
    assert frozen_plugin.torch_backends.calls


def test_its_probe_is_asked():
    config = automodels.AutoConfig.for_model("frozen-lm", hidden_size=256, num_hidden_layers=1)

    with pytest.raises(BackendUnavailableError, match="has no heads of 128 numbers"):
        automodels.AutoModel.from_config(config, framework="torch", backend="frozen-attention")


def test_the_body_alone_is_loaded_and_returns_what_it_is_asked_for(saved):
    body = automodels.AutoModel.from_pretrained(saved, framework="torch")

    output = body(IDS, output_attentions=True, output_hidden_states=True)

    assert output.last_hidden_state.shape == (2, 4, 16)
    assert [part.shape for part in output.attentions] == [(2, 2, 4, 4)]
    assert len(output.hidden_states) == 2
