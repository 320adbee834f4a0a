"""From the files of a checkpoint to a tokenizer of the `tokenizers` library.

`tokenizer.json` is complete: normaliser, vocabulary, template. Its blocks for padding and truncation are switched off,
because they are what somebody's last call before saving left there. Without it a WordPiece `vocab.txt` is read.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automodels.errors import CheckpointFormatError, CheckpointNotFoundError, MissingDependencyError
from automodels.plugins.scan import shown
from automodels.text.settings import CONFIG, SPECIAL_TOKENS, TokenizerSettings, read_optional, read_roles, settings_from

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

    from automodels.checkpoint.locate import Location

logger = logging.getLogger("automodels")

BERT_TOKENS = {
    "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"
}  # fmt: skip
"""The roles in a WordPiece vocabulary about which nothing else is said."""

LARGEST = {
    "tokenizer.json": 64 << 20,  # the largest published vocabularies (262,144 tokens with merges) take about 35 MB
    "vocab.txt": 16 << 20,
}
"""The files that make a tokenizer, the preferred one first, and their largest size in bytes."""


def fetch_tokenizer(location: Location) -> None:
    """Sees to it that the files of a tokenizer are there, the preferred one of several kinds only."""
    names = location.names()
    location.fetch(CONFIG, SPECIAL_TOKENS, *[name for name in LARGEST if name in names][:1])


def read_tokenizer(directory: Path) -> tuple[Backend, TokenizerSettings]:
    """The tokenizer in a directory, neither padding nor truncating, and its settings.

    Raises CheckpointNotFoundError, CheckpointFormatError, ConfigFileError, ConfigValueError, UnsupportedConfigError,
    MissingDependencyError.
    """
    config = read_optional(directory / CONFIG)
    roles = read_roles(directory, config)
    backend = _backend(directory, config, roles)
    wordpiece = type(backend.model).__name__ == "WordPiece"
    if wordpiece:
        usual = {role: token for role, token in BERT_TOKENS.items() if backend.token_to_id(token) is not None}
        roles = usual | roles
    roles = _present(backend, roles, directory)
    _try_out(backend, directory)
    return backend, settings_from(config, directory / CONFIG, special_tokens=roles, wordpiece=wordpiece)


def _backend(directory: Path, config: Mapping[str, Any], roles: Mapping[str, str]) -> Backend:
    path = next((directory / name for name in LARGEST if os.path.lexists(directory / name)), None)
    if path is None:
        raise CheckpointNotFoundError(
            f"{directory} has no tokenizer: there is neither {' nor '.join(LARGEST)}.",
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
    with _failures_named(f"{path} is not a tokenizer that `tokenizers` can read"):
        backend = tokenizers.Tokenizer.from_str(data.decode("utf-8"))
        backend.no_padding()
        backend.no_truncation()
    return backend


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
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as failure:
        reason = str(failure).partition("\n")[0][:200] or type(failure).__name__
        raise CheckpointFormatError(f"{what}: {reason}.") from failure
