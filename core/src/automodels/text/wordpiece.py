"""A WordPiece tokenizer from BERT's `vocab.txt` (Devlin et al. 2018, https://arxiv.org/abs/1810.04805).

One token per line, its number is its id. Normaliser and template are those of BERT; nothing in the file says so, which
is why other tokenizer classes with such a file are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automodels.errors import CheckpointFormatError, ConfigValueError, UnsupportedConfigError
from automodels.plugins.scan import shown
from automodels.text.added_tokens import add_tokens
from automodels.text.settings import flag

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

BERT_CLASSES = frozenset({"Bert", "ConvBert", "DistilBert", "Electra", "LayoutLM", "MobileBert", "SqueezeBert"})
"""Families whose tokenizer is BERT's; with these `vocab.txt` means what it means here."""

LONGEST_WORD = 100  # characters; longer words become the unknown token, as in BERT


def wordpiece(data: bytes, path: Path, config: Mapping[str, Any], roles: Mapping[str, str]) -> Backend:
    """The tokenizer of a vocabulary; `roles` name all special tokens of BERT.

    Raises CheckpointFormatError, ConfigValueError, UnsupportedConfigError.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    settings = path.parent / "tokenizer_config.json"
    _refuse_other_classes(config.get("tokenizer_class"), settings)
    vocabulary = _vocabulary(data, path)
    for role in ("unk_token", "cls_token", "sep_token"):
        if roles[role] not in vocabulary:
            raise CheckpointFormatError(
                f"{path} has no line {shown(roles[role])}, which is the {role}: no text could be encoded."
            )
    backend = Tokenizer(
        models.WordPiece(vocabulary, unk_token=roles["unk_token"], max_input_chars_per_word=LONGEST_WORD)
    )
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=flag(config, "tokenize_chinese_chars", settings, default=True) is True,
        strip_accents=flag(config, "strip_accents", settings, default=None),
        lowercase=flag(config, "do_lower_case", settings, default=True) is True,
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sep, cls = ((roles[role], vocabulary[roles[role]]) for role in ("sep_token", "cls_token"))
    backend.post_processor = processors.BertProcessing(sep, cls)
    backend.decoder = decoders.WordPiece(prefix="##")
    add_tokens(backend, config, path)
    return backend


def _refuse_other_classes(name: Any, path: Path) -> None:
    if name is None:
        return
    if not isinstance(name, str):
        raise ConfigValueError(f"{path}: tokenizer_class is {shown(name)}, not a name.")
    if name.removesuffix("Fast").removesuffix("Tokenizer") not in BERT_CLASSES:
        raise UnsupportedConfigError(
            f"{path}: tokenizer_class is {shown(name)}, and there is no tokenizer.json; only BERT's tokenizer is built "
            "from vocab.txt.",
            hints=["A fast tokenizer of transformers writes tokenizer.json when it is saved."],
        )


def _vocabulary(data: bytes, path: Path) -> dict[str, int]:
    try:
        lines = data.decode("utf-8").replace("\r\n", "\n").split("\n")  # not splitlines: tokens may be odd separators
    except UnicodeDecodeError as failure:
        raise CheckpointFormatError(
            f"{path} is not UTF-8: byte {failure.start} is {data[failure.start]:#04x}."
        ) from failure
    if lines[-1] == "":
        lines.pop()
    vocabulary: dict[str, int] = {}
    for index, token in enumerate(lines):
        first = vocabulary.setdefault(token, index)
        if first != index:
            raise CheckpointFormatError(
                f"{path}: lines {first + 1} and {index + 1} are both {shown(token)}; one id would be lost."
            )
    return vocabulary
