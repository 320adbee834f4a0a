"""Where an installed package's files lie, by path arithmetic alone.

`importlib.util.find_spec("a.b")` imports `a`; this never imports anything. Three places are tried, in the order in
which installers use them: beside the metadata, where the distribution's own `.pth` file points (editable installs of
hatchling, flit, pdm, setuptools), and what setuptools' editable finder maps.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator

from automodels.plugins.scan import Distribution, normalized, printable, read_bounded, shown


def package_directory(distribution: Distribution, package: str) -> str | None:
    """The directory of a top-level package that `distribution` installs, or None."""
    for directory in _candidates(distribution, package):
        if os.path.isdir(directory):
            return directory
    return None


def is_editable(distribution: Distribution) -> bool:
    """Whether the distribution was installed with `pip install -e` (PEP 610), or develop-installed."""
    if distribution.metadata.endswith(".egg-info"):  # beside the sources it has no version in its name
        return "-" not in os.path.basename(distribution.metadata).removesuffix("-info")
    data = read_bounded(os.path.join(distribution.metadata, "direct_url.json")) or b""
    return re.search(rb'"editable"\s*:\s*true', data) is not None


def required_names(distribution: Distribution) -> list[str]:
    """Normalised names of the distributions that this one requires, extras left out."""
    text = (read_bounded(os.path.join(distribution.metadata, "METADATA")) or b"").decode("utf-8", "replace")
    headers = text.partition("\n\n")[0]
    found = re.findall(r"^Requires-Dist: *([A-Za-z0-9][A-Za-z0-9._-]*)(.*)$", headers, re.MULTILINE)
    return [normalized(name) for name, rest in found if "extra" not in rest.partition(";")[2]]


def installed_by(distribution: Distribution) -> str | None:
    """The program that installed it, as it calls itself."""
    data = read_bounded(os.path.join(distribution.metadata, "INSTALLER"), 4096) or b""
    return printable(data.decode("utf-8", "replace").strip()[:60]) or None


def installed_from(distribution: Distribution) -> str | None:
    """The address of a direct installation (PEP 610), without password and query; None for one from an index."""
    import json  # listing does without it

    data = read_bounded(os.path.join(distribution.metadata, "direct_url.json"), 1 << 16)
    try:
        given = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
    url = given.get("url") if isinstance(given, dict) else None
    if not isinstance(url, str):
        return None
    return printable(re.sub(r"^([\w+.-]+://)[^/?#]*@", r"\1", re.split(r"[?#]", url)[0])[:1000])


def unreadable_entry_points(distribution: Distribution) -> str | None:
    """Why Python's own reader rejects the file of entry points; None when it does not, or there is none.

    Our scan passes such a file by. `importlib.metadata.entry_points()` raises, for everybody: pydantic, jax and torch
    call it when they are imported.
    """
    file = os.path.join(distribution.metadata, "entry_points.txt")
    if not os.path.isfile(file):
        return f"{printable(file)} is no plain file" if os.path.exists(file) and not os.path.isdir(file) else None
    data = read_bounded(file)
    if data is None:
        return None
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


def contained(directory: str, relative: str) -> str | None:
    """`directory/relative` if it stays inside `directory`, links followed; else None."""
    root = os.path.realpath(directory)
    file = os.path.realpath(os.path.join(root, relative))
    return file if file.startswith(root + os.sep) else None


def _candidates(distribution: Distribution, package: str) -> Iterator[str]:
    site = distribution.site
    yield os.path.join(site, package)
    record = (read_bounded(os.path.join(distribution.metadata, "RECORD"), 1 << 24) or b"").decode("utf-8", "replace")
    for line in record.splitlines():
        name = line.split(",")[0].strip('"')
        if "/" in name or "\\" in name:
            continue
        if name.endswith(".pth"):
            yield from (os.path.join(target, package) for target in _pth_targets(site, name))
        elif name.startswith("__editable__") and name.endswith("_finder.py"):
            yield from _finder_targets(os.path.join(site, name), package)


def _pth_targets(site: str, name: str) -> Iterator[str]:
    text = (read_bounded(os.path.join(site, name)) or b"").decode("utf-8", "replace")
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "import ", "import\t")):
            yield os.path.join(site, line.strip())


def _finder_targets(file: str, package: str) -> Iterator[str]:
    text = (read_bounded(file) or b"").decode("utf-8", "replace")
    found = re.search(r"^MAPPING[^=]*= *(\{.*\})", text, re.MULTILINE)
    if found is None:
        return
    try:
        mapping = ast.literal_eval(found[1])
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return
    target = mapping.get(package) if isinstance(mapping, dict) else None
    if isinstance(target, str):
        yield target
