"""Resizing: a vocabulary of another size, in every parameter that has it as an axis.

New rows are drawn around the mean of the old ones with a small part of their covariance, so that the new tokens neither
take probability from the old ones nor are all alike (Hewitt 2021, https://nlp.stanford.edu/~johnhew/vocab-expansion.html).

Shapes: V old rows of the vocabulary, M new ones, W numbers in each.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from automodels.errors import InputError, listed
from torch_runtime.parameters import Held

SPREAD = 1e-5  # part of the covariance that new rows have, as Hewitt chose


def vocabulary_axes(old: Mapping[str, Held], new: Mapping[str, Held], before: int, after: int) -> dict[str, int]:
    """Name → axis of the parameters whose shape follows the vocabulary's size.

    `old` and `new` are a model with vocabularies of `before` and `after` tokens. Raises InputError when a parameter of
    the one is not in the other, or its shape changes in any other way.
    """
    axes: dict[str, int] = {}
    others: list[str] = []
    for name, found in old.items():
        if name not in new or found.tensor.dim() != new[name].tensor.dim():
            others.append(name)
            continue
        pairs = zip(found.tensor.shape, new[name].tensor.shape, strict=True)
        changed = {axis: pair for axis, pair in enumerate(pairs) if pair[0] != pair[1]}
        if changed and list(changed.values()) != [(before, after)]:
            others.append(name)
        elif changed:
            axes[name] = next(iter(changed))
    if others or not axes:
        raise InputError(
            f"No vocabulary of {before} tokens can become one of {after} here: "
            + (f"{listed(others, limit=4)} does not follow it." if others else "no parameter follows it.")
        )
    return axes


def resized(old: Tensor, axis: int, size: int, fresh: Tensor | None = None) -> Tensor:
    """The tensor with `size` rows along an axis: cut off, or with new rows at the end.

    New rows are the last ones of `fresh`, a tensor of the new size, or where it is None follow the old ones.
    """
    rows = old.movedim(axis, 0)
    more = size - rows.shape[0]
    if more <= 0:
        found = rows[:size]
    elif fresh is not None:
        found = torch.cat([rows, fresh.movedim(axis, 0)[-more:].to(old)])
    else:
        new = rows_like(rows.reshape(rows.shape[0], -1), more)
        found = torch.cat([rows, new.reshape(more, *rows.shape[1:])])
    return found.movedim(0, axis).clone(memory_format=torch.contiguous_format)


def rows_like(old: Tensor, count: int) -> Tensor:
    """[M, W] `count` rows from the normal distribution with the old rows' mean and a small part of their covariance.

    They are drawn with torch's random numbers.
    """
    table = old.float()
    mean = table.mean(0, keepdim=True)
    centered = table - mean
    covariance = centered.T @ centered / table.shape[0]
    # The covariance is not of full rank where there are fewer rows than columns: axes, not a Cholesky factor.
    variances, axes = torch.linalg.eigh(covariance)
    deviations = (SPREAD * variances.clamp(min=0)).sqrt()
    noise = torch.randn(count, table.shape[1], device=old.device) * deviations
    new: Tensor = (mean + noise @ axes.T).to(old.dtype)
    return new


def hang(found: Held, tensor: Tensor) -> None:
    """Puts a resized parameter in all its places, and tells their modules its size."""
    found.put(tensor)
    for module, name in found.places:
        note_size(module, name)


def note_size(module: nn.Module, name: str) -> None:
    """Sets what an embedding or a linear layer says of itself to the size of its weight."""
    if name == "weight" and isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = module.weight.shape
    elif name == "weight" and isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
