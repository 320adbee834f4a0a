"""A tiny model of `[model.example]`, built, saved, found, loaded and called, in the process of a check."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from automodels.checkpoint.reader import Checkpoint
from automodels.errors import AutomodelsError
from automodels.loading import decide, model_class_of, resolve
from automodels.plugins.catalog import load_catalog
from automodels.plugins.tables import BackendTable
from automodels_cli.checking.child_imports import said

Report = Callable[..., None]
ROWS, TOKENS = 2, 5
TOLERANCE = 1e-3  # of another backend, relative to the largest number
NEW_TOKENS = 3
SLOW = frozenset({"compile", "compile-reduce-overhead", "compile-max-autotune", "jit-cached"})
"""Executions that compile for minutes, or change the whole process."""


class _StopError(Exception):
    """What comes next makes no sense."""


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """One task of one model table."""

    report: Report
    plugin: str
    what: str

    @contextmanager
    def step(self, doing: str, *, ends: bool = True) -> Iterator[None]:
        """Whatever goes wrong is reported as what could not be done."""
        try:
            yield
        except _StopError:
            raise
        except BaseException as error:
            self.report("C401", self.plugin, f"{self.what} cannot be {doing}: {said(error)}")
            if ends:
                raise _StopError from error


def try_model(
    report: Report, *, plugin: str, model_type: str, framework: str, task: str, example: Mapping[str, Any]
) -> None:
    """Reports what is wrong with one task of a model type."""
    tried = _Tried(report=report, plugin=plugin, what=f"{task} of {model_type} in {framework}")
    asked = {"task": task, "framework": framework, "plugin": plugin}
    try:
        with tried.step("found"):
            model_class = model_class_of(decide({"model_type": model_type}, **asked))
        with tried.step("built from the example"):
            model = _built(model_class, model_class.config_class(**example), framework)
        loaded = _loaded(tried, model, asked)
        _compute(tried, model, loaded, framework)
    except _StopError:
        return


def _loaded(tried: _Tried, model: Any, asked: Mapping[str, str]) -> Any:
    """The model, saved and loaded; reports what became of its parameters, and of its class."""
    model_class = type(model)
    with tempfile.TemporaryDirectory() as place:
        first, again = os.path.join(place, "first"), os.path.join(place, "again")
        with tried.step("saved"):
            model.save_pretrained(first)
        with tried.step("found as a saved checkpoint"):
            found = model_class_of(resolve(first, **asked))
            if found is not model_class:
                raise TypeError(f"it leads to {found.__qualname__}, not to {model_class.__qualname__}")
        with tried.step("loaded"):
            loaded = model_class.from_pretrained(first)
        with tried.step("saved again"):
            loaded.save_pretrained(again)
        for difference in _differences(first, again):
            tried.report("C402", tried.plugin, f"{tried.what}: saved, loaded and saved again, {difference}")
    return loaded


def _compute(tried: _Tried, model: Any, loaded: Any, framework: str) -> None:
    """Calls: before and after loading, with every backend, and for a text."""
    with tried.step("called with token ids"):
        expected = _outputs(model, _inputs(model, framework), framework)
    with tried.step("called after loading"):
        for difference in _apart(_outputs(loaded, _inputs(model, framework), framework), expected, 0.0):
            tried.report("C402", tried.plugin, f"{tried.what}: after loading, {difference}")
    _try_backends(tried, loaded, framework, expected)
    if getattr(type(model), "generates", False):
        with tried.step("asked for text", ends=False):
            _generate(loaded, framework)


def _built(model_class: Any, config: Any, framework: str) -> Any:
    model = model_class(config)
    return model.eval() if framework == "torch" else model


def _differences(first: str, again: str) -> Iterator[str]:
    one, other = (Checkpoint.open(directory) for directory in (first, again))
    for name in sorted(one.keys() ^ other.keys()):
        yield f"{name} is only in the {'first' if name in one else 'second'}"
    for name in sorted(one.keys() & other.keys()):
        if one[name].numpy().tobytes() != other[name].numpy().tobytes():
            yield f"{name} has other values"


def _inputs(model: Any, framework: str) -> dict[str, Any]:
    """Its own `dummy_inputs`, or random ids."""
    given = getattr(model, "dummy_inputs", None)
    if isinstance(given, Mapping):
        return dict(given)
    size = int(getattr(model.config, "vocab_size", 3))
    longest = int(getattr(model.config, "max_position_embeddings", TOKENS))
    ids = np.random.default_rng(0).integers(0, size, (ROWS, min(TOKENS, longest)))
    return {"input_ids": _array(ids, framework)}


def _array(ids: Any, framework: str) -> Any:
    if framework == "torch":
        return sys.modules["torch"].from_numpy(ids.astype(np.int64))
    return ids.astype(np.int32)


@contextmanager
def _without_gradients(framework: str) -> Iterator[None]:
    if framework == "torch":
        with sys.modules["torch"].no_grad():
            yield
    else:
        yield


def _outputs(model: Any, inputs: Mapping[str, Any], framework: str) -> dict[str, Any]:
    """The arrays that a call returns, by name; raises when there is none, or one has no finite numbers."""
    with _without_gradients(framework):
        output = model(**inputs)
    found = {name: np.asarray(value) for name, value in output.items() if hasattr(value, "shape")}
    if not found:
        raise TypeError(f"the call returns no array, but {type(output).__name__}")
    for name, array in found.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} has numbers that are not finite")
    return found


def _apart(found: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float) -> Iterator[str]:
    for name in sorted(found.keys() ^ expected.keys()):
        yield f"the output {name} is there only once"
    for name in sorted(found.keys() & expected.keys()):
        one, other = found[name], expected[name]
        if one.shape != other.shape:
            yield f"{name} has shape {list(one.shape)}, not {list(other.shape)}"
        elif one.dtype.kind == "f":
            difference = float(np.abs(one.astype(np.float64) - other).max(initial=0.0))
            if difference > tolerance * max(1.0, float(np.abs(other).max(initial=0.0))):
                yield f"{name} differs by {difference:.3g}"


def _try_backends(tried: _Tried, model: Any, framework: str, expected: Mapping[str, Any]) -> None:
    """Every declared backend that can run here: the same numbers."""
    if not hasattr(model, "with_backend"):
        message = f"{tried.what}: backends were not tried, for lack of with_backend"
        tried.report("C403", tried.plugin, message, note=True)
        return
    for table in _declared(framework):
        if table.name in SLOW:
            continue
        with tried.step(f"computed with the backend {table.name}", ends=False):
            try:
                other = model.with_backend(table.name)
                found = _outputs(other, _inputs(model, framework), framework)
            except AutomodelsError:
                continue  # it says why it cannot run here, or that it has no such calls
            for difference in itertools.islice(_apart(found, expected, TOLERANCE), 3):
                message = f"{tried.what}: with the backend {table.name}, {difference}"
                tried.report("C402", tried.plugin, message)


def _declared(framework: str) -> list[BackendTable]:
    return [table for _, table in load_catalog().backends(framework)]


def _generate(model: Any, framework: str) -> None:
    ids = _inputs(model, framework)["input_ids"][:, :3]
    result = model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False)
    found = np.asarray(getattr(result, "sequences", result))
    if found.shape[0] != ids.shape[0] or not ids.shape[1] < found.shape[1] <= ids.shape[1] + NEW_TOKENS:
        raise ValueError(f"{list(found.shape)} tokens follow a prompt of {list(ids.shape)}")
    if not (found[:, : ids.shape[1]] == np.asarray(ids)).all():
        raise ValueError("the text does not begin with its prompt")
