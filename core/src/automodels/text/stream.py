"""TextStream: ids that come one by one become text that comes piece by piece, in whole characters."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import TYPE_CHECKING

from automodels.text.inputs import ids_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

REPLACEMENT = "\ufffd"
"""What stands for bytes that are no text, and at the end of a text for a character that is not complete yet."""


class TextStream:
    """The text of a growing sequence of ids. Made by `Tokenizer.stream`.

    The pieces together are what `decode(ids, clean_up_tokenization_spaces=False)` gives for all ids. A character of
    several bytes comes when its last byte has come.
    """

    def __init__(self, backend: Backend, *, skip_special_tokens: bool = False) -> None:
        self._backend = backend
        added = backend.get_added_tokens_decoder()
        self._skipped = {index for index, token in added.items() if token.special} if skip_special_tokens else set()
        byte_level = type(backend.decoder).__name__ == "ByteLevel"
        self._pieces: _Bytes | _Window = _Bytes(backend) if byte_level else _Window(backend)

    def push(self, ids: int | Iterable[int]) -> str:
        """The text that became certain with further ids; often empty. Raises InputError."""
        return "".join(self._pieces.push(index) for index in ids_of(ids) if index not in self._skipped)

    def finish(self) -> str:
        """The rest: of an incomplete character the replacement character. The stream can be used anew then."""
        return self._pieces.finish()


class _Bytes:
    """For byte-level tokens: exact, and as quick for the thousandth token as for the first."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, index: int) -> str:
        token = self._backend.id_to_token(index)
        return "" if token is None else self._decoder.decode(token_bytes(token))

    def finish(self) -> str:
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest


class _Window:
    """For all others: the last tokens are decoded with and without the new one, and the difference is the piece."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ids: list[int] = []
        self._known = 0
        """The first ids of the window whose text was given out."""

    def push(self, index: int) -> str:
        self._ids.append(index)
        text = self._text(self._ids)
        return "" if text.endswith(REPLACEMENT) else self._give(text)

    def finish(self) -> str:
        rest = self._give(self._text(self._ids))
        self._ids, self._known = [], 0
        return rest

    def _give(self, text: str) -> str:
        piece = text[len(self._text(self._ids[: self._known])) :]
        self._ids, self._known = self._ids[self._known :], len(self._ids) - self._known
        return piece

    def _text(self, ids: list[int]) -> str:
        return self._backend.decode(ids, skip_special_tokens=False)


def token_bytes(token: str) -> bytes:
    """The bytes that the letters of a token stand for; those of its text if it is no byte-level token."""
    try:
        return bytes(_BYTES[letter] for letter in token)
    except KeyError:
        return token.encode("utf-8", "replace")


def _letters() -> dict[str, int]:
    """Letter → byte, as in GPT-2: printable Latin-1 stands for itself, the other bytes have letters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTES = _letters()
