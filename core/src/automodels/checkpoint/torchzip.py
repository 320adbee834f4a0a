"""Zip files of torch.save, read without torch: views of tensors where they lie in the archive.

`<name>/data.pkl` is a pickle that describes the tensors (see `pickled` for how it is read without executing anything),
`<name>/data/<key>` is the storage of one or several of them, `<name>/byteorder` how numbers lie.
Source: torch/serialization.py of https://github.com/pytorch/pytorch
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from automodels.checkpoint.impostors import HEAD, impostor
from automodels.checkpoint.inert import Described
from automodels.checkpoint.limits import check_name, size_of
from automodels.checkpoint.pickled import BYTES, unpickled
from automodels.checkpoint.tensors import Contents, TensorView, WeightFile, opened
from automodels.checkpoint.zip_directory import Entry, read_directory
from automodels.errors import CheckpointFormatError, CheckpointSecurityError, listed
from automodels.plugins.scan import printable, shown

_ZIP = b"PK\x03\x04"
_PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which files of torch before 1.6 begin, after the first two bytes."""

_TAR = slice(257, 262), b"ustar"
_CONVERT = (
    "Convert it where you trust it: load it with torch, save it with safetensors.torch.save_file or with torch.save.",
)


def read_torch(path: str | os.PathLike[str]) -> Contents:
    """The tensors of a file that torch.save wrote, and names of the values beside them.

    A dict around the one that holds the tensors, such as `{"state_dict": …}`, is taken off. Raises
    CheckpointSecurityError when the file wants to run code, CheckpointFormatError when it is damaged or of another
    kind, CheckpointNotFoundError when it cannot be read. Only the directory and the descriptions are read.
    """
    path = os.fspath(path)
    file = printable(os.path.basename(path))
    with opened(path) as stream:
        status = os.fstat(stream.fileno())
        head = stream.read(HEAD)
        if not head.startswith(_ZIP):
            raise _not_torch(head, file)
        entries = read_directory(stream, status.st_size, file)
        root = _root(entries, file)
        code = _record(stream, entries[f"{root}/data.pkl"], BYTES, file)
        order = entries.get(f"{root}/byteorder")
        if order and (said := _record(stream, order, 16, file)) != b"little":
            raise CheckpointFormatError(f"{file}: its numbers lie in {shown(said)} byte order.", hints=_CONVERT)
    described, ignored = _state_dict(unpickled(code, f"{file}/data.pkl"), file)
    weights = WeightFile(path, status.st_size, status.st_mtime_ns)
    return Contents(
        tensors={
            name: _view(name, tensor, entries.get(f"{root}/data/{tensor.storage.key}"), weights, file)
            for name, tensor in described.items()
        },
        ignored=tuple(ignored),
    )


def _not_torch(head: bytes, file: str) -> CheckpointFormatError:
    if head[2:].startswith(_LEGACY) and head.startswith(_PICKLE):
        return CheckpointFormatError(f"{file} is of torch before 1.6, a format that is not read.", hints=_CONVERT)
    if head.startswith(_PICKLE):
        return CheckpointFormatError(f"{file} is a bare pickle, which is not read.", hints=_CONVERT)
    if head[_TAR[0]] == _TAR[1]:
        return CheckpointFormatError(f"{file} is a tar archive, as torch before 0.1.10 wrote.", hints=_CONVERT)
    if (what := impostor(head)) is not None:
        return CheckpointFormatError(f"{file} is {what.description}, not weights.", hints=what.hints)
    return CheckpointFormatError(f"{file} is not a file of torch: it is no zip archive.")


def _root(entries: Mapping[str, Entry], file: str) -> str:
    """The folder of the archive in which everything lies."""
    roots = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise CheckpointFormatError(f"{file} is a zip archive, but not of torch.save: it has {len(roots)} data.pkl.")
    if f"{roots[0]}/constants.pkl" in entries:
        raise CheckpointFormatError(f"{file} is a TorchScript program, not only weights.", hints=_CONVERT)
    return roots[0]


def _record(stream: Any, entry: Entry, limit: int, file: str) -> bytes:
    if entry.size > limit:
        raise CheckpointFormatError(f"{file}: {shown(entry.name)} has {entry.size} bytes; it never needs that many.")
    stream.seek(entry.start)
    data: bytes = stream.read(entry.size)
    if len(data) < entry.size:
        raise CheckpointFormatError(f"{file} became shorter while it was read.")
    return data


def _state_dict(value: Any, file: str) -> tuple[dict[str, Described], list[str]]:
    """(tensor name → description, names of what else there is)."""
    if type(value) is not dict:
        raise CheckpointFormatError(f"{file} holds a value of type {type(value).__name__}, not a dict of tensors.")
    if not _holds_tensors(value):
        inner = [key for key, table in value.items() if type(table) is dict and _holds_tensors(table)]
        if len(inner) > 1:
            raise CheckpointFormatError(
                f"{file} holds several dicts of tensors: {listed(map(shown, inner), limit=4)}.", hints=_CONVERT
            )
        if inner:
            around = [_name(key) for key in value if key != inner[0]]
            tensors, ignored = _state_dict(value[inner[0]], file)
            return tensors, [*around, *ignored]
    tensors = {}
    ignored = []
    for key, tensor in value.items():
        if not isinstance(tensor, Described):
            ignored.append(_name(key))
            continue
        what = f"{file}, tensor {shown(key)}"
        if type(key) is not str:
            raise CheckpointFormatError(f"{what}: the name of a tensor is a string.")
        check_name(key, what)
        tensors[key] = tensor
    return tensors, ignored


def _name(key: str | int) -> str:
    return printable(str(key))


def _holds_tensors(table: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Described) for value in table.values())


def _view(name: str, tensor: Described, entry: Entry | None, weights: WeightFile, file: str) -> TensorView:
    what = f"{file}, tensor {shown(name)}"
    if entry is None:
        raise CheckpointFormatError(f"{what}: its storage {tensor.storage.key} is not in the archive.")
    if entry.size < tensor.storage.nbytes:
        raise CheckpointFormatError(f"{what}: its storage promises {tensor.storage.nbytes} bytes and has {entry.size}.")
    width = tensor.dtype.itemsize
    nbytes = size_of(tensor.shape, tensor.dtype, what)
    last = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides, strict=True))
    if nbytes and (tensor.offset + last + 1) * width > tensor.storage.nbytes:
        raise CheckpointSecurityError(f"{what}: its elements lie outside its storage of {tensor.storage.nbytes} bytes.")
    if nbytes > tensor.storage.nbytes:
        raise CheckpointFormatError(
            f"{what}: {tensor.dtype.name} of shape {list(tensor.shape)} shows the same bytes more than once.",
            hints=_CONVERT,
        )
    strides = None if _is_contiguous(tensor) else tuple(stride * width for stride in tensor.strides)
    start = entry.start + tensor.offset * width if nbytes else entry.start
    return TensorView(name=name, dtype=tensor.dtype, shape=tensor.shape, file=weights, start=start, strides=strides)


def _is_contiguous(tensor: Described) -> bool:
    """Whether the elements lie row by row; the stride of an axis of one says nothing."""
    expected = [math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]
    lying = zip(tensor.shape, tensor.strides, expected, strict=True)
    return 0 in tensor.shape or all(stride == wanted for length, stride, wanted in lying if length > 1)
