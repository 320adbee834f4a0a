"""Heads of BERT, and one module for each task: the backbone as `bert` with the head beside it.

Attribute names are the checkpoints'. Every module takes what `BertModule` takes and passes it on; dropout before a
head gets a key of its own.

Shapes: B batch, T tokens, D hidden size, V vocabulary, C classes or choices.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from automodels.families.bert import BertConfig
from automodels.runtime.outputs import ModelOutput
from flax_bert.backbone import BertModule, Build
from flax_runtime.activations import ACTIVATIONS
from flax_runtime.dropout import dropped, split_key
from flax_runtime.outputs import (
    Attentions,
    FlaxBaseModelOutputWithPoolingAndCrossAttentions,
    FlaxCausalLMOutputWithCrossAttentions,
    FlaxMaskedLMOutput,
    FlaxMultipleChoiceModelOutput,
    FlaxNextSentencePredictorOutput,
    FlaxQuestionAnsweringModelOutput,
    FlaxSequenceClassifierOutput,
    FlaxTokenClassifierOutput,
    HiddenStates,
)

Hidden = Float[Array, "B T D"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxBertForPreTrainingOutput(ModelOutput):
    """What a BERT with both heads of its pre-training returns."""

    prediction_logits: Float[Array, "B T V"]
    """Scores of every token of the vocabulary, at every place."""

    seq_relationship_logits: Float[Array, "B 2"]
    """Whether the second segment follows the first: first it does, then it does not."""

    hidden_states: HiddenStates = None
    attentions: Attentions = None


class Transform(nnx.Module):
    """A dense layer, activation and normalisation, before tokens are predicted."""

    def __init__(self, build: Build) -> None:
        self.dense = build.linear(build.config.hidden_size, build.config.hidden_size)
        self.LayerNorm = build.layer_norm()
        self.activation = ACTIVATIONS[build.config.hidden_act]

    def __call__(self, x: Hidden) -> Hidden:
        normalized: jax.Array = self.LayerNorm(self.activation(self.dense(x)))
        return normalized


class Predictions(nnx.Module):
    """Scores of every token of the vocabulary; a tied one has no matrix and uses the word embeddings'."""

    def __init__(self, build: Build) -> None:
        config = build.config
        self.transform = Transform(build)
        self.decoder = (
            None if config.tie_word_embeddings else build.linear(config.hidden_size, config.vocab_size, use_bias=False)
        )
        self.bias = nnx.Param(jnp.zeros(config.vocab_size, build.types["param_dtype"]))

    def __call__(self, x: Hidden, words: nnx.Embed) -> Float[Array, "B T V"]:
        x = self.transform(x)
        scores: jax.Array = words.attend(x) if self.decoder is None else self.decoder(x)
        return scores + self.bias[None, None].astype(scores.dtype)


class TokenHead(nnx.Module):
    """Predicts tokens."""

    def __init__(self, build: Build) -> None:
        self.predictions = Predictions(build)


class SegmentHead(nnx.Module):
    """Predicts whether the second segment follows the first."""

    def __init__(self, build: Build) -> None:
        self.seq_relationship = build.linear(build.config.hidden_size, 2)


class PreTrainingHeads(nnx.Module):
    """Both."""

    def __init__(self, build: Build) -> None:
        self.predictions = Predictions(build)
        self.seq_relationship = build.linear(build.config.hidden_size, 2)


class ForPreTraining(nnx.Module):
    """Tokens and segments."""

    def __init__(self, config: BertConfig, **making: Any) -> None:
        self.bert = BertModule(config, **making)
        self.cls = PreTrainingHeads(Build(config, **making))

    def __call__(self, *inputs: Any, **options: Any) -> FlaxBertForPreTrainingOutput:
        output = self.bert(*inputs, **options)
        return FlaxBertForPreTrainingOutput(
            self.cls.predictions(output.last_hidden_state, self.bert.embeddings.word_embeddings),
            self.cls.seq_relationship(_pooled(output)),
            **_inner(output),
        )


class ForMaskedLM(nnx.Module):
    """Tokens in the place of masks."""

    def __init__(self, config: BertConfig, **making: Any) -> None:
        self.bert = BertModule(config, add_pooling_layer=False, **making)
        self.cls = TokenHead(Build(config, **making))

    def __call__(self, *inputs: Any, **options: Any) -> FlaxMaskedLMOutput:
        output = self.bert(*inputs, **options)
        words = self.bert.embeddings.word_embeddings
        return FlaxMaskedLMOutput(self.cls.predictions(output.last_hidden_state, words), **_inner(output))


class ForCausalLM(nnx.Module):
    """The next token."""

    def __init__(self, config: BertConfig, **making: Any) -> None:
        self.bert = BertModule(config, add_pooling_layer=False, **making)
        self.cls = TokenHead(Build(config, **making))

    def __call__(self, *inputs: Any, **options: Any) -> FlaxCausalLMOutputWithCrossAttentions:
        output = self.bert(*inputs, **options)
        return FlaxCausalLMOutputWithCrossAttentions(
            self.cls.predictions(output.last_hidden_state, self.bert.embeddings.word_embeddings),
            past_key_values=output.past_key_values,
            cross_attentions=output.cross_attentions,
            **_inner(output),
        )


class ForNextSentencePrediction(nnx.Module):
    """Whether the second segment follows the first."""

    def __init__(self, config: BertConfig, **making: Any) -> None:
        self.bert = BertModule(config, **making)
        self.cls = SegmentHead(Build(config, **making))

    def __call__(self, *inputs: Any, **options: Any) -> FlaxNextSentencePredictorOutput:
        output = self.bert(*inputs, **options)
        return FlaxNextSentencePredictorOutput(self.cls.seq_relationship(_pooled(output)), **_inner(output))


class ForSequenceClassification(nnx.Module):
    """Classes of whole sequences."""

    def __init__(self, config: BertConfig, **making: Any) -> None:
        self.bert = BertModule(config, **making)
        self.dropout_rate = config.head_dropout
        self.classifier = Build(config, **making).linear(config.hidden_size, config.num_labels)

    def __call__(
        self, *inputs: Any, dropout_rng: jax.Array | None = None, **options: Any
    ) -> FlaxSequenceClassifierOutput:
        below, above = split_key(dropout_rng, 2)
        output = self.bert(*inputs, dropout_rng=below, **options)
        logits = self.classifier(dropped(_pooled(output), self.dropout_rate, above))
        return FlaxSequenceClassifierOutput(logits, **_inner(output))


class ForMultipleChoice(nnx.Module):
    """One score for each of C continuations: inputs are [B, C, T], and the backbone sees [B · C, T]."""

    def __init__(self, config: BertConfig, **making: Any) -> None:
        self.bert = BertModule(config, **making)
        self.dropout_rate = config.head_dropout
        self.classifier = Build(config, **making).linear(config.hidden_size, 1)

    def __call__(
        self,
        input_ids: Int[Array, "B C T"],
        attention_mask: Int[Array, "B C T"] | None = None,
        token_type_ids: Int[Array, "B C T"] | None = None,
        position_ids: Int[Array, "B C T"] | None = None,
        *others: Any,
        dropout_rng: jax.Array | None = None,
        **options: Any,
    ) -> FlaxMultipleChoiceModelOutput:
        below, above = split_key(dropout_rng, 2)
        given = (input_ids, attention_mask, token_type_ids, position_ids)
        rows: list[Any] = [None if array is None else array.reshape(-1, array.shape[-1]) for array in given]
        output = self.bert(*rows, *others, dropout_rng=below, **options)
        scores = self.classifier(dropped(_pooled(output), self.dropout_rate, above))
        return FlaxMultipleChoiceModelOutput(scores.reshape(input_ids.shape[:2]), **_inner(output))


class ForTokenClassification(nnx.Module):
    """Classes of tokens."""

    def __init__(self, config: BertConfig, **making: Any) -> None:
        self.bert = BertModule(config, add_pooling_layer=False, **making)
        self.dropout_rate = config.head_dropout
        self.classifier = Build(config, **making).linear(config.hidden_size, config.num_labels)

    def __call__(self, *inputs: Any, dropout_rng: jax.Array | None = None, **options: Any) -> FlaxTokenClassifierOutput:
        below, above = split_key(dropout_rng, 2)
        output = self.bert(*inputs, dropout_rng=below, **options)
        logits = self.classifier(dropped(output.last_hidden_state, self.dropout_rate, above))
        return FlaxTokenClassifierOutput(logits, **_inner(output))


class ForQuestionAnswering(nnx.Module):
    """First and last token of an answer."""

    def __init__(self, config: BertConfig, **making: Any) -> None:
        self.bert = BertModule(config, add_pooling_layer=False, **making)
        self.qa_outputs = Build(config, **making).linear(config.hidden_size, 2)

    def __call__(self, *inputs: Any, **options: Any) -> FlaxQuestionAnsweringModelOutput:
        output = self.bert(*inputs, **options)
        scores = self.qa_outputs(output.last_hidden_state)
        return FlaxQuestionAnsweringModelOutput(scores[..., 0], scores[..., 1], **_inner(output))


def _inner(output: FlaxBaseModelOutputWithPoolingAndCrossAttentions) -> dict[str, Any]:
    return {"hidden_states": output.hidden_states, "attentions": output.attentions}


def _pooled(output: FlaxBaseModelOutputWithPoolingAndCrossAttentions) -> jax.Array:
    assert output.pooler_output is not None  # the module was built with a pooler
    return output.pooler_output
