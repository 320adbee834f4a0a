"""Adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`, of the kind LORA.

Of what that format can say, this is read: rank and alpha, also by module; rank-stabilised scaling (Kalajdzievski 2023,
https://arxiv.org/abs/2312.03732); dropout; trained biases; whole modules that were trained along. Other kinds, and
options that change what is computed, are refused by name.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automodels.checkpoint.provenance import file_metadata
from automodels.checkpoint.safetensors import read_safetensors
from automodels.checkpoint.safetensors_writing import write_safetensors
from automodels.checkpoint.sources import SourceTensor
from automodels.checkpoint.staging import staging
from automodels.checkpoint.tensors import TensorView
from automodels.checkpoint.torchzip import read_torch
from automodels.errors import CheckpointFormatError, CheckpointNotFoundError, ConfigValueError, UnsupportedConfigError
from automodels.json_files import read_json_object

CONFIG, WEIGHTS, OLD_WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."
UNSUPPORTED = (
    "use_dora", "use_qalora", "lora_bias", "layer_replication", "megatron_config", "target_parameters",
    "trainable_token_indices", "alora_invocation_tokens", "arrow_config", "corda_config", "eva_config", "velora_config",
    "use_bdlora", "monteclora_config", "kasa_config", "lora_ga_config",
)  # fmt: skip
"""Options under which the format means another computation, or keeps more than factors."""

_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin, by `init_lora_weights`, that change the model's own weights, which the file does not have."""

_FACTORS = {"lora_A.weight": "a", "lora_B.weight": "b", "lora_embedding_A": "a", "lora_embedding_B": "b"}
_WRAPPER = re.compile(r"\.(?:base_layer|original_module|modules_to_save(?:\.[^.]+(?=\.[^.]+$))?)(?=\.)")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """What `adapter_config.json` says."""

    raw: Mapping[str, Any]
    r: int
    lora_alpha: float
    lora_dropout: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    use_rslora: bool
    bias: str
    modules_to_save: tuple[str, ...]
    target_modules: tuple[str, ...] | str

    def rank(self, module: str) -> int:
        """Rank of a module's factors."""
        return int(_by_pattern(self.rank_pattern, module, self.r))

    def scale(self, module: str) -> float:
        """What a module's product is multiplied by."""
        alpha, rank = float(_by_pattern(self.alpha_pattern, module, self.lora_alpha)), self.rank(module)
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank

    def targets(self, module: str) -> bool | None:
        """Whether a module is adapted; None where the file does not say it by names alone."""
        if any(self.raw.get(field) for field in ("layers_to_transform", "layers_pattern", "exclude_modules")):
            return None
        if isinstance(self.target_modules, str):
            return None if self.target_modules == "all-linear" else bool(re.fullmatch(self.target_modules, module))
        return any(module == target or module.endswith(f".{target}") for target in self.target_modules)

    def saves(self, parameter: str) -> bool:
        """Whether a parameter of the model itself may be in the file."""
        module, _, name = parameter.rpartition(".")
        whole = any(f".{module}.".find(f".{saved}.") >= 0 for saved in self.modules_to_save)
        return whole or (name == "bias" and self.bias != "none")


@dataclass(frozen=True, kw_only=True)
class AdapterTensors:
    """What an adapter's weight file holds."""

    factors: dict[str, dict[str, TensorView]]
    """Module → `a` and `b`."""

    tables: frozenset[str]
    """Modules that are tables of embeddings."""

    replaced: dict[str, TensorView]
    """Parameter of the model itself → its value with the adapter."""

    bases: frozenset[str]
    """Those of them that the format keeps beside factors, whatever the config says."""


def read_adapter(folder: str | os.PathLike[str]) -> tuple[AdapterConfig, AdapterTensors]:
    """Config and tensors of the adapter in a folder.

    Raises CheckpointNotFoundError, ConfigFileError, ConfigValueError, UnsupportedConfigError, CheckpointFormatError.
    """
    path = Path(folder)
    if not path.is_dir():
        raise CheckpointNotFoundError(f"There is no directory {path}.", hints=["Download the adapter first."])
    config = _config(read_json_object(path / CONFIG))
    if os.path.lexists(path / WEIGHTS):
        return config, _tensors(read_safetensors(path / WEIGHTS).tensors)
    if os.path.lexists(path / OLD_WEIGHTS):
        return config, _tensors(read_torch(path / OLD_WEIGHTS).tensors)
    raise CheckpointNotFoundError(f"{path} has no {WEIGHTS}.")


def write_adapter(folder: str | os.PathLike[str], raw: Mapping[str, Any], tensors: Mapping[str, SourceTensor]) -> None:
    """Writes an adapter, all or nothing. Raises CheckpointWriteError."""
    with staging(folder) as stage:
        with stage.file(CONFIG) as output:
            output.write(json.dumps(dict(raw), indent=2, sort_keys=True).encode() + b"\n")
        with stage.file(WEIGHTS) as output:
            write_safetensors(output, tensors, {"format": "pt", **file_metadata()})
        stage.commit()


def _config(raw: dict[str, Any]) -> AdapterConfig:
    kind = raw.get("peft_type")
    if kind != "LORA":
        raise UnsupportedConfigError(
            f"The adapter is of the kind {kind!r}; adapters of the kind 'LORA' are implemented."
        )
    found = next((name for name in UNSUPPORTED if raw.get(name)), None)
    if found is not None:
        raise UnsupportedConfigError(
            f"The adapter asks for {found}={json.dumps(raw[found])[:60]}, which is not implemented."
        )
    start = raw.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGING):
        raise UnsupportedConfigError(
            f"The adapter began with init_lora_weights={start!r}, which changed the model itself."
        )
    if raw.get("bias", "none") not in ("none", "all", "lora_only"):
        raise ConfigValueError(f"The adapter's bias is {raw['bias']!r}; it can be 'none', 'all' or 'lora_only'.")
    targets = raw.get("target_modules") or ()
    config = AdapterConfig(
        raw=raw,
        r=_number(raw, "r", 8),
        lora_alpha=_number(raw, "lora_alpha", 8),
        lora_dropout=float(raw.get("lora_dropout") or 0.0),
        rank_pattern=raw.get("rank_pattern") or {},
        alpha_pattern=raw.get("alpha_pattern") or {},
        use_rslora=bool(raw.get("use_rslora", False)),
        bias=raw.get("bias", "none"),
        modules_to_save=tuple(raw.get("modules_to_save") or ()),
        target_modules=targets if isinstance(targets, str) else tuple(targets),
    )
    for name, table in (("rank_pattern", config.rank_pattern), ("alpha_pattern", config.alpha_pattern)):
        if not isinstance(table, Mapping):
            raise ConfigValueError(f"The adapter's {name} is no object.")
        for pattern in table:
            _number(table, pattern, 0, what=f"{name}[{pattern!r}]")
    return config


def _number(raw: Mapping[str, Any], name: str, default: int, *, what: str = "") -> Any:
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigValueError(f"The adapter's {what or name} is {value!r}, not a number above 0.")
    return value


def _by_pattern(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    """The value of the first pattern that is the end of a module's path, as PEFT reads it: a regular expression."""
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise ConfigValueError(f"The adapter's pattern {pattern!r} is no regular expression.") from error
    return default


def _tensors(tensors: Mapping[str, TensorView]) -> AdapterTensors:
    factors: dict[str, dict[str, TensorView]] = {}
    replaced: dict[str, TensorView] = {}
    tables, bases = set(), set()
    for key, view in tensors.items():
        name = key.removeprefix(PREFIX)
        end = next((end for end in _FACTORS if name.endswith(f".{end}")), None)
        if end is None:
            plain = _WRAPPER.sub("", name)
            replaced[plain] = view
            if ".base_layer." in name:
                bases.add(plain)
            continue
        module = name.removesuffix(f".{end}")
        factors.setdefault(module, {})[_FACTORS[end]] = view
        if "embedding" in end:
            tables.add(module)
    halves = [module for module, found in factors.items() if len(found) < 2]
    if halves:
        raise CheckpointFormatError(f"The adapter has one of two factors for {halves[0]}.")
    return AdapterTensors(factors=factors, tables=frozenset(tables), replaced=replaced, bases=frozenset(bases))
