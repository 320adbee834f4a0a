"""BERT's heads over its vocabulary: masked tokens, the next token, and both heads of its pre-training.

Shapes: B batch, T tokens, S key tokens, E an encoder's tokens, W their width, D hidden size, N heads, L layers,
V vocabulary.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from automodels.errors import InputError
from automodels.families.bert import UNTIED, BertConfig
from automodels.runtime.outputs import ModelOutput
from torch_heads.bert import BertModel, BertPreTrainedModel
from torch_heads.losses import class_loss, next_token_loss
from torch_runtime.activations import ACTIVATIONS
from torch_runtime.cache import KVCache
from torch_runtime.decoding import kept_states
from torch_runtime.linear import Linear
from torch_runtime.outputs import CausalLMOutputWithCrossAttentions, MaskedLMOutput, Tensors

logger = logging.getLogger("automodels")


@dataclasses.dataclass(frozen=True)
class BertForPreTrainingOutput(ModelOutput):
    """What a BERT with both heads of its pre-training returns."""

    loss: Tensor | None = None
    """[] cross entropy of the masked tokens, and of the order of the segments, summed."""

    prediction_logits: Tensor | None = None
    """[B, T, V]"""

    seq_relationship_logits: Tensor | None = None
    """[B, 2] whether the second segment follows the first: first it does, then it does not."""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


class BertPredictionHeadTransform(nn.Module):
    """A dense layer, activation and normalisation, before tokens are predicted."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        normalized: Tensor = self.LayerNorm(self.activation(self.dense(x)))
        return normalized


class BertLMPredictionHead(nn.Module):
    """Scores of every token of the vocabulary; a tied one's matrix is that of the word embeddings."""

    def __init__(self, config: BertConfig, words: nn.Embedding) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        if config.tie_word_embeddings:
            self.bias = nn.Parameter(torch.zeros(config.vocab_size))
            self.decoder = Linear(config.hidden_size, config.vocab_size, device="meta")  # takes no memory
            self.decoder.weight, self.decoder.bias = words.weight, self.bias
        else:
            self.decoder = Linear(config.hidden_size, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.decoder(self.transform(x))
        return scores


class BertOnlyMLMHead(nn.Module):
    """Predicts tokens."""

    def __init__(self, config: BertConfig, words: nn.Embedding) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config, words)


class BertPreTrainingHeads(BertOnlyMLMHead):
    """Predicts tokens, and whether the second segment follows the first."""

    def __init__(self, config: BertConfig, words: nn.Embedding) -> None:
        super().__init__(config, words)
        self.seq_relationship = Linear(config.hidden_size, 2)


class BertPredictingTokens(BertPreTrainedModel):
    """What the models over the vocabulary share: the head below `cls`, and whether its matrix is tied."""

    head_class: ClassVar[type[BertOnlyMLMHead]] = BertOnlyMLMHead
    cls: BertOnlyMLMHead

    def __init__(self, config: BertConfig, *, add_pooling_layer: bool = False, **making: Any) -> None:
        super().__init__(config, **making)
        self.bert = BertModel(self.config, add_pooling_layer=add_pooling_layer, backend=self.backend_report)
        self.cls = self.head_class(self.config, self.bert.embeddings.word_embeddings)
        if not self.config.tie_word_embeddings:
            self.spelling = {**self.spelling, "alternates": UNTIED}  # type: ignore[misc]  # of this model
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # A tied head's values are the table's, whose padding row is 0.
        if module is not self.cls.predictions.decoder or not self.config.tie_word_embeddings:
            super()._init_weights(module)


class BertForPreTraining(BertPredictingTokens):
    """Masked tokens and the order of segments, as BERT was trained; returns BertForPreTrainingOutput.

    >>> import torch
    >>> from torch_heads import BertConfig, BertForPreTraining
    >>> tiny = BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> output = BertForPreTraining(tiny)(torch.tensor([[101, 103, 102, 7592, 102]]))
    >>> output.prediction_logits.shape, output.seq_relationship_logits.shape  # [B, T, V] and [B, 2]
    (torch.Size([1, 5, 30522]), torch.Size([1, 2]))
    """

    head_class: ClassVar[type[BertOnlyMLMHead]] = BertPreTrainingHeads
    cls: BertPreTrainingHeads

    def __init__(self, config: BertConfig, **making: Any) -> None:
        super().__init__(config, add_pooling_layer=True, **making)

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As the backbone, with both heads' logits.

        The loss is the sum of what labels are given for: `labels` [B, T] are tokens, -100 where none is to be
        predicted; `next_sentence_label` [B] is 0 where the second segment follows the first, and 1 where it does not.
        """
        output = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=True,
        )  # fmt: skip
        scores = self.cls.predictions(output.last_hidden_state)
        follows = self.cls.seq_relationship(output.pooler_output)
        losses = [] if labels is None else [class_loss(scores, labels)]
        if next_sentence_label is not None:
            flat = next_sentence_label.reshape(-1)
            losses.append(class_loss(follows, flat, name="next_sentence_label"))
        result = BertForPreTrainingOutput(
            loss=sum(losses[1:], losses[0]) if losses else None,
            prediction_logits=scores,
            seq_relationship_logits=follows,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)


class BertForMaskedLM(BertPredictingTokens):
    """Tokens in the place of masks; returns MaskedLMOutput.

    >>> import torch
    >>> from torch_heads import BertConfig, BertForMaskedLM
    >>> tiny = BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> ids, labels = torch.tensor([[101, 103, 102]]), torch.tensor([[-100, 7592, -100]])
    >>> output = BertForMaskedLM(tiny)(ids, labels=labels)
    >>> output.logits.shape, output.loss.shape  # [B, T, V], []
    (torch.Size([1, 3, 30522]), torch.Size([]))
    """

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As the backbone, with logits [B, T, V], and with `labels` [B, T] the loss.

        Labels are tokens, -100 where none is to be predicted.
        """
        output = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds, encoder_hidden_states,
            encoder_attention_mask, use_cache=False, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=True,
        )  # fmt: skip
        logits = self.cls.predictions(output.last_hidden_state)
        result = MaskedLMOutput(
            loss=None if labels is None else class_loss(logits, labels),
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)


class BertLMHeadModel(BertPredictingTokens):
    """The next token; returns CausalLMOutputWithCrossAttentions. The config should have `is_decoder=True`.

    >>> import torch
    >>> from torch_heads import BertConfig, BertLMHeadModel
    >>> sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> model = BertLMHeadModel(BertConfig(is_decoder=True, **sizes)).eval()
    >>> output = model(torch.tensor([[101, 7592]]))
    >>> token = output.logits[:, -1:].argmax(-1)  # of [B, T, V]
    >>> model(token, past_key_values=output.past_key_values).logits.shape  # nothing of the prompt computed again
    torch.Size([1, 1, 30522])
    """

    generates = True

    def __init__(self, config: BertConfig, **making: Any) -> None:
        super().__init__(config, **making)
        if not self.config.is_decoder:
            logger.warning("BertLMHeadModel sees later tokens too: the config has is_decoder=False.")

    def _check_generates(self) -> None:
        super()._check_generates()
        if not self.config.is_decoder:
            raise InputError("This BERT sees later tokens, so it cannot generate: the config has is_decoder=False.")
        if self.config.add_cross_attention:
            raise InputError("This BERT attends to an encoder, which generate has none of: add_cross_attention=True.")

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        logits_to_keep: int | Tensor = 0,
    ) -> Any:
        """As the backbone, with logits [B, T, V], and with `labels` [B, T] the loss; then no cache is made.

        The labels are the input ids, with -100 for what should not count. `logits_to_keep` asks for the logits of that
        many last tokens, or of the tokens at these places [K], alone; 0 is all.
        """
        output = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds, encoder_hidden_states,
            encoder_attention_mask, past_key_values, use_cache if labels is None else False, output_attentions,
            output_hidden_states, True,
        )  # fmt: skip
        logits = self.cls.predictions(kept_states(output.last_hidden_state, logits_to_keep))
        result = CausalLMOutputWithCrossAttentions(
            loss=None if labels is None else next_token_loss(logits, labels),
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
            cross_attentions=output.cross_attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)
