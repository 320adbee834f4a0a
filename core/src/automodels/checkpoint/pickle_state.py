"""The state of the machine that reads pickles: place in the code, stack, and memo, all of them bounded."""

from __future__ import annotations

from typing import Any

from automodels.checkpoint.inert import NAMES, Named
from automodels.errors import CheckpointFormatError, CheckpointSecurityError
from automodels.plugins.scan import shown

STACK = 100_000  # Python's pickler empties it after 1,000 items
MARK = object()


class State:
    """One run over one pickle, called `what` in messages."""

    def __init__(self, code: bytes, what: str) -> None:
        self.code = code
        self.what = what
        self.place = 0
        self.stack: list[Any] = []
        self.memo: list[Any] = []

    def take(self, size: int) -> bytes:
        """The next bytes; a length that lies allocates nothing."""
        end = self.place + size
        if end > len(self.code):
            raise self.error("it is truncated")
        taken = self.code[self.place : end]
        self.place = end
        return taken

    def number(self, size: int, *, signed: bool = False) -> int:
        """The next bytes as a number."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> str:
        """The text up to the end of the line."""
        end = self.code.index(b"\n", self.place)
        return self.take(end + 1 - self.place)[:-1].decode()

    def push(self, value: Any) -> None:
        """Puts a value, or a mark, on the stack."""
        if len(self.stack) >= STACK:
            raise self.error("its stack grows without end")
        self.stack.append(value)

    def pop(self) -> Any:
        """The topmost value, removed; it cannot be a mark."""
        value = self.top()
        del self.stack[-1]
        return value

    def top(self) -> Any:
        """The topmost value, which cannot be a mark."""
        if self.stack[-1] is MARK:
            raise self.error("a mark stands where a value should be")
        return self.stack[-1]

    def marked(self) -> list[Any]:
        """The values above the topmost mark, removed together with it."""
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:  # below the first one comes an IndexError
            place -= 1
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def memoize(self, place: int) -> None:
        """Remembers the topmost value; Python's pickler counts the places up."""
        if place > len(self.memo):
            raise self.error(f"the place {place} of its memo follows on {len(self.memo)}")
        self.memo[place : place + 1] = [self.top()]

    def named(self, module: str, name: str) -> Named:
        """What a name of Python stands for; raises CheckpointSecurityError for all but a few."""
        found = NAMES.get((module, name))
        if found is None:
            raise self.insecure(f"asks for {shown(f'{module}.{name}')}, which no list of tensors needs")
        return found

    def error(self, problem: str) -> CheckpointFormatError:
        """The error for what is wrong at the current place."""
        return CheckpointFormatError(
            f"{self.what}, byte {self.place}: {problem}.", hints=["If torch reads the file, convert it to safetensors."]
        )

    def insecure(self, problem: str) -> CheckpointSecurityError:
        """The error for what a file of weights has no business to do."""
        return CheckpointSecurityError(
            f"{self.what} {problem}; nothing was executed.",
            hints=["Convert it to safetensors where you trust it: torch itself may run any code that it asks for."],
        )
