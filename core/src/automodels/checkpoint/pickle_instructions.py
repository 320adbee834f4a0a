"""The instructions of pickles that lists of tensors need, and what each does to the state of the machine.

https://docs.python.org/3/library/pickletools.html and CPython's Lib/pickletools.py, whose names stand beside the codes
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from automodels.checkpoint.inert import Named, stored
from automodels.checkpoint.pickle_state import MARK, State
from automodels.plugins.scan import shown

INTEGER_BYTES = 16
KEYS = 1 << 20  # larger numbers as keys could be chosen so that they fall on one place of a dict

Instruction: TypeAlias = Callable[[State], None]


def _value(value: Any) -> Instruction:
    return lambda state: state.push(value)


def _integer(size: int, *, signed: bool = False) -> Instruction:
    return lambda state: state.push(state.number(size, signed=signed))


def _long(width: int) -> Instruction:
    def act(state: State) -> None:
        size = state.number(width)
        if size > INTEGER_BYTES:
            raise state.error(f"a number of {size} bytes is no size of anything")
        state.push(state.number(size, signed=True))

    return act


def _text(width: int) -> Instruction:
    return lambda state: state.push(state.take(state.number(width)).decode())


def _bytes(width: int) -> Instruction:
    return lambda state: state.push(state.take(state.number(width)))


def _tuple(count: int) -> Instruction:
    def act(state: State) -> None:
        values = [state.pop() for _ in range(count)]
        state.push(tuple(reversed(values)))

    return act


def _protocol(state: State) -> None:
    if (version := state.number(1)) not in (2, 3, 4, 5):
        raise state.error(f"pickles of version {version} are not known")


def _frame(state: State) -> None:
    state.take(8)


def _extend(state: State, values: list[Any]) -> None:
    if type(state.top()) is not list:
        raise state.error("something is appended to what is no list")
    state.top().extend(values)


def _set_item(state: State) -> None:
    value, key = state.pop(), state.pop()
    _set_items(state, [key, value])


def _set_items(state: State, values: list[Any]) -> None:
    table = state.top()
    if type(table) is not dict or len(values) % 2:
        raise state.error("items are set in what is no dict")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not (type(key) is str or (type(key) is int and abs(key) < KEYS)):  # hashing a tuple can take for ever
            raise state.error(f"a key of type {type(key).__name__} is no name of anything")
        if key in table:
            raise state.error(f"the key {shown(key)} stands there twice")
        table[key] = value


def _call(state: State) -> None:
    arguments, function = state.pop(), state.pop()
    if not isinstance(function, Named) or function.build is None:
        raise state.insecure(f"calls a value of type {type(function).__name__}")
    if type(arguments) is not tuple:
        raise state.error(f"{function.name} is called without a list of arguments")
    try:
        result = function.build(*arguments)
    except (TypeError, ValueError) as error:
        raise state.error(f"{function.name}: {error}") from error
    state.push(result)


def _set_state(state: State) -> None:
    """The attributes of a dict, such as torch's `_metadata`, are of no use here."""
    attributes, owner = state.pop(), state.top()
    if type(owner) is not dict or type(attributes) is not dict:
        raise state.insecure(f"sets the state of a value of type {type(owner).__name__}")


def _global(state: State) -> None:
    module, name = state.line(), state.line()
    state.push(state.named(module, name))


def _stack_global(state: State) -> None:
    name, module = state.pop(), state.pop()
    if type(name) is not str or type(module) is not str:
        raise state.error("a name is no text")
    state.push(state.named(module, name))


def _persistent(state: State) -> None:
    try:
        storage = stored(state.pop())
    except ValueError as error:
        raise state.error(f"the description of a storage: {error}") from error
    state.push(storage)


# fmt: off
INSTRUCTIONS: dict[bytes, Instruction] = {
    b"\x80": _protocol,                                                              # PROTO
    b"\x95": _frame,                                                                 # FRAME: a length for streams
    b"(": _value(MARK),                                                              # MARK
    b"N": _value(None),                                                              # NONE
    b"\x88": _value(True),                                                           # NEWTRUE
    b"\x89": _value(False),                                                          # NEWFALSE
    b"K": _integer(1),                                                               # BININT1
    b"M": _integer(2),                                                               # BININT2
    b"J": _integer(4, signed=True),                                                  # BININT
    b"\x8a": _long(1),                                                               # LONG1
    b"\x8b": _long(4),                                                               # LONG4
    b"G": lambda state: state.push(struct.unpack(">d", state.take(8))[0]),           # BINFLOAT
    b"\x8c": _text(1),                                                               # SHORT_BINUNICODE
    b"X": _text(4),                                                                  # BINUNICODE
    b"\x8d": _text(8),                                                               # BINUNICODE8
    b"C": _bytes(1),                                                                 # SHORT_BINBYTES
    b"B": _bytes(4),                                                                 # BINBYTES
    b"\x8e": _bytes(8),                                                              # BINBYTES8
    b")": _tuple(0),                                                                 # EMPTY_TUPLE
    b"\x85": _tuple(1),                                                              # TUPLE1
    b"\x86": _tuple(2),                                                              # TUPLE2
    b"\x87": _tuple(3),                                                              # TUPLE3
    b"t": lambda state: state.push(tuple(state.marked())),                           # TUPLE
    b"]": lambda state: state.push([]),                                              # EMPTY_LIST
    b"a": lambda state: _extend(state, [state.pop()]),                               # APPEND
    b"e": lambda state: _extend(state, state.marked()),                              # APPENDS
    b"}": lambda state: state.push({}),                                              # EMPTY_DICT
    b"s": _set_item,                                                                 # SETITEM
    b"u": lambda state: _set_items(state, state.marked()),                           # SETITEMS
    b"q": lambda state: state.memoize(state.number(1)),                              # BINPUT
    b"r": lambda state: state.memoize(state.number(4)),                              # LONG_BINPUT
    b"\x94": lambda state: state.memoize(len(state.memo)),                           # MEMOIZE
    b"h": lambda state: state.push(state.memo[state.number(1)]),                     # BINGET
    b"j": lambda state: state.push(state.memo[state.number(4)]),                     # LONG_BINGET
    b"c": _global,                                                                   # GLOBAL
    b"\x93": _stack_global,                                                          # STACK_GLOBAL
    b"R": _call,                                                                     # REDUCE
    b"b": _set_state,                                                                # BUILD
    b"Q": _persistent,                                                               # BINPERSID
}
# fmt: on
