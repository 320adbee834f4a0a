"""A small decoder in Flax.

Shapes: B batch, T tokens, D hidden size, N heads, H head size, V vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from flax_runtime import FlaxPreTrainedModel
from flax_runtime.activations import ACTIVATIONS
from flax_runtime.attention import attention_weights, weighted_values
from flax_runtime.dropout import dropped, split_key
from flax_runtime.inputs import decoder_inputs, refuse_unknown_inputs
from flax_runtime.outputs import FlaxBaseModelOutputWithPast, FlaxCausalLMOutputWithPast
from flax_runtime.products import product
from flax_runtime.seen import decoder_seen
from flax_runtime.tables import rows
from frozen_plugin.config import FrozenLMConfig
from frozen_plugin.keymap import KEYMAP


class Layer(nnx.Module):
    """Attention, then feed-forward."""

    def __init__(self, config, *, dtype, param_dtype, attend, rngs):
        types = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        normal = rngs.initializer(nnx.initializers.normal(config.initializer_range))
        matrix = {"kernel_init": normal, "dot_general": product, **types}
        size = config.hidden_size
        self.attend, self.heads, self.rate = attend, config.num_attention_heads, config.dropout
        self.activation = ACTIVATIONS[config.activation]
        self.norm = nnx.LayerNorm(size, use_fast_variance=False, epsilon=1e-5, **types)
        self.qkv = nnx.Linear(size, 3 * size, use_bias=False, **matrix)
        self.out = nnx.Linear(size, size, use_bias=False, **matrix)
        self.wide = nnx.Linear(size, config.feed_forward_size, **matrix)
        self.narrow = nnx.Linear(config.feed_forward_size, size, use_bias=False, **matrix)

    def __call__(self, x, past, seen, dropout_rng, *, shown):
        weights_rng, output_rng = split_key(dropout_rng, 2)
        q, k, v = (
            part.reshape(*part.shape[:2], self.heads, -1) for part in jnp.split(self.qkv(self.norm(x)), 3, axis=-1)
        )
        if past is not None:
            past, k, v = past.grown(k, v)
        dropout = {"dropout_rate": self.rate, "dropout_rng": weights_rng}
        weights = attention_weights(q, k, **seen.arguments) if shown else None
        if weights is None:
            found = self.attend(q, k, v, **seen.arguments, **dropout)
        else:
            found = weighted_values(weights, v, **dropout)
        x = x + self.out(found.reshape(x.shape))
        return x + dropped(self.narrow(self.activation(self.wide(x))), self.rate, output_rng), past, weights


class Body(nnx.Module):
    """Tables and layers."""

    def __init__(self, config, **making):
        types = {name: making[name] for name in ("dtype", "param_dtype", "rngs")}
        normal = making["rngs"].initializer(nnx.initializers.normal(config.initializer_range))
        self.words = nnx.Embed(config.vocab_size, config.hidden_size, embedding_init=normal, **types)
        self.places = nnx.Embed(config.max_position_embeddings, config.hidden_size, embedding_init=normal, **types)
        self.layers = nnx.List([Layer(config, **making) for _ in range(config.num_hidden_layers)])

    def __call__(
        self,
        input_ids,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        *,
        dropout_rng=None,
        output_attentions=False,
        output_hidden_states=False,
        gradient_checkpointing=False,
    ):
        cache, tokens = past_key_values, input_ids.shape[1]
        if position_ids is None:
            position_ids = ((0 if cache is None else cache.length) + jnp.arange(tokens))[None]
        x = rows(self.words, input_ids) + rows(self.places, position_ids)
        if cache is not None:
            x = jnp.where(cache.has_room(tokens), x, jnp.nan)
        seen = decoder_seen(attention_mask, tokens, cache)
        states, pasts, attentions = [], [], []
        for number, (layer, key) in enumerate(zip(self.layers, split_key(dropout_rng, len(self.layers)), strict=True)):
            states.append(x)
            step = lambda *given, layer=layer: layer(*given, shown=output_attentions)  # noqa: E731
            if gradient_checkpointing:
                step = jax.checkpoint(step)
            x, past, weights = step(x, None if cache is None else cache.layer(number), seen, key)
            pasts.append(past)
            attentions.append(weights)
        return FlaxBaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=None if cache is None else cache.advanced(pasts, tokens),
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


class WithHead(nnx.Module):
    """The body, and scores of the next token."""

    def __init__(self, config, **making):
        self.body = Body(config, **making)
        normal = making["rngs"].initializer(nnx.initializers.normal(config.initializer_range))
        types = {name: making[name] for name in ("dtype", "param_dtype", "rngs")}
        self.head = nnx.Linear(config.hidden_size, config.vocab_size, use_bias=False, kernel_init=normal, **types)

    def __call__(self, *inputs, last_logits_only=False, **options):
        output = self.body(*inputs, **options)
        x = output.last_hidden_state
        return FlaxCausalLMOutputWithPast(
            logits=self.head(x[:, -1:] if last_logits_only else x),
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


class FlaxFrozenPreTrainedModel(FlaxPreTrainedModel):
    """What both models share."""

    config_class = FrozenLMConfig
    keymap = KEYMAP
    base_model_prefix = "body"
    implemented = {"add_cross_attention": False}

    def __call__(
        self,
        input_ids,
        attention_mask=None,
        position_ids=None,
        params=None,
        past_key_values=None,
        dropout_rng=None,
        train=False,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        **unknown,
    ):
        refuse_unknown_inputs(type(self), unknown)
        config = self.config
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "past_key_values": past_key_values,
        }
        output = self.apply(
            decoder_inputs(config, given),
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            output_attentions=config.output_attentions if output_attentions is None else output_attentions,
            output_hidden_states=config.output_hidden_states if output_hidden_states is None else output_hidden_states,
        )
        return output.as_asked(return_dict, default=config.return_dict)


class FlaxFrozenModel(FlaxFrozenPreTrainedModel):
    """The body."""

    module_class = Body
    base_model_prefix = ""


class FlaxFrozenForCausalLM(FlaxFrozenPreTrainedModel):
    """The next token."""

    module_class = WithHead
    generates = True
