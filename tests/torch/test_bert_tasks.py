"""BERT's tasks in PyTorch where no golden file is: fresh values, what a checkpoint may lack, labels that do not fit."""

from __future__ import annotations

import logging

import pytest
import torch

from automodels.errors import CheckpointMismatchError, InputError, UnsupportedConfigError
from torch_heads import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
)
from torch_heads.losses import class_loss, next_token_loss, sequence_loss, span_loss

TINY = dict(vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=8)
IDS = torch.tensor([[3, 14, 15, 9, 2], [27, 18, 28, 1, 8]])
TASKS = [
    BertForPreTraining,
    BertForMaskedLM,
    BertLMHeadModel,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertForQuestionAnswering,
]


def made(task: type, **fields):
    return task(BertConfig(**{**TINY, **fields}))


@pytest.mark.parametrize("task", TASKS)
def test_a_new_model_has_values_drawn_by_the_configs_rule_and_no_other(task):
    model = made(task, initializer_range=0.5)

    for name, parameter in model.named_parameters():
        if name.endswith("LayerNorm.weight"):
            assert (parameter == 1).all(), name
        elif parameter.dim() == 1:
            assert not parameter.any(), name
        else:
            assert 0.3 < parameter.std() < 0.7, name


@pytest.mark.parametrize("task", [BertForPreTraining, BertForMaskedLM, BertLMHeadModel])
def test_a_tied_head_leaves_the_padding_row_at_zero_and_an_untied_one_has_a_matrix_of_its_own(task):
    tied, untied = made(task), made(task, tie_word_embeddings=False)

    assert not tied.bert.embeddings.word_embeddings.weight[0].any()
    assert tied.cls.predictions.decoder.weight is tied.bert.embeddings.word_embeddings.weight
    assert untied.cls.predictions.decoder.weight is not untied.bert.embeddings.word_embeddings.weight
    assert untied.cls.predictions.decoder.weight[0].any()


def test_a_head_gets_a_gradient_through_both_of_its_tied_places():
    model = made(BertForMaskedLM)

    model(IDS, labels=IDS).loss.backward()

    assert model.bert.embeddings.word_embeddings.weight.grad[30].any()  # no id, so by the decoder alone
    assert model.cls.predictions.bias.grad.any()


@pytest.mark.parametrize("task", TASKS)
def test_a_head_on_a_backbones_checkpoint_is_fresh_and_named_in_a_warning(task, tmp_path, caplog):
    backbone = made(BertModel)
    backbone.save_pretrained(tmp_path)

    with caplog.at_level(logging.WARNING, "automodels"):
        model = task.from_pretrained(tmp_path)

    heads = {name for name, _ in model.named_parameters() if not name.startswith("bert.")}
    assert set(model.load_report.missing) == heads
    assert sorted(heads)[0].split(".")[0] in caplog.text
    assert torch.equal(model.bert.encoder.layer[1].output.dense.weight, backbone.encoder.layer[1].output.dense.weight)


def test_with_strict_a_fresh_head_is_refused(tmp_path):
    made(BertModel).save_pretrained(tmp_path)

    with pytest.raises(CheckpointMismatchError, match="missing: classifier"):
        BertForSequenceClassification.from_pretrained(tmp_path, strict=True)


@pytest.mark.parametrize("task", [BertModel, BertLMHeadModel])
def test_cross_attention_on_an_encoders_checkpoint_is_fresh(task, tmp_path):
    made(BertModel).save_pretrained(tmp_path)

    model = task.from_pretrained(tmp_path, is_decoder=True, add_cross_attention=True)

    assert any("crossattention" in name for name in model.load_report.missing)
    assert not any("crossattention" not in name for name in model.load_report.missing if "encoder" in name)


def test_a_causal_model_that_is_no_decoder_says_so(caplog):
    with caplog.at_level(logging.WARNING, "automodels"):
        made(BertLMHeadModel)

    assert "is_decoder=False" in caplog.text


def test_with_labels_no_cache_is_made_and_without_them_a_decoder_has_one():
    model = made(BertLMHeadModel, is_decoder=True).eval()

    assert "past_key_values" not in model(IDS, labels=IDS)
    assert model(IDS).past_key_values.get_seq_length() == 5


def test_pre_training_sums_the_losses_that_labels_are_given_for():
    model = made(BertForPreTraining).eval()
    follows = torch.tensor([0, 1])

    both = model(IDS, labels=IDS, next_sentence_label=follows).loss
    words, order = model(IDS, labels=IDS).loss, model(IDS, next_sentence_label=follows).loss

    torch.testing.assert_close(both, words + order)
    assert "loss" not in model(IDS)


def test_labels_that_count_for_nothing_change_no_loss():
    logits = torch.randn(2, 3, 7)
    labels = torch.tensor([[4, -100, 6], [-100, -100, 0]])

    expected = torch.stack([-logits.log_softmax(-1)[place] for place in [(0, 0, 4), (0, 2, 6), (1, 2, 0)]]).mean()

    torch.testing.assert_close(class_loss(logits, labels), expected)


def test_the_next_tokens_loss_is_that_of_each_token_under_the_scores_before_it():
    logits = torch.randn(2, 5, 31)

    found = next_token_loss(logits, IDS)

    expected = torch.stack([-logits[row, at - 1].log_softmax(-1)[IDS[row, at]] for row in (0, 1) for at in range(1, 5)])
    torch.testing.assert_close(found, expected.mean())


def test_an_answer_beyond_the_tokens_counts_for_nothing():
    first, last = torch.randn(2, 5), torch.randn(2, 5)

    found = span_loss(first, last, torch.tensor([1, 9]), torch.tensor([5, 2]))

    expected = (-first.log_softmax(-1)[0, 1] - last.log_softmax(-1)[1, 2]) / 2
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("classes", "labels", "problem"),
    [
        (1, torch.tensor([0.5, 2.0]), "regression"),
        (3, torch.tensor([2, 0]), "single_label_classification"),
        (3, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), "multi_label_classification"),
    ],
)
def test_without_a_problem_type_the_labels_say_what_the_problem_is(classes, labels, problem):
    logits = torch.randn(2, classes)

    assert torch.equal(sequence_loss(logits, labels), sequence_loss(logits, labels, problem))


def test_whole_numbers_are_labels_of_regression_and_of_several_classes_too():
    logits = torch.randn(2, 3)
    labels = torch.tensor([[1, 0, 1], [0, 0, 1]])

    for problem in ("regression", "multi_label_classification"):
        assert torch.equal(sequence_loss(logits, labels, problem), sequence_loss(logits, labels.float(), problem))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_half_types_are_computed_in_float32(dtype):
    logits = (50 * torch.randn(2, 5, 31)).to(dtype)

    for loss in (class_loss(logits, IDS), next_token_loss(logits, IDS), sequence_loss(logits[:, 0], IDS[:, 0])):
        assert loss.dtype == torch.float32
        assert loss.isfinite()


@pytest.mark.parametrize(
    ("task", "fields", "given", "message"),
    [
        (BertForMaskedLM, {}, {"labels": IDS[:, :4]}, r"labels has shape \[2, 4\]; it needs \[2, 5\]"),
        (BertForMaskedLM, {}, {"labels": IDS + 10}, "labels has the value 38; there are classes 0 to 30"),
        (BertForMaskedLM, {}, {"labels": IDS - 7}, "labels has the value -6"),
        (BertForMaskedLM, {}, {"labels": IDS.float()}, "labels holds torch.float32"),
        (BertLMHeadModel, {}, {"labels": IDS[:1]}, r"labels has shape \[1, 5\]; it needs \[2, 5\]"),
        (BertForPreTraining, {}, {"next_sentence_label": torch.tensor([0, 2])}, "next_sentence_label has the value 2"),
        (BertForPreTraining, {}, {"next_sentence_label": torch.tensor([0])}, r"next_sentence_label has shape \[1\]"),
        (BertForNextSentencePrediction, {}, {"labels": torch.tensor([0, 1, 1])}, r"labels has shape \[3\]"),
        (BertForSequenceClassification, {"num_labels": 3}, {"labels": torch.tensor([0, 3])}, "labels has the value 3"),
        (
            BertForSequenceClassification,
            {"num_labels": 3, "problem_type": "multi_label_classification"},
            {"labels": torch.tensor([0, 1])},
            r"labels has shape \[2\]; for multi_label_classification it needs \[2, 3\]",
        ),
        (
            BertForSequenceClassification,
            {"num_labels": 1},
            {"labels": torch.zeros(2, 2)},
            r"labels has shape \[2, 2\]; for regression it needs \[2, 1\]",
        ),
        (BertForTokenClassification, {"num_labels": 4}, {"labels": IDS}, "labels has the value 28"),
        (
            BertForQuestionAnswering,
            {},
            {"start_positions": torch.tensor([1, 2])},
            "start_positions is given without end_positions",
        ),
        (
            BertForQuestionAnswering,
            {},
            {"start_positions": torch.tensor([-1, 2]), "end_positions": torch.tensor([1, 2])},
            "start_positions has the value -1",
        ),
        (
            BertForQuestionAnswering,
            {},
            {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([[1, 2], [3, 4]])},
            r"end_positions has shape \[2, 2\]; it needs \[2\]",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(task, fields, given, message):
    model = made(task, **fields)

    with pytest.raises(InputError, match=message):
        model(IDS, **given)


@pytest.mark.parametrize(
    ("name", "value"), [("input_ids", IDS), ("attention_mask", IDS), ("token_type_ids", IDS), ("position_ids", IDS)]
)
def test_a_multiple_choice_without_an_axis_of_choices_is_refused(name, value):
    given = {"input_ids": IDS[None], name: value}

    with pytest.raises(InputError, match=rf"{name} has shape \[2, 5\]; a multiple choice needs \[batch, choices"):
        made(BertForMultipleChoice)(**given)


def test_a_right_choice_that_is_none_of_them_is_refused():
    with pytest.raises(InputError, match="labels has the value 2; there are classes 0 to 1"):
        made(BertForMultipleChoice)(IDS[None], labels=torch.tensor([2]))


def test_an_unknown_problem_type_is_refused_when_the_model_is_made():
    with pytest.raises(UnsupportedConfigError, match="problem_type is 'single_label'"):
        made(BertForSequenceClassification, problem_type="single_label")


def test_question_answering_with_other_than_two_labels_is_refused():
    with pytest.raises(UnsupportedConfigError, match="num_labels is 2, not 3"):
        made(BertForQuestionAnswering, num_labels=3)


def test_another_familys_config_is_refused():
    from torch_heads import OPTConfig

    with pytest.raises(InputError, match="BertForMaskedLM needs a BertConfig, not a OPTConfig"):
        BertForMaskedLM(OPTConfig())


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_gradients_with_checkpointing_are_those_without(backend):
    model = BertForTokenClassification(
        BertConfig(**TINY, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), backend=backend
    ).train()
    labels = IDS % 2

    model(IDS, labels=labels).loss.backward()
    plain = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(IDS, labels=labels).loss.backward()

    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[name], msg=name)


def test_a_call_with_labels_is_one_graph_for_the_compiler():
    model = made(BertForSequenceClassification).eval()
    labels = torch.tensor([0, 1])
    plain = model(IDS, labels=labels)

    compiled = torch.compile(model, backend="eager", fullgraph=True)(IDS, labels=labels)

    torch.testing.assert_close(compiled.loss, plain.loss)
    torch.testing.assert_close(compiled.logits, plain.logits)
