"""Files from templates, written all or none.

A template is a file below `templates/shared` or `templates/FRAMEWORK`, or a text in `templates/licences`. Its name ends
in `.template`, and `__package__` in its path stands for the package. `{{word}}` in it is replaced; a word that nobody
knows is an error of ours.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from automodels import __version__
from automodels.errors import InputError
from automodels_cli.scaffold.licences import DEFAULT, licence_text
from automodels_cli.scaffold.names import PluginNames
from automodels_cli.scaffold.placeholders import TITLES, author, description

_WORD = re.compile(r"\{\{(\w+)\}\}")
_SUFFIX = ".template"
_REQUIRES = {"flax": '"jax>=0.10", "flax>=0.12"', "torch": '"torch>=2.5"'}


def scaffolded(names: PluginNames, license_id: str = DEFAULT) -> dict[str, str]:
    """Path → content of every file of a new plugin; without LICENSE where the licence's text is not known."""
    text = licence_text(license_id)
    words = {**_words(names), **_licence_words(license_id, text)}
    root = resources.files("automodels_cli").joinpath("templates")
    found = {} if text is None else {"LICENSE": _filled(text, words)}
    for folder in ("shared", names.framework):
        for path, template in _templates(root.joinpath(folder)):
            name = path.replace("__package__", names.package).removesuffix(_SUFFIX)
            found[name] = _filled(template, words)
    return dict(sorted(found.items()))


def _filled(template: str, words: Mapping[str, str]) -> str:
    return _WORD.sub(lambda match: words[match[1]], template)


def _licence_words(license_id: str, text: str | None) -> dict[str, str]:
    # Without the line, a build takes any file that is called LICENSE.
    return {"license": license_id, "license_files": "" if text is None else '\nlicense-files = ["LICENSE"]'}


def write_all(directory: Path, files: Mapping[str, str]) -> None:
    """Writes files into a new directory, or an empty one; all of them, or nothing.

    Raises InputError when something is there already, or nothing can be written there.
    """
    hint = "Choose another place with --directory."
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise InputError(f"{directory} exists and is no directory.", hints=[hint])
    if directory.is_dir() and any(directory.iterdir()):
        raise InputError(f"{directory} is not empty; nothing in it was changed.", hints=[hint])
    try:
        parent = directory.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=parent))
    except OSError as error:
        raise InputError(f"{directory} cannot be written: {error.strerror}.", hints=[hint]) from error
    try:
        for name, content in files.items():
            _write(place / name, content)
        place.chmod(0o777 & ~_umask())
        os.rename(place, directory)  # onto an empty directory too; fails when somebody filled it meanwhile
    except OSError as error:
        raise InputError(f"{directory} cannot be written: {error.strerror}.", hints=[hint]) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _templates(folder: Traversable, below: str = "") -> list[tuple[str, str]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _templates(entry, f"{below}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((f"{below}{entry.name}", entry.read_text(encoding="utf-8")))
    return found


def _words(names: PluginNames) -> dict[str, str]:
    kind, framework, package = names.type, names.framework, names.package
    prefix = "Flax" if framework == "flax" else ""
    suite = "FlaxModelConformance" if framework == "flax" else "TorchModelConformance"
    public = [f"{prefix}{kind}{suffix}" for suffix in ("ForCausalLM", "Model", "PreTrainedModel")] + [f"{kind}Config"]
    first, second, third, fourth = sorted(public)
    return {
        "name": names.name,
        "package": package,
        "model_type": names.model_type,
        "Type": kind,
        "Prefix": prefix,
        "framework": framework,
        "Framework": TITLES[framework],
        "authors": author(names.name),
        "description": description(kind, framework),
        "runtime": f"{framework}-runtime",
        "range": _range(),
        "requires": _REQUIRES[framework],
        "keymap_line": f'\nkeymap = "{package}.keymap:KEYMAP"' if framework == "flax" else "",
        "suite_module": f"{framework}_runtime.testing",
        "suite": suite,
        "first_name": first,
        "second_name": second,
        "third_name": third,
        "fourth_name": fourth,
    }


def _range() -> str:
    """Versions that what is written will work with: this one, and those before the next that may break it."""
    major, minor = (int(part) for part in __version__.split(".")[:2])
    limit = f"0.{minor + 1}" if major == 0 else str(major + 1)
    return f">={major}.{minor},<{limit}"
