"""Checks of a model's inputs, made before anything is computed.

Values of ids are looked at where that is free of waiting: on a CPU, and not while torch.compile is looking.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automodels.errors import InputError


def checked_tokens(table: nn.Embedding, ids: Tensor | None, embeds: Tensor | None, *, positions: int) -> Tensor:
    """[B, T, D] rows of a table for ids [B, T], or the rows that are given in their place.

    Raises InputError unless exactly one of both is given, for a wrong shape or type, for ids outside the table, and for
    more tokens than positions.
    """
    if (ids is None) == (embeds is None):
        raise InputError("input_ids and inputs_embeds: exactly one of them is needed.")
    check_tensor("input_ids" if embeds is None else "inputs_embeds", ids if embeds is None else embeds)
    if embeds is not None:
        if embeds.dim() != 3 or embeds.shape[-1] != table.embedding_dim:
            raise InputError(f"inputs_embeds has shape {list(embeds.shape)}; it needs [B, T, {table.embedding_dim}].")
        check_length(embeds.shape[1], positions)
        return embeds
    assert ids is not None
    if ids.dim() != 2 or 0 in ids.shape:
        raise InputError(f"input_ids has shape {list(ids.shape)}; it needs [batch, tokens], both at least 1.")
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise InputError(f"input_ids holds {ids.dtype}, not whole numbers.")
    check_length(ids.shape[1], positions)
    check_values("input_ids", ids, table.num_embeddings)
    rows: Tensor = table(ids)
    return rows


def check_tensor(name: str, value: object) -> None:
    """Raises InputError for what is no tensor, such as an array of numpy."""
    if not isinstance(value, Tensor):
        hint = "Pass what a tokenizer makes of it" if isinstance(value, str) else f"Pass torch.as_tensor({name})"
        raise InputError(f"{name} is a {type(value).__name__}, not a tensor.", hints=[f"{hint}."])


def check_length(tokens: int, positions: int) -> None:
    """Raises InputError for more tokens than positions."""
    if tokens > positions:
        raise InputError(
            f"input_ids has {tokens} tokens; the model has positions for {positions}.",
            hints=["Truncate the text, for example with tokenizer(…, truncation=True)."],
        )


def check_values(name: str, ids: Tensor, rows: int, *, first: int = 0) -> None:
    """Raises InputError for ids outside a table, where looking does not wait for a device.

    `first` is the lowest id; `rows` ids from 0 on are there beside those below 0.
    """
    if torch.compiler.is_compiling() or ids.device.type != "cpu":
        return
    low, high = (int(found) for found in ids.aminmax())
    if low < first or high >= rows:
        raise InputError(
            f"{name} has the value {low if low < first else high}; the model's table has rows {first} to {rows - 1}."
        )


def looked_up(name: str, ids: Tensor, table: nn.Embedding) -> Tensor:
    """[..., D] rows of a table for ids; raises InputError for ids that are no whole numbers, or outside the table."""
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise InputError(f"{name} holds {ids.dtype}, not whole numbers.")
    check_values(name, ids, table.num_embeddings)
    rows: Tensor = table(ids)
    return rows


def per_layer(head_mask: Tensor | None, layers: int, heads: int) -> list[Tensor | None]:
    """[N] for each layer, from [N] or [L, N]; None where no mask is given. Raises InputError for another shape."""
    if head_mask is None:
        return [None] * layers
    if tuple(head_mask.shape) not in ((heads,), (layers, heads)):
        raise InputError(f"head_mask has shape {list(head_mask.shape)}; it needs [{heads}] or [{layers}, {heads}].")
    return list(head_mask.expand(layers, heads))
