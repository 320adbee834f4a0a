"""What names of Python objects in a torch file stand for here: descriptions, and functions that make descriptions.

Nothing of torch is imported. These few names are all that plain tensors need; any other is refused by the reader.
Source: torch/_utils.py and torch/serialization.py of https://github.com/pytorch/pytorch
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from automodels.checkpoint.dtypes import BY_NUMPY_NAME
from automodels.checkpoint.limits import DIMENSIONS, are_lengths


@dataclass(frozen=True, kw_only=True, eq=False)
class Named:
    """What a name stands for: a function, a type of numbers, or a type of storages."""

    name: str
    build: Callable[..., Any] | None = None
    dtype: np.dtype | None = None
    is_storage: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Storage:
    """A stretch of bytes in the file `data/<key>` of the archive."""

    key: str
    dtype: np.dtype | None
    """None when it is only bytes, and each tensor has its own type."""

    nbytes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Described:
    """A tensor: how its elements lie in a storage."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements, as `offset`."""


def stored(identity: Any) -> Storage:
    """The storage that a persistent identifier describes; raises ValueError when it describes none."""
    if type(identity) is not tuple or len(identity) != 5:
        raise ValueError("it is no list of five")
    word, kind, key, _, count = identity
    if type(word) is not str or word != "storage" or not isinstance(kind, Named) or not kind.is_storage:
        raise ValueError("it does not say which kind of storage")
    if type(key) is not str or not key.isascii() or not key.isdigit() or len(key) > 20:
        raise ValueError("its key is no number")
    if not are_lengths([count]):
        raise ValueError("it does not say how large it is")
    return Storage(key=key, dtype=kind.dtype, nbytes=count * (kind.dtype.itemsize if kind.dtype else 1))


def _tensor(  # noqa: PLR0917  # torch calls it like this
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, metadata: Any = None
) -> Described:
    if not isinstance(storage, Storage) or storage.dtype is None:
        raise ValueError("it has no typed storage")
    return _described(storage, storage.dtype, offset=offset, shape=shape, strides=strides, metadata=metadata)


def _tensor_of_bytes(  # noqa: PLR0917  # as above
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> Described:
    if not isinstance(storage, Storage) or not isinstance(dtype, Named) or dtype.dtype is None or dtype.is_storage:
        raise ValueError("it has no storage, or no type")
    return _described(storage, dtype.dtype, offset=offset, shape=shape, strides=strides, metadata=metadata)


def _described(storage: Storage, dtype: np.dtype, *, offset: Any, shape: Any, strides: Any, metadata: Any) -> Described:
    if not are_lengths([offset]) or type(shape) is not tuple or type(strides) is not tuple:
        raise ValueError("its offset, shape and strides are no numbers")
    if not are_lengths(shape) or not are_lengths(strides) or len(shape) != len(strides) or len(shape) > DIMENSIONS:
        raise ValueError(f"shape and strides are no numbers, or more than {DIMENSIONS}")
    if metadata is not None and not (type(metadata) is dict and not metadata):
        raise ValueError("it is marked as conjugate, negative, or with something else that changes its values")
    return Described(storage=storage, dtype=dtype, offset=offset, shape=tuple(shape), strides=tuple(strides))


def _parameter(data: Any, grad: Any, hooks: Any, state: Any = None) -> Described:
    if not isinstance(data, Described):
        raise ValueError("it is no tensor")
    return data


def _size(lengths: Any = ()) -> tuple[int, ...]:
    if type(lengths) is not tuple or not are_lengths(lengths):
        raise ValueError("it is no list of lengths")
    return tuple(lengths)


def _ordered_dict() -> dict[Any, Any]:
    return {}


_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}  # fmt: skip

_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_bytes,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}

NAMES: dict[tuple[str, str], Named] = {
    **{(module, name): Named(name=name, build=build) for (module, name), build in _FUNCTIONS.items()},
    **{("torch", name): Named(name=name, dtype=dtype) for name, dtype in BY_NUMPY_NAME.items()},
    **{
        ("torch", name): Named(name=name, dtype=BY_NUMPY_NAME[dtype], is_storage=True)
        for name, dtype in _STORAGES.items()
    },
    ("torch.storage", "UntypedStorage"): Named(name="UntypedStorage", is_storage=True),
}
"""(module, name) → what it stands for. Nothing else can be named."""
