"""Files `entry_points.txt` that Python's own reader rejects, and with them every library that looks for plugins.

Our scan passes such a file by. `importlib.metadata.entry_points()` raises, for everybody: pydantic, jax and torch call
it when they are imported.
"""

from __future__ import annotations

import os

from automodels.plugins.scan import Distribution, printable, read_bounded, shown

_BYTES = 1 << 20


def malformed(distribution: Distribution) -> str | None:
    """What is wrong with the file, in words; None when Python can read it, or there is none."""
    file = os.path.join(distribution.metadata, "entry_points.txt")
    if not os.path.lexists(file):
        return None
    data = read_bounded(file, _BYTES)
    if data is None:
        return None if os.path.isdir(file) or not os.access(file, os.R_OK) else f"{printable(file)} is no plain file"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return f"{printable(file)} is not UTF-8"
    in_section = False
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if line.startswith("[") and line.endswith("]"):
            in_section = True
        elif in_section and line and not line.startswith("#") and "=" not in line:
            return f"{printable(file)}, line {number}: {shown(line)} is not 'name = value'"
    return None
