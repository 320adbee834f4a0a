"""OPT as published: its config (Zhang et al. 2022, https://arxiv.org/abs/2205.01068)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from automodels.config import (
    DERIVED,
    Activation,
    Flag,
    LayerCount,
    PretrainedConfig,
    Probability,
    Scale,
    Size,
    TokenId,
)
from automodels.needs import AttentionNeeds

SPELLING: dict[str, Any] = {
    "prefix": "model.",
    "buffers": ("decoder.version",),  # of fairseq, in which OPT was trained
    "alternates": (("lm_head.weight", "decoder.embed_tokens.weight"),),  # stored although they are tied
}
"""How names of tensors are written, for a `KeyMap`."""


class OPTConfig(PretrainedConfig):
    """Shape and constants of an OPT; the defaults are those of opt-125m."""

    model_type: ClassVar[str] = "opt"
    aliases: ClassVar[Mapping[str, str]] = {
        **PretrainedConfig.aliases,
        "_remove_final_layer_norm": "remove_final_layer_norm",
    }
    written_as: ClassVar[Mapping[str, str]] = {"remove_final_layer_norm": "_remove_final_layer_norm"}
    silent_keys: ClassVar[frozenset[str]] = PretrainedConfig.silent_keys | {"activation_dropout"}  # read by nobody

    vocab_size: Size = 50272
    """Number of tokens in the vocabulary; the tokenizer knows a few less."""

    hidden_size: Size = 768
    """Width of the residual stream; a multiple of `num_attention_heads`."""

    num_hidden_layers: LayerCount = 12
    """Decoder layers."""

    num_attention_heads: Size = 12
    """Attention heads per layer; divides `hidden_size`."""

    ffn_dim: Size = 3072
    """Width of the feed-forward layers."""

    activation_function: Activation = "relu"
    """Activation of the feed-forward layers."""

    max_position_embeddings: Size = 2048
    """Longest sequence, in tokens; the table of positions has two rows more."""

    word_embed_proj_dim: Size = DERIVED
    """Width of the token embeddings; `hidden_size` unless given. Another one is projected in and out (opt-350m)."""

    do_layer_norm_before: Flag = True
    """Whether each sublayer normalises its input (all published sizes but 350m) rather than its output."""

    remove_final_layer_norm: Flag = False
    """Whether there is no normalisation after the last layer, in spite of `do_layer_norm_before`.

    Files call it `_remove_final_layer_norm`; set by models fine-tuned with transformers before 4.20.1.
    """

    layer_norm_elementwise_affine: Flag = True
    """Whether layer normalisation has weights and biases."""

    enable_bias: Flag = True
    """Whether the linear layers have biases."""

    dropout: Probability = 0.1
    """Dropout of embeddings and sublayer outputs, in training."""

    attention_dropout: Probability = 0.0
    """Dropout of attention weights, in training."""

    layerdrop: Probability = 0.0
    """Probability that a layer is skipped, in training (Fan et al. 2019, https://arxiv.org/abs/1909.11556)."""

    init_std: Scale = 0.02
    """Standard deviation of fresh weights."""

    use_cache: Flag = True
    """Whether keys and values of past tokens are kept."""

    pad_token_id: TokenId | None = 1
    """Token that fills short sequences."""

    bos_token_id: TokenId | None = 2
    """First token of every sequence."""

    eos_token_id: TokenId | list[TokenId] | None = 2
    """Last token of a sequence, or several that end one."""

    @property
    def attention_needs(self) -> AttentionNeeds:
        """As of any config; every call is causal."""
        return super().attention_needs.with_always("causal")

    def derive(self, field: str) -> Any:
        """The width of the token embeddings."""
        return {"word_embed_proj_dim": self.hidden_size}[field]

    def check(self) -> None:
        super().check()
        if self.hidden_size % self.num_attention_heads:
            raise self.impossible(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise self.impossible(f"pad_token_id {self.pad_token_id} is outside a vocabulary of {self.vocab_size}")
