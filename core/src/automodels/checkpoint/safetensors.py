"""Headers of safetensors files, read and verified without touching the data.

Format: 8 bytes N, little-endian; N bytes of JSON (name → dtype, shape, data_offsets); then the data, which the tensors
cover without holes or overlaps, to the last byte. https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np

from automodels.checkpoint.dtypes import BY_SAFETENSORS_NAME
from automodels.checkpoint.impostors import HEAD, impostor
from automodels.checkpoint.tensors import TensorView, WeightFile, opened
from automodels.errors import CheckpointFormatError, listed
from automodels.json_files import parse_json_object
from automodels.plugins.scan import printable, shown

HEADER_BYTES = 100 << 20  # the limit of the reference implementation
DIMENSIONS = 32  # numpy 1 has no more
NAME_LENGTH = 512  # names of tensors stand in messages


def read_header(path: str | os.PathLike[str]) -> dict[str, TensorView]:
    """Every tensor of a safetensors file, in the order of their data.

    Raises CheckpointFormatError when the file is not what it claims to be: no safetensors at all, truncated, with
    trailing bytes, duplicate names, overlapping or misplaced data, unknown types; CheckpointNotFoundError when it
    cannot be read. Nothing larger than the header is read.
    """
    path = os.fspath(path)
    file = printable(os.path.basename(path))
    with opened(path) as stream:
        status = os.fstat(stream.fileno())
        header = _header(stream, status.st_size, file)
    entries = parse_json_object(header, what=f"the header of {file}", error=CheckpointFormatError, depth=4)
    _check_metadata(entries.pop("__metadata__", {}), file)
    weights = WeightFile(path, status.st_size, status.st_mtime_ns)
    tensors = [_tensor(name, entry, weights, file, 8 + len(header)) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.nbytes))
    _check_coverage(tensors, 8 + len(header), status.st_size, file)
    return {tensor.name: tensor for tensor in tensors}


def _header(stream: BinaryIO, size: int, file: str) -> bytes:
    length = int.from_bytes(stream.read(8), "little")
    header = stream.read(length) if length <= min(HEADER_BYTES, size - 8) else b""
    if not header.startswith(b"{"):
        stream.seek(0)
        raise _not_safetensors(stream.read(HEAD), size, length, file)
    return header


def _not_safetensors(head: bytes, size: int, length: int, name: str) -> CheckpointFormatError:
    if (what := impostor(head)) is not None:
        return CheckpointFormatError(f"{name} is {what.description}, not weights.", hints=what.hints)
    if size < 8:
        return CheckpointFormatError(f"{name} has {size} bytes; a safetensors file has at least 8.")
    if length > HEADER_BYTES:
        return CheckpointFormatError(
            f"{name} is not a safetensors file: it would start with a header of {length} bytes."
        )
    if length <= size - 8:
        return CheckpointFormatError(f"{name} is not a safetensors file: its header of {length} bytes is not JSON.")
    return CheckpointFormatError(
        f"{name} is truncated: its header has {length} bytes, the whole file {size}.", hints=["Download it again."]
    )


def _check_metadata(metadata: Any, file: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointFormatError(f"{file}: __metadata__ is not a table of strings.")


def _tensor(name: str, entry: Any, weights: WeightFile, file: str, data_start: int) -> TensorView:
    what = f"{file}, tensor {shown(name)}"
    if not is_tensor_name(name):
        raise CheckpointFormatError(f"{what}: a name has at most {NAME_LENGTH} characters, all of them printable.")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointFormatError(f"{what}: the entry does not consist of dtype, shape and data_offsets.")
    dtype = BY_SAFETENSORS_NAME.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise CheckpointFormatError(f"{what}: the dtype {shown(entry['dtype'])} is not known to this version.")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _whole_numbers(shape) or len(shape) > DIMENSIONS:
        raise CheckpointFormatError(f"{what}: the shape {shown(shape)} is not a list of at most {DIMENSIONS} lengths.")
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointFormatError(f"{what}: data_offsets {shown(offsets)} are not two ascending byte positions.")
    if math.prod(length or 1 for length in shape) * dtype.itemsize >= 1 << 63:  # an empty array has strides as well
        raise CheckpointFormatError(f"{what}: the shape {shown(shape)} is larger than any array.")
    needed = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != needed:
        raise CheckpointFormatError(
            f"{what}: {entry['dtype']} of shape {shape} needs {needed} bytes, its data has {offsets[1] - offsets[0]}."
        )
    return TensorView(name=name, dtype=np.dtype(dtype), shape=tuple(shape), file=weights, start=data_start + offsets[0])


def is_tensor_name(name: str) -> bool:
    """Whether a name can stand in a message as it is: no control characters, no lone surrogates, no endless text."""
    return name.isprintable() and len(name) <= NAME_LENGTH


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def _check_coverage(tensors: list[TensorView], start: int, size: int, file: str) -> None:
    """The data is covered from its first byte to the end of the file, once."""
    end = start
    for tensor in tensors:
        if tensor.start != end:
            kind = "overlaps the one before it" if tensor.start < end else "leaves a hole before it"
            raise CheckpointFormatError(f"{file}, tensor {shown(tensor.name)}: its data {kind}.")
        end += tensor.nbytes
    if end > size:
        cut = [tensor.name for tensor in tensors if tensor.start + tensor.nbytes > size]
        raise CheckpointFormatError(
            f"{file} is truncated: it has {size} bytes, its header promises {end}; {len(cut)} tensors are cut "
            f"({listed(cut, limit=3)}).",
            hints=["Download it again."],
        )
    if end < size:
        raise CheckpointFormatError(f"{file} has {size - end} bytes that belong to no tensor.")
