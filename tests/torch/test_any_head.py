"""Any head on any backbone: a plugin that brings only a backbone, and names the heads in its manifest."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import automodels
from automodels import auto, json_config, loading
from automodels.errors import InputError, PluginError, UnknownArgumentError, UnknownTaskError, UnsupportedConfigError
from automodels.plugins import catalog, host
from automodels.testing.sites import FakeSite
from torch_heads import (
    BackboneForBeamQuestionAnswering,
    BackboneForMultipleChoice,
    BackboneForQuestionAnswering,
    BackboneForSequenceClassification,
    BackboneForTokenClassification,
    BertConfig,
    BertModel,
    GPTNeoModel,
    OPTConfig,
    OPTModel,
    SequenceSummary,
    SQuADHead,
)
from torch_heads.losses import class_loss, sequence_loss

MANIFEST = """
    {head}

    [[model]]
    model_type = "blocks"
    framework = "torch"
    config = "blocks.config:BlocksConfig"
    [model.tasks]
    base = "blocks.modeling:BlocksModel"
    sequence-classification = "torch_heads.tasks:BackboneForSequenceClassification"
    multiple-choice = "torch_heads.tasks:BackboneForMultipleChoice"
    token-classification = "torch_heads.tasks:BackboneForTokenClassification"
    question-answering = "torch_heads.tasks:BackboneForQuestionAnswering"
    beam-question-answering = "torch_heads.tasks:BackboneForBeamQuestionAnswering"
"""
CONFIG = """
    from typing import ClassVar

    from automodels.config import PretrainedConfig

    class BlocksConfig(PretrainedConfig):
        model_type: ClassVar[str] = "blocks"
        vocab_size: int = 50
        hidden_size: int = 10
        num_hidden_layers: int = 2
"""
MODELING = """
    import torch
    from torch import nn

    from blocks.config import BlocksConfig
    from torch_runtime.modeling import TorchPreTrainedModel

    class BlocksModel(TorchPreTrainedModel):
        config_class = BlocksConfig

        def __init__(self, config, **making):
            super().__init__(config, **making)
            self.table = nn.Embedding(self.config.vocab_size, self.config.hidden_size)
            self.blocks = nn.ModuleList(
                nn.Linear(self.config.hidden_size, self.config.hidden_size) for _ in range(2)
            )
            self.post_init()

        def forward(self, input_ids, attention_mask=None):
            x = self.table(input_ids)
            for block in self.blocks:
                x = x + torch.tanh(block(x))
            return (x,)  # no output object: a tuple is enough
"""
IDS = torch.tensor([[3, 14, 15, 9, 2, 6, 5], [27, 18, 28, 1, 8, 0, 0]])
MASK = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
TINY = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "vocab_size": 50}
TASKS = {
    "sequence-classification": (BackboneForSequenceClassification, "BlocksForSequenceClassification"),
    "multiple-choice": (BackboneForMultipleChoice, "BlocksForMultipleChoice"),
    "token-classification": (BackboneForTokenClassification, "BlocksForTokenClassification"),
    "question-answering": (BackboneForQuestionAnswering, "BlocksForQuestionAnswering"),
    "beam-question-answering": (BackboneForBeamQuestionAnswering, "BlocksForBeamQuestionAnswering"),
}


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSite]:
    """The installed plugin `blocks`, which has a backbone and no line about heads but its manifest's."""
    site = FakeSite(tmp_path / "site-packages")
    site.plugin("blocks", MANIFEST, files={"config.py": CONFIG, "modeling.py": MODELING})
    monkeypatch.syspath_prepend(str(site.path))
    _forget()
    yield site
    _forget()
    for name in [name for name in sys.modules if name == "blocks" or name.startswith("blocks.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _forget() -> None:
    host._active.clear()
    catalog._scans.clear()
    loading._warned.clear()
    auto._auto_classes.clear()
    json_config._warned.clear()


@pytest.fixture
def backbone(tmp_path):
    """A saved backbone; the directory."""
    config = automodels.AutoConfig.for_model("blocks")
    automodels.AutoModel.from_config(config).save_pretrained(tmp_path / "backbone")
    return tmp_path / "backbone"


def loaded(task: str, where: Path, **options: Any) -> Any:
    auto_class = getattr(automodels, catalog.load_catalog().tasks[task])
    return auto_class.from_pretrained(where, **options)


@pytest.mark.parametrize("task", TASKS)
def test_a_head_named_in_a_manifest_stands_on_the_plugins_backbone(task, backbone):
    generic, name = TASKS[task]
    below = automodels.AutoModel.from_pretrained(backbone)

    model = loaded(task, backbone)

    assert isinstance(model, generic)
    assert type(model).__name__ == name
    assert type(model) is generic.on(type(below))
    assert model.base_model_prefix == "backbone"
    assert all(torch.equal(one, model.backbone.state_dict()[key]) for key, one in below.state_dict().items())
    assert set(model.load_report.missing) == {
        key for key, _ in model.named_parameters() if not key.startswith("backbone.")
    }


@pytest.mark.parametrize("task", TASKS)
def test_saved_with_its_head_it_loads_again_and_computes_the_same(task, backbone, tmp_path):
    model = loaded(task, backbone)
    inputs = [IDS[None], MASK[None]] if task == "multiple-choice" else [IDS, MASK]

    model.save_pretrained(tmp_path / "saved")
    again = loaded(task, tmp_path / "saved", strict=True)

    raw = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert raw["architectures"] == [TASKS[task][1]]
    assert raw["automodels"]["plugin"] == "blocks"
    assert type(again) is type(model)
    with torch.no_grad():
        for before, after in zip(model(*inputs, return_dict=False), again(*inputs, return_dict=False), strict=True):
            torch.testing.assert_close(before, after)


def test_the_backbone_of_a_saved_model_with_a_head_loads_alone(backbone, tmp_path):
    model = loaded("beam-question-answering", backbone)
    model.save_pretrained(tmp_path / "saved")

    below = automodels.AutoModel.from_pretrained(tmp_path / "saved")

    assert all(torch.equal(one, model.backbone.state_dict()[key]) for key, one in below.state_dict().items())


def test_beam_question_answering_has_a_squad_head_with_its_loss_and_its_beam(backbone):
    model = loaded("beam-question-answering", backbone, start_n_top=2, end_n_top=3)
    labels = {
        "start_positions": torch.tensor([1, 2]),
        "end_positions": torch.tensor([3, 2]),
        "cls_index": torch.tensor([0, 0]),
        "is_impossible": torch.tensor([0, 1]),
    }

    beam = model(IDS, MASK, p_mask=1 - MASK)
    output = model(IDS, MASK, **labels)
    output.loss.backward()

    assert isinstance(model.qa_outputs, SQuADHead)
    assert beam.keys() == ("start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index", "cls_logits")
    assert beam.start_top_index.shape == (2, 2)
    assert beam.end_top_index.shape == (2, 6)
    assert int(beam.end_top_index[1].max()) < 5
    expected = model.qa_outputs(model.backbone(IDS)[0], **labels)[0]
    torch.testing.assert_close(output.loss, expected)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_settings_of_a_head_are_saved_with_the_config_and_make_no_warning(backbone, tmp_path, caplog):
    loaded("beam-question-answering", backbone, start_n_top=2, end_n_top=3).save_pretrained(tmp_path / "saved")

    caplog.clear()
    again = loaded("beam-question-answering", tmp_path / "saved")

    assert (again.qa_outputs.start_n_top, again.qa_outputs.end_n_top) == (2, 3)
    assert "start_n_top" not in caplog.text


def test_sequence_classification_is_by_a_sequence_summary_of_the_last_token_that_is_no_padding(backbone):
    model = loaded("sequence-classification", backbone, num_labels=3)

    with torch.no_grad():
        padded = model(IDS, MASK, labels=torch.tensor([0, 2]))
        alone = model(IDS[1:, :5])
        first = model(IDS, MASK, cls_index=torch.tensor([0, 0]))

    assert isinstance(model.sequence_summary, SequenceSummary)
    assert padded.logits.shape == (2, 3)
    torch.testing.assert_close(padded.logits[1:], alone.logits)
    torch.testing.assert_close(padded.loss, class_loss(padded.logits, torch.tensor([0, 2])))
    assert not torch.equal(first.logits, padded.logits)


def test_a_summary_is_what_the_config_says(backbone):
    given = {"summary_type": "mean", "summary_use_proj": True, "summary_proj_to_labels": True, "num_labels": 4}

    model = loaded("sequence-classification", backbone, **given)

    states = model.backbone(IDS)[0]
    torch.testing.assert_close(model(IDS).logits, model.sequence_summary.summary(states.mean(1)))
    assert {name for name, _ in model.named_parameters() if not name.startswith("backbone.")} == {
        "sequence_summary.summary.weight",
        "sequence_summary.summary.bias",
    }


def test_regression_and_several_labels_follow_the_configs_problem(backbone):
    numbers = torch.tensor([0.5, -1.0])
    flags = torch.tensor([[1, 0, 1], [0, 0, 1]])

    regression = loaded("sequence-classification", backbone, num_labels=1)(IDS, labels=numbers)
    several = loaded("sequence-classification", backbone, num_labels=3, problem_type="multi_label_classification")(
        IDS, labels=flags
    )

    torch.testing.assert_close(regression.loss, ((regression.logits[:, 0] - numbers) ** 2).mean())
    torch.testing.assert_close(several.loss, sequence_loss(several.logits, flags, "multi_label_classification"))


def test_tokens_answers_and_choices_have_logits_and_losses(backbone):
    tokens = loaded("token-classification", backbone, num_labels=5)(IDS, MASK, labels=IDS.clamp(max=4))
    answers = loaded("question-answering", backbone)(
        IDS, start_positions=torch.tensor([1, 2]), end_positions=torch.tensor([3, 9])
    )
    choices = loaded("multiple-choice", backbone)(IDS[None], MASK[None], labels=torch.tensor([1]))

    assert tokens.logits.shape == (2, 7, 5)
    torch.testing.assert_close(tokens.loss, class_loss(tokens.logits, IDS.clamp(max=4)))
    assert answers.start_logits.shape == answers.end_logits.shape == (2, 7)
    assert answers.loss.isfinite()
    assert choices.logits.shape == (1, 2)
    torch.testing.assert_close(choices.loss, class_loss(choices.logits, torch.tensor([1])))


def test_a_config_alone_makes_a_model_with_fresh_values():
    config = automodels.AutoConfig.for_model("blocks").copy_with(start_n_top=2)

    model = automodels.AutoModelForBeamQuestionAnswering.from_config(config, framework="torch")

    assert type(model).__name__ == "BlocksForBeamQuestionAnswering"
    assert model.qa_outputs.start_n_top == 2


def test_the_class_of_a_task_finds_the_backbone_of_a_checkpoint_by_itself(backbone):
    model = BackboneForBeamQuestionAnswering.from_pretrained(backbone)

    assert type(model).__name__ == "BlocksForBeamQuestionAnswering"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_can_be_copied_and_pickled(again, backbone):
    model = loaded("token-classification", backbone)

    other = again(model)

    assert type(other) is type(model)
    assert torch.equal(other(IDS).logits, model(IDS).logits)
    assert other.backbone is not model.backbone


@pytest.mark.parametrize(
    ("name", "changes", "prefix", "width"),
    [
        ("bert", {"intermediate_size": 8}, "bert", 12),
        ("opt", {"ffn_dim": 8, "word_embed_proj_dim": 6, "do_layer_norm_before": False}, "model", 6),
        ("gpt_neo", {}, "transformer", 12),
    ],
)
def test_our_own_backbones_answer_by_beam_too(name, changes, prefix, width, tmp_path):
    sizes = TINY
    if name == "gpt_neo":
        sizes = {"hidden_size": 12, "num_layers": 2, "num_heads": 3, "attention_types": [(["global", "local"], 1)]}
    config = automodels.AutoConfig.for_model(name, **{**sizes, "vocab_size": 50, **changes})
    automodels.AutoModel.from_config(config, framework="torch").save_pretrained(tmp_path / "backbone")

    model = automodels.AutoModelForBeamQuestionAnswering.from_pretrained(tmp_path / "backbone", framework="torch")
    output = model(IDS, MASK, p_mask=1 - MASK, output_hidden_states=True)

    assert model.base_model_prefix == prefix
    assert model.qa_outputs.start_logits.dense.in_features == width
    assert output.end_top_index.shape == (2, 25)
    assert len(output.hidden_states) == 3
    assert all(name.startswith("qa_outputs.") for name in model.load_report.missing)
    model.save_pretrained(tmp_path / "saved")
    strict = {"strict": True, "framework": "torch"}
    again = automodels.AutoModelForBeamQuestionAnswering.from_pretrained(tmp_path / "saved", **strict)
    torch.testing.assert_close(again(IDS, MASK).cls_logits, model(IDS, MASK).cls_logits)


def test_a_backbones_own_states_are_what_the_head_sees():
    config = BertConfig(**TINY, intermediate_size=8)
    model = BackboneForTokenClassification.on(BertModel)(config).eval()

    with torch.no_grad():
        output = model(IDS, MASK, token_type_ids=(IDS > 9).long(), output_attentions=True)
        states = model.bert(IDS, MASK, token_type_ids=(IDS > 9).long()).last_hidden_state

    torch.testing.assert_close(output.logits, model.classifier(states))
    assert len(output.attentions) == 2
    assert model.bert.pooler is None


def test_what_belongs_to_the_backbone_works_on_a_model_with_any_head():
    model = BackboneForBeamQuestionAnswering.on(BertModel)(BertConfig(**TINY, intermediate_size=8))

    model.resize_token_embeddings(61)
    model.prune_heads({0: [1]})
    model.gradient_checkpointing_enable()

    assert model.get_input_embeddings().num_embeddings == model.config.vocab_size == 61
    assert model.bert.is_gradient_checkpointing
    assert model(IDS).cls_logits.shape == (2,)


def test_fresh_values_of_a_head_are_drawn_by_the_familys_rule():
    config = OPTConfig(**TINY, ffn_dim=8, init_std=3.0)

    model = BackboneForSequenceClassification.on(OPTModel)(config)

    assert model.logits_proj.weight.std() > 1
    assert not model.logits_proj.bias.any()


def test_an_input_that_nobody_takes_is_refused_with_the_nearest_name(backbone):
    model = loaded("beam-question-answering", backbone)

    with pytest.raises(UnknownArgumentError, match="'attention_maks'; did you mean 'attention_mask'"):
        model(IDS, attention_maks=MASK)
    with pytest.raises(UnknownArgumentError, match="'is_imposible'; did you mean 'is_impossible'"):
        model(IDS, is_imposible=IDS[:, 0])


def test_a_setting_that_the_head_does_not_have_is_refused(backbone):
    with pytest.raises(UnknownArgumentError, match="'start_top_n'"):
        loaded("beam-question-answering", backbone, start_top_n=2)
    with pytest.raises(UnknownArgumentError, match="'start_n_top'"):
        loaded("token-classification", backbone, start_n_top=2)


@pytest.mark.parametrize(("setting", "value"), [("start_n_top", 0), ("end_n_top", -2), ("start_n_top", "many")])
def test_a_beam_that_is_none_is_refused_at_loading(setting, value, backbone):
    with pytest.raises(InputError, match=f"{setting} is {value!r}"):
        loaded("beam-question-answering", backbone, **{setting: value})


def test_an_unknown_problem_is_refused_at_loading(backbone):
    with pytest.raises(UnsupportedConfigError, match="problem_type is 'regresion'") as refused:
        loaded("sequence-classification", backbone, problem_type="regresion")

    assert "Did you mean 'regression'?" in refused.value.hints


def test_a_task_on_no_backbone_and_a_backbone_that_is_none_are_refused():
    with pytest.raises(InputError, match="on no backbone"):
        BackboneForQuestionAnswering(BertConfig(**TINY))
    with pytest.raises(PluginError, match="no TorchPreTrainedModel"):
        BackboneForQuestionAnswering.on(torch.nn.Linear)
    with pytest.raises(InputError, match="on GPTNeoModel already"):
        BackboneForQuestionAnswering.on(GPTNeoModel).on(BertModel)


def test_a_backbone_without_a_hidden_size_is_refused_by_name(plugin, tmp_path):
    widthless = CONFIG.replace("hidden_size: int = 10", "width: int = 10")
    modeling = MODELING.replace("config.hidden_size", "config.width")
    plugin.write(plugin.path / "blocks", {"config.py": widthless, "modeling.py": modeling})
    automodels.AutoModel.from_config(automodels.AutoConfig.for_model("blocks")).save_pretrained(tmp_path / "backbone")

    with pytest.raises(PluginError, match="BlocksModel does not say how wide its states are"):
        loaded("question-answering", tmp_path / "backbone")


def test_a_manifest_with_a_head_and_nowhere_a_backbone_is_refused(plugin, backbone):
    package = plugin.path / "blocks" / "automodels.toml"
    lines = [line for line in package.read_text().splitlines() if not line.startswith("base =")]
    package.write_text("\n".join(lines))
    catalog._scans.clear()

    with pytest.raises(UnknownTaskError, match="base for 'blocks'"):
        loaded("question-answering", backbone)
