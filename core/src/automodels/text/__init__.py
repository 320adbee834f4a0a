"""AutoTokenizer: from a checkpoint's name to its tokenizer, over the `tokenizers` library.

Importing this module imports neither `tokenizers` nor numpy: the first is needed when a tokenizer is made, the second
when arrays are asked for.
"""

from __future__ import annotations

import os
from typing import Any

from automodels.arguments import refuse_unknown
from automodels.checkpoint.locate import OPTIONS, Location, locate, split_options
from automodels.errors import InputError
from automodels.text.batch import BatchEncoding
from automodels.text.files import fetch_tokenizer, read_tokenizer
from automodels.text.stream import TextStream
from automodels.text.tokenizer import Tokenizer

__all__ = ["AutoTokenizer", "BatchEncoding", "TextStream", "Tokenizer"]


class AutoTokenizer:
    """The tokenizer of a checkpoint: `AutoTokenizer.from_pretrained("…")`. It is never instantiated."""

    def __init__(self) -> None:
        raise InputError("Use AutoTokenizer.from_pretrained(name).")

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str] | Location, **options: Any) -> Tokenizer:
        """The tokenizer in a checkpoint; options are those of `locate`, such as `revision`.

        Reads `tokenizer.json`; where there is none, a WordPiece vocabulary in `vocab.txt` or a byte-level one in
        `vocab.json` and `merges.txt`, with the settings of `tokenizer_config.json` and `special_tokens_map.json`.
        Raises CheckpointNotFoundError, HubError, CheckpointFormatError, ConfigError, MissingDependencyError when
        `tokenizers` is not installed, or UnknownArgumentError.
        """
        where, unknown = split_options(options)
        refuse_unknown("AutoTokenizer.from_pretrained", unknown, OPTIONS)
        location = locate(name, **where)
        fetch_tokenizer(location)
        backend, settings = read_tokenizer(location.directory)
        return Tokenizer(backend, settings, name_or_path=location.name)
