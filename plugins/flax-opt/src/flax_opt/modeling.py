"""OPT (Zhang et al. 2022, https://arxiv.org/abs/2205.01068).

Differs from GPT-2 in relu for gelu, positions that count the tokens the mask keeps and start at row 2 of their table,
and projections for query, key and value apart. opt-350m alone normalises after each residual sum, not before each
sublayer, has no normalisation at the end, and keeps narrower token embeddings, projected in and out.

Shapes: B batch, T query tokens, S key tokens (the slots of a cache, where there is one), E width of the token
embeddings, D hidden size, N heads, H head size, F feed-forward, V vocabulary, L layers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from automodels.families.opt import OPTConfig
from flax_opt.keymap import KEYMAP
from flax_runtime.activations import ACTIVATIONS
from flax_runtime.attention import AttentionFunction, attention_weights, weighted_values
from flax_runtime.cache import KVCache, LayerCache
from flax_runtime.dropout import dropped, split_key
from flax_runtime.inputs import decoder_inputs, refuse_unknown_inputs
from flax_runtime.keys import Keys
from flax_runtime.modeling import FlaxPreTrainedModel
from flax_runtime.outputs import FlaxBaseModelOutputWithPast, FlaxCausalLMOutputWithPast
from flax_runtime.products import product
from flax_runtime.seen import Seen, decoder_seen
from flax_runtime.tables import rows, scores

Hidden = Float[Array, "B T D"]
AttentionMask = Int[Array, "B S"] | Bool[Array, "B S"] | Bool[Array, "B T S"]
Weights = Float[Array, "B N T S"]
LayerResult = tuple[Hidden, LayerCache | None, Weights | None]

OFFSET = 2  # row of the first position: fairseq kept the rows up to the padding token's id, 1, for padding
EPSILON = 1e-5  # of layer normalisation, whose configs do not say


class Build:
    """What every layer is made with: the config, types, the attention function, and random keys for fresh weights."""

    def __init__(
        self, config: OPTConfig, *, dtype: Any, param_dtype: Any, attend: AttentionFunction, rngs: Keys
    ) -> None:
        self.config = config
        self.attend = attend
        self.types: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.normal = rngs.initializer(nnx.initializers.normal(config.init_std))
        self.matrix: dict[str, Any] = {"kernel_init": self.normal, "dot_general": product, **self.types}

    def linear(self, inputs: int, outputs: int) -> nnx.Linear:
        return nnx.Linear(inputs, outputs, use_bias=self.config.enable_bias, **self.matrix)

    def projection(self, inputs: int, outputs: int) -> nnx.Linear:
        return nnx.Linear(inputs, outputs, use_bias=False, **self.matrix)

    def embed(self, count: int, width: int) -> nnx.Embed:
        return nnx.Embed(count, width, embedding_init=self.normal, **self.types)

    def layer_norm(self) -> nnx.LayerNorm:
        affine = self.config.layer_norm_elementwise_affine
        # The variance in one pass loses digits that the reference implementation keeps.
        kind: dict[str, Any] = {"epsilon": EPSILON, "use_scale": affine, "use_bias": affine, "use_fast_variance": False}
        return nnx.LayerNorm(self.config.hidden_size, **kind, **self.types)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """What all layers share in one call."""

    seen: Seen
    output_attentions: bool


class Attention(nnx.Module):
    """Every token's query against the keys and values of the tokens up to it."""

    def __init__(self, build: Build) -> None:
        config = build.config
        self.heads = config.num_attention_heads
        self.dropout_rate = config.attention_dropout
        self.attend = build.attend
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            build.linear(config.hidden_size, config.hidden_size) for _ in range(4)
        )

    def __call__(self, x: Hidden, past: LayerCache | None, dropout_rng: jax.Array | None, *, call: Call) -> LayerResult:
        q, k, v = (self._split(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if past is not None:
            past, k, v = past.grown(k, v)
        dropout: dict[str, Any] = {"dropout_rate": self.dropout_rate, "dropout_rng": dropout_rng}
        seen = call.seen.arguments
        weights = attention_weights(q, k, **seen) if call.output_attentions else None
        attended = (
            self.attend(q, k, v, **seen, **dropout) if weights is None else weighted_values(weights, v, **dropout)
        )
        return self.out_proj(attended.reshape(x.shape)), past, weights

    def _split(self, x: Hidden) -> Float[Array, "B T N H"]:
        return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)


class Layer(nnx.Module):
    """Attention, then feed-forward, each added to its input and normalised: before in most sizes, after in 350m."""

    def __init__(self, build: Build) -> None:
        config = build.config
        self.do_layer_norm_before = config.do_layer_norm_before
        self.layerdrop = config.layerdrop
        self.self_attn = Attention(build)
        self.self_attn_layer_norm = build.layer_norm()
        self.fc1 = build.linear(config.hidden_size, config.ffn_dim)
        self.activation: Callable[[jax.Array], jax.Array] = ACTIVATIONS[config.activation_function]
        self.fc2 = build.linear(config.ffn_dim, config.hidden_size)
        self.final_layer_norm = build.layer_norm()
        self.dropout_rate = config.dropout

    def __call__(self, x: Hidden, past: LayerCache | None, dropout_rng: jax.Array | None, *, call: Call) -> LayerResult:
        skip_rng, weights_rng, attended_rng, output_rng = split_key(dropout_rng, 4)
        attended, past, weights = self.self_attn(
            self._before(self.self_attn_layer_norm, x), past, weights_rng, call=call
        )
        y = self._after(self.self_attn_layer_norm, x + dropped(attended, self.dropout_rate, attended_rng))
        wide = self.activation(self.fc1(self._before(self.final_layer_norm, y)))
        y = self._after(self.final_layer_norm, y + dropped(self.fc2(wide), self.dropout_rate, output_rng))
        if skip_rng is not None and self.layerdrop > 0:
            y = jnp.where(jax.random.bernoulli(skip_rng, self.layerdrop), x, y)
        return y, past, weights

    def _before(self, norm: nnx.LayerNorm, x: Hidden) -> Hidden:
        return norm(x) if self.do_layer_norm_before else x

    def _after(self, norm: nnx.LayerNorm, x: Hidden) -> Hidden:
        return x if self.do_layer_norm_before else norm(x)


class Decoder(nnx.Module):
    """Embeddings, layers, and what stands at the end of them."""

    def __init__(self, build: Build) -> None:
        config = build.config
        hidden, width = config.hidden_size, config.word_embed_proj_dim
        is_normalized = config.do_layer_norm_before and not config.remove_final_layer_norm
        self.embed_tokens = build.embed(config.vocab_size, width)
        self.embed_positions = build.embed(config.max_position_embeddings + OFFSET, hidden)
        self.project_in = build.projection(width, hidden) if width != hidden else None
        self.layers = nnx.List([Layer(build) for _ in range(config.num_hidden_layers)])
        self.final_layer_norm = build.layer_norm() if is_normalized else None
        self.project_out = build.projection(hidden, width) if width != hidden else None

    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: AttentionMask | None,
        position_ids: Int[Array, "#B T"] | None,
        cache: KVCache | None,
        *,
        dropout_rng: jax.Array | None,
        output_attentions: bool,
        output_hidden_states: bool,
        gradient_checkpointing: bool,
    ) -> FlaxBaseModelOutputWithPast:
        tokens = input_ids.shape[1]
        start = 0 if cache is None else cache.length
        if position_ids is None:
            position_ids = counted_positions(attention_mask, tokens, start)
        x = rows(self.embed_tokens, input_ids)
        if self.project_in is not None:
            x = self.project_in(x)
        x = x + rows(self.embed_positions, position_ids + OFFSET)
        if cache is not None:  # inside jit, where nothing can be raised: no plausible numbers out of a full cache
            x = jnp.where(cache.has_room(tokens), x, jnp.asarray(jnp.nan, x.dtype))
        call = Call(seen=decoder_seen(attention_mask, tokens, cache), output_attentions=output_attentions)
        states: list[jax.Array] = []
        pasts: list[Any] = []
        attentions: list[Any] = []
        keys = split_key(dropout_rng, len(self.layers))
        for number, layer in enumerate(self.layers):
            states.append(x)
            step: Callable[..., LayerResult] = functools.partial(layer.__call__, call=call)
            if gradient_checkpointing:
                step = jax.checkpoint(step)
            x, past, weights = step(x, None if cache is None else cache.layer(number), keys[number])
            pasts.append(past)
            attentions.append(weights)
        if self.final_layer_norm is not None:
            x = self.final_layer_norm(x)
        if self.project_out is not None:
            x = self.project_out(x)
        return FlaxBaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=None if cache is None else cache.advanced(pasts, tokens),
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


class OPTModule(nnx.Module):
    """The decoder, by the name that it has in checkpoints."""

    def __init__(self, config: OPTConfig, **making: Any) -> None:
        self.decoder = Decoder(Build(config, **making))

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
        """Hidden states of the tokens; S is T, or the slots of the cache where one is given.

        A mask [B, T, S] says for each token what it sees, instead of causality.

        `dropout_rng` turns dropout on. With `gradient_checkpointing`, the backward pass computes each layer again
        instead of keeping what is inside it. Nothing is checked here; the model's `__call__` does that.
        """
        return self.decoder(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            dropout_rng=dropout_rng,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            gradient_checkpointing=gradient_checkpointing,
        )


class ForCausalLM(nnx.Module):
    """The decoder as `model`, and the head: the token embeddings themselves where it is tied to them."""

    def __init__(self, config: OPTConfig, **making: Any) -> None:
        self.model = OPTModule(config, **making)
        width, tokens = config.word_embed_proj_dim, config.vocab_size
        self.lm_head = None if config.tie_word_embeddings else Build(config, **making).projection(width, tokens)

    def __call__(self, *inputs: Any, last_logits_only: bool = False, **options: Any) -> FlaxCausalLMOutputWithPast:
        """As the decoder, with logits [B, T, V]; with `last_logits_only` [B, 1, V], all that a prompt needs."""
        output = self.model(*inputs, **options)
        x = output.last_hidden_state[:, -1:] if last_logits_only else output.last_hidden_state
        return FlaxCausalLMOutputWithPast(
            logits=scores(self.model.decoder.embed_tokens, x) if self.lm_head is None else self.lm_head(x),
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


def counted_positions(
    attention_mask: AttentionMask | None, tokens: int, start: int | Int[Array, ""]
) -> Int[Array, "#B T"]:
    """Positions of T tokens from `start` on, among those that the mask keeps; −1 for padding."""
    if attention_mask is None or attention_mask.ndim == 3:
        return (start + jnp.arange(tokens))[None]
    kept = (attention_mask != 0).astype(jnp.int32)
    counted = jnp.cumsum(kept, axis=1) * kept - 1
    return jax.lax.dynamic_slice_in_dim(counted, start, tokens, axis=1)


class FlaxOPTPreTrainedModel(FlaxPreTrainedModel):
    """What all OPT models share: config, tensor names, inputs.

    Dropout and the skipping of whole layers (`layerdrop`) act in training only, follow `dropout_rng`, and differ from
    layer to layer.
    """

    config: OPTConfig
    config_class = OPTConfig
    keymap = KEYMAP
    base_model_prefix = "model"
    implemented: ClassVar[Mapping[str, Any]] = {"add_cross_attention": False, "pruned_heads": {}}
    vocabulary: ClassVar[Mapping[str, int]] = {"decoder.embed_tokens.embedding": 0, "lm_head.kernel": 1}

    def __call__(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Any,
        attention_mask: Any = None,
        position_ids: Any = None,
        params: Mapping[str, Any] | None = None,
        past_key_values: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        dropout_rng: jax.Array | None = None,
        deterministic: bool = True,
        *,
        train: bool = False,
        **unknown: Any,
    ) -> Any:
        """The model's output for a batch of token ids; logits, never a loss.

        Whole numbers [B, T]: `input_ids`; `attention_mask`, 0 for padding (with a cache [B, S], 1 where nothing is
        written yet); `position_ids`, which count from 0 the tokens that the mask keeps unless they are given; −1 is for
        padding. `past_key_values` is a cache from `init_cache`; the output has the one with this call's tokens, the old
        one stays as it is.

        An `attention_mask` [B, T, S] says for each token what it sees, instead of causality; positions do not count
        over it.

        `params` stands in for the model's own. `train`, or `deterministic=False`, turns dropout on and needs
        `dropout_rng`. `output_attentions`, `output_hidden_states` and `return_dict` default to the config's. Returns
        FlaxBaseModelOutputWithPast or FlaxCausalLMOutputWithPast, or a tuple of what is in it with `return_dict=False`.

        Outside jit, raises InputError for shapes that do not fit, ids and positions outside their tables, sequences
        longer than the position table or than what is left of the cache, and floating-point ids; UnknownArgumentError
        for other names. Inside jit, where values are not known, an id or position outside its table and a cache without
        room make the results NaN.
        """
        refuse_unknown_inputs(type(self), unknown)
        config = self.config
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "past_key_values": past_key_values,
        }
        output = self.apply(
            decoder_inputs(config, given, first_position=-1),
            params=params,
            dropout_rng=dropout_rng,
            train=train or not deterministic,
            output_attentions=config.output_attentions if output_attentions is None else output_attentions,
            output_hidden_states=config.output_hidden_states if output_hidden_states is None else output_hidden_states,
        )
        return output.as_asked(return_dict, default=config.return_dict)


class FlaxOPTModel(FlaxOPTPreTrainedModel):
    """The OPT backbone; returns FlaxBaseModelOutputWithPast.

    >>> from flax_opt import FlaxOPTModel, OPTConfig
    >>> tiny = OPTConfig(hidden_size=24, num_hidden_layers=2, ffn_dim=48, vocab_size=100, max_position_embeddings=32)
    >>> FlaxOPTModel(tiny)([[2, 31, 17]]).last_hidden_state.shape  # [B, T, E]
    (1, 3, 24)
    """

    module_class = OPTModule
    base_model_prefix = ""


class FlaxOPTForCausalLM(FlaxOPTPreTrainedModel):
    """The next token; returns FlaxCausalLMOutputWithPast.

    >>> import jax.numpy as jnp
    >>> from flax_opt import FlaxOPTForCausalLM, OPTConfig
    >>> tiny = OPTConfig(hidden_size=24, num_hidden_layers=2, ffn_dim=48, vocab_size=100, max_position_embeddings=32)
    >>> model = FlaxOPTForCausalLM(tiny)
    >>> prompt = jnp.array([[2, 31]])
    >>> arguments = model.prepare_inputs_for_generation(prompt, max_length=8)
    >>> output = model(prompt, **arguments)
    >>> output.logits.shape  # [B, T, V]
    (1, 2, 100)
    >>> arguments = model.update_inputs_for_generation(output, arguments)
    >>> token = output.logits[:, -1:].argmax(-1)
    >>> model(token, **arguments).logits.shape  # one token more, and nothing of the prompt computed again
    (1, 1, 100)
    """

    module_class = ForCausalLM
    generates = True
