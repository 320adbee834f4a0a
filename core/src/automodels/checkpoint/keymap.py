"""KeyMap: the table between tensor names of a published format and parameter paths of a model.

Three columns: the tensor in the checkpoint, the parameter of the model, and how one lies relative to the other. `{i}`
stands for a number and means the same on both sides. One table serves reading and writing; it is a bijection between
the names that are written and the parameters, while reading accepts older spellings as well.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PLACEHOLDER = "{i}"
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.")
"""What DataParallel puts before every name, and torch.compile before those of whatever part was compiled."""

_NUMBER = re.compile(r"(?<=\.)[0-9]+(?=\.|$)")


class Layout(enum.Enum):
    """How a tensor lies in the file, relative to the parameter."""

    SAME = "same"
    TRANSPOSED = "transposed"
    """The two axes swapped: torch keeps [out, in], Flax [in, out]."""


SAME = Layout.SAME
"""A row of a table whose tensor and parameter lie alike."""

TRANSPOSED = Layout.TRANSPOSED
"""A row of a table whose tensor is the parameter with its two axes swapped."""


class KeyMap:
    """A bijection between tensor names and parameter paths, with the layout of each pair.

    `prefix` stands before the backbone's tensors in a checkpoint of a model with a head, and is absent from one of the
    backbone alone; both are read. `older` are (ending, today's ending) of former spellings. `buffers` are tensors that
    old versions saved and that are no parameters. `alternates` are (tensor, other tensor of a row): where the model has
    no parameter for the first, it is a second spelling of the other, as checkpoints store tied arrays twice.
    """

    def __init__(
        self,
        *rows: tuple[str, str, Layout],
        prefix: str = "",
        older: Sequence[tuple[str, str]] = (),
        buffers: Sequence[str] = (),
        alternates: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.prefix = prefix
        self.older = tuple(older)
        self.buffers = frozenset(buffers)
        self._by_tensor = {tensor: (parameter, layout) for tensor, parameter, layout in rows}
        self._by_parameter = {parameter: (tensor, layout) for tensor, parameter, layout in rows}
        if not len(self._by_tensor) == len(self._by_parameter) == len(rows):
            raise ValueError("a key map names a tensor or a parameter twice")
        for tensor, parameter, _ in rows:
            self._check(tensor, parameter)
        self.alternates = dict(alternates)
        for tensor, other in self.alternates.items():
            if other not in self._by_tensor or other in self.alternates:
                raise ValueError(
                    f"{tensor} is an alternate of {other}, which is no tensor of a row, or an alternate too"
                )
            self._check(tensor, other)

    @classmethod
    def same(
        cls, names: Iterable[str], *, prefix: str = "", alternates: Sequence[tuple[str, str]] = (), **spelling: Any
    ) -> KeyMap:
        """The map of a model whose parameters bear the checkpoint's names; `names` are its parameters.

        Of the spelling, which a family has for all its tasks, alternates of parameters that it does not have are left
        out.
        """
        patterns = dict.fromkeys(pattern_of(name.removeprefix(prefix)) for name in names)
        known = [(tensor, other) for tensor, other in alternates if other in patterns and tensor not in patterns]
        return cls(*((name, name, SAME) for name in patterns), prefix=prefix, alternates=known, **spelling)

    def _check(self, tensor: str, parameter: str) -> None:
        """Raises ValueError for a row that no name could ever reach."""
        if tensor.count(PLACEHOLDER) != parameter.count(PLACEHOLDER):
            raise ValueError(f"{tensor} and {parameter} have different numbers of {PLACEHOLDER}")
        for name in (tensor, parameter):
            if pattern_of(name.replace(PLACEHOLDER, "0")) != name:
                raise ValueError(f"{name}: numbers are written {PLACEHOLDER}, between dots")
        if self.canonical(tensor) != tensor:
            raise ValueError(f"{tensor} is not a name as it is written today; that is {self.canonical(tensor)}")

    def canonical(self, tensor: str) -> str:
        """A tensor's name as it is written today: wrappers and the prefix removed, older endings replaced."""
        tensor = _WRAPPERS.sub("", tensor).removeprefix(self.prefix)
        for old, new in self.older:
            if tensor.endswith(old):
                return tensor.removesuffix(old) + new
        return tensor

    def parameter(self, tensor: str) -> tuple[str, Layout] | None:
        """(parameter, layout) of a tensor in any accepted spelling; None when the table does not have it."""
        return _look_up(self._by_tensor, self.canonical(tensor))

    def alternate(self, tensor: str) -> tuple[str, Layout] | None:
        """(parameter, layout) that a tensor fills when the model has none of its own for it; None for no alternate."""
        pattern, numbers = _split(self.canonical(tensor))
        other = self.alternates.get(pattern)
        return _look_up(self._by_tensor, _joined(other, numbers)) if other else None

    def tensor(self, parameter: str) -> tuple[str, Layout] | None:
        """(canonical name of the tensor, layout) of a parameter; None when the table does not have it."""
        return _look_up(self._by_parameter, parameter)

    def is_buffer(self, tensor: str) -> bool:
        """Whether a tensor is one that old versions saved and that is no parameter."""
        return pattern_of(self.canonical(tensor)) in self.buffers


def pattern_of(name: str) -> str:
    """The name with its numbers replaced by the placeholder; nothing that a table has, if it holds one already."""
    return "" if PLACEHOLDER in name else _NUMBER.sub(PLACEHOLDER, name)


def _split(name: str) -> tuple[str, list[str]]:
    return pattern_of(name), _NUMBER.findall(name)


def _joined(pattern: str, numbers: Sequence[str]) -> str:
    for number in numbers:
        pattern = pattern.replace(PLACEHOLDER, number, 1)
    return pattern


def _look_up(table: Mapping[str, tuple[str, Layout]], name: str) -> tuple[str, Layout] | None:
    pattern, numbers = _split(name)
    found = table.get(pattern)
    return (_joined(found[0], numbers), found[1]) if found else None
