"""What models return: by attribute, by key, by position, and as a JAX tree.

Names and order of the fields are those of transformers' Flax outputs. No output has a loss: Flax models return logits,
and the training loop computes the loss from them.

Shapes: B batch, T query tokens, S key tokens, D hidden size, N heads, L layers, V vocabulary, C classes or choices.
"""

from __future__ import annotations

import dataclasses

import jax
from jaxtyping import Array, Float

from automodels.runtime.outputs import ModelOutput
from flax_runtime.cache import KVCache

HiddenStates = tuple[Float[Array, "B T D"], ...] | None
"""Embeddings and the output of each layer: L + 1 arrays, when `output_hidden_states` asks for them."""

Attentions = tuple[Float[Array, "B N T S"], ...] | None
"""Attention weights of each layer, times the head mask and before dropout: L arrays, when `output_attentions` asks."""

CrossAttentions = tuple[Float[Array, "B N T E"], ...] | None
"""The same for attention to an encoder's E tokens."""

DecoderStates = tuple[Float[Array, "B T _"], ...] | None
"""What enters each layer, and the last hidden state: L + 1 arrays; the last one may have a width of its own."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxBaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """What a backbone with a pooler returns."""

    last_hidden_state: Float[Array, "B T D"]
    pooler_output: Float[Array, "B D"] | None = None
    """The first token's hidden state, through a dense layer and tanh."""

    hidden_states: HiddenStates = None
    past_key_values: KVCache | None = None
    """The cache with this call's tokens, where one was given."""

    attentions: Attentions = None
    cross_attentions: CrossAttentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxBaseModelOutputWithPast(ModelOutput):
    """What the backbone of a decoder returns."""

    last_hidden_state: Float[Array, "B T D"]
    past_key_values: KVCache | None = None
    """The cache with this call's tokens, where one was given."""

    hidden_states: DecoderStates = None
    attentions: Attentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxCausalLMOutputWithPast(ModelOutput):
    """What a decoder that predicts the next token returns."""

    logits: Float[Array, "B T V"]
    past_key_values: KVCache | None = None
    """The cache with this call's tokens, where one was given."""

    hidden_states: DecoderStates = None
    attentions: Attentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxCausalLMOutputWithCrossAttentions(ModelOutput):
    """What a model that predicts the next token returns."""

    logits: Float[Array, "B T V"]
    past_key_values: KVCache | None = None
    """The cache with this call's tokens, where one was given."""

    hidden_states: HiddenStates = None
    attentions: Attentions = None
    cross_attentions: CrossAttentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxMaskedLMOutput(ModelOutput):
    """What a model that predicts masked tokens returns."""

    logits: Float[Array, "B T V"]
    hidden_states: HiddenStates = None
    attentions: Attentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxNextSentencePredictorOutput(ModelOutput):
    """What a model that judges whether one segment follows another returns."""

    logits: Float[Array, "B 2"]
    """First it follows, then it does not."""

    hidden_states: HiddenStates = None
    attentions: Attentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxSequenceClassifierOutput(ModelOutput):
    """What a classifier of sequences returns."""

    logits: Float[Array, "B C"]
    """One score for each of the config's `num_labels` classes; for regression the number itself."""

    hidden_states: HiddenStates = None
    attentions: Attentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxMultipleChoiceModelOutput(ModelOutput):
    """What a model that chooses among C continuations returns; hidden states and attentions have R = B · C rows."""

    logits: Float[Array, "B C"]
    hidden_states: tuple[Float[Array, "R T D"], ...] | None = None
    attentions: tuple[Float[Array, "R N T T"], ...] | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxTokenClassifierOutput(ModelOutput):
    """What a classifier of tokens returns."""

    logits: Float[Array, "B T C"]
    """One score for each of the config's `num_labels` classes."""

    hidden_states: HiddenStates = None
    attentions: Attentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxQuestionAnsweringModelOutput(ModelOutput):
    """What a model that marks an answer in a text returns."""

    start_logits: Float[Array, "B T"]
    """Scores of each token as the answer's first."""

    end_logits: Float[Array, "B T"]
    """Scores of each token as the answer's last."""

    hidden_states: HiddenStates = None
    attentions: Attentions = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxSentenceEmbeddingOutput(ModelOutput):
    """What a model for sentence embedding returns."""

    embeddings: Float[Array, "B P"]
    """Pooled vectors, in float32."""

    last_hidden_state: Float[Array, "B T D"]
    hidden_states: HiddenStates = None
    attentions: Attentions = None
