"""Tokens that were added to a vocabulary later.

Newer checkpoints have them in `tokenizer_config.json`, with how they are recognised; older ones in `added_tokens.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automodels.errors import CheckpointFormatError, ConfigValueError
from automodels.plugins.scan import shown
from automodels.text.settings import CONFIG, flag, read_optional

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

ADDED_TOKENS = "added_tokens.json"
_TRAITS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def add_tokens(backend: Backend, config: Mapping[str, Any], vocabulary: Path) -> None:
    """Adds them under the ids that their embeddings have.

    Raises ConfigFileError, ConfigValueError, or CheckpointFormatError when `vocabulary` has other ids for them.
    """
    from tokenizers import AddedToken

    directory = vocabulary.parent
    ids: dict[Any, Any] = dict(read_optional(directory / ADDED_TOKENS))
    traits: dict[Any, dict[str, bool]] = {}
    newer = config.get("added_tokens_decoder")
    for number, entry in newer.items() if isinstance(newer, dict) else ():
        token = entry.get("content") if isinstance(entry, dict) else None
        ids[token] = int(number) if number.isdecimal() else number
        traits[token] = _traits(entry, directory / CONFIG) if isinstance(entry, dict) else {}
    for token, index in ids.items():
        if not isinstance(token, str) or not token or not isinstance(index, int) or isinstance(index, bool):
            raise ConfigValueError(f"{directory}: the added token {shown(token)} has the id {shown(index)}.")
    for token, index in sorted(ids.items(), key=lambda item: item[1]):
        backend.add_tokens([AddedToken(token, **{"normalized": False, **traits.get(token, {})})])
        if backend.token_to_id(token) != index:
            raise CheckpointFormatError(
                f"{directory}: the added token {shown(token)} should have id {index}, but {vocabulary.name} puts it at "
                f"{backend.token_to_id(token)}."
            )


def _traits(entry: Mapping[str, Any], path: Path) -> dict[str, bool]:
    given = {name: flag(entry, name, path, default=None) for name in _TRAITS}
    return {name: value for name, value in given.items() if value is not None}
