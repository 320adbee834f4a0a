"""Comparisons of outputs and of parameters; each failure says which one differs, and by how much."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from automodels.testing.conformance.driver import Array, Outputs


def flat(outputs: Outputs) -> dict[str, Array]:
    """Name → array; the elements of a tuple as `attentions.0`, `attentions.1`."""
    arrays: dict[str, Array] = {}
    for name, value in outputs.items():
        if isinstance(value, tuple | list):
            arrays |= {f"{name}.{number}": np.asarray(element) for number, element in enumerate(value)}
        else:
            arrays[name] = np.asarray(value)
    return arrays


def assert_close(found: Outputs, expected: Outputs, tolerance: float, what: str) -> None:
    """Every output agrees to `tolerance`, relative to the largest number of that output if that is above 1."""
    arrays, wanted = flat(found), flat(expected)
    assert arrays.keys() == wanted.keys(), f"{what}: outputs are {sorted(arrays)}, not {sorted(wanted)}"
    for name, array in arrays.items():
        assert_array_close(array, wanted[name], tolerance, f"{what}: {name}")


def assert_array_close(found: Array, expected: Array, tolerance: float, what: str) -> None:
    """As `assert_close`, for one array."""
    assert found.shape == expected.shape, f"{what} has shape {list(found.shape)}, not {list(expected.shape)}"
    if not found.size:
        return
    array, wanted = found.astype(np.float64), expected.astype(np.float64)
    assert np.isfinite(array).all(), f"{what} has numbers that are not finite"
    allowed = tolerance * max(1.0, float(np.abs(wanted).max()))
    difference = float(np.abs(array - wanted).max())
    assert difference <= allowed, f"{what} differs by {difference:.3g}; {allowed:.3g} is allowed"


def assert_same_parameters(found: Mapping[str, Array], expected: Mapping[str, Array], what: str) -> None:
    """Same paths, types, shapes, and bits."""
    odd = sorted(expected.keys() ^ found.keys())
    assert not odd, f"{what}: lost {[path for path in odd if path in expected]}, added the others of {odd}"
    for path, array in found.items():
        wanted = expected[path]
        assert array.dtype == wanted.dtype, f"{what}: {path} is {array.dtype}, not {wanted.dtype}"
        assert array.shape == wanted.shape, f"{what}: {path} has shape {list(array.shape)}, not {list(wanted.shape)}"
        assert array.tobytes() == wanted.tobytes(), f"{what}: {path} has other values"
