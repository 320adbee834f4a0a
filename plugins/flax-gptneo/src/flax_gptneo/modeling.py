"""GPT-Neo (Black et al. 2021, https://doi.org/10.5281/zenodo.5297715).

Differs from GPT-2 in that `local` blocks attend only to the last `window_size` tokens, scores are not divided by √H,
and the projections for query, key and value stand apart and have no bias.

Shapes: B batch, T query tokens, S key tokens (the slots of a cache, where there is one), D hidden size, N heads,
H head size, F feed-forward, V vocabulary, L layers.
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

from automodels.families.gpt_neo import GPTNeoConfig
from flax_gptneo.keymap import KEYMAP
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
BlockResult = tuple[Hidden, LayerCache | None, Weights | None]


class Build:
    """What every layer is made with: the config, types, the attention function, and random keys for fresh weights."""

    def __init__(
        self, config: GPTNeoConfig, *, dtype: Any, param_dtype: Any, attend: AttentionFunction, rngs: Keys
    ) -> None:
        self.config = config
        self.attend = attend
        self.types: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.normal = rngs.initializer(nnx.initializers.normal(config.initializer_range))
        self.matrix: dict[str, Any] = {"kernel_init": self.normal, "dot_general": product, **self.types}

    def linear(self, inputs: int, outputs: int, *, use_bias: bool = True) -> nnx.Linear:
        return nnx.Linear(inputs, outputs, use_bias=use_bias, **self.matrix)

    def embed(self, count: int) -> nnx.Embed:
        return nnx.Embed(count, self.config.hidden_size, embedding_init=self.normal, **self.types)

    def layer_norm(self) -> nnx.LayerNorm:
        # The variance in one pass loses digits that the reference implementation keeps.
        epsilon = self.config.layer_norm_epsilon
        return nnx.LayerNorm(self.config.hidden_size, epsilon=epsilon, use_fast_variance=False, **self.types)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """What all blocks share in one call."""

    seen: Mapping[str, Seen]
    """Kind of attention → what it sees."""

    output_attentions: bool


class SelfAttention(nnx.Module):
    """Every token's query against the keys and values of the tokens that its kind of attention sees."""

    def __init__(self, build: Build, kind: str) -> None:
        config = build.config
        self.kind = kind
        self.heads = config.num_heads
        self.dropout_rate = config.attention_dropout
        self.attend = build.attend
        self.q_proj, self.k_proj, self.v_proj = (
            build.linear(config.hidden_size, config.hidden_size, use_bias=False) for _ in range(3)
        )
        self.out_proj = build.linear(config.hidden_size, config.hidden_size)

    def __call__(self, x: Hidden, past: LayerCache | None, dropout_rng: jax.Array | None, *, call: Call) -> BlockResult:
        q, k, v = (self._split(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if past is not None:
            past, k, v = past.grown(k, v)
        dropout: dict[str, Any] = {"dropout_rate": self.dropout_rate, "dropout_rng": dropout_rng}
        seen: dict[str, Any] = {**call.seen[self.kind].arguments, "scale": 1.0}
        weights = attention_weights(q, k, **seen) if call.output_attentions else None
        attended = (
            self.attend(q, k, v, **seen, **dropout) if weights is None else weighted_values(weights, v, **dropout)
        )
        return self.out_proj(attended.reshape(x.shape)), past, weights

    def _split(self, x: Hidden) -> Float[Array, "B T N H"]:
        return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)


class Attention(nnx.Module):
    """Attention, by the name that it has in checkpoints."""

    def __init__(self, build: Build, kind: str) -> None:
        self.attention = SelfAttention(build, kind)


class MLP(nnx.Module):
    """Feed-forward: a wide layer, activation, and back."""

    def __init__(self, build: Build) -> None:
        config = build.config
        self.c_fc = build.linear(config.hidden_size, config.intermediate_size)
        self.activation: Callable[[jax.Array], jax.Array] = ACTIVATIONS[config.activation_function]
        self.c_proj = build.linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: Hidden) -> Hidden:
        narrow: jax.Array = self.c_proj(self.activation(self.c_fc(x)))
        return narrow


class Block(nnx.Module):
    """Attention, then feed-forward, each on a normalised copy and added back."""

    def __init__(self, build: Build, kind: str) -> None:
        self.ln_1 = build.layer_norm()
        self.attn = Attention(build, kind)
        self.ln_2 = build.layer_norm()
        self.mlp = MLP(build)
        self.dropout_rate = build.config.resid_dropout

    def __call__(self, x: Hidden, past: LayerCache | None, dropout_rng: jax.Array | None, *, call: Call) -> BlockResult:
        weights_rng, attended_rng, output_rng = split_key(dropout_rng, 3)
        attended, past, weights = self.attn.attention(self.ln_1(x), past, weights_rng, call=call)
        x = x + dropped(attended, self.dropout_rate, attended_rng)
        return x + dropped(self.mlp(self.ln_2(x)), self.dropout_rate, output_rng), past, weights


class GPTNeoModule(nnx.Module):
    """Embeddings, blocks, and a last normalisation."""

    def __init__(self, config: GPTNeoConfig, **making: Any) -> None:
        build = Build(config, **making)
        self.window_size = config.window_size
        self.wte = build.embed(config.vocab_size)
        self.wpe = build.embed(config.max_position_embeddings)
        self.dropout_rate = config.embed_dropout
        self.h = nnx.List([Block(build, kind) for kind in config.attention_layers])
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
        """Hidden states of the tokens; S is T, or the slots of the cache where one is given.

        A mask [B, T, S] says for each token what it sees, instead of causality.

        `dropout_rng` turns dropout on. With `gradient_checkpointing`, the backward pass computes each block again
        instead of keeping what is inside it. Nothing is checked here; the model's `__call__` does that.
        """
        cache, tokens = past_key_values, input_ids.shape[1]
        start = 0 if cache is None else cache.length
        if position_ids is None:
            position_ids = (start + jnp.arange(tokens))[None]
        *keys, embed_rng = split_key(dropout_rng, len(self.h) + 1)
        x = dropped(rows(self.wte, input_ids) + rows(self.wpe, position_ids), self.dropout_rate, embed_rng)
        if cache is not None:  # inside jit, where nothing can be raised: no plausible numbers out of a full cache
            x = jnp.where(cache.has_room(tokens), x, jnp.asarray(jnp.nan, x.dtype))
        seen = {
            "global": decoder_seen(attention_mask, tokens, cache),
            "local": decoder_seen(attention_mask, tokens, cache, window=self.window_size),
        }
        call = Call(seen=seen, output_attentions=output_attentions)
        states: list[jax.Array] = []
        pasts: list[Any] = []
        attentions: list[Any] = []
        for number, block in enumerate(self.h):
            states.append(x)
            step: Callable[..., BlockResult] = functools.partial(block.__call__, call=call)
            if gradient_checkpointing:
                step = jax.checkpoint(step)
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


class ForCausalLM(nnx.Module):
    """The backbone as `transformer`, and the head: the token embeddings themselves where it is tied to them."""

    def __init__(self, config: GPTNeoConfig, **making: Any) -> None:
        self.transformer = GPTNeoModule(config, **making)
        sizes = config.hidden_size, config.vocab_size
        self.lm_head = None if config.tie_word_embeddings else Build(config, **making).linear(*sizes, use_bias=False)

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


class FlaxGPTNeoPreTrainedModel(FlaxPreTrainedModel):
    """What all GPT-Neo models share: config, tensor names, inputs.

    Dropout acts in training only, follows `dropout_rng`, and differs from block to block.
    """

    config: GPTNeoConfig
    config_class = GPTNeoConfig
    keymap = KEYMAP
    base_model_prefix = "transformer"
    implemented: ClassVar[Mapping[str, Any]] = {"add_cross_attention": False, "pruned_heads": {}}
    vocabulary: ClassVar[Mapping[str, int]] = {"wte.embedding": 0, "lm_head.kernel": 1}

    def __call__(  # noqa: PLR0917  # the order that transformers' arguments have
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
        written yet); `position_ids` (default 0, 1, …, behind what the cache holds; padding on the left counts unless
        they say otherwise). `past_key_values` is a cache from `init_cache`; the output has the one with this call's
        tokens, the old one stays as it is.

        An `attention_mask` [B, T, S] says for each token what it sees, instead of causality.

        `params` stands in for the model's own. `train` turns dropout on and needs `dropout_rng`. `output_attentions`,
        `output_hidden_states` and `return_dict` default to the config's. Returns FlaxBaseModelOutputWithPast or
        FlaxCausalLMOutputWithPast, or a tuple of what is in it with `return_dict=False`.

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
            decoder_inputs(config, given),
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            output_attentions=config.output_attentions if output_attentions is None else output_attentions,
            output_hidden_states=config.output_hidden_states if output_hidden_states is None else output_hidden_states,
        )
        return output.as_asked(return_dict, default=config.return_dict)


class FlaxGPTNeoModel(FlaxGPTNeoPreTrainedModel):
    """The GPT-Neo backbone; returns FlaxBaseModelOutputWithPast.

    >>> from flax_gptneo import FlaxGPTNeoModel, GPTNeoConfig
    >>> sizes = dict(hidden_size=24, num_layers=2, num_heads=4, vocab_size=100, max_position_embeddings=32)
    >>> tiny = GPTNeoConfig(**sizes, attention_types=[(["global", "local"], 1)], window_size=4)
    >>> FlaxGPTNeoModel(tiny)([[50, 31, 17]]).last_hidden_state.shape  # [B, T, D]
    (1, 3, 24)
    """

    module_class = GPTNeoModule
    base_model_prefix = ""


class FlaxGPTNeoForCausalLM(FlaxGPTNeoPreTrainedModel):
    """The next token; returns FlaxCausalLMOutputWithPast.

    >>> import jax.numpy as jnp
    >>> from flax_gptneo import FlaxGPTNeoForCausalLM, GPTNeoConfig
    >>> sizes = dict(hidden_size=24, num_layers=2, num_heads=4, vocab_size=100, max_position_embeddings=32)
    >>> model = FlaxGPTNeoForCausalLM(GPTNeoConfig(**sizes, attention_types=[(["global", "local"], 1)], window_size=4))
    >>> prompt = jnp.array([[50, 31]])
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
