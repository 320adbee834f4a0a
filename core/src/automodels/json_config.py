"""JsonConfig: a JSON object of a checkpoint as a class with typed, validated fields.

A config is data. It keeps keys that it does not know and writes them back, in the spelling in which they came; it
refuses values that would silently mean something else than what is implemented; and every change is validated.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from automodels.arguments import refuse_unknown
from automodels.errors import ConfigError, ConfigValueError, UnsupportedConfigError, nearest
from automodels.json_files import read_json_object
from automodels.plugins.scan import shown
from automodels.pydantic_plugins import survive_damage

survive_damage()
logger = logging.getLogger("automodels")

Size = Annotated[int, Field(gt=0, lt=1 << 31, strict=True)]
"""A whole number above 0: a length of an axis."""

TokenId = Annotated[int, Field(ge=0, lt=1 << 31, strict=True)]
"""A whole number from 0: a row of the table of tokens."""

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
"""A number from 0 to 1."""

Scale = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
"""A finite number above 0."""

Flag = Annotated[bool, Field(strict=True)]
"""True or false, and neither 0 nor 1."""


class _Derived:
    def __repr__(self) -> str:
        return "DERIVED"


DERIVED: Any = _Derived()
"""Default of a field that follows from others (see `JsonConfig.derive`) unless it is given; null means not given."""

_ALTERNATIVE = re.compile(r"(constrained-)?(int|float|str|bool)|(list|tuple|dict|function)[-\[].*")
_warned: set[str] = set()


def warn_once(message: str) -> None:
    """A warning of the logger `automodels`, unless this process has given it before."""
    if message not in _warned:
        _warned.add(message)
        logger.warning("%s", message)


class JsonConfig(BaseModel):
    """What all configs do; a kind of config adds its fields and the name of its file.

    Raises ConfigValueError when a value is impossible and UnsupportedConfigError when it is possible but asks for
    something that is not implemented.
    """

    model_config = ConfigDict(
        extra="allow", validate_assignment=True, protected_namespaces=(), validate_default=False, frozen=False
    )

    file_name: ClassVar[str] = ""
    """The file of a checkpoint that holds such a config."""

    aliases: ClassVar[Mapping[str, str]] = {}
    """Other spelling → field. Read, written back as it was found, and usable as an attribute."""

    written_as: ClassVar[Mapping[str, str]] = {}
    """Field → the one of its aliases that files have, where the field's own name cannot stand there."""

    unsupported: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Field → values that exist in published checkpoints, but mean something that is not implemented."""

    silent_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys of published files that are no fields and are kept without a word."""

    numbered: ClassVar[tuple[str, ...]] = ()
    """Fields whose keys are numbers, and are written in the order of numbers."""

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)
    _loaded_from: str = PrivateAttr(default="")

    def __init__(self, /, **values: Any) -> None:
        """Fields by name. Raises ConfigValueError, UnsupportedConfigError."""
        known = self._canonical(values)
        self._refuse_unsupported(known, self._names(values))
        derived = self._derived_fields()
        known = {field: value for field, value in known.items() if value is not None or field not in derived}
        try:
            super().__init__(**known)
        except ValidationError as error:
            raise _value_error(type(self), error, self._names(values)) from error
        self._given = {self.written_as.get(key, key): value for key, value in values.items()}
        for field in derived:
            if field not in known:
                self.__dict__[field] = self.derive(field)
        self._report_unknown()
        self.check()

    def check(self) -> None:
        """Constraints between fields, for a kind of config to extend. Raises ConfigValueError."""

    def derive(self, field: str) -> Any:
        """The value of a field whose default is DERIVED, where it is not given; for a kind of config to define."""
        raise NotImplementedError(field)

    def impossible(self, reason: str, *, hint: str = "") -> ConfigValueError:
        """The error that says why the values do not fit each other."""
        return ConfigValueError(f"{type(self).__name__}: {reason}.", hints=[hint] if hint else [])

    @property
    def name_or_path(self) -> str:
        """The name or directory that the config was loaded from."""
        return self._loaded_from or str(self._given.get("_name_or_path", ""))

    @property
    def unknown_keys(self) -> tuple[str, ...]:
        """Keys that the class does not know; they are kept and written back."""
        return tuple(self.__pydantic_extra__ or ())

    @classmethod
    def overrides(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """`options` if all of them are fields; raises UnknownArgumentError with the nearest name otherwise."""
        refuse_unknown(cls.__name__, options, cls.field_names())
        return dict(options)

    @classmethod
    def field_names(cls) -> set[str]:
        """Every name that a field can be given by."""
        return {*cls.model_fields, *cls.aliases}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], **overrides: Any) -> Self:
        """A config from the content of a file, with some fields changed.

        Raises ConfigValueError, UnsupportedConfigError.
        """
        loaded_from = overrides.pop("name_or_path", "")
        changes = cls._canonical(overrides)
        spelled = {key: changes[field] for key in raw if (field := cls.aliases.get(key, key)) in changes}
        new = changes.keys() - {cls.aliases.get(key, key) for key in spelled}
        try:
            config = cls._from_values(
                {**raw, **spelled, **{field: changes[field] for field in changes if field in new}}
            )
        except ConfigError as error:
            if not loaded_from:
                raise
            message = f"{cls.file_name} of {loaded_from}: {error.message}"
            raise type(error)(message, hints=error.hints, trace=error.trace) from error
        config._loaded_from = loaded_from
        return config

    @classmethod
    def from_json_file(cls, path: str | os.PathLike[str]) -> Self:
        """A config from a file."""
        return cls.from_dict(read_json_object(path))

    def explicit(self) -> dict[str, Any]:
        """What was given or changed, by the names of fields; unknown keys included."""
        return self.model_dump(exclude_unset=True)

    def to_dict(self) -> dict[str, Any]:
        """Every field and every unknown key, as JSON values."""
        return self._as_given(self.model_dump(mode="json"))

    def to_diff_dict(self) -> dict[str, Any]:
        """What was given or changed, as JSON values: for a config that was read from a file, exactly its content."""
        return self._as_given(self.model_dump(mode="json", exclude_unset=True))

    def to_json_string(self, use_diff: bool = True) -> str:
        """JSON with sorted keys, as it is written to the file."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        for field in self.numbered:  # as published files have them: 2 before 10
            if field in values:
                values[field] = {int(key): value for key, value in values[field].items()}
        return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Writes the file into a directory, which is made if need be; an old file is replaced at once.

        Raises CheckpointWriteError; then the old file is still there.
        """
        from automodels.checkpoint.staging import staging  # only whoever saves needs it

        with staging(directory) as stage:
            with stage.file(self.file_name) as output:
                output.write(self.to_json_string().encode())
            stage.commit()

    def update(self, changes: Mapping[str, Any]) -> None:
        """Changes fields in place, all or none; raises like the constructor."""
        changed = self.copy_with(**changes)
        self.__setstate__(changed.__getstate__())

    def copy_with(self, **changes: Any) -> Self:
        """A copy with some fields changed; the original stays as it is."""
        changes = self._canonical(changes)
        copied = self._from_values({**self._kept(changes), **changes})
        respelled = {key: value for field, value in changes.items() for key in self._spellings(field)}
        copied._given = {**self._given, **respelled}
        copied._loaded_from = self._loaded_from
        return copied

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, however they were spelled and wherever they came from."""
        if not isinstance(other, JsonConfig):
            return NotImplemented
        return type(self) is type(other) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # values change

    def __getattr__(self, name: str) -> Any:
        if name in type(self).aliases:
            return getattr(self, type(self).aliases[name])
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic's, for extra keys

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).__private_attributes__:
            super().__setattr__(name, value)
        else:
            self.update({name: value})

    @classmethod
    def _from_values(cls, values: Mapping[str, Any]) -> Self:
        """A config from fields and unknown keys."""
        return cls(**values)

    def _kept(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What was given and stays when `changes` are made, for a kind of config to reduce."""
        return self.explicit()

    @classmethod
    def _canonical(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by the names of fields; raises ConfigValueError when two spellings of one field contradict."""
        found: dict[str, tuple[str, Any]] = {}
        for key, value in values.items():
            field = cls._field(key)
            first, other = found.setdefault(field, (key, value))
            if other is not value and other != value:
                raise ConfigValueError(
                    f"{cls.__name__}: {first} is {shown(other)} and {key} is {shown(value)}, but they are one field."
                )
        return {field: value for field, (_, value) in found.items()}

    @classmethod
    def _field(cls, key: str) -> str:
        """The field that a key of a file or an argument stands for."""
        return cls.aliases.get(key, key)

    @classmethod
    def _names(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """Field → what errors call it: the key that was given, and then the field that it stands for."""
        return {cls._field(key): f"{key} ({cls._field(key)})" for key in values if cls._field(key) != key}

    @classmethod
    def _derived_fields(cls) -> list[str]:
        return [name for name, field in cls.model_fields.items() if field.default is DERIVED]

    def _spellings(self, field: str) -> list[str]:
        """The keys under which a field is written."""
        given = [key for key in self._given if self._field(key) == field]
        return given or [self.written_as.get(field, field)]

    def _as_given(self, values: dict[str, Any]) -> dict[str, Any]:
        """Keys and unchanged values in the spelling in which they came (`torch_dtype`, `0` for `0.0`)."""
        keyed = {key: value for field, value in values.items() for key in self._spellings(field)}
        written = {
            key: given if (given := self._given.get(key, value)) == value else value for key, value in keyed.items()
        }
        left_open = set(self._derived_fields()) - self.model_fields_set
        nulls = {key: None for key, given in self._given.items() if given is None and self._field(key) in left_open}
        return {**written, **nulls}

    @classmethod
    def _refuse_unsupported(cls, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
        for field, refused in cls.unsupported.items():
            if values.get(field) in refused:
                raise UnsupportedConfigError(
                    f"{cls.__name__}: {names.get(field, field)} is {values[field]!r}, which is not implemented; "
                    "loading would give a silently different network."
                )

    def _report_unknown(self) -> None:
        unknown = [key for key in self.unknown_keys if key not in self.silent_keys]
        if unknown:
            names = ", ".join(shown(name) + self._meant(name) for name in unknown[:8])
            warn_once(f"{type(self).__name__} does not know {names}; kept, and written back when saved.")

    def _meant(self, name: str) -> str:
        guess = nearest(name, type(self).field_names())
        return f" (did you mean {guess!r}?)" if guess else ""


def _value_error(kind: type[JsonConfig], error: ValidationError, names: Mapping[str, str]) -> ConfigValueError:
    """All wrong fields at once, one line each."""
    return ConfigValueError("\n".join([f"{kind.__name__} has impossible values:", *_lines(error, names)]))


def _lines(error: ValidationError, names: Mapping[str, str]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        field, *inside = problem["loc"] or ("a key",)
        # Of alternatives, pydantic names the one that it tried: no place in the file.
        place = ".".join(
            [names.get(str(field), str(field)), *(str(part) for part in inside if not _is_alternative(part))]
        )
        yield f"    {place} is {shown(problem['input'])}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _is_alternative(part: str | int) -> bool:
    return isinstance(part, str) and _ALTERNATIVE.fullmatch(part) is not None
