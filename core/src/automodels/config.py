"""PretrainedConfig: the typed, validated content of a `config.json`. Models take a copy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from automodels.checkpoint.config_file import CONFIG_NAME
from automodels.checkpoint.locate import locate, split_options
from automodels.errors import ConfigValueError
from automodels.json_config import DERIVED, Flag, JsonConfig, Probability, Scale, Size, TokenId
from automodels.needs import AttentionNeeds
from automodels.plugins.scan import shown

__all__ = [
    "DERIVED",
    "Activation",
    "Flag",
    "LayerCount",
    "PretrainedConfig",
    "Probability",
    "Scale",
    "Size",
    "TokenId",
]

LayerCount = Annotated[int, Field(gt=0, le=10_000, strict=True)]
"""A whole number from 1 to 10000: how many layers there are."""

Activation = Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish", "tanh"]
"""Name of an activation that every runtime has."""

_SILENT_KEYS = frozenset({  # of published files: bookkeeping, and generation settings of old ones
    "transformers_version", "_name_or_path", "gradient_checkpointing", "auto_map", "automodels", "_commit_hash",
    "_attn_implementation_autoset", "torchscript", "use_bfloat16", "tf_legacy_loss", "directionality", "pooler_fc_size",
    "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type", "max_length",
    "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature",
    "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
    "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
    # and of heads that stand on any backbone
    "start_n_top", "end_n_top", "summary_type", "summary_use_proj", "summary_proj_to_labels", "summary_activation",
    "summary_first_dropout", "summary_last_dropout",
})  # fmt: skip


class PretrainedConfig(JsonConfig):
    """Fields that every model type has; a family's config adds its own.

    Raises ConfigValueError when a value is impossible and UnsupportedConfigError when it is possible but asks for
    something that is not implemented.
    """

    file_name: ClassVar[str] = CONFIG_NAME
    aliases: ClassVar[Mapping[str, str]] = {"torch_dtype": "dtype"}
    silent_keys: ClassVar[frozenset[str]] = _SILENT_KEYS
    numbered: ClassVar[tuple[str, ...]] = ("id2label", "pruned_heads")

    model_type: ClassVar[str] = ""
    """As in `config.json`; set by the family."""

    architectures: list[str] | None = None
    """Class names that the weights were saved from."""

    output_attentions: Flag = False
    """Whether calls return attention weights unless told otherwise."""

    output_hidden_states: Flag = False
    """Whether calls return every layer's hidden states unless told otherwise."""

    return_dict: Flag = True
    """Whether calls return an output object rather than a tuple unless told otherwise."""

    dtype: str | None = None
    """Type in which the weights were saved, such as `bfloat16`; older files call it `torch_dtype`."""

    is_encoder_decoder: Flag = False
    """Whether the model has an encoder and a decoder."""

    is_decoder: Flag = False
    """Whether attention is causal."""

    add_cross_attention: Flag = False
    """Whether a decoder attends to an encoder's output."""

    cross_attention_hidden_size: Size | None = None
    """Width of the encoder's output, where it differs from the decoder's."""

    tie_encoder_decoder: Flag = False
    """Whether encoder and decoder share their weights."""

    tie_word_embeddings: Flag = True
    """Whether input and output embeddings are one array."""

    pruned_heads: dict[int, list[int]] = Field(default_factory=dict)
    """Layer → heads that were removed."""

    chunk_size_feed_forward: Annotated[int, Field(ge=0)] = 0
    """Tokens per step of the feed-forward layers; 0 means all at once. The result is the same."""

    finetuning_task: str | None = None
    """Name of the data set that a fine-tuned model was trained on."""

    problem_type: str | None = None
    """`regression`, `single_label_classification` or `multi_label_classification`."""

    id2label: dict[int, str] = Field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"})
    """Class index → name."""

    label2id: dict[str, int] = Field(default_factory=lambda: {"LABEL_0": 0, "LABEL_1": 1})
    """Class name → index."""

    tokenizer_class: str | None = None
    """Name of the tokenizer's class."""

    prefix: str | None = None
    """Text that is put before every input."""

    task_specific_params: dict[str, Any] | None = None
    """Settings per task, kept as they are."""

    bos_token_id: TokenId | None = None
    """First token of a sequence."""

    pad_token_id: TokenId | None = None
    """Token that fills short sequences."""

    eos_token_id: TokenId | list[TokenId] | None = None
    """Last token of a sequence, or several that end one."""

    sep_token_id: TokenId | None = None
    """Token between two segments."""

    decoder_start_token_id: TokenId | None = None
    """First token of a decoder's sequence, where it is not `bos_token_id`."""

    def __init__(self, /, **values: Any) -> None:
        """Fields by name; `num_labels` in place of `id2label`. Raises ConfigValueError, UnsupportedConfigError."""
        self._refuse_other_type(values)
        super().__init__(**_labels({key: value for key, value in values.items() if key != "model_type"}))

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.id2label)

    @property
    def use_return_dict(self) -> bool:
        """`return_dict`, by transformers' other name."""
        return self.return_dict

    @property
    def attention_needs(self) -> AttentionNeeds:
        """What the model asks of an attention function, as far as fields of the usual names tell; families say more.

        With `pruned_heads` or without, a head has `hidden_size / num_attention_heads` numbers.
        """
        size, heads = (getattr(self, name, None) for name in ("hidden_size", "num_attention_heads"))
        rates = (getattr(self, name, 0) for name in ("attention_dropout", "attention_probs_dropout_prob"))
        possible = {"mask": True, "padding": True, "dropout": any(rates), "weights": self.output_attentions}
        return AttentionNeeds(
            head_sizes=(size // heads,) if isinstance(size, int) and isinstance(heads, int) and heads else (),
            always=frozenset({"causal"} if self.is_decoder else ()),
            possible=frozenset(name for name, is_needed in possible.items() if is_needed),
        )

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> Self:
        """The config in a checkpoint; options are those of `locate` and fields to override.

        Raises CheckpointNotFoundError, HubError, ConfigFileError, ConfigValueError, UnsupportedConfigError, or
        UnknownArgumentError for an option that is neither.
        """
        where, overrides = split_options(options)
        location = locate(name, **where)
        return cls.from_dict(location.config, name_or_path=location.name, **cls.overrides(overrides))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], **overrides: Any) -> Self:
        """A config from the content of a `config.json`.

        Raises ConfigValueError when the mapping is of another model type.
        """
        cls._refuse_other_type(raw)
        return super().from_dict({key: value for key, value in raw.items() if key != "model_type"}, **overrides)

    @classmethod
    def field_names(cls) -> set[str]:
        """Every name that a field can be given by."""
        return {*super().field_names(), "num_labels"}

    def to_dict(self) -> dict[str, Any]:
        """Every field and every unknown key, as JSON values; `model_type` included."""
        return {**super().to_dict(), "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """What was given or differs from the defaults, as JSON values; `model_type` included.

        For a config that was read from a file, exactly the content of the file.
        """
        return {**super().to_diff_dict(), "model_type": self.model_type}

    def _kept(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        values = super()._kept(changes)
        if "num_labels" in changes:
            return {field: value for field, value in values.items() if field not in ("id2label", "label2id")}
        return values

    @classmethod
    def _refuse_other_type(cls, values: Mapping[str, Any]) -> None:
        found = values.get("model_type", cls.model_type)
        if cls.model_type and found != cls.model_type:
            raise ConfigValueError(f"{cls.__name__} is for {cls.model_type!r}; this config is for {shown(found)}.")


def _labels(values: dict[str, Any]) -> dict[str, Any]:
    """`num_labels` spelled out as id2label and label2id, as transformers does."""
    if "num_labels" not in values:
        return values
    count = values.pop("num_labels")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= 1 << 20:
        raise ConfigValueError(f"num_labels is {shown(count)}, not a whole number above 0.")
    given = values.get("id2label")
    if isinstance(given, Mapping) and len(given) == count:
        return values
    names = {index: f"LABEL_{index}" for index in range(count)}
    return {**values, "id2label": names, "label2id": {name: index for index, name in names.items()}}
