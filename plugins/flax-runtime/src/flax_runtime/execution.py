"""How a model's calls run: compiled by XLA, compiled once and kept on disk, or operation by operation.

Each is the implementation of a backend of kind `execution`: it makes of a function one that is called in its place.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from automodels.backends import BackendReport
from automodels.plugins.host import load_reference


class Execution(Protocol):
    """What an execution backend's implementation is."""

    def __call__(
        self, function: Callable[..., Any], *, static_argnames: str, donate_argnums: int | tuple[int, ...] = ()
    ) -> Callable[..., Any]:
        """Called like `function`, with the same result; arguments in `donate_argnums` are not used again."""
        ...


def jit(
    function: Callable[..., Any], *, static_argnames: str, donate_argnums: int | tuple[int, ...] = ()
) -> Callable[..., Any]:
    """Compiled at the first call for each set of shapes, and kept in this process."""
    return jax.jit(function, static_argnames=static_argnames, donate_argnums=donate_argnums)


def cached_jit(
    function: Callable[..., Any], *, static_argnames: str, donate_argnums: int | tuple[int, ...] = ()
) -> Callable[..., Any]:
    """As `jit`, and programs are kept on disk, where the next process finds them.

    That is JAX's persistent compilation cache, which is switched on for the whole process: in the directory that
    `JAX_COMPILATION_CACHE_DIR` or `jax.config` names, or else in automodels/xla of the user's cache directory.
    Programs that take less than a second to compile are kept only if `jax.config` says so.
    """
    settings: Any = jax.config
    if not settings.jax_compilation_cache_dir:
        settings.update("jax_compilation_cache_dir", str(_user_cache() / "automodels" / "xla"))
    return jit(function, static_argnames=static_argnames, donate_argnums=donate_argnums)


def eager(
    function: Callable[..., Any], *, static_argnames: str, donate_argnums: int | tuple[int, ...] = ()
) -> Callable[..., Any]:
    """Not compiled as a whole: slow, and a debugger or a print in a module sees numbers. Nothing is donated.

    The loop that `generate` makes tokens in is compiled all the same, by JAX's own while_loop.
    """

    @functools.wraps(function)
    def called(*arguments: Any, **static: Any) -> Any:
        return function(*jax.tree.map(jnp.asarray, arguments), **static)  # numpy's arrays do not mix with traced ones

    return called


def execution_of(report: BackendReport) -> Execution:
    """The way that was chosen; `jit` where no plugin declares any."""
    if report.execution is None:
        return jit
    chosen: Execution = load_reference(report.execution.table.implementation, report.execution.plugin)
    return chosen


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
