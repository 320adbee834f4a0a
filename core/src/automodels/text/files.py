"""From the files of a checkpoint to a tokenizer of the `tokenizers` library.

`tokenizer.json` is complete: normaliser, vocabulary, template. Its blocks for padding and truncation are switched off,
because they are what somebody's last call before saving left there. Without it a WordPiece `vocab.txt` is read, or a
byte-level `vocab.json` with its `merges.txt`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automodels.checkpoint.config_file import CONFIG_NAME
from automodels.errors import AutomodelsError, CheckpointFormatError, CheckpointNotFoundError, MissingDependencyError
from automodels.plugins.scan import shown
from automodels.text.added_tokens import ADDED_TOKENS
from automodels.text.byte_level import MERGES, byte_level, prepend_bos
from automodels.text.settings import (
    CONFIG,
    SPECIAL_TOKENS,
    TokenizerSettings,
    flag,
    read_optional,
    read_roles,
    settings_from,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

    from automodels.checkpoint.locate import Location

logger = logging.getLogger("automodels")

BERT_TOKENS = {
    "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"
}  # fmt: skip
"""The roles in a WordPiece vocabulary about which nothing else is said."""

GPT2_TOKEN = "<|endoftext|>"  # noqa: S105  # a token of text
GPT2_TOKENS = {"bos_token": GPT2_TOKEN, "eos_token": GPT2_TOKEN, "unk_token": GPT2_TOKEN}
"""The roles in a byte-level vocabulary about which nothing else is said."""

LARGEST = {
    "tokenizer.json": 64 << 20,  # the largest published vocabularies (262,144 tokens with merges) take about 35 MB
    "vocab.txt": 16 << 20,
    "vocab.json": 16 << 20,
}
"""The files that make a tokenizer, the preferred one first, and their largest size in bytes."""


def fetch_tokenizer(location: Location) -> None:
    """Sees to it that the files of a tokenizer are there, the preferred one of several kinds only."""
    names = location.names()
    preferred = next((name for name in LARGEST if name in names), "")
    beside = {"vocab.txt": (ADDED_TOKENS,), "vocab.json": (MERGES, ADDED_TOKENS, CONFIG_NAME)}
    location.fetch(CONFIG, SPECIAL_TOKENS, preferred, *beside.get(preferred, ()))


def read_tokenizer(directory: Path) -> tuple[Backend, TokenizerSettings]:
    """The tokenizer in a directory, neither padding nor truncating, and its settings.

    Raises CheckpointNotFoundError, CheckpointFormatError, ConfigFileError, ConfigValueError, UnsupportedConfigError,
    MissingDependencyError.
    """
    config = read_optional(directory / CONFIG)
    roles = read_roles(directory, config)
    backend = _backend(directory, config, roles)
    roles = _usual_roles(backend, config, directory) | roles
    roles = _present(backend, roles, directory)
    if _is_byte_level(backend):
        prepend_bos(backend, roles.get("bos_token"), config, directory / CONFIG)
    _try_out(backend, directory)
    return backend, settings_from(config, directory / CONFIG, special_tokens=roles, wordpiece=_is_wordpiece(backend))


def _backend(directory: Path, config: Mapping[str, Any], roles: Mapping[str, str]) -> Backend:
    path = next((directory / name for name in LARGEST if os.path.lexists(directory / name)), None)
    if path is None:
        raise CheckpointNotFoundError(
            f"{directory} has no tokenizer: there is neither {' nor '.join(LARGEST)} with {MERGES}.",
            hints=["A fast tokenizer of transformers writes tokenizer.json when it is saved."],
        )
    data = _read(path, LARGEST[path.name])
    try:
        import tokenizers
    except ImportError as missing:
        raise MissingDependencyError(
            f"Tokenizers need the library `tokenizers`, which cannot be imported: {missing}.",
            hints=['Run: pip install "automodels[text]"'],
        ) from missing
    if path.name == "vocab.txt":
        from automodels.text.wordpiece import wordpiece

        return wordpiece(data, path, config, BERT_TOKENS | dict(roles))
    if path.name == "vocab.json":
        merges = _read(directory / MERGES, LARGEST[path.name])
        with _failures_named(f"{path} and {MERGES} are not a tokenizer that `tokenizers` can read"):
            return byte_level(data, merges, path, config)
    with _failures_named(f"{path} is not a tokenizer that `tokenizers` can read"):
        backend = tokenizers.Tokenizer.from_str(data.decode("utf-8"))
        backend.no_padding()
        backend.no_truncation()
    _set_prefix_space(backend, config, directory / CONFIG)
    return backend


def _usual_roles(backend: Backend, config: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """The roles in a tokenizer of BERT or GPT-2 about which nothing is said."""
    usual = BERT_TOKENS if _is_wordpiece(backend) else {}
    if _is_byte_level(backend):
        named = str(config.get("tokenizer_class")).removesuffix("Fast") == "GPT2Tokenizer"
        usual = GPT2_TOKENS if named or not os.path.lexists(directory / "tokenizer.json") else {}
    return {role: token for role, token in usual.items() if backend.token_to_id(token) is not None}


def _is_wordpiece(backend: Backend) -> bool:
    return type(backend.model).__name__ == "WordPiece"


def _is_byte_level(backend: Backend) -> bool:
    return type(backend.model).__name__ == "BPE" and type(backend.decoder).__name__ == "ByteLevel"


def _set_prefix_space(backend: Backend, config: Mapping[str, Any], path: Path) -> None:
    """A setting beside `tokenizer.json` wins over what stands in it, as in transformers."""
    spaced = flag(config, "add_prefix_space", path, default=None)
    cutter = backend.pre_tokenizer
    if spaced is not None and type(cutter).__name__ == "ByteLevel" and cutter.add_prefix_space != spaced:
        cutter.add_prefix_space = spaced
        backend.pre_tokenizer = cutter


def _read(path: Path, limit: int) -> bytes:
    if not path.is_file():
        if not path.exists():
            raise CheckpointNotFoundError(f"{path} is a link to nothing.")
        raise CheckpointFormatError(f"{path} is not a regular file.")
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as failure:
        raise CheckpointFormatError(f"{path} cannot be read: {failure.strerror}.") from failure
    if len(data) > limit:
        raise CheckpointFormatError(f"{path} has more than {limit >> 20} MiB; no published tokenizer is that large.")
    if data.startswith(b"version https://git-lfs"):
        raise CheckpointFormatError(f"{path} is a Git LFS pointer, not a tokenizer.", hints=["Run: git lfs pull"])
    return data


def _present(backend: Backend, roles: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Roles whose token is in the vocabulary; each of these tokens is from now on recognised inside a text."""
    from tokenizers import AddedToken

    present = {role: token for role, token in roles.items() if backend.token_to_id(token) is not None}
    for role in roles.keys() - present.keys():
        logger.warning("%s: the %s %s is not in the vocabulary; ignored.", directory, role, shown(roles[role]))
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    new = sorted(set(present.values()) - added)
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in new])
    return present


def _try_out(backend: Backend, directory: Path) -> None:
    """Some contradictions inside a tokenizer.json only show when it is used."""
    unknown = getattr(backend.model, "unk_token", None)
    if unknown and backend.token_to_id(unknown) is None:
        raise CheckpointFormatError(
            f"The tokenizer in {directory} has no token for what it does not know: {shown(unknown)} is not in its "
            "vocabulary."
        )
    with _failures_named(f"The tokenizer in {directory} contradicts itself"):
        backend.encode_batch_fast(["", ("", "")])


@contextmanager
def _failures_named(what: str) -> Iterator[None]:
    """Gives a name to whatever `tokenizers` raises; a panic in its Rust code is not even an Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, AutomodelsError):
        raise
    except BaseException as failure:
        reason = str(failure).partition("\n")[0][:200] or type(failure).__name__
        raise CheckpointFormatError(f"{what}: {reason}.") from failure
