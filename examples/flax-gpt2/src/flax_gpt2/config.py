"""The config of a GPT-2: what stands in its `config.json` (Radford et al. 2019). Imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from automodels.config import DERIVED, Activation, Flag, LayerCount, PretrainedConfig, Probability, Scale, Size, TokenId
from automodels.needs import AttentionNeeds

PUBLISHED = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "hidden_act": "activation_function",
    "max_position_embeddings": "n_positions",
    "embedding_dropout": "embd_pdrop",
    "attention_dropout": "attn_pdrop",
    "residual_dropout": "resid_pdrop",
}
"""Field → its name in published files, which is the one that is written: other libraries know no other."""


class GPT2Config(PretrainedConfig):
    """Shape and constants of a GPT-2; the defaults are those of the smallest one.

    Fields can be given and read by the names of published files as well, such as `n_embd` for `hidden_size`. Of the
    keys of published files, `summary_…` belong to a head that is not built here, and `n_ctx` was the size of a mask
    that is not kept: both are kept in silence.
    """

    model_type: ClassVar[str] = "gpt2"
    aliases: ClassVar[Mapping[str, str]] = {
        **PretrainedConfig.aliases,
        **{published: field for field, published in PUBLISHED.items()},
    }
    written_as: ClassVar[Mapping[str, str]] = PUBLISHED
    silent_keys: ClassVar[frozenset[str]] = PretrainedConfig.silent_keys | {
        "n_ctx", "n_special", "predict_special_tokens", "output_past", "_num_labels",
    }  # fmt: skip

    vocab_size: Size = 50257
    """Number of tokens in the vocabulary."""

    hidden_size: Size = 768
    """Width of the residual stream; a multiple of `num_attention_heads`."""

    num_hidden_layers: LayerCount = 12
    """Blocks."""

    num_attention_heads: Size = 12
    """Attention heads per block; divides `hidden_size`."""

    intermediate_size: Size = DERIVED
    """Width of the feed-forward layers; 4 × `hidden_size` unless given."""

    hidden_act: Activation = "gelu_new"
    """Activation of the feed-forward layers."""

    max_position_embeddings: Size = 1024
    """Longest sequence, in tokens."""

    embedding_dropout: Probability = 0.1
    """Dropout of embeddings, in training."""

    attention_dropout: Probability = 0.1
    """Dropout of attention weights, in training."""

    residual_dropout: Probability = 0.1
    """Dropout of sublayer outputs, in training."""

    layer_norm_epsilon: Scale = 1e-5
    """Added to the variance in layer normalisation."""

    initializer_range: Scale = 0.02
    """Standard deviation of fresh weights; those that write to the residual stream are divided by √(2 × layers)."""

    scale_attn_weights: Flag = True
    """Whether scores of attention are divided by the root of the head size."""

    scale_attn_by_inverse_layer_idx: Flag = False
    """Whether scores of attention are divided by the number of the block, counted from 1, as well."""

    reorder_and_upcast_attn: Flag = False
    """Whether to sum scores in float32. No effect: that is done here in any case, and in order it changes no result."""

    use_cache: Flag = True
    """Whether keys and values of past tokens are kept."""

    bos_token_id: TokenId | None = 50256
    """First token of a sequence."""

    eos_token_id: TokenId | list[TokenId] | None = 50256
    """Last token of a sequence, or several that end one."""

    @property
    def attention_needs(self) -> AttentionNeeds:
        """As of any config; every call is causal."""
        return super().attention_needs.with_always("causal")

    def derive(self, field: str) -> Any:
        """The value of a field that follows from others; asked for those whose default is DERIVED."""
        assert field == "intermediate_size", field
        return 4 * self.hidden_size

    def check(self) -> None:
        """Raises ConfigValueError for fields that do not fit each other."""
        super().check()
        if self.hidden_size % self.num_attention_heads:
            sizes = f"n_embd {self.hidden_size} is not a multiple of"
            raise self.impossible(f"{sizes} n_head {self.num_attention_heads}")
