"""Checks of what is passed to a tokenizer. All of them raise InputError."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Literal

from automodels.errors import InputError
from automodels.plugins.scan import shown

Padding = bool | Literal["longest", "max_length"]
Truncation = bool | Literal["longest_first", "only_first", "only_second"]

CHOICES = {
    "padding": (False, True, "longest", "max_length"),
    "truncation": (False, True, "longest_first", "only_first", "only_second"),
    "return_tensors": (None, "np"),
    "padding_side": ("left", "right"),
}


def check_choice(name: str, value: object, *, hint: str = "") -> None:
    """Refuses what is not one of the choices of an argument."""
    choices = CHOICES[name]
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise InputError(f"{name} is {shown(value)}; the choices are {_spoken(choices)}.", hints=[hint] if hint else [])


def positive(name: str, value: object) -> int:
    """A whole number above 0."""
    if not is_number(value) or not 0 < operator.index(value) < 1 << 31:  # type: ignore[arg-type]  # checked just before
        raise InputError(f"{name} is {shown(value)}, not a whole number above 0.")
    return operator.index(value)  # type: ignore[arg-type]  # as above


def padding_multiple(multiple: object, padding: Padding, cut_to: int | None) -> int | None:
    """`pad_to_multiple_of`; `cut_to` is the length that texts are truncated to, if they are."""
    if multiple is None:
        return None
    number = positive("pad_to_multiple_of", multiple)
    if not padding:
        raise InputError("pad_to_multiple_of has no effect without padding=True.")
    if cut_to is not None and cut_to % number:
        raise InputError(
            f"max_length is {cut_to}, no multiple of pad_to_multiple_of {number}: what was cut to the one would be "
            "padded beyond it for the other."
        )
    return number


def texts_of(given: object, name: str) -> list[str]:
    """The texts of a list, each of them a str of whole characters."""
    if isinstance(given, bytes | dict | set) or not isinstance(given, Iterable):
        raise InputError(f"{name} is {_kind(given)}, not a text or a list of texts.")
    texts = list(given)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            hints = ["Pass pairs as two lists: tokenizer(firsts, seconds)."] if isinstance(text, tuple | list) else []
            raise InputError(f"{name}[{index}] is {_kind(text)}, not a text.", hints=hints)
        if not text.isascii():
            _refuse_surrogates(text, f"{name}[{index}]")
    return texts


def ids_of(given: object) -> list[int]:
    """One id or several, from numbers, lists or arrays."""
    values = given.tolist() if hasattr(given, "tolist") else given
    values = [values] if is_number(values) else values
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise InputError(f"ids are {_kind(given)}, not numbers.")
    numbers = list(values)
    for index, number in enumerate(numbers):
        if not is_number(number) or not 0 <= operator.index(number) < 1 << 32:
            what = "a list; batch_decode takes several" if isinstance(number, list) else shown(number)
            raise InputError(f"ids[{index}] is {what}, not a whole number from 0.")
    return [operator.index(number) for number in numbers]


def is_number(value: Any) -> bool:
    """Whether `value` is a whole number, of Python, numpy or JAX."""
    if isinstance(value, bool) or getattr(value, "shape", ()) != ():
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def _refuse_surrogates(text: str, name: str) -> None:
    """Halves of surrogate pairs are no Unicode text; old versions of `tokenizers` would replace them silently."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as failure:
        raise InputError(
            f"{name} has a lone surrogate, {text[failure.start]!a}, at position {failure.start}; that is not Unicode.",
            hints=["It comes from broken decoding; text.encode('utf-8', 'replace').decode() puts ? in its place."],
        ) from failure


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _spoken(choices: tuple[object, ...]) -> str:
    return f"{', '.join(repr(choice) for choice in choices[:-1])} and {choices[-1]!r}"
