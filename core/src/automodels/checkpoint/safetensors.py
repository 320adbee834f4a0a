"""Headers of safetensors files, read and verified without touching the data.

Format: 8 bytes N, little-endian; N bytes of JSON (name → dtype, shape, data_offsets); then the data, which the tensors
cover without holes or overlaps, to the last byte. https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from automodels.checkpoint.dtypes import BY_SAFETENSORS_NAME
from automodels.checkpoint.impostors import impostor
from automodels.checkpoint.tensors import TensorView, WeightFile
from automodels.errors import CheckpointFormatError, CheckpointNotFoundError, listed
from automodels.json_files import parse_json_object
from automodels.plugins.scan import shown

HEADER_BYTES = 100 << 20  # the limit of the reference implementation
DIMENSIONS = 32  # numpy 1 has no more


def read_header(path: str | os.PathLike[str]) -> dict[str, TensorView]:
    """Every tensor of a safetensors file, in the order of their data.

    Raises CheckpointFormatError when the file is not what it claims to be: no safetensors at all, truncated, with
    trailing bytes, duplicate names, overlapping or misplaced data, unknown types. Nothing larger than the header is
    read.
    """
    file = os.fspath(path)
    try:
        with open(file, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            prefix = stream.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > min(HEADER_BYTES, size - 8):
                raise _not_safetensors(file, size, length)
            header = stream.read(length)
    except OSError as error:
        raise CheckpointNotFoundError(f"{file} cannot be read: {error.strerror}.") from error
    if not header.startswith(b"{"):
        raise _not_safetensors(file, size, length)
    entries = parse_json_object(header, what=f"the header of {file}", error=CheckpointFormatError, depth=4)
    _check_metadata(entries.pop("__metadata__", {}), file)
    weights = WeightFile(file, size)
    tensors = [_tensor(name, entry, weights, 8 + length) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.nbytes))
    _check_coverage(tensors, 8 + length, size, file)
    return {tensor.name: tensor for tensor in tensors}


def _not_safetensors(file: str, size: int, length: int) -> CheckpointFormatError:
    name = os.path.basename(file)
    if (what := impostor(file)) is not None:
        return CheckpointFormatError(f"{name} is {what.description}, not weights.", hints=what.hints)
    if size < 8:
        return CheckpointFormatError(f"{name} has {size} bytes; a safetensors file has at least 8.")
    if length > HEADER_BYTES:
        return CheckpointFormatError(f"{name} is not a safetensors file: it would start with a header of {length} bytes.")
    return CheckpointFormatError(
        f"{name} is truncated: its header has {length} bytes, the whole file {size}.", hints=["Download it again."]
    )


def _check_metadata(metadata: Any, file: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointFormatError(f"{file}: __metadata__ is not a table of strings.")


def _tensor(name: str, entry: Any, file: WeightFile, data_start: int) -> TensorView:
    what = f"{os.path.basename(file.path)}, tensor {shown(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointFormatError(f"{what}: the entry does not consist of dtype, shape and data_offsets.")
    dtype = BY_SAFETENSORS_NAME.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise CheckpointFormatError(f"{what}: the dtype {shown(entry['dtype'])} is not known to this version.")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _whole_numbers(shape) or len(shape) > DIMENSIONS:
        raise CheckpointFormatError(f"{what}: the shape {shown(shape)} is not a list of at most {DIMENSIONS} lengths.")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise CheckpointFormatError(f"{what}: data_offsets {shown(offsets)} are not two byte positions.")
    needed = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != needed:
        raise CheckpointFormatError(
            f"{what}: {entry['dtype']} of shape {shape} needs {needed} bytes, its data has {offsets[1] - offsets[0]}."
        )
    return TensorView(name=name, dtype=np.dtype(dtype), shape=tuple(shape), file=file, start=data_start + offsets[0])


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def _check_coverage(tensors: list[TensorView], start: int, size: int, file: str) -> None:
    """The data is covered from its first byte to the end of the file, once."""
    name = os.path.basename(file)
    end = start
    for tensor in tensors:
        if tensor.start != end:
            kind = "overlaps the one before it" if tensor.start < end else "leaves a hole before it"
            raise CheckpointFormatError(f"{name}, tensor {shown(tensor.name)}: its data {kind}.")
        end += tensor.nbytes
    if end > size:
        cut = [tensor.name for tensor in tensors if tensor.start + tensor.nbytes > size]
        raise CheckpointFormatError(
            f"{name} is truncated: it has {size} bytes, its header promises {end}; {len(cut)} tensors are cut "
            f"({listed(cut, limit=3)}).",
            hints=["Download it again."],
        )
    if end < size:
        raise CheckpointFormatError(f"{name} has {size - end} bytes that belong to no tensor.")
