"""Files in the safetensors format whose tensors can be used in place.

The header is padded with spaces so that the data starts at a multiple of 64 bytes. The format allows no holes between
tensors, so their order decides: those of a multiple of 64 bytes first, then of 32, 16 and so on. All of the former are
aligned to 64 bytes, and the first of the latter; every tensor is aligned to the size of its elements.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from automodels.checkpoint.dtypes import BY_SAFETENSORS_NAME
from automodels.checkpoint.safetensors import HEADER_BYTES
from automodels.checkpoint.sources import SourceTensor, content, stored_dtype
from automodels.checkpoint.staging import Output
from automodels.errors import InputError

ALIGNMENT = 64
"""What XLA asks of memory that it uses without a copy."""

_NAMES = {dtype: name for name, dtype in reversed(BY_SAFETENSORS_NAME.items())}


def in_order(tensors: Mapping[str, SourceTensor]) -> dict[str, SourceTensor]:
    """The tensors in the order in which most of them are aligned."""
    return dict(sorted(tensors.items(), key=lambda tensor: -math.gcd(tensor[1].nbytes, ALIGNMENT)))


def unaligned(tensors: Mapping[str, SourceTensor]) -> list[str]:
    """Names of those that do not start at a multiple of 64 bytes, in the order in which they would be written."""
    start, found = 0, []
    for name, source in in_order(tensors).items():
        if start % ALIGNMENT:
            found.append(name)
        start += source.nbytes
    return found


def write_safetensors(output: Output, tensors: Mapping[str, SourceTensor], metadata: Mapping[str, str]) -> None:
    """Writes a file; of the tensors, one at a time is in memory. Raises InputError, OSError."""
    tensors = in_order(tensors)
    output.write(header(tensors, metadata))
    for name, source in tensors.items():
        output.write(content(name, source))


def header(tensors: Mapping[str, SourceTensor], metadata: Mapping[str, str]) -> bytes:
    """Everything before the data, for tensors in this order."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name, source in tensors.items():
        end = start + source.nbytes
        entries[name] = {
            "dtype": type_name(source.dtype),
            "shape": list(map(int, source.shape)),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > HEADER_BYTES:
        raise InputError(f"A header of {len(text)} bytes is more than the format allows ({HEADER_BYTES}).")
    return len(text).to_bytes(8, "little") + text


def type_name(dtype: np.dtype[Any]) -> str | None:
    """The format's name of a type; None if it has none."""
    return _NAMES.get(stored_dtype(dtype))
