"""What a checkpoint says about its tokenizer beside the vocabulary: roles of special tokens, lengths, sides.

It stands in `tokenizer_config.json` and, in older checkpoints, `special_tokens_map.json`; both may be missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automodels.errors import ConfigValueError
from automodels.json_files import read_json_object
from automodels.plugins.scan import shown
from automodels.text.batch import Side

CONFIG, SPECIAL_TOKENS = "tokenizer_config.json", "special_tokens_map.json"
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
UNBOUNDED = 1 << 31  # transformers writes 1e30 where there is no longest input


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """What a checkpoint says about its tokenizer beside the vocabulary."""

    special_tokens: Mapping[str, str]
    """Role, such as `pad_token`, to token; only tokens of the vocabulary."""

    model_max_length: int | None
    """Longest input of the model in tokens, special ones included; None when nothing is said."""

    padding_side: Side
    truncation_side: Side

    cleans_up_spaces: bool = False
    """Whether a decoded text loses the spaces before punctuation unless something else is asked for."""

    returns_token_type_ids: bool
    """Whether the model takes segments, so that `token_type_ids` are returned when nothing else is asked for."""


def read_optional(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty when there is no file."""
    return read_json_object(path) if os.path.lexists(path) else {}


def read_roles(directory: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Roles and their tokens. The older file counts unless the newer form is there, as in transformers."""
    roles = dict(_named_tokens(config, directory / CONFIG))
    if "added_tokens_decoder" not in config:
        roles |= _named_tokens(read_optional(directory / SPECIAL_TOKENS), directory / SPECIAL_TOKENS)
    return roles


def settings_from(
    config: Mapping[str, Any], path: Path, *, special_tokens: Mapping[str, str], wordpiece: bool
) -> TokenizerSettings:
    """The settings in the content of `tokenizer_config.json`; raises ConfigValueError."""
    names = config.get("model_input_names")
    return TokenizerSettings(
        special_tokens=special_tokens,
        model_max_length=_max_length(config.get("model_max_length"), path),
        padding_side=_side(config, "padding_side", path),
        truncation_side=_side(config, "truncation_side", path),
        # Byte-level tokens hold their own spaces; transformers 5 ignores the switch there as well.
        cleans_up_spaces=wordpiece and flag(config, "clean_up_tokenization_spaces", path, default=None) is True,
        returns_token_type_ids="token_type_ids" in names if isinstance(names, list) else wordpiece,
    )


def flag(config: Mapping[str, Any], key: str, path: Path, *, default: bool | None) -> bool | None:
    """A switch of `tokenizer_config.json`; raises ConfigValueError when it is none."""
    value = config.get(key, default)
    if isinstance(value, bool) or (value is None and default is None):
        return value
    raise ConfigValueError(f"{path}: {key} is {shown(value)}, not true or false.")


def _named_tokens(raw: Mapping[str, Any], path: Path) -> Iterator[tuple[str, str]]:
    for role in ROLES:
        given = raw.get(role)
        token = given.get("content") if isinstance(given, dict) else given
        if given is None:
            continue
        if not isinstance(token, str) or not token:
            raise ConfigValueError(f"{path}: {role} is {shown(given)}, neither a token nor an object with its content.")
        yield role, token


def _max_length(value: Any, path: Path) -> int | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 1 and value == int(value)
    if value is None or (whole and value >= UNBOUNDED):
        return None
    if not whole:
        raise ConfigValueError(f"{path}: model_max_length is {shown(value)}, not a whole number above 0.")
    return int(value)


def _side(config: Mapping[str, Any], key: str, path: Path) -> Side:
    value = config.get(key, "right")
    if value not in ("left", "right"):
        raise ConfigValueError(f"{path}: {key} is {shown(value)}, neither 'left' nor 'right'.")
    return "left" if value == "left" else "right"
