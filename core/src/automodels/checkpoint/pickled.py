"""Pickles that torch.save writes, read by a machine that executes nothing.

A pickle is a program for a stack machine, and Python's own machine lets it import and call anything. This one knows the
instructions that data need, and of names of Python objects only those in `inert.NAMES`, each of which stands for a
function here that makes a description. There is no import, no attribute, no class and no `__setstate__` to be reached:
values are None, bool, int, float, str, bytes, tuple, list, dict, and descriptions. That is stricter than torch's own
`weights_only` reader, which builds real objects; what it cannot represent is refused, with the advice to convert.

No length allocates before that many bytes are there; instructions, stack and memo are counted; no value is printed,
compared or hashed but strings and small numbers, since a pickle of a few bytes can describe one that is endless.
"""

from __future__ import annotations

import struct
from typing import Any

from automodels.checkpoint.pickle_instructions import INSTRUCTIONS
from automodels.checkpoint.pickle_state import State
from automodels.errors import CheckpointFormatError

BYTES = 32 << 20  # a tensor takes some 200
STEPS = 4_000_000  # a tensor takes some 40
STOP = b"."
_UNSAFE = {
    b"i": "INST", b"o": "OBJ", b"\x81": "NEWOBJ", b"\x92": "NEWOBJ_EX", b"\x82": "EXT1", b"\x83": "EXT2",
    b"\x84": "EXT4", b"P": "PERSID", b"\x97": "NEXT_BUFFER",
}  # fmt: skip
"""Instructions that make objects of any class, or reach outside the file."""


def unpickled(code: bytes, what: str) -> Any:
    """The value that a pickle, called `what` in messages, describes.

    Raises CheckpointSecurityError for one that wants to import, call or build something, CheckpointFormatError for one
    that is damaged or larger than any list of tensors.
    """
    state = State(code, what)
    if len(code) > BYTES:
        raise state.error(f"{len(code)} bytes are more than any list of tensors needs")
    try:
        return _run(state)
    except (IndexError, ValueError, struct.error) as error:
        raise state.error("it is damaged") from error


def _run(state: State) -> Any:
    for _ in range(STEPS):
        instruction = state.take(1)
        act = INSTRUCTIONS.get(instruction)
        if act is not None:
            act(state)
        elif instruction == STOP:
            return _result(state)
        elif instruction in _UNSAFE:
            raise state.insecure(
                f"uses the instruction {_UNSAFE[instruction]}, which makes objects of any class or reaches outside"
            )
        else:
            raise state.error(f"the instruction {instruction!r} is none that lists of tensors need")
    raise state.error(f"it has more than {STEPS} instructions")


def _result(state: State) -> Any:
    value = state.pop()
    if state.stack or state.place != len(state.code):
        raise _leftovers(state)
    return value


def _leftovers(state: State) -> CheckpointFormatError:
    if state.stack:
        return state.error(f"{len(state.stack)} values are left at its end")
    return state.error(f"{len(state.code) - state.place} bytes follow its end")
