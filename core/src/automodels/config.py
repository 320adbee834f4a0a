"""PretrainedConfig: the typed, validated content of a `config.json`.

A config is data. It keeps keys that it does not know and writes them back, it refuses values that would mean another
network than the one that is implemented, and every change of a field is validated. Models take a copy.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from automodels.arguments import refuse_unknown
from automodels.checkpoint.config_file import CONFIG_NAME
from automodels.checkpoint.locate import locate, split_options
from automodels.errors import ConfigError, ConfigValueError, UnsupportedConfigError, nearest
from automodels.json_files import read_json_object
from automodels.plugins.scan import shown

logger = logging.getLogger("automodels")

Size = Annotated[int, Field(gt=0, lt=1 << 31, strict=True)]
"""A length of an axis."""

LayerCount = Annotated[int, Field(gt=0, le=10_000, strict=True)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 31, strict=True)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]

_SILENT_KEYS = frozenset({  # of published files: bookkeeping, and generation settings of old ones
    "transformers_version", "_name_or_path", "gradient_checkpointing", "auto_map", "automodels", "_commit_hash",
    "_attn_implementation_autoset", "torchscript", "use_bfloat16", "tf_legacy_loss", "directionality", "pooler_fc_size",
    "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type", "max_length",
    "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature",
    "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
    "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
})  # fmt: skip
_reported: set[tuple[str, tuple[str, ...]]] = set()


class PretrainedConfig(BaseModel):
    """Fields that every model type has; a family's config adds its own.

    Raises ConfigValueError when a value is impossible and UnsupportedConfigError when it is possible but asks for
    something that is not implemented.
    """

    model_config = ConfigDict(
        extra="allow", validate_assignment=True, protected_namespaces=(), validate_default=False, frozen=False
    )

    model_type: ClassVar[str] = ""
    """As in `config.json`; set by the family."""

    aliases: ClassVar[Mapping[str, str]] = {"torch_dtype": "dtype"}
    """Other spelling → field. Read, written back as it was found, and usable as an attribute."""

    unsupported: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Field → values that exist in published checkpoints, but change the network in a way that is not implemented."""

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

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)
    _loaded_from: str = PrivateAttr(default="")

    def __init__(self, /, **values: Any) -> None:
        """Fields by name; `num_labels` in place of `id2label`. Raises ConfigValueError, UnsupportedConfigError."""
        given = values
        self._refuse_other_type(values)
        known = {self.aliases.get(key, key): value for key, value in values.items() if key != "model_type"}
        values = _labels(known)
        self._refuse_unsupported(values)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _value_error(type(self), error) from error
        self._given = given
        self._report_unknown()
        self.check()

    def check(self) -> None:
        """Constraints between fields, for a family to extend. Raises ConfigValueError."""

    def impossible(self, reason: str) -> ConfigValueError:
        """The error that says why the values do not fit each other."""
        return ConfigValueError(f"{type(self).__name__}: {reason}.")

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.id2label)

    @property
    def name_or_path(self) -> str:
        """The name or directory that the config was loaded from."""
        return self._loaded_from or str(self._given.get("_name_or_path", ""))

    @property
    def use_return_dict(self) -> bool:
        """`return_dict`, by transformers' other name."""
        return self.return_dict

    @property
    def unknown_keys(self) -> tuple[str, ...]:
        """Keys that the class does not know; they are kept and written back."""
        return tuple(self.__pydantic_extra__ or ())

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
    def overrides(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """`options` if all of them are fields; raises UnknownArgumentError with the nearest name otherwise."""
        refuse_unknown(cls.__name__, options, cls.field_names())
        return dict(options)

    @classmethod
    def field_names(cls) -> set[str]:
        """Every name that a field can be given by."""
        return {*cls.model_fields, *cls.aliases, "num_labels"}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], **overrides: Any) -> Self:
        """A config from the content of a `config.json`.

        Raises ConfigValueError when the mapping is of another model type.
        """
        cls._refuse_other_type(raw)
        values = {key: value for key, value in raw.items() if key != "model_type"}
        loaded_from = overrides.pop("name_or_path", "")
        try:
            config = cls(**{**values, **overrides})
        except ConfigError as error:
            if not loaded_from:
                raise
            message = f"{CONFIG_NAME} of {loaded_from}: {error.message}"
            raise type(error)(message, hints=error.hints, trace=error.trace) from error
        config._loaded_from = loaded_from
        return config

    @classmethod
    def from_json_file(cls, path: str | os.PathLike[str]) -> Self:
        """A config from a file."""
        return cls.from_dict(read_json_object(path))

    def to_dict(self) -> dict[str, Any]:
        """Every field and every unknown key, as JSON values; `model_type` included."""
        values = self.model_dump(mode="json")
        return {**self._as_given(values), "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """What was given or differs from the defaults, as JSON values; `model_type` included.

        For a config that was read from a file, exactly the content of the file.
        """
        values = self.model_dump(mode="json", exclude_unset=True)
        return {**self._as_given(values), "model_type": self.model_type}

    def to_json_string(self, use_diff: bool = True) -> str:
        """JSON with sorted keys, as it is written to `config.json`."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        for field in ("id2label", "pruned_heads"):  # sorted as numbers, as published files have them: 2 before 10
            if field in values:
                values[field] = {int(key): value for key, value in values[field].items()}
        return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Writes `config.json` into a directory, which is made if need be; an old file is replaced at once.

        Raises CheckpointWriteError; then the old file is still there.
        """
        from automodels.checkpoint.staging import staging  # only whoever saves needs it

        with staging(directory) as stage:
            with stage.file(CONFIG_NAME) as output:
                output.write(self.to_json_string().encode())
            stage.commit()

    def update(self, changes: Mapping[str, Any]) -> None:
        """Changes fields in place, all or none; raises like the constructor."""
        changed = self.copy_with(**changes)
        self.__setstate__(changed.__getstate__())

    def copy_with(self, **changes: Any) -> Self:
        """A copy with some fields changed; the original stays as it is."""
        values = self.model_dump(exclude_unset=True)
        canonical = {self.aliases.get(key, key): value for key, value in changes.items()}
        if "num_labels" in canonical:
            values = {key: value for key, value in values.items() if key not in ("id2label", "label2id")}
        copied = type(self)(**{**values, **canonical})
        copied._given = {**self._given, **changes}
        copied._loaded_from = self._loaded_from
        return copied

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, however they were spelled and wherever they came from."""
        if not isinstance(other, PretrainedConfig):
            return NotImplemented
        return type(self) is type(other) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # values change

    def __getattr__(self, name: str) -> Any:
        if name in type(self).aliases:
            return getattr(self, type(self).aliases[name])
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic's, for extra keys

    def __setattr__(self, name: str, value: Any) -> None:
        name = type(self).aliases.get(name, name)
        if name in type(self).model_fields:
            self._refuse_unsupported({name: value})
        if name == "num_labels":
            self.update({"num_labels": value})
            return
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise _value_error(type(self), error) from error

    def _as_given(self, values: dict[str, Any]) -> dict[str, Any]:
        """Keys and unchanged values in the spelling in which they came (`torch_dtype`, `0` for `0.0`)."""
        spelled = {self.aliases.get(key, key): key for key in self._given}
        keyed = {spelled.get(field, field): value for field, value in values.items()}
        return {
            key: given if (given := self._given.get(key, value)) == value else value for key, value in keyed.items()
        }

    @classmethod
    def _refuse_other_type(cls, values: Mapping[str, Any]) -> None:
        found = values.get("model_type", cls.model_type)
        if cls.model_type and found != cls.model_type:
            raise ConfigValueError(f"{cls.__name__} is for {cls.model_type!r}; this config is for {shown(found)}.")

    @classmethod
    def _refuse_unsupported(cls, values: Mapping[str, Any]) -> None:
        for field, refused in cls.unsupported.items():
            if values.get(field) in refused:
                raise UnsupportedConfigError(
                    f"{cls.__name__}: {field} is {values[field]!r}, which is not implemented; loading would give a "
                    "silently different network."
                )

    def _report_unknown(self) -> None:
        unknown = tuple(key for key in self.unknown_keys if key not in _SILENT_KEYS)
        key = (type(self).__name__, unknown)
        if unknown and key not in _reported:
            _reported.add(key)
            names = ", ".join(shown(name) + self._meant(name) for name in unknown[:8])
            logger.warning("%s does not know %s; kept, and written back when saved.", type(self).__name__, names)

    def _meant(self, name: str) -> str:
        guess = nearest(name, type(self).model_fields)
        return f" (did you mean {guess!r}?)" if guess else ""


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


def _value_error(kind: type[PretrainedConfig], error: ValidationError) -> ConfigValueError:
    """All wrong fields at once, one line each."""
    return ConfigValueError("\n".join([f"{kind.__name__} has impossible values:", *_lines(error)]))


def _lines(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"]) or "a key"
        yield f"    {place} is {shown(problem['input'])}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
