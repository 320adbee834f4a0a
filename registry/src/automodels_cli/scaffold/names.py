"""The names of a new plugin: distribution, package, model type, and the beginning of its classes' names."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass

from automodels.errors import InputError
from automodels.plugins.entries import FIRST_PARTY
from automodels.plugins.manifest import FRAMEWORKS
from automodels.plugins.scan import normalized, scan, shown

NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
MODEL_TYPE = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", re.ASCII)
CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9]*", re.ASCII)
LONGEST = 40
_CLASHING = re.compile(r"(Flax|Torch)(?=[A-Z]|$)|Pretrained$")
RESERVED = frozenset({
    "automodels", "automodels-cli", "automodels_cli", "jax", "jaxlib", "flax", "torch", "numpy", "pytest", "tests",
    "test", "src", "transformers",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PluginNames:
    """What a new plugin and its parts are called."""

    name: str
    """Of the distribution and the plugin."""

    package: str
    model_type: str
    framework: str

    type: str
    """What names of classes begin with, such as `GPT2`; a framework's word before it is not part of it."""


def plugin_names(
    name: str, framework: str, model_type: str | None = None, class_name: str | None = None
) -> PluginNames:
    """Names for a plugin called `name`.

    Without a model type, it is the name without the framework's; without a class name, it is made of the model type:
    `nano_gpt` → `NanoGpt`.

    Raises InputError for names that no package, class or plugin can have, and for those that somebody else has.
    """
    if NAME.fullmatch(name) is None or len(name) > LONGEST:
        raise InputError(
            f"{shown(name)} is no name for a plugin: at most {LONGEST} small letters, digits, and '-' between them.",
            hints=["Run, for example: registry new flax-nano --framework flax"],
        )
    if model_type is None:
        model_type = name.removeprefix(f"{framework}-").removesuffix(f"-{framework}").replace("-", "_")
    if MODEL_TYPE.fullmatch(model_type) is None or len(model_type) > LONGEST:
        raise InputError(
            f"{shown(model_type)} is no model type: at most {LONGEST} small letters, digits, and '_' or '-' between "
            "them, a letter first.",
            hints=["Pass --model-type, as the checkpoints' config.json has it."],
        )
    package = name.replace("-", "_")
    _refuse_taken(name, package)
    kind = _class_name(model_type, class_name)
    return PluginNames(name=name, package=package, model_type=model_type, framework=framework, type=kind)


def _class_name(model_type: str, given: str | None) -> str:
    kind = "".join(part.capitalize() for part in re.split(r"[-_]", model_type)) if given is None else given
    if CLASS_NAME.fullmatch(kind) is None or len(kind) > LONGEST:
        raise InputError(
            f"{shown(kind)} is no beginning of a class name: at most {LONGEST} letters and digits, a capital first.",
            hints=["Pass --class-name, such as GPT2 for GPT2Config."],
        )
    if _CLASHING.match(kind) is not None:
        raise InputError(
            f"{kind!r} would make names of classes that the runtimes have, or a framework's word twice.",
            hints=["Pass another --class-name, such as GPT2; Flax is put before names of Flax models anyway."],
        )
    return kind


def _refuse_taken(name: str, package: str) -> None:
    reason = None
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        reason = "is a word of Python"
    elif package in sys.stdlib_module_names:
        reason = "is a module of Python's standard library"
    elif name in FIRST_PARTY or name in RESERVED or name in FRAMEWORKS:
        reason = "is taken by automodels, or by a library that it uses"
    elif (found := scan().distributions.get(normalized(name))) is not None:
        reason = f"is installed already ({found.name} {found.version} in {found.site})"
    if reason is not None:
        raise InputError(f"{name!r} {reason}.", hints=["Choose another name; the framework's in front tells most."])
