"""GPT-Neo as published: its config (Black et al. 2021, https://doi.org/10.5281/zenodo.5297715)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

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

AttentionType = Literal["global", "local"]
"""A layer attends to all past tokens, or to the last `window_size` ones."""

SPELLING: dict[str, Any] = {
    "prefix": "transformer.",
    "buffers": ("h.{i}.attn.attention.bias", "h.{i}.attn.attention.masked_bias"),  # the mask, saved by old versions
    "alternates": (("lm_head.weight", "wte.weight"),),  # stored although they are tied
}
"""How names of tensors are written, for a `KeyMap`."""


class GPTNeoConfig(PretrainedConfig):
    """Shape and constants of a GPT-Neo; the defaults are those of gpt-neo-1.3B."""

    model_type: ClassVar[str] = "gpt_neo"
    aliases: ClassVar[Mapping[str, str]] = {
        **PretrainedConfig.aliases,
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
    }
    silent_keys: ClassVar[frozenset[str]] = PretrainedConfig.silent_keys | {
        "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    }  # fmt: skip  # left over from GPT-2

    vocab_size: Size = 50257
    """Number of tokens in the vocabulary."""

    hidden_size: Size = 2048
    """Width of the residual stream; a multiple of `num_heads`."""

    num_layers: LayerCount = 24
    """Blocks."""

    num_heads: Size = 16
    """Attention heads per block; divides `hidden_size`."""

    intermediate_size: Size = DERIVED
    """Width of the feed-forward layers; 4 × `hidden_size` unless given."""

    activation_function: Activation = "gelu_new"
    """Activation of the feed-forward layers."""

    max_position_embeddings: Size = 2048
    """Longest sequence, in tokens."""

    attention_types: list[tuple[list[AttentionType], LayerCount]] = [(["global", "local"], 12)]  # noqa: RUF012  # pydantic copies it
    """Kinds of attention, and how often to repeat them; `num_layers` altogether."""

    attention_layers: list[AttentionType] = DERIVED
    """The kind of attention of each block; `attention_types` written out."""

    window_size: Size = 256
    """Tokens that a local block sees, the current one included."""

    resid_dropout: Probability = 0.0
    """Dropout of sublayer outputs, in training."""

    embed_dropout: Probability = 0.0
    """Dropout of embeddings, in training."""

    attention_dropout: Probability = 0.0
    """Dropout of attention weights, in training."""

    classifier_dropout: Probability = 0.1
    """Dropout before a token classification head, in training."""

    layer_norm_epsilon: Scale = 1e-5
    """Added to the variance in layer normalisation."""

    initializer_range: Scale = 0.02
    """Standard deviation of fresh weights."""

    use_cache: Flag = True
    """Whether keys and values of past tokens are kept."""

    bos_token_id: TokenId | None = 50256
    """First token of a sequence."""

    eos_token_id: TokenId | list[TokenId] | None = 50256
    """Last token of a sequence, or several that end one."""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], **overrides: Any) -> Self:
        """A config from the content of a `config.json`; new `attention_types` replace the file's `attention_layers`."""
        return super().from_dict(_without_layers(raw, overrides), **overrides)

    @property
    def attention_needs(self) -> AttentionNeeds:
        """As of any config; every call is causal, and that of local blocks has a window."""
        is_local = "local" in self.attention_layers and self.window_size < self.max_position_embeddings
        return super().attention_needs.with_always("causal", *(["window"] if is_local else []))

    def derive(self, field: str) -> Any:
        """The width of the feed-forward layers, and the kind of attention of each block."""
        if field == "intermediate_size":
            return 4 * self.hidden_size
        self._check_count(sum(len(kinds) * times for kinds, times in self.attention_types), "attention_types")
        return [kind for kinds, times in self.attention_types for _ in range(times) for kind in kinds]

    def check(self) -> None:
        super().check()
        if self.hidden_size % self.num_heads:
            raise self.impossible(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        self._check_count(len(self.attention_layers), "attention_layers")
        if "attention_types" in self.model_fields_set and self.attention_layers != self.derive("attention_layers"):
            raise self.impossible("attention_layers are not what attention_types written out are")

    def _kept(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return _without_layers(super()._kept(changes), changes)

    def _check_count(self, count: int, field: str) -> None:
        """Before anything is written out: a few characters of a file could stand for any number of layers."""
        if count != self.num_layers:
            raise self.impossible(
                f"{field} describe {count} layers, but num_layers is {self.num_layers}",
                hint=f"Change both together, for instance attention_types=[(['global'], {self.num_layers})].",
            )


def _without_layers(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` less the `attention_layers`, if the types that they were written out from are changed."""
    return {
        key: value for key, value in values.items() if key != "attention_layers" or "attention_types" not in changes
    }
