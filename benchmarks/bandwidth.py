"""Memory bandwidth as programs get it: all processors at once copy, or read, arrays far larger than their caches."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable

import numpy as np

MIB = 256  # of each of both arrays
REPEATS = 5


@functools.cache
def _arrays() -> tuple[np.ndarray, np.ndarray]:
    size = MIB * 2**20 // 4
    return np.ones(size, np.float32), np.zeros(size, np.float32)


def copying() -> float:
    """Seconds for each byte that is read or written while one array is copied to the other."""
    source, target = _arrays()
    return _seconds(lambda part: np.copyto(target[part], source[part])) / (2 * source.nbytes)


def reading() -> float:
    """Seconds for each byte that is read while the largest element of an array is looked for."""
    source, _ = _arrays()
    return _seconds(lambda part: source[part].max()) / source.nbytes


def _seconds(work: Callable[[slice], object]) -> float:
    """The fastest of some, since a system may have taken away memory that lay idle."""
    return min(_once(work) for _ in range(REPEATS))


def _once(work: Callable[[slice], object]) -> float:
    """With a share of the array for every processor; numpy lets go of the interpreter meanwhile."""
    count = os.cpu_count() or 1
    share = len(_arrays()[0]) // count
    threads = [
        threading.Thread(target=work, args=(slice(number * share, (number + 1) * share),)) for number in range(count)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started
