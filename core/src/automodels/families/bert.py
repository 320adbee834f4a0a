"""BERT as published: its config and the names of its tensors (Devlin et al. 2018, https://arxiv.org/abs/1810.04805)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from automodels.config import Activation, Flag, LayerCount, PretrainedConfig, Probability, Scale, Size, TokenId

SPELLING: dict[str, Any] = {
    "prefix": "bert.",
    "older": (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")),
    "buffers": ("embeddings.position_ids", "embeddings.token_type_ids"),
}
"""How names of tensors are written, for a `KeyMap`."""

BIAS, DECODER_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"
TIED = (("cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"), (DECODER_BIAS, BIAS))
"""Tensors that tied models store although they are second spellings of others."""

UNTIED = ((BIAS, DECODER_BIAS),)
"""Models with `tie_word_embeddings=False` have both biases and compute with the decoder's."""


class BertConfig(PretrainedConfig):
    """Shape and constants of a BERT; the defaults are those of bert-base-uncased."""

    model_type: ClassVar[str] = "bert"
    unsupported: ClassVar[dict[str, tuple[Any, ...]]] = {
        "position_embedding_type": ("relative_key", "relative_key_query"),
    }

    vocab_size: Size = 30522
    """Number of tokens in the vocabulary."""

    hidden_size: Size = 768
    """Width of the residual stream; a multiple of `num_attention_heads`."""

    num_hidden_layers: LayerCount = 12
    """Transformer layers."""

    num_attention_heads: Size = 12
    """Attention heads per layer; divides `hidden_size`."""

    intermediate_size: Size = 3072
    """Width of the feed-forward layers."""

    hidden_act: Activation = "gelu"
    """Activation of the feed-forward layers."""

    hidden_dropout_prob: Probability = 0.1
    """Dropout of embeddings and sublayer outputs, in training."""

    attention_probs_dropout_prob: Probability = 0.1
    """Dropout of attention weights, in training."""

    max_position_embeddings: Size = 512
    """Longest sequence, in tokens."""

    type_vocab_size: Size = 2
    """Number of segments that `token_type_ids` may name."""

    initializer_range: Scale = 0.02
    """Standard deviation of fresh weights."""

    layer_norm_eps: Scale = 1e-12
    """Added to the variance in layer normalisation."""

    pad_token_id: TokenId | None = 0
    """Token that fills short sequences."""

    position_embedding_type: Literal["absolute"] = "absolute"
    """How positions enter: only learned absolute embeddings are implemented."""

    use_cache: Flag = True
    """Whether a decoder keeps keys and values of past tokens."""

    classifier_dropout: Probability | None = None
    """Dropout before a classification head; None means `hidden_dropout_prob`."""

    @property
    def encoder_width(self) -> int:
        """Width of the encoder's states that cross attention looks at."""
        return self.cross_attention_hidden_size or self.hidden_size

    @property
    def head_dropout(self) -> float:
        """Dropout before a classification head."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    def check(self) -> None:
        super().check()
        if self.hidden_size % self.num_attention_heads:
            raise self.impossible(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise self.impossible(f"pad_token_id {self.pad_token_id} is outside a vocabulary of {self.vocab_size}")
