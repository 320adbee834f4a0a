"""A `state_dict` in place of a checkpoint's weight files."""

from __future__ import annotations

import logging

import pytest
import torch
from tiny_models import BERT, IDS, copied, made

import automodels
from automodels.errors import CheckpointMismatchError, InputError, UnknownArgumentError
from torch_heads import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    GPTNeoForCausalLM,
    OPTForCausalLM,
)
from torch_heads.sentence import BackboneForSentenceEmbedding
from torch_heads.tasks import BackboneForBeamQuestionAnswering

LANGUAGE_MODELS = [BertForMaskedLM, OPTForCausalLM, GPTNeoForCausalLM]


def assert_same(model, tensors) -> None:
    """The model has these parameters, bit by bit."""
    found = dict(model.named_parameters())
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor), name


def other(model_class, **fields):
    """A model with other values than those that `made` gives."""
    model = made(model_class, **fields)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    return model


@pytest.mark.parametrize("model_class", LANGUAGE_MODELS)
def test_given_tensors_are_loaded_and_no_weight_file_is_needed(tmp_path, model_class):
    made(model_class).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    model = other(model_class)

    loaded = model_class.from_pretrained(tmp_path / "model", state_dict=model.state_dict(), strict=True)

    assert_same(loaded, copied(model))
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert not loaded.training
    assert loaded.load_report.files == ("state_dict",)
    with torch.no_grad():
        assert torch.equal(loaded(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("model_class", LANGUAGE_MODELS)
def test_with_a_config_no_place_is_needed(model_class):
    model = other(model_class)

    loaded = model_class.from_pretrained(None, config=model.config, state_dict=model.state_dict())

    assert_same(loaded, copied(model))
    assert loaded.load_report.source == "state_dict"


def test_an_auto_class_hands_the_tensors_on(tmp_path):
    made(BertForMaskedLM).save_pretrained(tmp_path / "model")
    model = other(BertForMaskedLM)

    loaded = automodels.AutoModelForMaskedLM.from_pretrained(
        tmp_path / "model", framework="torch", state_dict=model.state_dict()
    )

    assert_same(loaded, copied(model))


def test_the_model_and_the_tensors_share_no_memory():
    model = other(BertModel)
    before = copied(model)

    loaded = BertModel.from_pretrained(None, config=model.config, state_dict=model.state_dict())
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()

    assert_same(model, before)


@pytest.mark.parametrize(("dtype", "expected"), [("float32", torch.float32), ("auto", torch.bfloat16)])
def test_types_are_chosen_as_for_files(dtype, expected):
    model = other(BertModel).bfloat16()

    loaded = BertModel.from_pretrained(None, config=BertConfig(**BERT), state_dict=model.state_dict(), dtype=dtype)

    assert loaded.dtype == expected
    assert_same(loaded, {name: tensor.to(expected) for name, tensor in copied(model).items()})


def test_names_with_and_without_the_backbones_own_are_understood():
    model = other(BertModel)
    prefixed = {f"bert.{name}": tensor for name, tensor in model.state_dict().items()}

    loaded = BertModel.from_pretrained(None, config=model.config, state_dict=prefixed)

    assert_same(loaded, copied(model))


def test_a_head_that_is_not_among_the_tensors_is_fresh_and_named_in_a_warning(caplog):
    model = other(BertModel)

    with caplog.at_level(logging.WARNING, "automodels"):
        loaded = BertForSequenceClassification.from_pretrained(None, config=model.config, state_dict=model.state_dict())

    assert "BertForSequenceClassification from state_dict: classifier.weight, classifier.bias are fresh" in caplog.text
    assert_same(loaded.bert, copied(model))


def test_tensors_go_to_disk_where_the_map_says_so(tmp_path):
    pytest.importorskip("accelerate")
    model = other(BertModel)

    loaded = BertModel.from_pretrained(
        None, config=model.config, state_dict=model.state_dict(), device_map={"": "cpu", "encoder": "disk"},
        offload_folder=tmp_path,
    )  # fmt: skip

    assert loaded.encoder.layer[0].output.dense.weight.is_meta
    with torch.no_grad():
        assert torch.equal(loaded(IDS)[0], model(IDS)[0])


def test_heads_on_any_backbone_take_tensors_too():
    model = made(BertModel)
    beam = BackboneForBeamQuestionAnswering.on(BertModel)
    whole = beam(model.config)

    loaded = beam.from_pretrained(None, config=model.config, state_dict=whole.state_dict(), start_n_top=2)
    sentences = BackboneForSentenceEmbedding.on(BertModel).from_pretrained(
        None, config=model.config, state_dict=model.state_dict()
    )

    assert_same(loaded, copied(whole))
    assert loaded.config.start_n_top == 2
    assert sentences(IDS).embeddings.shape == (2, 12)
    with pytest.raises(InputError, match="is on no backbone, and there is no checkpoint that says which"):
        BackboneForBeamQuestionAnswering.from_pretrained(None, config=model.config, state_dict=whole.state_dict())


def test_tensors_that_do_not_fit_are_refused_with_their_names(tmp_path):
    model = made(BertModel)
    state = model.state_dict()
    lacking = {name: tensor for name, tensor in state.items() if name != "encoder.layer.1.output.dense.bias"}

    with pytest.raises(CheckpointMismatchError, match="missing: encoder.layer.1.output.dense.bias"):
        BertModel.from_pretrained(None, config=model.config, state_dict=lacking)
    with pytest.raises(CheckpointMismatchError, match=r"word_embeddings.weight has shape \[31, 12\]"):
        BertModel.from_pretrained(None, config=model.config, state_dict=state, vocab_size=32)
    with pytest.raises(CheckpointMismatchError, match="left over: more"):
        BertModel.from_pretrained(None, config=model.config, state_dict={**state, "more": IDS}, strict=True)
    with pytest.raises(CheckpointMismatchError, match="missing: "):
        BertModel.from_pretrained(None, config=model.config, state_dict={})


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ([1], "state_dict is a list, not a mapping"),
        ({"a": 3}, r"state_dict\['a'\] is a int; it needs to be a plain tensor"),
        ({3: torch.zeros(1)}, r"state_dict\[3\] is a Tensor"),
        ({"a": torch.zeros(1, device="meta")}, r"state_dict\['a'\] has no values"),
        ({"a": torch.zeros(2).to_sparse()}, r"state_dict\['a'\] is a Tensor; it needs to be a plain tensor"),
    ],
)
def test_what_is_no_mapping_of_names_to_tensors_is_refused(state, said):
    with pytest.raises(InputError, match=said):
        BertModel.from_pretrained(None, config=BertConfig(**BERT), state_dict=state)


def test_options_that_mean_nothing_without_files_are_refused():
    model = made(BertModel)
    given = dict(config=model.config, state_dict=model.state_dict())

    for option in ({"variant": "fp16"}, {"use_safetensors": True}, {"from_pt": True}, {"from_flax": True}):
        with pytest.raises(InputError, match=f"{next(iter(option))} chooses among those"):
            BertModel.from_pretrained(None, **given, **option)
    with pytest.raises(UnknownArgumentError, match="BertModel has no argument 'revision'"):
        BertModel.from_pretrained(None, **given, revision="main")
    with pytest.raises(InputError, match="needs config"):
        BertModel.from_pretrained(None, state_dict=given["state_dict"])
    with pytest.raises(InputError, match="name is None, and so is state_dict"):
        BertModel.from_pretrained(None, config=model.config)
