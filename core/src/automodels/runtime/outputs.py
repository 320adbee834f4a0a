"""What models return: by attribute, by key, and by position."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any


class ModelOutput:
    """Base of all outputs: `out.logits`, `out["logits"]` and `out[0]` are the same; absent fields do not count."""

    def keys(self) -> tuple[str, ...]:
        """Names of the fields that are present."""
        names = (field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]  # subclasses are dataclasses
        return tuple(name for name in names if getattr(self, name) is not None)

    def values(self) -> tuple[Any, ...]:
        """Fields that are present."""
        return tuple(getattr(self, name) for name in self.keys())

    def items(self) -> tuple[tuple[str, Any], ...]:
        """(name, field) for the fields that are present."""
        return tuple((name, getattr(self, name)) for name in self.keys())

    def get(self, key: str, default: Any = None) -> Any:
        """The field, or `default` where it is absent."""
        return getattr(self, key) if key in self.keys() else default

    def to_tuple(self) -> tuple[Any, ...]:
        """Fields that are present, as `return_dict=False` gives them."""
        return self.values()

    def as_asked(self, return_dict: bool | None, *, default: bool) -> Any:
        """Itself, or its tuple where `return_dict` is False; None stands for the `default`, which the config has."""
        return self if (default if return_dict is None else return_dict) else self.to_tuple()

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __len__(self) -> int:
        return len(self.keys())
