"""Tasks on any backbone: name one of these classes in a manifest (see `torch_heads.with_head`).

All of them take the backbone's inputs by name, and labels for a loss.

Shapes: B batch, T tokens, D hidden size, C classes or choices.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import Tensor, nn

from torch_heads.choices import PER_CHOICE, per_choice
from torch_heads.last_token import last_tokens
from torch_heads.losses import WithProblemType, class_loss, sequence_loss, span_loss
from torch_heads.squad import SQuADHead, SquadHeadOutput
from torch_heads.summary import SequenceSummary
from torch_heads.with_head import BackboneWithHead
from torch_runtime.linear import Linear
from torch_runtime.outputs import (
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    Tensors,
    TokenClassifierOutput,
)

SUMMARY_SETTINGS = (
    "summary_type", "summary_use_proj", "summary_proj_to_labels", "summary_activation", "summary_first_dropout",
    "summary_last_dropout",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class BeamQuestionAnsweringOutput(SquadHeadOutput):
    """What a model with a SQuADHead returns."""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


class BackboneForSequenceClassification(WithProblemType, BackboneWithHead):
    """A class, several labels, or a number for each sequence, from a SequenceSummary of its states.

    Without a `summary_type` in the config, that is the state of the last token that is no padding: it has seen all
    others, in encoders and decoders.
    """

    head_options: ClassVar[tuple[str, ...]] = ("problem_type", *SUMMARY_SETTINGS)

    def add_head(self, width: int) -> None:
        self.sequence_summary = SequenceSummary(self.config, width=width, summary_type="cls_index")
        # A summary that is projected to the classes is their score already.
        is_done = self.sequence_summary.is_projected_to_labels
        self.logits_proj = None if is_done else Linear(self.sequence_summary.width, self.config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        cls_index: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Any:
        """Logits [B, C], and with `labels` the loss: see `torch_heads.losses.sequence_loss`.

        `cls_index` [B] is the place of the token that a summary by index takes, by default the last one that the mask
        [B, T] keeps.
        """
        states, others = self.states_of(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        logits = self.sequence_summary(states, last_tokens(attention_mask) if cls_index is None else cls_index)
        if self.logits_proj is not None:
            logits = self.logits_proj(logits)
        loss = None if labels is None else sequence_loss(logits, labels, self.config.problem_type)
        output = SequenceClassifierOutput(loss=loss, logits=logits, **others)
        return output.as_asked(return_dict, default=self.config.return_dict)


class BackboneForMultipleChoice(BackboneWithHead):
    """The best of C continuations, each scored from a SequenceSummary of its states; inputs are [B, C, T]."""

    head_options: ClassVar[tuple[str, ...]] = SUMMARY_SETTINGS

    def add_head(self, width: int) -> None:
        self.sequence_summary = SequenceSummary(self.config, width=width, summary_type="cls_index")
        self.logits_proj = Linear(self.sequence_summary.width, 1)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        cls_index: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Any:
        """Logits [B, C], and with `labels` [B], the place of the right choice, the loss.

        `cls_index` [B, C] is the place of the token that a summary by index takes, by default the last one that the
        mask [B, C, T] keeps. Raises InputError for inputs of another rank.
        """
        given = {"input_ids": input_ids, "attention_mask": attention_mask, **inputs}
        flat = {key: per_choice(key, value) if key in PER_CHOICE else value for key, value in given.items()}
        states, others = self.states_of(**flat)
        index = last_tokens(flat["attention_mask"]) if cls_index is None else cls_index.flatten()
        scores = self.logits_proj(self.sequence_summary(states, index))
        choices = next(value.shape[1] for key, value in given.items() if key in PER_CHOICE and value is not None)
        logits = scores.view(-1, choices)
        loss = None if labels is None else class_loss(logits, labels)
        output = MultipleChoiceModelOutput(loss=loss, logits=logits, **others)
        return output.as_asked(return_dict, default=self.config.return_dict)


class BackboneForTokenClassification(BackboneWithHead):
    """A class for each token."""

    head_options: ClassVar[tuple[str, ...]] = ("classifier_dropout",)

    def add_head(self, width: int) -> None:
        self.dropout = nn.Dropout(head_dropout(self.config))
        self.classifier = Linear(width, self.config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Any:
        """Logits [B, T, C], and with `labels` [B, T] the loss; -100 counts for nothing."""
        states, others = self.states_of(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        logits = self.classifier(self.dropout(states))
        loss = None if labels is None else class_loss(logits, labels)
        output = TokenClassifierOutput(loss=loss, logits=logits, **others)
        return output.as_asked(return_dict, default=self.config.return_dict)


class BackboneForQuestionAnswering(BackboneWithHead):
    """First and last token of an answer in a text, each scored by itself."""

    def add_head(self, width: int) -> None:
        self.qa_outputs = Linear(width, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Any:
        """Scores [B, T] of each token as the answer's first and as its last, and with both positions [B] the loss.

        An answer beyond the tokens counts for nothing.
        """
        states, others = self.states_of(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        first, last = self.qa_outputs(states).unbind(-1)
        loss = span_loss(first, last, start_positions, end_positions)
        output = QuestionAnsweringModelOutput(loss=loss, start_logits=first, end_logits=last, **others)
        return output.as_asked(return_dict, default=self.config.return_dict)


class BackboneForBeamQuestionAnswering(BackboneWithHead):
    """Answers by beam search, and whether there is one; returns BeamQuestionAnsweringOutput.

    >>> import torch
    >>> from torch_heads import BackboneForBeamQuestionAnswering, BertConfig, BertModel
    >>> sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> model = BackboneForBeamQuestionAnswering.on(BertModel)(BertConfig(start_n_top=3, end_n_top=2, **sizes))
    >>> output = model(torch.tensor([[101, 2040, 102, 7592, 102]]), cls_index=torch.tensor([0]))
    >>> output.start_top_index.shape, output.end_top_index.shape  # [B, start_n_top], [B, end_n_top · start_n_top]
    (torch.Size([1, 3]), torch.Size([1, 6]))
    """

    head_options: ClassVar[tuple[str, ...]] = ("start_n_top", "end_n_top")

    def add_head(self, width: int) -> None:
        self.qa_outputs = SQuADHead(self.config, width=width)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        cls_index: Tensor | None = None,
        is_impossible: Tensor | None = None,
        p_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Any:
        """The loss with labels, a beam of answers without them: see `SQuADHead`."""
        states, others = self.states_of(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        found: Any = self.qa_outputs(
            states, start_positions, end_positions, cls_index, is_impossible, p_mask, return_dict=True
        )
        output = BeamQuestionAnsweringOutput(**dict(found.items()), **others)
        return output.as_asked(return_dict, default=self.config.return_dict)


def head_dropout(config: Any) -> float:
    """Dropout before a head: what families call it, or none."""
    for name in ("classifier_dropout", "head_dropout", "hidden_dropout_prob", "dropout"):
        if (rate := getattr(config, name, None)) is not None:
            return float(rate)
    return 0.0
