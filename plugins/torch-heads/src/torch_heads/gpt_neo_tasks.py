"""GPT-Neo for sequences, for tokens, and for answers in a text.

Shapes: B batch, T tokens, D hidden size, C classes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from automodels.families.gpt_neo import GPTNeoConfig
from torch_heads.gpt_neo import GPTNeoModel, GPTNeoPreTrainedModel
from torch_heads.last_token import at_last_token
from torch_heads.losses import WithProblemType, sequence_loss
from torch_heads.tasks import BackboneForQuestionAnswering, BackboneForTokenClassification
from torch_runtime.cache import KVCache
from torch_runtime.linear import Linear
from torch_runtime.outputs import SequenceClassifierOutputWithPast

GPTNeoForQuestionAnswering = BackboneForQuestionAnswering.on(GPTNeoModel)
"""First and last token of an answer in a text; returns QuestionAnsweringModelOutput."""

GPTNeoForTokenClassification = BackboneForTokenClassification.on(GPTNeoModel)
"""A class for each token; returns TokenClassifierOutput."""


class GPTNeoForSequenceClassification(WithProblemType, GPTNeoPreTrainedModel):
    """A class, several labels, or a number for each sequence; returns SequenceClassifierOutputWithPast.

    >>> import torch
    >>> from torch_heads import GPTNeoConfig, GPTNeoForSequenceClassification
    >>> sizes = dict(hidden_size=24, num_layers=2, num_heads=4, vocab_size=99, max_position_embeddings=32)
    >>> tiny = GPTNeoConfig(**sizes, attention_types=[(["global", "local"], 1)], num_labels=3)
    >>> GPTNeoForSequenceClassification(tiny).eval()(torch.tensor([[50, 31, 17]])).logits.shape  # [B, C]
    torch.Size([1, 3])
    """

    def __init__(self, config: GPTNeoConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.transformer = GPTNeoModel(self.config, backend=self.backend_report)
        self.score = Linear(self.config.hidden_size, self.config.num_labels, bias=False)
        self.post_init()

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        past_key_values: KVCache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        head_mask: Tensor | None = None,
    ) -> Any:
        """As the backbone, with logits [B, C] of each last token that is no `pad_token_id`, and with `labels` the loss.

        See `torch_heads.losses.sequence_loss`. Where embeddings stand in for ids, the last token is the last one that
        the mask keeps. Raises InputError for several sequences of ids without a `pad_token_id` in the config.
        """
        output = self.transformer(
            input_ids, past_key_values, attention_mask, token_type_ids, position_ids, inputs_embeds, use_cache,
            output_attentions, output_hidden_states, True, head_mask=head_mask,
        )  # fmt: skip
        states = at_last_token(output.last_hidden_state, input_ids, attention_mask, self.config.pad_token_id)
        logits = self.score(states)
        result = SequenceClassifierOutputWithPast(
            loss=None if labels is None else sequence_loss(logits, labels, self.config.problem_type),
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)
