"""Flax's msgpack files, walked without reading the arrays.

A file is one map of maps; names of tensors are their keys joined by dots, and a map `params` around everything is taken
off. Leaves are extensions: 1 is an array and 3 a scalar of numpy, both a nested array (shape, name of the type, bytes);
2 is a complex number of Python. An array of more than 1 GiB is a map with the keys `__msgpack_chunked_array__`, `shape`
and `chunks`, the latter maps from "0", "1", … . Everything else is no tensor and is only noted.

Formats: https://github.com/msgpack/msgpack/blob/master/spec.md and flax.serialization.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from automodels.checkpoint.dtypes import BY_NUMPY_NAME
from automodels.checkpoint.impostors import HEAD, impostor
from automodels.checkpoint.limits import check_name, size_of
from automodels.checkpoint.msgpack_items import Extension, Items, Opening, Raw
from automodels.checkpoint.tensors import Contents, TensorView, WeightFile, opened
from automodels.errors import CheckpointFormatError
from automodels.plugins.scan import printable, shown

DEPTH = 32
NODES = 300_000  # maps, tensors and other values of one file: 100 MB of objects
CHUNKED = "__msgpack_chunked_array__"
ARRAY, SCALAR = 1, 3
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

Tree: TypeAlias = "dict[str, Tree | TensorView | _Other]"


@dataclass(frozen=True, slots=True)
class _Other:
    """A value that is no tensor; short ones are kept, since shapes of chunked arrays are such values."""

    value: Any = None


def read_msgpack(path: str | os.PathLike[str]) -> Contents:
    """The tensors of a msgpack file that Flax wrote.

    Raises CheckpointFormatError, naming the file and the place in it, when it is truncated, has bytes after its end,
    lies about a length, repeats a name, or holds another kind of data; CheckpointNotFoundError when it cannot be read.
    """
    path = os.fspath(path)
    file = printable(os.path.basename(path))
    with opened(path) as stream:
        status = os.fstat(stream.fileno())
        head = stream.read(HEAD)
        if not _is_map(head):
            raise _not_msgpack(head, file)
        stream.seek(0)
        items = Items(stream, status.st_size, file)
        tree = _Walk(items, WeightFile(path, status.st_size, status.st_mtime_ns), file).tree()
        items.check_end()
    return _contents(tree, file)


def _is_map(head: bytes) -> bool:
    is_map = head[:1] in (b"\xde", b"\xdf") or b"\x80" <= head[:1] <= b"\x8f"
    return is_map and not (len(head) > 2 and head.startswith(_PICKLES))


def _not_msgpack(head: bytes, file: str) -> CheckpointFormatError:
    if (what := impostor(head)) is not None:
        return CheckpointFormatError(f"{file} is {what.description}, not weights.", hints=what.hints)
    return CheckpointFormatError(f"{file} is not a msgpack file of Flax: it does not begin with a map.")


class _Walk:
    """Builds the tree of one file; everything that is kept was first found in the file, so memory follows its size."""

    def __init__(self, items: Items, weights: WeightFile, file: str) -> None:
        self.items = items
        self.weights = weights
        self.file = file
        self.nodes = 0

    def tree(self) -> Tree:
        opening = self.items.next()
        assert isinstance(opening, Opening)  # the first byte says so
        return self._map(opening.count, ())

    def _map(self, count: int, path: tuple[str, ...]) -> Tree:
        if len(path) >= DEPTH:
            raise self.items.error(f"maps are nested more than {DEPTH} levels deep")
        tree: Tree = {}
        for _ in range(count):
            key = self.items.next()
            if not isinstance(key, str):
                raise self.items.error(f"a key of {_shown(path)} is not a string")
            if key in tree:
                raise self.items.error(f"the key {shown(key)} of {_shown(path)} stands there twice")
            tree[key] = self._value((*path, key))
        return tree

    def _value(self, path: tuple[str, ...]) -> Tree | TensorView | _Other:
        item = self.items.next()
        self.nodes += 1
        if self.nodes > NODES:
            raise self.items.error(f"there are more than {NODES} values")
        if isinstance(item, Extension):
            return self._extension(item, path)
        if isinstance(item, Raw):
            return _Other()
        if not isinstance(item, Opening):
            return _Other(item)
        tree = self._map(item.count, path) if item.is_map else self._list(item.count, path)
        return self._joined(tree, path) if CHUNKED in tree else tree

    def _list(self, count: int, path: tuple[str, ...]) -> Tree:
        if len(path) >= DEPTH:
            raise self.items.error(f"lists are nested more than {DEPTH} levels deep")
        return {str(place): self._value((*path, str(place))) for place in range(count)}

    def _extension(self, extension: Extension, path: tuple[str, ...]) -> TensorView | _Other:
        if extension.code not in (ARRAY, SCALAR):
            self.items.skip(extension.size)
            return _Other()
        what = f"{self.file}, tensor {_shown(path)}"
        end = self.items.position + extension.size
        parts = self.items.next()
        if parts != Opening(is_map=False, count=3):
            raise CheckpointFormatError(f"{what}: an array does not consist of shape, type and bytes.")
        shape, kind, data = self._shape(what), self.items.next(), self.items.next()
        dtype = BY_NUMPY_NAME.get(kind) if isinstance(kind, str) else None
        if dtype is None:
            raise CheckpointFormatError(f"{what}: the dtype {shown(kind)} is not known to this version.")
        needed = size_of(shape, dtype, what)
        if not isinstance(data, Raw) or data.size != needed or self.items.position != end:
            raise CheckpointFormatError(f"{what}: {kind} of shape {shape} needs {needed} bytes; it has others.")
        return TensorView(name=".".join(path), dtype=dtype, shape=tuple(shape), file=self.weights, start=data.start)

    def _shape(self, what: str) -> list[Any]:
        opening = self.items.next()
        if not isinstance(opening, Opening) or opening.is_map or opening.count > 64:
            raise CheckpointFormatError(f"{what}: the shape is not a short list.")
        return [self.items.next() for _ in range(opening.count)]

    def _joined(self, tree: Tree, path: tuple[str, ...]) -> TensorView:
        """The view of an array that was written in chunks."""
        what = f"{self.file}, tensor {_shown(path)}"
        shape, chunks = tree.get("shape"), tree.get("chunks")
        if set(tree) != {CHUNKED, "shape", "chunks"} or not isinstance(shape, dict) or not isinstance(chunks, dict):
            raise CheckpointFormatError(f"{what}: an array in chunks does not consist of shape and chunks.")
        lengths: list[Any] = [length.value if isinstance(length, _Other) else None for length in _in_order(shape, what)]
        views = [view for view in _in_order(chunks, what) if isinstance(view, TensorView) and len(view.shape) == 1]
        if not views or len(views) != len(chunks) or len({view.dtype for view in views}) != 1:
            raise CheckpointFormatError(f"{what}: the chunks of an array are not flat arrays of one type.")
        first = views[0]
        needed, there = size_of(lengths, first.dtype, what), sum(view.nbytes for view in views)
        if needed != there:
            raise CheckpointFormatError(
                f"{what}: {first.dtype.name} of shape {lengths} needs {needed} bytes, its chunks have {there}."
            )
        pieces = tuple((view.start, view.nbytes) for view in views) if len(views) > 1 else ()
        return replace(first, name=".".join(path), shape=tuple(lengths), chunks=pieces)


def _in_order(table: Tree, what: str) -> list[Any]:
    """The values of a map from "0", "1", …, as Flax writes lists."""
    try:
        return [table[str(place)] for place in range(len(table))]
    except KeyError as error:
        raise CheckpointFormatError(f"{what}: a list has no item {error.args[0]}.") from error


def _contents(tree: Tree, file: str) -> Contents:
    params = tree.pop("params", None) if isinstance(tree.get("params"), dict) else None
    tensors: dict[str, TensorView] = {}
    ignored: list[str] = []
    for part in (params, tree) if isinstance(params, dict) else (tree,):
        for name, leaf in _leaves(part, ""):
            check_name(name, f"{file}, tensor {shown(name)}")
            if name in tensors:
                raise CheckpointFormatError(f"{file}: two tensors have the name {name} once their keys are joined.")
            if isinstance(leaf, TensorView):
                tensors[name] = replace(leaf, name=name)
            else:
                ignored.append(name)
    return Contents(tensors=tensors, ignored=tuple(ignored))


def _leaves(tree: Tree, above: str) -> Any:
    for key, value in tree.items():
        name = f"{above}{key}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _shown(path: tuple[str, ...]) -> str:
    return shown(".".join(path)) if path else "the file"
