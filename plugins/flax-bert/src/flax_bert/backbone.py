"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805).

Differs from the original Transformer encoder in learned absolute positions, segment embeddings, gelu, and a pooler over
the first token; normalisation comes after each residual sum. As a decoder its attention is causal, may keep keys and
values in a cache, and may look at an encoder's states between attention and feed-forward.

Shapes: B batch, T tokens, S tokens of a source of keys, K keys (S, or the slots of a cache), E an encoder's tokens,
W their width, D hidden size, N heads, H head size, F feed-forward, L layers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from automodels.families.bert import BertConfig
from flax_runtime.activations import ACTIVATIONS
from flax_runtime.attention import AttentionFunction, attention_weights, weighted_values
from flax_runtime.cache import KVCache, LayerCache
from flax_runtime.dropout import dropped, split_key
from flax_runtime.keys import Keys
from flax_runtime.outputs import FlaxBaseModelOutputWithPoolingAndCrossAttentions
from flax_runtime.seen import Seen, decoder_seen, encoder_seen

Hidden = Float[Array, "B T D"]
HeadMask = Float[Array, " N"]


class Build:
    """What every layer is made with: the config, types, the attention function, and random keys for fresh weights."""

    def __init__(
        self, config: BertConfig, *, dtype: Any, param_dtype: Any, attend: AttentionFunction, rngs: Keys
    ) -> None:
        self.config = config
        self.attend = attend
        self.types: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.normal = rngs.initializer(nnx.initializers.normal(config.initializer_range))

    def linear(self, inputs: int, outputs: int, *, use_bias: bool = True) -> nnx.Linear:
        return nnx.Linear(inputs, outputs, use_bias=use_bias, kernel_init=self.normal, **self.types)

    def embed(self, rows: int) -> nnx.Embed:
        return nnx.Embed(rows, self.config.hidden_size, embedding_init=self.normal, **self.types)

    def layer_norm(self) -> nnx.LayerNorm:
        # The variance in one pass loses digits that the reference implementation keeps.
        epsilon = self.config.layer_norm_eps
        return nnx.LayerNorm(self.config.hidden_size, epsilon=epsilon, use_fast_variance=False, **self.types)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """What all layers share in one call."""

    seen: Seen
    encoder_hidden_states: Float[Array, "B E W"] | None
    encoder_seen: Seen
    output_attentions: bool


class Embeddings(nnx.Module):
    """Words, positions and segments, summed and normalised."""

    def __init__(self, build: Build) -> None:
        config = build.config
        self.word_embeddings = build.embed(config.vocab_size)
        self.position_embeddings = build.embed(config.max_position_embeddings)
        self.token_type_embeddings = build.embed(config.type_vocab_size)
        self.LayerNorm = build.layer_norm()
        self.dropout_rate = config.hidden_dropout_prob

    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        token_type_ids: Int[Array, "B T"] | None,
        position_ids: Int[Array, "#B T"] | None,
        dropout_rng: jax.Array | None,
    ) -> Hidden:
        # Without ids, positions and segments are constants: adding rows is cheaper than looking them up.
        positions = (
            _first_rows(self.position_embeddings, input_ids.shape[1])
            if position_ids is None
            else _rows(self.position_embeddings, position_ids)
        )
        segments = (
            _first_rows(self.token_type_embeddings, 1)
            if token_type_ids is None
            else _rows(self.token_type_embeddings, token_type_ids)
        )
        x = self.LayerNorm(_rows(self.word_embeddings, input_ids) + segments + positions)
        return dropped(x, self.dropout_rate, dropout_rng)


class SelfAttention(nnx.Module):
    """Queries of one sequence against keys and values of `source`: the same sequence, or an encoder's states."""

    def __init__(self, build: Build, width: int) -> None:
        config = build.config
        self.heads = config.num_attention_heads
        self.dropout_rate = config.attention_probs_dropout_prob
        self.attend = build.attend
        self.query = build.linear(config.hidden_size, config.hidden_size)
        self.key = build.linear(width, config.hidden_size)
        self.value = build.linear(width, config.hidden_size)

    def __call__(
        self,
        x: Hidden,
        source: Float[Array, "B S W"],
        seen: Seen,
        head_mask: HeadMask | None,
        *,
        past: LayerCache | None,
        dropout_rng: jax.Array | None,
        output_attentions: bool,
    ) -> tuple[Hidden, LayerCache | None, jax.Array | None]:
        q, k, v = self._split(self.query(x)), self._split(self.key(source)), self._split(self.value(source))
        if past is not None:
            past, k, v = past.grown(k, v)
        dropout: dict[str, Any] = {"dropout_rate": self.dropout_rate, "dropout_rng": dropout_rng}
        weights = attention_weights(q, k, **seen.arguments) if output_attentions else None
        attended = (
            self.attend(q, k, v, **seen.arguments, **dropout)
            if weights is None
            else weighted_values(weights, v, **dropout)
        )
        if head_mask is not None:
            # Scaling a head's result equals scaling its weights, and leaves the weights to the backend.
            attended = attended * head_mask.astype(attended.dtype)[None, None, :, None]
            weights = None if weights is None else weights * head_mask.astype(weights.dtype)[None, :, None, None]
        return attended.reshape(x.shape), past, weights

    def _split(self, x: Float[Array, "B S D"]) -> Float[Array, "B S N H"]:
        return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)


class Output(nnx.Module):
    """A projection, added to the residual stream and normalised."""

    def __init__(self, build: Build, inputs: int) -> None:
        self.dense = build.linear(inputs, build.config.hidden_size)
        self.LayerNorm = build.layer_norm()
        self.dropout_rate = build.config.hidden_dropout_prob

    def __call__(self, x: Float[Array, "B T F"], residual: Hidden, dropout_rng: jax.Array | None) -> Hidden:
        normalized: jax.Array = self.LayerNorm(dropped(self.dense(x), self.dropout_rate, dropout_rng) + residual)
        return normalized


class Attention(nnx.Module):
    """Attention and its output; `width` is that of the source's states."""

    def __init__(self, build: Build, width: int) -> None:
        self.self = SelfAttention(build, width)
        self.output = Output(build, build.config.hidden_size)

    def __call__(
        self,
        x: Hidden,
        source: Float[Array, "B S W"],
        seen: Seen,
        head_mask: HeadMask | None,
        *,
        past: LayerCache | None,
        dropout_rng: jax.Array | None,
        output_attentions: bool,
    ) -> tuple[Hidden, LayerCache | None, jax.Array | None]:
        weights_rng, output_rng = split_key(dropout_rng, 2)
        attended, past, weights = self.self(
            x, source, seen, head_mask, past=past, dropout_rng=weights_rng, output_attentions=output_attentions
        )
        return self.output(attended, x, output_rng), past, weights


class Intermediate(nnx.Module):
    """The wide half of the feed-forward layer."""

    def __init__(self, build: Build) -> None:
        self.dense = build.linear(build.config.hidden_size, build.config.intermediate_size)
        self.activation: Callable[[jax.Array], jax.Array] = ACTIVATIONS[build.config.hidden_act]

    def __call__(self, x: Hidden) -> Float[Array, "B T F"]:
        return self.activation(self.dense(x))


class Layer(nnx.Module):
    """Attention, attention to an encoder's states in some decoders, then feed-forward."""

    def __init__(self, build: Build) -> None:
        config = build.config
        self.attention = Attention(build, config.hidden_size)
        if config.add_cross_attention:
            self.crossattention = Attention(build, config.encoder_width)
        self.intermediate = Intermediate(build)
        self.output = Output(build, config.intermediate_size)

    def __call__(
        self,
        x: Hidden,
        head_mask: HeadMask | None,
        past: LayerCache | None,
        dropout_rng: jax.Array | None,
        *,
        call: Call,
    ) -> tuple[Hidden, LayerCache | None, jax.Array | None, jax.Array | None]:
        own_rng, cross_rng, output_rng = split_key(dropout_rng, 3)
        shown = call.output_attentions
        x, past, weights = self.attention(
            x, x, call.seen, head_mask, past=past, dropout_rng=own_rng, output_attentions=shown
        )
        cross_weights = None
        if (states := call.encoder_hidden_states) is not None:
            x, _, cross_weights = self.crossattention(
                x, states, call.encoder_seen, head_mask, past=None, dropout_rng=cross_rng, output_attentions=shown
            )
        return self.output(self.intermediate(x), x, output_rng), past, weights, cross_weights


class Encoder(nnx.Module):
    """The layers."""

    def __init__(self, build: Build) -> None:
        self.layer = nnx.List([Layer(build) for _ in range(build.config.num_hidden_layers)])

    def __call__(
        self,
        x: Hidden,
        head_masks: Float[Array, "L N"] | None,
        cache: KVCache | None,
        keys: Sequence[jax.Array | None],
        *,
        call: Call,
        gradient_checkpointing: bool,
    ) -> list[tuple[Hidden, LayerCache | None, jax.Array | None, jax.Array | None]]:
        """What each layer returns: its hidden states, its part of the cache, attention and cross-attention weights."""
        results = []
        for number, layer in enumerate(self.layer):
            step: Callable[..., Any] = functools.partial(layer.__call__, call=call)
            if gradient_checkpointing:
                step = jax.checkpoint(step)
            head_mask = None if head_masks is None else head_masks[number]
            past = None if cache is None else cache.layer(number)
            results.append(step(x, head_mask, past, keys[number]))
            x = results[-1][0]
        return results


class Pooler(nnx.Module):
    """The first token's state, through a dense layer and tanh."""

    def __init__(self, build: Build) -> None:
        self.dense = build.linear(build.config.hidden_size, build.config.hidden_size)

    def __call__(self, x: Hidden) -> Float[Array, "B D"]:
        return jnp.tanh(self.dense(x[:, 0]))


class BertModule(nnx.Module):
    """Embeddings, layers and pooler; a decoder where the config says so."""

    def __init__(self, config: BertConfig, *, add_pooling_layer: bool = True, **making: Any) -> None:
        build = Build(config, **making)
        self.is_decoder = config.is_decoder
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.embeddings = Embeddings(build)
        self.encoder = Encoder(build)
        self.pooler = Pooler(build) if add_pooling_layer else None

    def __call__(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B K"] | Bool[Array, "B K"] | Bool[Array, "B T K"] | None = None,
        token_type_ids: Int[Array, "B T"] | None = None,
        position_ids: Int[Array, "B T"] | None = None,
        head_mask: Float[Array, "*L N"] | None = None,
        encoder_hidden_states: Float[Array, "B E W"] | None = None,
        encoder_attention_mask: Int[Array, "B E"] | Bool[Array, "B E"] | None = None,
        past_key_values: KVCache | None = None,
        *,
        dropout_rng: jax.Array | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        gradient_checkpointing: bool = False,
    ) -> FlaxBaseModelOutputWithPoolingAndCrossAttentions:
        """Hidden states of the tokens; K is T, or the slots of the cache where one is given.

        `dropout_rng` turns dropout on. With `gradient_checkpointing`, the backward pass computes each layer again
        instead of keeping what is inside it. Nothing is checked here; the model's `__call__` does that.
        """
        cache, tokens = past_key_values, input_ids.shape[1]
        if cache is not None and position_ids is None:
            position_ids = (cache.length + jnp.arange(tokens))[None]
        *layer_keys, key = split_key(dropout_rng, self.layers + 1)
        x = self.embeddings(input_ids, token_type_ids, position_ids, key)
        if cache is not None:  # inside jit, where nothing can be raised: no plausible numbers out of a full cache
            x = jnp.where(cache.has_room(tokens), x, jnp.asarray(jnp.nan, x.dtype))
        results = self.encoder(
            x,
            None if head_mask is None else jnp.broadcast_to(head_mask, (self.layers, self.heads)),
            cache,
            layer_keys,
            call=Call(
                seen=decoder_seen(attention_mask, tokens, cache) if self.is_decoder else encoder_seen(attention_mask),
                encoder_hidden_states=encoder_hidden_states,
                encoder_seen=encoder_seen(encoder_attention_mask),
                output_attentions=output_attentions,
            ),
            gradient_checkpointing=gradient_checkpointing,
        )
        states, pasts, attentions, cross_attentions = zip(*results, strict=True)
        is_crossed = output_attentions and encoder_hidden_states is not None
        return FlaxBaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=states[-1],
            pooler_output=self.pooler(states[-1]) if self.pooler is not None else None,
            hidden_states=(x, *states) if output_hidden_states else None,
            past_key_values=None if cache is None else cache.advanced(pasts, tokens),
            attentions=attentions if output_attentions else None,
            cross_attentions=cross_attentions if is_crossed else None,
        )


def _rows(table: nnx.Embed, ids: Int[Array, "#B T"]) -> Float[Array, "#B T D"]:
    """Rows of a table; NaN for an id outside it, which nobody can refuse any more inside jit."""
    rows = table.embedding[...].at[ids].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    return rows.astype(table.dtype)


def _first_rows(table: nnx.Embed, count: int) -> Float[Array, "1 T D"]:
    return table.embedding[None, :count].astype(table.dtype)
