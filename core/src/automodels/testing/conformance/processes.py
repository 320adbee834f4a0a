"""A second process, started afresh: what is sent there and back has been pickled.

There is one for the whole session; starting Python and a framework takes seconds.
"""

from __future__ import annotations

import functools
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

TIMEOUT = 300  # seconds for one call, in which the framework may be imported and a model compiled


def in_another_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` in a process of its own that was spawned, not forked.

    Both are pickled as for a file: left to multiprocessing, torch's tensors would be shared between the processes.
    """
    return _pool().submit(_called, pickle.dumps((function, arguments))).result(TIMEOUT)


def same(value: Any) -> Any:
    """The value; what comes back from another process has been pickled both ways."""
    return value


def _called(pickled: bytes) -> Any:
    function, arguments = pickle.loads(pickled)  # noqa: S301  # pickled by the caller
    return function(*arguments)


@functools.cache
def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"))
