"""What torch models return. Names and order of the fields are those of transformers' PyTorch outputs.

Shapes: B batch, T query tokens, S key tokens, D hidden size, N heads, L layers, V vocabulary, C classes or choices.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from automodels.runtime.outputs import ModelOutput
from torch_runtime.cache import KVCache

Tensors = tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True)
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """What an encoder, or a decoder with cross attention, returns."""

    last_hidden_state: Tensor
    """[B, T, D]"""

    pooler_output: Tensor | None = None
    """[B, D]: the first token's hidden state, through a dense layer and tanh."""

    hidden_states: Tensors | None = None
    """Embeddings and the output of each layer: L + 1 tensors [B, T, D], when `output_hidden_states` asks for them."""

    past_key_values: KVCache | None = None
    attentions: Tensors | None = None
    """Weights of each layer, times the head mask: L tensors [B, N, T, S], when `output_attentions` asks for them."""

    cross_attentions: Tensors | None = None
    """The same for attention to an encoder's tokens."""


@dataclasses.dataclass(frozen=True)
class BaseModelOutputWithPast(ModelOutput):
    """What the backbone of a decoder returns."""

    last_hidden_state: Tensor
    past_key_values: KVCache | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class CausalLMOutputWithPast(ModelOutput):
    """What a decoder that predicts the next token returns."""

    loss: Tensor | None = None
    """[] mean cross entropy of the labels, each one predicted from the tokens before it."""

    logits: Tensor | None = None
    """[B, T, V], or of fewer tokens where `logits_to_keep` asks for them."""

    past_key_values: KVCache | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """What a model that predicts the next token returns."""

    loss: Tensor | None = None
    """[] mean cross entropy of the labels, each one predicted from the tokens before it."""

    logits: Tensor | None = None
    """[B, T, V]"""

    past_key_values: KVCache | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    cross_attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class MaskedLMOutput(ModelOutput):
    """What a model that predicts masked tokens returns."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    """[B, T, V]"""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class NextSentencePredictorOutput(ModelOutput):
    """What a model that judges whether one segment follows another returns."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    """[B, 2]: first it follows, then it does not."""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class SequenceClassifierOutput(ModelOutput):
    """What a classifier of sequences returns."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    """[B, C]: a score for each of the config's `num_labels` classes; for regression the number itself."""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class SequenceClassifierOutputWithPast(ModelOutput):
    """What a decoder that classifies sequences returns."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    """[B, C] of the last token that is no padding."""

    past_key_values: KVCache | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class MultipleChoiceModelOutput(ModelOutput):
    """What a model that chooses among C continuations returns; hidden states and attentions have B · C rows."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    """[B, C]"""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class TokenClassifierOutput(ModelOutput):
    """What a classifier of tokens returns."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    """[B, T, C]"""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclasses.dataclass(frozen=True)
class QuestionAnsweringModelOutput(ModelOutput):
    """What a model that marks an answer in a text returns."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    """[B, T] scores of each token as the answer's first."""

    end_logits: Tensor | None = None
    """[B, T] scores of each token as the answer's last."""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
