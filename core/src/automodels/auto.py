"""Auto classes: from a checkpoint's name to a model, through whichever installed plugin offers it.

name → locate → config.json → resolve → config class → plugin activated → model class
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from automodels.errors import (
    AmbiguousModelError,
    CheckpointNotFoundError,
    InputError,
    NoUsablePluginError,
    PluginReferenceError,
    UnknownModelTypeError,
)
from automodels.plugins.catalog import STANDARD_TASKS, Catalog, load_catalog
from automodels.plugins.manifest import FRAMEWORKS, NAME
from automodels.plugins.registration import register_config, register_model, registered_config
from automodels.plugins.resolve import KNOWN_PLUGINS, Request, Resolution, resolve_entry
from automodels.plugins.scan import shown

if TYPE_CHECKING:
    from automodels.checkpoint.locate import Location
    from automodels.config import PretrainedConfig
    from automodels.plugins.entries import Entry, Plugin

logger = logging.getLogger("automodels")


class AutoConfig:
    """The config of a checkpoint, as the class that its model type asks for."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> PretrainedConfig:
        """Reads `config.json`; options are `subfolder` and fields to override.

        Raises CheckpointNotFoundError, ConfigError, UnknownModelTypeError, or UnknownArgumentError.
        """
        from automodels.checkpoint.config_file import read_config
        from automodels.checkpoint.locate import locate, split_options

        where, overrides = split_options(options)
        location = locate(name, **where)
        raw = read_config(location.directory)
        config_class = _config_class(raw["model_type"])
        return config_class.from_dict(raw, name_or_path=location.name, **config_class.overrides(overrides))

    @classmethod
    def for_model(cls, model_type: str, **fields: Any) -> PretrainedConfig:
        """A config of a model type with the family's defaults; raises UnknownArgumentError for other fields."""
        config_class = _config_class(model_type)
        return config_class(**config_class.overrides(fields))

    @staticmethod
    def register(model_type: str, config_class: type) -> None:
        """Names the config class of a model type in this process; raises RegistrationError on a conflict."""
        register_config(model_type, config_class)


class AutoModel:
    """The backbone of a checkpoint: `AutoModel.from_pretrained("…")`.

    The classes for other tasks have the same methods. None of them is ever instantiated.
    """

    task: ClassVar[str] = "base"
    framework: ClassVar[str | None] = None
    """The one framework that the class admits; None for any."""

    def __init__(self) -> None:
        raise InputError(f"Use {type(self).__name__}.from_pretrained(name) or .from_config(config).")

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        config: PretrainedConfig | None = None,
        framework: str | None = None,
        plugin: str | None = None,
        subfolder: str = "",
        trust_remote_code: bool = False,
        **options: Any,
    ) -> Any:
        """The model in a checkpoint, with its weights.

        `name` is a directory or `pkg:distribution/path`; `framework` and `plugin` choose among providers; `options`
        go to the model class (for Flax: `FlaxPreTrainedModel.from_pretrained`). `trust_remote_code` is accepted and
        has no effect: code comes from installed packages. Raises CheckpointError, ConfigError, ResolutionError,
        PluginError, BackendUnavailableError.
        """
        location, raw = _read(name, subfolder, trust_remote_code)
        resolution = _resolve(raw, cls.task, cls._framework(framework), plugin)
        config = config or _entry_config(resolution, raw, location)
        return _load(resolution, location, config, options)

    @classmethod
    def from_config(
        cls, config: PretrainedConfig, *, framework: str | None = None, plugin: str | None = None, **options: Any
    ) -> Any:
        """A model of this config with fresh weights."""
        if not isinstance(getattr(config, "model_type", None), str):
            raise InputError(f"{shown(config)} is not a config; from_pretrained takes names.")
        resolution = _resolve({"model_type": config.model_type}, cls.task, cls._framework(framework), plugin)
        return _model_class(resolution)(config, **options)

    @classmethod
    def register(cls, config_class: type, model_class: type) -> None:
        """Offers a model class for this task in this process; repeating the same call changes nothing.

        Raises RegistrationError when another class is registered for the same model type, task and framework.
        """
        register_model(cls.task, config_class, model_class, cls.framework)

    @classmethod
    def _framework(cls, asked: str | None) -> str | None:
        if cls.framework is not None and asked not in (None, cls.framework):
            raise InputError(f"{cls.__name__} is for {cls.framework}; framework={asked!r} contradicts it.")
        return cls.framework or asked


class AutoModelForPreTraining(AutoModel):
    """The backbone with all heads that it was pre-trained with."""

    task = "pretraining"


class AutoModelForMaskedLM(AutoModel):
    """Tokens in the place of masks."""

    task = "masked-lm"


class AutoModelForCausalLM(AutoModel):
    """The next token."""

    task = "causal-lm"


class AutoModelForNextSentencePrediction(AutoModel):
    """Whether the second segment follows the first."""

    task = "next-sentence-prediction"


class AutoModelForSequenceClassification(AutoModel):
    """A class, several labels, or a number for each sequence."""

    task = "sequence-classification"


class AutoModelForMultipleChoice(AutoModel):
    """The best of several continuations."""

    task = "multiple-choice"


class AutoModelForTokenClassification(AutoModel):
    """A class for each token."""

    task = "token-classification"


class AutoModelForQuestionAnswering(AutoModel):
    """First and last token of an answer."""

    task = "question-answering"


class AutoModelForSentenceEmbedding(AutoModel):
    """One vector for each text: `model.encode(["…"])`."""

    task = "sentence-embedding"


def resolve(
    name: str | os.PathLike[str],
    *,
    task: str = "base",
    framework: str | None = None,
    plugin: str | None = None,
    subfolder: str = "",
) -> Resolution:
    """Which class would be loaded, and why no other. Imports no plugin.

    `name` is the name of a checkpoint, or a model type that some plugin offers, installed or not. Raises like
    `from_pretrained` up to the point where a plugin would be imported.
    """
    text = os.fspath(name)
    if text in {*load_catalog().model_types, *KNOWN_PLUGINS} and not os.path.isdir(text):
        return _resolve({"model_type": text}, task, framework, plugin)
    try:
        _, raw = _read(name, subfolder, trust_remote_code=False)
    except CheckpointNotFoundError as missing:
        raise _neither(text, missing) from missing
    return _resolve(raw, task, framework, plugin)


def _neither(text: str, missing: CheckpointNotFoundError) -> CheckpointNotFoundError:
    """What is missing, and where the name could be a model type, also why it is none."""
    if NAME.fullmatch(text) is None:
        return missing
    try:
        _resolve({"model_type": text}, "base", None, None)
    except UnknownModelTypeError as unknown:
        message, hints = f"{missing.message}\n{unknown.message}", (*missing.hints, *unknown.hints)
        return CheckpointNotFoundError(message, hints=hints, trace=unknown.trace)
    return missing


_auto_classes: dict[str, type[AutoModel]] = {}


def auto_class(name: str) -> type[AutoModel] | None:
    """The auto class of this name, for tasks and frameworks that are not spelled out above; None if there is none.

    `FlaxAutoModelForMaskedLM` is `AutoModelForMaskedLM` with the framework fixed; the class for a plugin's own task
    exists as soon as the plugin is installed.
    """
    if name not in _auto_classes:
        made = _fixed_class(name) or _plain_class(name)
        if made is None:  # not remembered: a plugin that declares it may be installed later
            return None
        _auto_classes.setdefault(name, made)
    return _auto_classes[name]


def _fixed_class(name: str) -> type[AutoModel] | None:
    for framework in FRAMEWORKS:
        prefix = framework.capitalize()
        plain = auto_class(name.removeprefix(prefix)) if name.startswith(f"{prefix}AutoModel") else None
        if plain is not None:
            docs = f"`{plain.__name__}` for {prefix} only."
            return type(name, (plain,), {"framework": framework, "__doc__": docs, "__module__": "automodels"})
    return None


def _plain_class(name: str) -> type[AutoModel] | None:
    known = globals().get(name)
    if isinstance(known, type) and issubclass(known, AutoModel):
        return known
    task = next((task for task, class_name in load_catalog().tasks.items() if class_name == name), None)
    if task is None or task in STANDARD_TASKS:
        return None
    return type(name, (AutoModel,), {"task": task, "__doc__": f"The task {task!r}.", "__module__": "automodels"})


def _read(name: str | os.PathLike[str], subfolder: str, trust_remote_code: bool) -> tuple[Location, dict[str, Any]]:
    from automodels.checkpoint.config_file import read_config
    from automodels.checkpoint.locate import locate

    if trust_remote_code:
        logger.warning("trust_remote_code has no effect: code comes from installed plugins, never from checkpoints.")
    location = locate(name, subfolder=subfolder)
    return location, read_config(location.directory)


def _resolve(raw: Mapping[str, Any], task: str, framework: str | None, plugin: str | None) -> Resolution:
    recorded = raw.get("automodels")
    request = Request(
        model_type=raw["model_type"],
        task=task,
        framework=framework,
        plugin=plugin,
        recorded=recorded.get("plugin") if isinstance(recorded, Mapping) else None,
        repository_code="auto_map" in raw,
    )
    catalog = load_catalog()
    _warn(catalog)
    resolution = resolve_entry(catalog, request)
    for note in resolution.notes:
        logger.info(note)
    return resolution


_warned: set[str] = set()


def _warn(catalog: Catalog) -> None:
    for problem in catalog.warnings:
        if problem.message not in _warned:
            _warned.add(problem.message)
            logger.warning("%s", problem)


def _load(resolution: Resolution, location: Location, config: PretrainedConfig, options: Mapping[str, Any]) -> Any:
    """Activates the plugin, lets its hooks see the options and the loaded model, and loads."""
    from automodels.plugins.host import activate

    active = activate(resolution.entry.plugin)
    options = active.configure(config, options)
    model = _model_class(resolution).from_pretrained(location, config=config, resolution=resolution, **options)
    active.observe_loaded(model, getattr(model, "load_report", None))
    return model


def _model_class(resolution: Resolution) -> Any:
    from automodels.plugins.host import activate

    entry = resolution.entry
    model_class = activate(entry.plugin).load(entry.model)
    return _class_with("from_pretrained", model_class, entry.model, entry.plugin)


def _entry_config(resolution: Resolution, raw: Mapping[str, Any], location: Location) -> PretrainedConfig:
    return _loaded_config_class(resolution.entry).from_dict(raw, name_or_path=location.name)


def _loaded_config_class(entry: Entry) -> type[PretrainedConfig]:
    from automodels.plugins.host import load_reference

    config_class: type[PretrainedConfig] = _class_with(
        "from_dict", load_reference(entry.config, entry.plugin), entry.config, entry.plugin
    )
    return config_class


def _class_with(method: str, found: Any, reference: str | type, plugin: Plugin) -> Any:
    """`found` if it is a class that can be used; PluginReferenceError otherwise."""
    if isinstance(found, type) and hasattr(found, method):
        return found
    raise PluginReferenceError(
        f"{plugin} names {shown(reference)}, which is {shown(found)}, not a class with {method}.",
        hints=[f"Run: pip install --upgrade {plugin.name}"],
    )


def _config_class(model_type: str) -> type[PretrainedConfig]:
    """The config class of a model type: registered in this process, or named by the entries.

    Several plugins that name the same class need no choice, and a config needs no framework.
    """
    registered: type[PretrainedConfig] | None = registered_config(model_type)
    if registered is not None:
        return registered
    catalog = load_catalog()
    tasks = [entry.task for entry in catalog.entries if entry.model_type == model_type]
    request = Request(model_type=model_type, task=tasks[0] if tasks else "base")
    try:
        entry = resolve_entry(catalog, request).entry
    except (AmbiguousModelError, NoUsablePluginError):
        entries = [entry for entry in catalog.entries if entry.model_type == model_type and not entry.plugin.fatal]
        if len({entry.config for entry in entries}) != 1:
            raise
        entry = entries[0]
    return _loaded_config_class(entry)
