"""What a model for sentence embedding takes along when it is saved: tokenizer and sentence-transformers folder."""

from __future__ import annotations

from pathlib import Path

from automodels.checkpoint.journal import current_path
from automodels.families.sentence_transformers import settings_files

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
)


def files_beside(source: Path) -> dict[str, bytes]:
    """Contents, by name, of the files that lie beside the weights."""
    names = [*TOKENIZER_FILES, *(path for path in settings_files(source) if "/" not in path)]
    paths = {name: current_path(source, name) for name in names}
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def copy_folders(source: Path, target: Path) -> None:
    """Copies the settings that lie in folders of their own, such as `1_Pooling/config.json`.

    They come before the weights: a folder that nothing refers to yet is harmless.
    """
    for path in settings_files(source):
        if "/" in path:
            content = (source / path).read_bytes()  # read first: source and target may be one
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(content)
