"""Configs. No framework is imported here."""

from __future__ import annotations

from typing import Any, ClassVar

from automodels.backends import AttentionNeeds
from automodels.config import DERIVED, Activation, Flag, LayerCount, PretrainedConfig, Probability, Scale, Size, TokenId


class TallyConfig(PretrainedConfig):
    """A list of words, and how they are weighed."""

    model_type: ClassVar[str] = "frozen-tally"

    words: list[str] = ["one", "two"]
    """Words that are looked for."""

    lowercase: Flag = False
    """Whether texts are lowercased first."""


class FrozenLMConfig(PretrainedConfig):
    """A small decoder."""

    model_type: ClassVar[str] = "frozen-lm"

    vocab_size: Size = 32
    hidden_size: Size = 16
    num_hidden_layers: LayerCount = 2
    num_attention_heads: Size = 2
    feed_forward_size: Size = DERIVED
    """Width of the feed-forward layers; twice `hidden_size` unless given."""

    activation: Activation = "relu"
    max_position_embeddings: Size = 32
    dropout: Probability = 0.0
    initializer_range: Scale = 0.2
    use_cache: Flag = True
    eos_token_id: TokenId | list[TokenId] | None = None

    @property
    def attention_needs(self) -> AttentionNeeds:
        return super().attention_needs.with_always("causal")

    def derive(self, field: str) -> Any:
        return {"feed_forward_size": 2 * self.hidden_size}[field]

    def check(self) -> None:
        super().check()
        if self.hidden_size % self.num_attention_heads:
            raise self.impossible(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
