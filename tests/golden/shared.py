"""What the makers of golden files share: shapes, inputs, how a case is written, how two sets of files are compared."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ODD = dict(
    vocab_size=29,
    hidden_size=15,
    num_attention_heads=5,
    num_hidden_layers=2,
    intermediate_size=21,
    max_position_embeddings=13,
    initializer_range=0.3,
)
ONE_HEAD = dict(
    vocab_size=23,
    hidden_size=9,
    num_attention_heads=1,
    num_hidden_layers=1,
    intermediate_size=10,
    max_position_embeddings=12,
    type_vocab_size=3,
    initializer_range=0.3,
    layer_norm_eps=1e-5,
)
SHAPES = {"odd": ODD, "one_head": ONE_HEAD}
TOKENS = 7
STATES = 5  # of the encoder, for cross attention


def inputs(config: Any, *, choices: int = 0) -> dict[str, np.ndarray]:
    """A batch: one sequence without padding, one padded at the end, one at the start; with `choices`, [B, choices, T]."""
    rng = np.random.default_rng(0)
    shape = (2, choices, TOKENS) if choices else (3, TOKENS)
    ids = rng.integers(1, config.vocab_size, shape)  # PyTorch keeps gradients from the row of the padding token, 0
    mask = np.ones_like(ids)
    mask.reshape(-1, TOKENS)[1, 4:] = 0
    mask.reshape(-1, TOKENS)[2, :3] = 0
    types = rng.integers(0, config.type_vocab_size, shape)
    positions = rng.integers(0, config.max_position_embeddings, shape)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "position_ids": positions}


def encoder(config: Any) -> dict[str, np.ndarray]:
    """States of an encoder for the batch of `inputs`, one of them padded."""
    rng = np.random.default_rng(1)
    mask = np.ones((3, STATES), np.int64)
    mask[1, 3:] = 0
    states = rng.normal(size=(3, STATES, config.hidden_size)).astype(np.float32)
    return {"encoder_hidden_states": states, "encoder_attention_mask": mask}


def real_positions(mask: np.ndarray) -> np.ndarray:
    """Positions of the tokens among those that are not padding, 0 for padding before them."""
    return np.maximum(np.cumsum(mask, axis=-1) - 1, 0)


def save_arrays(folder: Path, **groups: Mapping[str, Any]) -> None:
    """golden.npz: the arrays of every group, with the group's name before theirs; tuples of equal shapes are stacked."""
    arrays = {
        f"{group}_{name}": np.stack([np.asarray(one) for one in value]) if isinstance(value, tuple) else value
        for group, values in groups.items()
        for name, value in values.items()
    }
    np.savez_compressed(folder / "golden.npz", **arrays)


def differences(old: Path, new: Path, gradients: Callable[[Path], dict[str, np.ndarray]]) -> list[str]:
    """Names of the golden arrays and of the files of which the new ones differ, or which are in one set only."""
    here, there = _files(old), _files(new)
    found = [f"only in one set: {name}" for name in sorted(here ^ there)]
    for name in sorted(here & there):
        if name.endswith(".npz"):
            found += [f"{name}: {key}" for key in _unequal(_read(old / name), _read(new / name), 2e-6)]
        elif "gradients/" in name:
            found += [f"{name}: {key}" for key in _unequal(gradients(old / name), gradients(new / name), 1e-5)]
        elif name.endswith("golden.json") and (old / name).read_text() != (new / name).read_text():
            found.append(name)
    return found


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _read(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as data:
        return dict(data)


def _unequal(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], tolerance: float) -> list[str]:
    return sorted(before.keys() ^ after.keys()) + [
        name
        for name in before.keys() & after.keys()
        if before[name].shape != after[name].shape
        or not np.allclose(before[name], after[name], rtol=tolerance, atol=tolerance)
    ]


def run(
    description: str, name: str, make: Callable[[Path], int], gradients: Callable[[Path], dict[str, np.ndarray]]
) -> None:
    """Writes the golden files into tests/golden/`name`, or with --check makes them elsewhere and compares."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        print(json.dumps({"cases": make(HERE / name)}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        cases = make(Path(scratch))
        found = differences(HERE / name, Path(scratch), gradients)
    print(json.dumps({"cases": cases, "differences": found}))
    raise SystemExit(1 if found else 0)
