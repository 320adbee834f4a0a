"""What a sentence-transformers folder says about turning token vectors into one vector per sentence.

Files, in the forms of versions 0 to 6 (https://sbert.net)::

    modules.json                        the modules in order: Transformer, Pooling, and perhaps Normalize
    sentence_bert_config.json           longest input; lies beside the Transformer
    1_Pooling/config.json               which poolings
    2_Normalize/config.json             only since version 6
    config_sentence_transformers.json   prompts, and the length that embeddings are cut to

Whatever would give other embeddings than the ones described by `SentenceEmbeddingSettings` is refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from automodels.checkpoint.locate import Location
from automodels.errors import CheckpointSecurityError, ConfigValueError, UnsupportedConfigError
from automodels.json_files import read_json_array, read_json_object
from automodels.plugins.package_files import contained
from automodels.plugins.scan import shown

logger = logging.getLogger("automodels")

Pooling = Literal["cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken"]

MODULES = "modules.json"
_MODEL_FILE = "config_sentence_transformers.json"

# fmt: off
_POOLINGS: dict[str, tuple[str, Pooling]] = {
    # flag until version 5               name since version 6      pooling; flags are concatenated in this order
    "pooling_mode_cls_token":            ("cls",                   "cls"),
    "pooling_mode_max_tokens":           ("max",                   "max"),
    "pooling_mode_mean_tokens":          ("mean",                  "mean"),
    "pooling_mode_mean_sqrt_len_tokens": ("mean_sqrt_len_tokens",  "mean_sqrt_len"),
    "pooling_mode_weightedmean_tokens":  ("weightedmean",          "weightedmean"),
    "pooling_mode_lasttoken":            ("lasttoken",             "lasttoken"),
}
# fmt: on

_TRANSFORMER_FILES = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_TRANSFORMER_VALUES: dict[str, tuple[Any, ...]] = {
    "transformer_task": ("feature-extraction",),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
    "module_output_name": ("token_embeddings",),
    "unpad_inputs": (None, False, True),  # how it is computed, not what
    "query_length": (None,),
    "document_length": (None,),
    "query_expansion": (None,),
    "tokenizer_name_or_path": (None,),
}
"""Values of other keys beside a Transformer that mean a plain encoder of text."""

_ARGUMENTS = ("model_args", "model_kwargs", "config_args", "config_kwargs", "tokenizer_args", "processor_kwargs")
_HARMLESS_ARGUMENTS = frozenset({
    "trust_remote_code", "add_pooling_layer", "attn_implementation", "torch_dtype", "dtype", "use_fast"
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SentenceEmbeddingSettings:
    """From token vectors to sentence vectors: pool, concatenate, normalise, cut."""

    pooling: tuple[Pooling, ...] = ("mean",)
    """One or several poolings over the tokens of a sentence; their results are concatenated in this order."""

    normalize: bool = False
    """Whether sentence vectors are scaled to Euclidean length 1."""

    max_seq_length: int | None = None
    """Longest input in tokens, special ones included; None leaves it to tokenizer and model."""

    do_lower_case: bool = False
    """Whether texts are put into lower case, even where the tokenizer would not do so."""

    include_prompt: bool = True
    """Whether the tokens of a prompt take part in the pooling."""

    embedding_dimension: int | None = None
    """Width of the token vectors that the pooling was made for; None when the file does not say."""

    truncate_dim: int | None = None
    """Components of the final vector that are kept; None for all."""

    prompts: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Text that is put before a sentence, by the name of the prompt."""

    default_prompt_name: str | None = None
    """The prompt of sentences for which none is asked; one of `prompts`."""

    transformer: str = ""
    """Folder of the Transformer inside the checkpoint, with `config.json`, weights and tokenizer; usually the top."""

    @property
    def default_prompt(self) -> str:
        """What is put before a sentence for which no prompt is asked; usually nothing."""
        return "" if self.default_prompt_name is None else self.prompts[self.default_prompt_name]


def read_settings(where: str | os.PathLike[str] | Location) -> SentenceEmbeddingSettings:
    """The settings in a sentence-transformers folder, which may lie on the Hub.

    Without `modules.json` mean pooling is assumed, with a warning, as sentence-transformers does. Raises
    CheckpointNotFoundError, CheckpointSecurityError, ConfigFileError, ConfigValueError, UnsupportedConfigError.
    """
    location = where if isinstance(where, Location) else Location(name=os.fspath(where), directory=Path(where))
    location.fetch(MODULES)
    root = location.directory
    if not os.path.lexists(root / MODULES):
        logger.warning("%s has no %s; sentence embeddings are the mean over tokens, not normalised.", root, MODULES)
        return SentenceEmbeddingSettings()
    transformer, pooling, normalize = _folders(root)
    beside = (PurePosixPath(transformer, name).as_posix() for name in _TRANSFORMER_FILES)
    configs = (PurePosixPath(folder, "config.json").as_posix() for folder in (pooling, *normalize) if folder)
    location.fetch(_MODEL_FILE, *beside, *configs)
    return SentenceEmbeddingSettings(
        transformer=transformer,
        normalize=_normalizes(root, normalize),
        **_transformer_settings(root / transformer),
        **_pooling_settings(root / pooling / "config.json"),
        **_model_settings(root / _MODEL_FILE),
    )


def settings_files(root: Path) -> tuple[str, ...]:
    """Paths, relative to a sentence-transformers folder, of the files that `read_settings` would read in it."""
    if not os.path.lexists(root / MODULES):
        return ()
    transformer, pooling, normalize = _folders(root)
    paths = [MODULES, _MODEL_FILE, *(PurePosixPath(transformer, name).as_posix() for name in _TRANSFORMER_FILES)]
    paths += [PurePosixPath(folder, "config.json").as_posix() for folder in (pooling, *normalize) if folder]
    return tuple(path for path in paths if os.path.isfile(root / path))


def _folders(root: Path) -> tuple[str, str, list[str]]:
    """Folders of Transformer, Pooling and Normalize modules."""
    path = root / MODULES
    modules = [_module(entry, index, path) for index, entry in enumerate(read_json_array(path))]
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or set(kinds[2:]) - {"Normalize"}:
        raise UnsupportedConfigError(
            f"{path} has the modules {', '.join(kinds) or '(none)'}; only Transformer, Pooling, and then perhaps "
            "Normalize are implemented."
        )
    return modules[0][1], modules[1][1], [folder for _, folder in modules[2:]]


def _module(entry: Any, index: int, path: Path) -> tuple[str, str]:
    if not isinstance(entry, dict):
        raise ConfigValueError(f"{path}: module {index} is {shown(entry)}, not an object.")
    reference, folder = (_text(entry, key, path, what=f"module {index}: {key}") for key in ("type", "path"))
    if reference is None or folder is None or not folder.isprintable():
        raise ConfigValueError(f"{path}: module {index} needs a type and a path, and is {shown(entry)}.")
    package, _, kind = reference.rpartition(".")
    if package.partition(".")[0] != "sentence_transformers" or kind not in ("Transformer", "Pooling", "Normalize"):
        raise UnsupportedConfigError(
            f"{path}: module {index} is a {shown(kind)} ({shown(reference)}), which is not implemented; without it "
            "the embeddings would be others."
        )
    windows = PureWindowsPath(folder)
    if windows.anchor or ".." in windows.parts or not (_is_top(folder) or contained(str(path.parent), folder)):
        raise CheckpointSecurityError(f"{path}: module {index} lies in {shown(folder)}, which leaves the checkpoint.")
    return kind, "" if _is_top(folder) else folder


def _is_top(folder: str) -> bool:
    """Whether a relative path names the directory that it starts from."""
    return PurePosixPath(folder) == PurePosixPath()


def _pooling_settings(path: Path) -> dict[str, Any]:
    raw = read_json_object(path)
    known = {*_POOLINGS, "pooling_mode", "include_prompt", "embedding_dimension", "word_embedding_dimension"}
    _refuse(raw.keys() - known, raw, path)
    flags = [pooling for key, (_, pooling) in _POOLINGS.items() if _flag(raw, key, path, default=False)]
    given = raw.get("pooling_mode")
    dimension = "embedding_dimension" if "embedding_dimension" in raw else "word_embedding_dimension"
    return {
        "pooling": tuple(flags) or ("mean",) if given is None else _named_poolings(given, path),
        "include_prompt": _flag(raw, "include_prompt", path, default=True),
        "embedding_dimension": _size(raw, dimension, path),
    }


def _named_poolings(given: Any, path: Path) -> tuple[Pooling, ...]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigValueError(f"{path}: pooling_mode is {shown(given)}, neither a name nor a list of names.")
    poolings = dict(_POOLINGS.values())
    unknown = [name for name in names if name not in poolings]
    if unknown:
        raise UnsupportedConfigError(
            f"{path}: the pooling {shown(unknown[0])} is not implemented; there are {', '.join(poolings)}."
        )
    return tuple(poolings[name] for name in names)


def _normalizes(root: Path, folders: list[str]) -> bool:
    for folder in folders:
        path = root / folder / "config.json"
        raw = read_json_object(path) if folder and os.path.lexists(path) else {}
        _refuse((key for key, value in raw.items() if value not in ("sentence_embedding", None)), raw, path)
    return bool(folders)


def _transformer_settings(folder: Path) -> dict[str, Any]:
    path = next((folder / name for name in _TRANSFORMER_FILES if os.path.lexists(folder / name)), None)
    if path is None:
        return {}
    raw = read_json_object(path)
    known = {"max_seq_length", "do_lower_case", "processing_kwargs", *_TRANSFORMER_VALUES, *_ARGUMENTS}
    _refuse(raw.keys() - known, raw, path)
    _refuse((key for key, values in _TRANSFORMER_VALUES.items() if key in raw and raw[key] not in values), raw, path)
    for key in _ARGUMENTS:
        arguments = _object(raw, key, path)
        _refuse(arguments.keys() - _HARMLESS_ARGUMENTS, arguments, path)
    processing = _object(raw, "processing_kwargs", path)
    text = _object(processing, "text", path)
    _refuse(processing.keys() - {"text"}, processing, path)
    _refuse(text.keys() - {"max_length"}, text, path)
    longest = _size(text, "max_length", path)
    return {
        "max_seq_length": _size(raw, "max_seq_length", path) if longest is None else longest,
        "do_lower_case": _flag(raw, "do_lower_case", path, default=False),
    }


def _model_settings(path: Path) -> dict[str, Any]:
    raw = read_json_object(path) if os.path.lexists(path) else {}
    if raw.get("model_type") not in (None, "SentenceTransformer"):
        _refuse(["model_type"], raw, path)
    prompts = _object(raw, "prompts", path)
    texts = {name: _text(prompts, name, path, what=f"prompts.{name}") or "" for name in prompts}
    default = _text(raw, "default_prompt_name", path)
    if default is not None and default not in texts:
        raise ConfigValueError(f"{path}: default_prompt_name is {shown(default)}, which is not among the prompts.")
    return {"prompts": texts, "default_prompt_name": default, "truncate_dim": _size(raw, "truncate_dim", path)}


def _refuse(keys: Iterable[str], raw: Mapping[str, Any], path: Path) -> None:
    for key in sorted(keys):
        raise UnsupportedConfigError(
            f"{path}: {shown(key)} is {shown(raw[key])}, which is not implemented; without it the embeddings would be "
            "others."
        )


def _flag(raw: Mapping[str, Any], key: str, path: Path, *, default: bool) -> bool:
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise ConfigValueError(f"{path}: {key} is {shown(value)}, not true or false.")
    return value


def _size(raw: Mapping[str, Any], key: str, path: Path) -> int | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise ConfigValueError(f"{path}: {key} is {shown(value)}, not a whole number above 0.")
    return value


def _text(raw: Mapping[str, Any], key: str, path: Path, *, what: str = "") -> str | None:
    value = raw.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigValueError(f"{path}: {what or key} is {shown(value)}, not a text.")
    return value


def _object(raw: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    value = raw.get(key)
    if value is not None and not isinstance(value, dict):
        raise ConfigValueError(f"{path}: {key} is {shown(value)}, not an object.")
    return value or {}
