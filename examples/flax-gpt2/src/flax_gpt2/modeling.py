"""GPT-2: a causal decoder, normalised before each sublayer, with a table of positions (Radford et al. 2019).

Shapes: B batch, T query tokens, S key tokens (the slots of a cache, where there is one), D hidden size, N heads,
H head size, V vocabulary, C classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from automodels.errors import InputError
from flax import nnx
from flax_runtime.activations import ACTIVATIONS
from flax_runtime.attention import attention_weights, weighted_values
from flax_runtime.cache import KVCache, LayerCache
from flax_runtime.dropout import dropped, split_key
from flax_runtime.inputs import decoder_inputs, refuse_unknown_inputs
from flax_runtime.modeling import FlaxPreTrainedModel
from flax_runtime.outputs import FlaxBaseModelOutputWithPast, FlaxCausalLMOutputWithPast, FlaxSequenceClassifierOutput
from flax_runtime.seen import Seen, decoder_seen
from flax_runtime.tables import rows, scores
from jaxtyping import Array, Bool, Float, Int

from flax_gpt2.config import GPT2Config
from flax_gpt2.keymap import KEYMAP
from flax_gpt2.layers import Build, Conv1D, last_tokens

Hidden = Float[Array, "B T D"]
AttentionMask = Int[Array, "B S"] | Bool[Array, "B S"] | Bool[Array, "B T S"]
BlockResult = tuple[Hidden, LayerCache | None, Float[Array, "B N T S"] | None]


class Attention(nnx.Module):
    """Every token's query against the keys and values of the tokens that it sees."""

    def __init__(self, build: Build, number: int):
        config, size = build.config, build.config.hidden_size
        self.heads, self.dropout_rate, self.attend = config.num_attention_heads, config.attention_dropout, build.attend
        self.scale = (size // self.heads) ** -0.5 if config.scale_attn_weights else 1.0
        self.scale /= number + 1 if config.scale_attn_by_inverse_layer_idx else 1
        self.c_attn = Conv1D(build, size, 3 * size)
        self.c_proj = Conv1D(build, size, size, to_residual=True)

    def __call__(
        self, x: Hidden, past: LayerCache | None, dropout_rng: jax.Array | None, *, seen: Seen, shown: bool
    ) -> BlockResult:
        q, k, v = (part.reshape(*x.shape[:2], self.heads, -1) for part in jnp.split(self.c_attn(x), 3, axis=-1))
        if past is not None:
            past, k, v = past.grown(k, v)
        dropout: dict[str, Any] = {"dropout_rate": self.dropout_rate, "dropout_rng": dropout_rng}
        weights = attention_weights(q, k, **seen.arguments, scale=self.scale) if shown else None
        if weights is None:  # the backend's function, which may never have the weights in memory
            attended = self.attend(q, k, v, **seen.arguments, scale=self.scale, **dropout)
        else:
            attended = weighted_values(weights, v, **dropout)
        return self.c_proj(attended.reshape(x.shape)), past, weights


class MLP(nnx.Module):
    """Feed-forward: a wide layer, activation, and back."""

    def __init__(self, build: Build):
        size, wide = build.config.hidden_size, build.config.intermediate_size
        self.c_fc, self.c_proj = Conv1D(build, size, wide), Conv1D(build, wide, size, to_residual=True)
        self.activation: Callable[[jax.Array], jax.Array] = ACTIVATIONS[build.config.hidden_act]

    def __call__(self, x: Hidden) -> Hidden:
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nnx.Module):
    """Attention, then feed-forward, each on a normalised copy and added back."""

    def __init__(self, build: Build, number: int):
        self.ln_1, self.attn = build.layer_norm(), Attention(build, number)
        self.ln_2, self.mlp = build.layer_norm(), MLP(build)
        self.dropout_rate = build.config.residual_dropout

    def __call__(
        self, x: Hidden, past: LayerCache | None, dropout_rng: jax.Array | None, *, seen: Seen, shown: bool
    ) -> BlockResult:
        weights_rng, attended_rng, output_rng = split_key(dropout_rng, 3)
        attended, past, weights = self.attn(self.ln_1(x), past, weights_rng, seen=seen, shown=shown)
        x = x + dropped(attended, self.dropout_rate, attended_rng)
        return x + dropped(self.mlp(self.ln_2(x)), self.dropout_rate, output_rng), past, weights


class Backbone(nnx.Module):
    """Embeddings, blocks, and a last normalisation."""

    def __init__(self, config: GPT2Config, **making: Any):
        build = Build(config, **making)
        self.wte, self.wpe = build.embed(config.vocab_size), build.embed(config.max_position_embeddings)
        self.dropout_rate = config.embedding_dropout
        self.h = nnx.List([Block(build, number) for number in range(config.num_hidden_layers)])
        self.ln_f = build.layer_norm()

    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: AttentionMask | None = None,
        position_ids: Int[Array, "#B T"] | None = None,
        past_key_values: KVCache | None = None,
        *,
        dropout_rng: jax.Array | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        gradient_checkpointing: bool = False,
    ) -> FlaxBaseModelOutputWithPast:
        """Hidden states of the tokens; S is T, or the slots of the cache where one is given. Nothing is checked here.

        `dropout_rng` turns dropout on. With `gradient_checkpointing`, the backward pass computes each block again
        instead of keeping what is inside it.
        """
        cache, tokens = past_key_values, input_ids.shape[1]
        if position_ids is None:
            position_ids = (jnp.arange(tokens) + (0 if cache is None else cache.length))[None]
        *keys, embed_rng = split_key(dropout_rng, len(self.h) + 1)
        x = dropped(rows(self.wte, input_ids) + rows(self.wpe, position_ids), self.dropout_rate, embed_rng)
        if cache is not None:  # inside jit, where nothing can be raised: no plausible numbers out of a full cache
            x = jnp.where(cache.has_room(tokens), x, jnp.asarray(jnp.nan, x.dtype))
        seen = decoder_seen(attention_mask, tokens, cache)
        states: list[jax.Array] = []
        pasts: list[Any] = []
        attentions: list[Any] = []
        for number, block in enumerate(self.h):
            states.append(x)
            step: Callable[..., BlockResult] = functools.partial(block.__call__, seen=seen, shown=output_attentions)
            step = jax.checkpoint(step) if gradient_checkpointing else step
            x, past, weights = step(x, None if cache is None else cache.layer(number), keys[number])
            pasts.append(past)
            attentions.append(weights)
        x = self.ln_f(x)
        return FlaxBaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=None if cache is None else cache.advanced(pasts, tokens),
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


class LMHead(nnx.Module):
    """The backbone as `transformer`, and the head: the token embeddings themselves where it is tied to them."""

    def __init__(self, config: GPT2Config, **making: Any):
        self.transformer = Backbone(config, **making)
        self.lm_head = None if config.tie_word_embeddings else Build(config, **making).head(config.vocab_size)

    def __call__(self, *inputs: Any, last_logits_only: bool = False, **options: Any) -> FlaxCausalLMOutputWithPast:
        """As the backbone, with logits [B, T, V]; with `last_logits_only` [B, 1, V], all that a prompt needs."""
        output = self.transformer(*inputs, **options)
        x = output.last_hidden_state[:, -1:] if last_logits_only else output.last_hidden_state
        return FlaxCausalLMOutputWithPast(
            logits=scores(self.transformer.wte, x) if self.lm_head is None else self.lm_head(x),
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


class SequenceClassification(nnx.Module):
    """The backbone as `transformer`, and scores of the last token of each text that is no padding."""

    def __init__(self, config: GPT2Config, **making: Any):
        self.transformer = Backbone(config, **making)
        self.score = Build(config, **making).head(config.num_labels)
        self.pad_token_id = config.pad_token_id

    def __call__(
        self, input_ids: Int[Array, "B T"], attention_mask: AttentionMask | None = None, *inputs: Any, **options: Any
    ) -> FlaxSequenceClassifierOutput:
        """As the backbone, with logits [B, C]."""
        output = self.transformer(input_ids, attention_mask, *inputs, **options)
        last = last_tokens(input_ids, attention_mask, self.pad_token_id)[:, None, None]
        logits = self.score(jnp.take_along_axis(output.last_hidden_state, last, axis=1)[:, 0])
        return FlaxSequenceClassifierOutput(
            logits=logits, hidden_states=output.hidden_states, attentions=output.attentions
        )


class FlaxGPT2PreTrainedModel(FlaxPreTrainedModel):
    """What all GPT-2 models share: config, tensor names, inputs. Dropout acts in training only."""

    config: GPT2Config
    config_class = GPT2Config
    keymap = KEYMAP
    base_model_prefix = "transformer"
    implemented: ClassVar[Mapping[str, Any]] = {"add_cross_attention": False, "pruned_heads": {}}
    vocabulary: ClassVar[Mapping[str, int]] = {"wte.embedding": 0, "lm_head.kernel": 1}

    def __call__(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        position_ids: Any = None,
        params: Mapping[str, Any] | None = None,
        past_key_values: Any = None,
        dropout_rng: jax.Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **unknown: Any,
    ) -> Any:
        """The model's output for a batch of token ids; logits, never a loss.

        Whole numbers [B, T]: `input_ids`; `attention_mask`, 0 for padding (with a cache [B, S], 1 where nothing is
        written yet); `position_ids` (default 0, 1, …, behind what the cache holds). `past_key_values` is a cache from
        `init_cache`; the output has the one with this call's tokens. `params` stands in for the model's own. `train`
        turns dropout on and needs `dropout_rng`. The other flags default to the config's.
        Raises InputError for inputs that do not fit, UnknownArgumentError for other names.
        """
        refuse_unknown_inputs(type(self), unknown)
        config = self.config
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        if past_key_values is not None and self.module_class is SequenceClassification:
            raise InputError(f"{type(self).__name__} classifies whole texts; it does not go on from past_key_values.")
        output = self.apply(
            decoder_inputs(config, {**given, "past_key_values": past_key_values}),
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            output_attentions=config.output_attentions if output_attentions is None else output_attentions,
            output_hidden_states=config.output_hidden_states if output_hidden_states is None else output_hidden_states,
        )
        return output.as_asked(return_dict, default=config.return_dict)


class FlaxGPT2Model(FlaxGPT2PreTrainedModel):
    """The GPT-2 backbone; returns FlaxBaseModelOutputWithPast."""

    module_class = Backbone
    base_model_prefix = ""


class FlaxGPT2LMHeadModel(FlaxGPT2PreTrainedModel):
    """The next token; returns FlaxCausalLMOutputWithPast."""

    module_class = LMHead
    generates = True


class FlaxGPT2ForSequenceClassification(FlaxGPT2PreTrainedModel):
    """A class for each text, by its last token that is no padding; returns FlaxSequenceClassifierOutput."""

    module_class = SequenceClassification
