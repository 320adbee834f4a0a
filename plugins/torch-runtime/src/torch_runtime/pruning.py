"""Attention heads that are left out for good (Michel et al. 2019, https://arxiv.org/abs/1905.10650)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from automodels.config import PretrainedConfig
from automodels.errors import InputError
from automodels.runtime.numbers import whole


class CountsHeads(Protocol):
    """An attention module."""

    kept: list[int]
    """Numbers of the heads that it has."""

    heads: int
    """How many that are."""


@dataclass(frozen=True, kw_only=True)
class PrunableHeads:
    """The heads of one attention: `inner` layers give them, `outer` takes them."""

    attention: CountsHeads
    inner: tuple[nn.Linear, ...]
    outer: nn.Linear


def kept_heads(config: Any, layer: int) -> list[int]:
    """Numbers of the heads of a layer that the config's `pruned_heads` leaves."""
    gone = set(config.pruned_heads.get(layer, ()))
    return [head for head in range(config.num_attention_heads) if head not in gone]


class PruningMethods:
    """Heads taken out of a model, for families that say which parameters they have."""

    config: PretrainedConfig

    def prunable_heads(self, layer: int) -> PrunableHeads:
        """The heads of a layer as they are now; for the family's backbone to say."""
        raise NotImplementedError

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Takes heads out, layer → their numbers; a head keeps its number whatever else is pruned.

        Rows and columns of the remaining heads are copied. The config's `pruned_heads` has all that are gone, so that a
        saved model is loaded as it is; heads that are gone already are passed over. Raises InputError for layers and
        heads that do not exist, when no head of a layer would remain, and for a model that cannot be pruned; then the
        model is as it was.
        """
        backbone = _backbone(self)
        self._refuse_far_parameters("pruned")
        gone = {layer: set(heads) for layer, heads in self.config.pruned_heads.items()}
        wanted = _checked(heads_to_prune, self.config)
        parts = {}
        for layer, heads in wanted.items():
            old = kept_heads(self.config, layer)
            kept = [place for place, head in enumerate(old) if head not in heads]
            if not kept:
                raise InputError(f"No head of layer {layer} would remain.", hints=["Keep at least one."])
            if len(kept) < len(old):
                parts[layer] = backbone.prunable_heads(layer), kept
            gone[layer] = gone.get(layer, set()) | heads
        for found, kept in parts.values():
            _keep(found, kept)
        self._set_configs(pruned_heads={layer: sorted(heads) for layer, heads in sorted(gone.items()) if heads})

    def _refuse_far_parameters(self, what: str) -> None:
        raise NotImplementedError("VocabularyMethods, which comes first, has it")

    def _set_configs(self, **changes: Any) -> None:
        raise NotImplementedError("VocabularyMethods, which comes first, has it")


def _backbone(model: PruningMethods) -> PruningMethods:
    found = getattr(model, "base_model", model)
    if type(found).prunable_heads is PruningMethods.prunable_heads:
        raise InputError(f"{type(model).__name__} does not say where its heads are, so none can be pruned.")
    assert isinstance(found, PruningMethods)
    return found


def _checked(heads_to_prune: Mapping[Any, Any], config: Any) -> dict[int, set[int]]:
    if not isinstance(heads_to_prune, Mapping):
        raise InputError("heads_to_prune is no mapping of layers to heads, such as {0: [1, 2]}.")
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    found: dict[int, set[int]] = {}
    for key, numbers in heads_to_prune.items():
        layer = whole("A layer of heads_to_prune", key)
        if not 0 <= layer < layers:
            raise InputError(f"heads_to_prune names layer {layer}; the model has layers 0 to {layers - 1}.")
        if not isinstance(numbers, list | tuple | set | frozenset | range):
            raise InputError(f"heads_to_prune[{layer}] is {numbers!r}, not a list of heads.")
        found[layer] = {whole(f"A head of heads_to_prune[{layer}]", head) for head in numbers}
        absent = sorted(head for head in found[layer] if not 0 <= head < heads)
        if absent:
            raise InputError(f"heads_to_prune[{layer}] names head {absent[0]}; the layer has heads 0 to {heads - 1}.")
    return found


def _keep(found: PrunableHeads, kept: list[int]) -> None:
    size = found.outer.in_features // found.attention.heads
    rows = torch.cat([torch.arange(head * size, (head + 1) * size) for head in kept])
    for layer in found.inner:
        layer.weight = _selected(layer.weight, 0, rows)
        layer.out_features = len(rows)
        if layer.bias is not None:
            layer.bias = _selected(layer.bias, 0, rows)
    found.outer.weight = _selected(found.outer.weight, 1, rows)
    found.outer.in_features = len(rows)
    found.attention.kept = [found.attention.kept[place] for place in kept]
    found.attention.heads = len(kept)


def _selected(parameter: torch.Tensor, axis: int, rows: torch.Tensor) -> nn.Parameter:
    chosen = parameter.detach().index_select(axis, rows.to(parameter.device)).contiguous()
    return nn.Parameter(chosen, requires_grad=parameter.requires_grad)
