"""Headers of safetensors files, read and verified without touching the data.

Format: 8 bytes N, little-endian; N bytes of JSON (name → dtype, shape, data_offsets); then the data, which the tensors
cover without holes or overlaps, to the last byte. https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from automodels.checkpoint.dtypes import BY_SAFETENSORS_NAME, SUB_BYTE
from automodels.checkpoint.impostors import HEAD, impostor
from automodels.checkpoint.limits import are_lengths, check_name, size_of
from automodels.checkpoint.tensors import Contents, TensorView, WeightFile, opened
from automodels.errors import CheckpointFormatError, listed
from automodels.json_files import parse_json_object
from automodels.plugins.scan import printable, shown

HEADER_BYTES = 100 << 20  # the limit of the reference implementation


def read_header(path: str | os.PathLike[str]) -> dict[str, TensorView]:
    """Every tensor of a safetensors file, in the order of their data; raises like `read_safetensors`."""
    return read_safetensors(path).tensors


def read_safetensors(path: str | os.PathLike[str]) -> Contents:
    """The tensors of a safetensors file, in the order of their data, and its metadata.

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
    metadata = entries.pop("__metadata__", {})
    _check_metadata(metadata, file)
    weights = WeightFile(path, status.st_size, status.st_mtime_ns)
    tensors = [_tensor(name, entry, weights, file, 8 + len(header)) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.nbytes))
    _check_coverage(tensors, 8 + len(header), status.st_size, file)
    return Contents(tensors={tensor.name: tensor for tensor in tensors}, metadata=metadata)


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
    check_name(name, what)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointFormatError(f"{what}: the entry does not consist of dtype, shape and data_offsets.")
    dtype = BY_SAFETENSORS_NAME.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise _unknown_dtype(entry["dtype"], what)
    shape, offsets = entry["shape"], entry["data_offsets"]
    needed = size_of(shape, dtype, what)
    if not are_lengths(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointFormatError(f"{what}: data_offsets {shown(offsets)} are not two ascending byte positions.")
    if offsets[1] - offsets[0] != needed:
        raise CheckpointFormatError(
            f"{what}: {entry['dtype']} of shape {shape} needs {needed} bytes, its data has {offsets[1] - offsets[0]}."
        )
    return TensorView(name=name, dtype=dtype, shape=tuple(shape), file=weights, start=data_start + offsets[0])


def _unknown_dtype(dtype: Any, what: str) -> CheckpointFormatError:
    bits = SUB_BYTE.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        return CheckpointFormatError(f"{what}: the dtype {shown(dtype)} is not known to this version.")
    return CheckpointFormatError(
        f"{what}: {dtype} packs elements of {bits} bits across bytes, which no array of numpy can show.",
        hints=["Take the checkpoint in a type of 8 bits or more, or one that stores packed elements as U8."],
    )


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
