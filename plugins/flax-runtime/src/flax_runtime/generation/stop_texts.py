"""Texts that end a sequence: the automaton's table, where the programs look things up."""

from __future__ import annotations

import functools

import jax

from automodels.generation.stop_texts import StopTexts


@functools.lru_cache(maxsize=4)
def on_device(stops: StopTexts) -> jax.Array:
    """[M, V] the automaton's table; those that `stop_texts` keeps are put on the device once."""
    table: jax.Array = jax.device_put(stops.table)
    return table
