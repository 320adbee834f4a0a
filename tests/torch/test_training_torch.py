"""Fresh values, gradient checkpointing, and gradients of inputs."""

from __future__ import annotations

import pytest
import torch
from tiny_models import BERT, IDS, OPT, copied, made
from torch import nn

from automodels.errors import UnknownArgumentError
from torch_heads import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, OPTConfig, OPTForCausalLM
from torch_runtime.initialising import is_initialising, no_init_weights
from torch_runtime.tensors import default_device


def test_each_kind_of_module_is_drawn_by_its_rule():
    model = BertForMaskedLM(BertConfig(**{**BERT, "hidden_size": 120}, initializer_range=0.3, pad_token_id=4))

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            assert abs(module.weight.std().item() - 0.3) < 0.03, name
            assert not module.bias.any()
        elif isinstance(module, nn.LayerNorm):
            assert torch.equal(module.weight, torch.ones(120))
            assert not module.bias.any()
    words = model.bert.embeddings.word_embeddings.weight
    assert abs(words[:4].std().item() - 0.3) < 0.05
    assert not words[4].any()


def test_families_name_their_own_deviation():
    model = OPTForCausalLM(OPTConfig(**{**OPT, "hidden_size": 120, "word_embed_proj_dim": 120}, init_std=0.7))

    assert abs(model.model.decoder.layers[0].fc1.weight.std().item() - 0.7) < 0.07


def test_a_value_is_drawn_once_also_in_models_inside_models(monkeypatch):
    drawn = []
    rule = BertModel._init_weights

    def counting(model, module):
        drawn.append(module)
        rule(model, module)

    for model_class in (BertModel, BertForSequenceClassification):
        monkeypatch.setattr(model_class, "_init_weights", counting)

    model = BertForSequenceClassification(BertConfig(**BERT))

    assert len(drawn) == len(set(drawn)) == len(list(model.modules()))


def test_init_weights_draws_everything_again_and_no_init_weights_nothing():
    model = made(BertForMaskedLM)
    before = copied(model)

    with no_init_weights():
        model.init_weights()
        other = BertModel(BertConfig(**BERT))
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert other.pooler.dense.bias.abs().sum() > 0  # torch's own values, which are no zeros

    model.init_weights()

    now = dict(model.named_parameters())
    changed = [name for name in before if name.endswith("weight") and not torch.equal(now[name], before[name])]
    assert changed == [name for name in before if name.endswith("weight")]
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert not model.bert.embeddings.word_embeddings.weight[0].any()  # the padding token's


@pytest.mark.parametrize("options", [None, {}, {"use_reentrant": False}, {"use_reentrant": True}])
def test_layers_computed_again_give_the_same_gradients(options):
    model = made(BertForMaskedLM).train()
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    for layer in model.bert.encoder.layer:
        layer.attention.self.dropout_rate = 0.0
    expected = gradients(model)
    calls = []
    model.bert.encoder.layer[1].register_forward_pre_hook(lambda *_: calls.append(1))

    model.gradient_checkpointing_enable(options)

    assert model.is_gradient_checkpointing
    assert model.bert.is_gradient_checkpointing
    found = gradients(model)
    assert len(calls) == 2
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)

    model.gradient_checkpointing_disable()

    calls.clear()
    gradients(model)
    assert len(calls) == 1
    assert not model.bert.is_gradient_checkpointing


def gradients(model) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(IDS).logits.square().sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_layers_are_not_computed_again_where_nothing_is_trained():
    model = made(BertModel)
    model.gradient_checkpointing_enable()
    calls = []
    model.encoder.layer[0].register_forward_hook(lambda *_: calls.append(1))

    model(IDS).last_hidden_state.sum().backward()

    assert len(calls) == 1


def test_an_unknown_option_of_checkpointing_is_refused():
    model = made(BertModel)

    with pytest.raises(UnknownArgumentError, match="use_reentrant"):
        model.gradient_checkpointing_enable({"use_reentrent": True})

    assert not model.is_gradient_checkpointing


def test_inputs_ask_for_gradients_when_they_are_wanted():
    model = made(BertModel).requires_grad_(False)
    assert not model(IDS).last_hidden_state.requires_grad

    model.enable_input_require_grads()
    model.enable_input_require_grads()
    assert model(IDS).last_hidden_state.requires_grad

    model.disable_input_require_grads()
    model.disable_input_require_grads()
    assert not model(IDS).last_hidden_state.requires_grad


def test_a_reentrant_checkpoint_above_frozen_weights_trains_what_is_inside():
    model = made(BertModel).requires_grad_(False).train()
    trained = model.encoder.layer[1].output.dense.bias.requires_grad_(True)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    model.enable_input_require_grads()

    model(IDS).last_hidden_state.sum().backward()

    assert trained.grad is not None
    assert trained.grad.shape == (12,)


def test_where_a_device_is_set_for_a_while_models_are_made_there():
    with torch.device("meta"):
        outline = BertModel(BertConfig(**BERT))
        assert not is_initialising()
        assert default_device() == torch.device("meta")

    assert outline.device == torch.device("meta")
    assert default_device() == torch.device("cpu")
