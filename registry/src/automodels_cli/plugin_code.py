"""Calls into code of plugins and frameworks: what it prints, how it fails, how long it takes."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from automodels.errors import AutomodelsError, PluginError

CHOICE = ("framework", "plugin")
WHERE = ("revision", "cache_dir", "subfolder", "token")


def given_options(arguments: Namespace) -> dict[str, Any]:
    """Those options of from_pretrained that the command line has."""
    return {name: value for name in (*CHOICE, *WHERE) if (value := getattr(arguments, name, None))}


def where_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that say where a checkpoint lies; a tokenizer takes no others."""
    return {name: options[name] for name in WHERE if name in options}


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Whatever goes wrong in it becomes a PluginError, and what it prints goes to stderr: stdout is for data."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (AutomodelsError, BrokenPipeError):
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{what} failed with {type(error).__name__}: {str(error)[:300]}") from error


def method(model: Any, name: str, task: str) -> Callable[..., Any]:
    """A method of a model that was chosen for a task; raises PluginError when the class lacks it."""
    found: Callable[..., Any] | None = getattr(model, name, None)
    if not callable(found):
        raise PluginError(
            f"The class {type(model).__name__}, chosen for {task}, has no method {name}.",
            hints=[f"Another plugin may have one: registry list --task {task}"],
        )
    return found


def timed(work: Callable[[], Any], name: str, seconds: dict[str, float]) -> Any:
    """What `work` returns; how long it took is noted in `seconds`."""
    start = time.perf_counter()
    result = work()
    seconds[name] = round(time.perf_counter() - start, 4)
    return result


def spent(seconds: dict[str, float], what: str) -> str:
    """The times in words; `what` was done. The first run compiles, the second only runs: so long is compiling."""
    loaded, first = f"Loaded in {seconds['load']:.2f} s", seconds["first"]
    if "again" not in seconds:
        return f"{loaded}, compiled and {what} in {first:.2f} s."
    again = seconds["again"]
    return f"{loaded}, compiled in {max(first - again, 0):.2f} s, {what} in {again:.2f} s."
