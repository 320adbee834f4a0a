"""A byte-level BPE tokenizer from `vocab.json` and `merges.txt`: GPT-2's, GPT-Neo's, OPT's (Radford et al. 2019).

A text is cut into words with GPT-2's pattern, each byte of a word is one of 256 letters, and letters are merged as the
lines of `merges.txt` say, the first line first. Several other families have files of these names with other rules,
which is why other tokenizer classes are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automodels.errors import CheckpointFormatError, ConfigValueError, UnsupportedConfigError
from automodels.json_files import parse_json_object
from automodels.plugins.scan import shown
from automodels.text.added_tokens import add_tokens
from automodels.text.settings import CONFIG, flag, read_optional

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

logger = logging.getLogger("automodels")

MERGES = "merges.txt"
MODEL_TYPES = frozenset({"gpt2", "gpt_neo", "gptj", "opt"})
"""Model types whose tokenizer is GPT-2's; they count where no tokenizer class is named."""


def byte_level(vocabulary: bytes, merges: bytes, path: Path, config: Mapping[str, Any]) -> Backend:
    """The tokenizer of a vocabulary, which lies at `path`, and the merges beside it.

    Raises CheckpointFormatError, ConfigFileError, ConfigValueError, UnsupportedConfigError.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    settings = path.parent / CONFIG
    _refuse_other_classes(config, path.parent)
    ids = _vocabulary(vocabulary, path)
    backend = Tokenizer(models.BPE(ids, _merges(merges, path.parent / MERGES, ids)))
    spaced = flag(config, "add_prefix_space", settings, default=False) is True
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    backend.decoder = decoders.ByteLevel()
    lost = set(pre_tokenizers.ByteLevel.alphabet()) - ids.keys()
    if lost:
        logger.warning("%s has no token for %d of the 256 bytes; texts lose them.", path, len(lost))
    add_tokens(backend, config, path)
    return backend


def prepend_bos(backend: Backend, bos: str | None, config: Mapping[str, Any], path: Path) -> None:
    """Texts begin with `bos` if the settings, which lie at `path`, say so and nothing is added to texts yet.

    Raises ConfigValueError, also when there is no such token.
    """
    from tokenizers import processors

    if not flag(config, "add_bos_token", path, default=False) or backend.num_special_tokens_to_add(False):
        return
    index = None if bos is None else backend.token_to_id(bos)
    if bos is None or index is None:
        raise ConfigValueError(f"{path}: add_bos_token is True, but there is no bos_token in the vocabulary.")
    tokens: Any = ("bos", index)
    backend.post_processor = processors.TemplateProcessing(
        single="bos $A", pair="bos $A bos:1 $B:1", special_tokens=[tokens]
    )


def _refuse_other_classes(config: Mapping[str, Any], directory: Path) -> None:
    model = read_optional(directory / "config.json")
    name = config.get("tokenizer_class") or model.get("tokenizer_class")
    if name is None and model.get("model_type", "gpt2") in MODEL_TYPES:
        return
    if name is not None and not isinstance(name, str):
        raise ConfigValueError(f"{directory}: tokenizer_class is {shown(name)}, not a name.")
    if name is None or name.removesuffix("Fast") != "GPT2Tokenizer":
        said = f"model_type is {shown(model['model_type'])}" if name is None else f"tokenizer_class is {shown(name)}"
        raise UnsupportedConfigError(
            f"{directory}: {said}, and there is no tokenizer.json; only GPT-2's tokenizer is built from vocab.json.",
            hints=["A fast tokenizer of transformers writes tokenizer.json when it is saved."],
        )


def _vocabulary(data: bytes, path: Path) -> dict[str, int]:
    ids = parse_json_object(data, what=str(path), error=CheckpointFormatError)
    owner: dict[int, str] = {}
    for token, index in ids.items():
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 1 << 31:
            raise CheckpointFormatError(f"{path}: the token {shown(token)} has the id {shown(index)}.")
        first = owner.setdefault(index, token)
        if first != token:
            raise CheckpointFormatError(f"{path}: {shown(first)} and {shown(token)} both have the id {index}.")
    if not ids:
        raise CheckpointFormatError(f"{path} has no tokens.")
    return ids


def _merges(data: bytes, path: Path, ids: Mapping[str, int]) -> list[tuple[str, str]]:
    try:
        lines = data.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as failure:
        raise CheckpointFormatError(
            f"{path} is not UTF-8: byte {failure.start} is {data[failure.start]:#04x}."
        ) from failure
    found: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.partition(" ")
        unknown = [token for token in (left, right, left + right) if token not in ids]
        if not left or not right or " " in right or unknown:
            why = f"{shown(unknown[0])} is not in vocab.json" if left and right and " " not in right else "not a pair"
            raise CheckpointFormatError(f"{path}: line {number} is {shown(line)}: {why}.")
        first = found.setdefault((left, right), number)
        if first != number:
            raise CheckpointFormatError(f"{path}: lines {first} and {number} are both {shown(line)}.")
    return list(found)
