"""BERT's heads that choose: a class for a sequence or a token, a continuation, or the ends of an answer.

Shapes: B batch, T tokens, D hidden size, C classes or choices, N heads, L layers.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from automodels.errors import UnsupportedConfigError
from automodels.families.bert import BertConfig
from torch_heads.bert import BertModel, BertPreTrainedModel
from torch_heads.choices import per_choice
from torch_heads.losses import WithProblemType, class_loss, sequence_loss, span_loss
from torch_runtime.linear import Linear
from torch_runtime.outputs import (
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)


class BertOnlyNSPHead(nn.Module):
    """Predicts whether the second segment follows the first."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.seq_relationship = Linear(config.hidden_size, 2)


class BertForNextSentencePrediction(BertPreTrainedModel):
    """Whether the second segment follows the first; returns NextSentencePredictorOutput.

    >>> import torch
    >>> from torch_heads import BertConfig, BertForNextSentencePrediction
    >>> tiny = BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> ids, segments = torch.tensor([[101, 7592, 102, 2088, 102]]), torch.tensor([[0, 0, 0, 1, 1]])
    >>> BertForNextSentencePrediction(tiny)(ids, token_type_ids=segments).logits.shape  # [B, 2]
    torch.Size([1, 2])
    """

    def __init__(self, config: BertConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.bert = BertModel(self.config, backend=self.backend_report)
        self.cls = BertOnlyNSPHead(self.config)
        self.post_init()

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As the backbone, with logits [B, 2], and with `labels` [B] the loss.

        A label is 0 where the second segment follows the first, and 1 where it does not.
        """
        output = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=True,
        )  # fmt: skip
        logits = self.cls.seq_relationship(output.pooler_output)
        result = NextSentencePredictorOutput(
            loss=None if labels is None else class_loss(logits, labels.reshape(-1)),
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)


class BertForSequenceClassification(WithProblemType, BertPreTrainedModel):
    """A class, several labels, or a number for each sequence; returns SequenceClassifierOutput.

    >>> import torch
    >>> from torch_heads import BertConfig, BertForSequenceClassification
    >>> sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> model = BertForSequenceClassification(BertConfig(num_labels=3, **sizes))
    >>> output = model(torch.tensor([[101, 7592, 102]]), labels=torch.tensor([2]))
    >>> output.logits.shape, output.loss.shape  # [B, C], []
    (torch.Size([1, 3]), torch.Size([]))
    """

    def __init__(self, config: BertConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.bert = BertModel(self.config, backend=self.backend_report)
        self.dropout = nn.Dropout(self.config.head_dropout)
        self.classifier = Linear(self.config.hidden_size, self.config.num_labels)
        self.post_init()

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As the backbone, with logits [B, C], and with `labels` the loss: see `torch_heads.losses.sequence_loss`."""
        output = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=True,
        )  # fmt: skip
        logits = self.classifier(self.dropout(output.pooler_output))
        result = SequenceClassifierOutput(
            loss=None if labels is None else sequence_loss(logits, labels, self.config.problem_type),
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)


class BertForMultipleChoice(BertPreTrainedModel):
    """The best of several continuations; inputs are [B, C, T]; returns MultipleChoiceModelOutput.

    >>> import torch
    >>> from torch_heads import BertConfig, BertForMultipleChoice
    >>> tiny = BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> choices = torch.tensor([[[101, 7592, 102, 2088, 102], [101, 7592, 102, 3899, 102]]])
    >>> BertForMultipleChoice(tiny)(choices).logits.shape  # [B, C]
    torch.Size([1, 2])
    """

    def __init__(self, config: BertConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.bert = BertModel(self.config, backend=self.backend_report)
        self.dropout = nn.Dropout(self.config.head_dropout)
        self.classifier = Linear(self.config.hidden_size, 1)
        self.post_init()

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As the backbone for [B · C, T], with logits [B, C], and with `labels` [B] the loss.

        All inputs have an axis of choices: [B, C, T], and `inputs_embeds` [B, C, T, D]. A label is the place of the
        right choice.
        """
        output = self.bert(
            per_choice("input_ids", input_ids), per_choice("attention_mask", attention_mask),
            per_choice("token_type_ids", token_type_ids), per_choice("position_ids", position_ids), head_mask,
            per_choice("inputs_embeds", inputs_embeds),
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=True,
        )  # fmt: skip
        choices = next(one.shape[1] for one in (input_ids, inputs_embeds) if one is not None)
        logits = self.classifier(self.dropout(output.pooler_output)).view(-1, choices)
        result = MultipleChoiceModelOutput(
            loss=None if labels is None else class_loss(logits, labels),
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)


class BertForTokenClassification(BertPreTrainedModel):
    """A class for each token; returns TokenClassifierOutput.

    >>> import torch
    >>> from torch_heads import BertConfig, BertForTokenClassification
    >>> sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> model = BertForTokenClassification(BertConfig(num_labels=5, **sizes))
    >>> model(torch.tensor([[101, 7592, 102]])).logits.shape  # [B, T, C]
    torch.Size([1, 3, 5])
    """

    def __init__(self, config: BertConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.bert = BertModel(self.config, add_pooling_layer=False, backend=self.backend_report)
        self.dropout = nn.Dropout(self.config.head_dropout)
        self.classifier = Linear(self.config.hidden_size, self.config.num_labels)
        self.post_init()

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As the backbone, with logits [B, T, C], and with `labels` [B, T] the loss; -100 counts for nothing."""
        output = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=True,
        )  # fmt: skip
        logits = self.classifier(self.dropout(output.last_hidden_state))
        result = TokenClassifierOutput(
            loss=None if labels is None else class_loss(logits, labels),
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)


class BertForQuestionAnswering(BertPreTrainedModel):
    """First and last token of an answer in a text; returns QuestionAnsweringModelOutput.

    >>> import torch
    >>> from torch_heads import BertConfig, BertForQuestionAnswering
    >>> tiny = BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> output = BertForQuestionAnswering(tiny)(torch.tensor([[101, 2040, 102, 7592, 102]]))
    >>> output.start_logits.shape, output.end_logits.shape  # [B, T] each
    (torch.Size([1, 5]), torch.Size([1, 5]))
    """

    def __init__(self, config: BertConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.bert = BertModel(self.config, add_pooling_layer=False, backend=self.backend_report)
        self.qa_outputs = Linear(self.config.hidden_size, 2)
        self.post_init()

    @classmethod
    def check_config(cls, config: object) -> None:
        """As its base's; also raises UnsupportedConfigError unless the config has two labels, for start and end."""
        super().check_config(config)
        if isinstance(config, BertConfig) and config.num_labels != 2:
            raise UnsupportedConfigError(
                f"{cls.__name__} scores the start and the end of an answer: num_labels is 2, not {config.num_labels}."
            )

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As the backbone, with scores [B, T] of each token as the first and as the last one of the answer.

        With `start_positions` and `end_positions` [B], the places of these tokens, also the loss; an answer beyond the
        tokens counts for nothing.
        """
        output = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=True,
        )  # fmt: skip
        first, last = self.qa_outputs(output.last_hidden_state).unbind(-1)
        result = QuestionAnsweringModelOutput(
            loss=span_loss(first, last, start_positions, end_positions),
            start_logits=first,
            end_logits=last,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)
