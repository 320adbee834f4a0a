"""What blocks and heads of a GPT-2 are made of: layers with their fresh weights, and the end of a text.

Shapes: B batch, T tokens, I and O the widths of a layer's inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax_runtime.attention import AttentionFunction
from flax_runtime.keys import Keys
from jaxtyping import Array, Bool, Float, Int

from flax_gpt2.config import GPT2Config


class Build:
    """What every layer is made with: the config, types, the attention function, and random keys for fresh weights."""

    def __init__(self, config: GPT2Config, *, dtype: Any, param_dtype: Any, attend: AttentionFunction, rngs: Keys):
        self.config, self.attend, self.rngs = config, attend, rngs
        self.dtype, self.param_dtype = dtype, param_dtype
        self.types: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}

    def normal(self, *, to_residual: bool = False) -> Callable[..., jax.Array]:
        scale = (2 * self.config.num_hidden_layers) ** -0.5 if to_residual else 1.0  # the stream is a sum of so many
        return self.rngs.initializer(nnx.initializers.normal(scale * self.config.initializer_range))

    def head(self, outputs: int) -> nnx.Linear:
        return nnx.Linear(self.config.hidden_size, outputs, use_bias=False, kernel_init=self.normal(), **self.types)

    def embed(self, count: int) -> nnx.Embed:
        return nnx.Embed(count, self.config.hidden_size, embedding_init=self.normal(), **self.types)

    def layer_norm(self) -> nnx.LayerNorm:
        # The variance in one pass loses digits that reference implementations keep.
        epsilon = self.config.layer_norm_epsilon
        return nnx.LayerNorm(self.config.hidden_size, epsilon=epsilon, use_fast_variance=False, **self.types)


class Conv1D(nnx.Module):
    """A linear layer. Its kernel is [O, I], as in every `flax_model.msgpack` of a GPT-2; other files keep [I, O]."""

    def __init__(self, build: Build, inputs: int, outputs: int, *, to_residual: bool = False):
        self.dtype = build.dtype
        normal = build.normal(to_residual=to_residual)
        self.kernel = nnx.Param(normal(build.rngs.params(), (outputs, inputs), build.param_dtype))
        self.bias = nnx.Param(jnp.zeros(outputs, build.param_dtype))

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T O"]:
        x, kernel, bias = (array.astype(self.dtype) for array in (x, self.kernel[...], self.bias[...]))
        return jnp.einsum("bti,oi->bto", x, kernel) + bias


def last_tokens(
    input_ids: Int[Array, "B T"], attention_mask: Int[Array, "B T"] | Bool[Array, "B T T"] | None, pad: int | None
) -> Int[Array, " B"]:
    """Places of the last tokens that are seen and are not `pad`; 0 where there is none."""
    kept = jnp.ones(input_ids.shape, bool) if pad is None else input_ids != pad
    if attention_mask is not None:  # one of [B, T, T] says for each token what it sees
        kept &= attention_mask != 0 if attention_mask.ndim == 2 else attention_mask.any(axis=1)
    return jnp.argmax(jnp.arange(input_ids.shape[1]) * kept, axis=1)
