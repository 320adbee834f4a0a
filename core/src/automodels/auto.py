"""Auto classes: from a checkpoint's name to a model, through whichever installed plugin offers it.

name → locate → config.json → resolve → config class → plugin activated → model class
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, ClassVar

from automodels.arguments import check_call
from automodels.errors import (
    InputError,
)
from automodels.loading import config_class_of, config_of, decide, load_model, model_class_of, read_checkpoint
from automodels.plugins.catalog import STANDARD_TASKS, load_catalog
from automodels.plugins.manifest import FRAMEWORKS
from automodels.plugins.registration import register_config, register_model
from automodels.plugins.scan import shown

if TYPE_CHECKING:
    from automodels.config import PretrainedConfig

logger = logging.getLogger("automodels")


class AutoConfig:
    """The config of a checkpoint, as the class that its model type asks for."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> PretrainedConfig:
        """Reads `config.json`; options are those of `locate`, such as `revision`, and fields to override.

        Raises CheckpointNotFoundError, HubError, ConfigError, UnknownModelTypeError, or UnknownArgumentError.
        """
        location, raw, overrides = read_checkpoint(name, options)
        config_class = config_class_of(raw["model_type"])
        return config_class.from_dict(raw, name_or_path=location.name, **config_class.overrides(overrides))

    @classmethod
    def for_model(cls, model_type: str, **fields: Any) -> PretrainedConfig:
        """A config of a model type with the family's defaults; raises UnknownArgumentError for other fields."""
        config_class = config_class_of(model_type)
        return config_class(**config_class.overrides(fields))

    @staticmethod
    def register(model_type: str, config_class: type, *, workers: bool = False) -> None:
        """Names the config class of a model type in this process; raises RegistrationError on a conflict.

        `workers=True` as for `AutoModel.register`.
        """
        register_config(model_type, config_class, workers=workers)


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
        **options: Any,
    ) -> Any:
        """The model in a checkpoint, with its weights.

        `name` is a directory, a name on the Hub, `pkg:distribution/path`, or an address whose scheme a plugin adds;
        `framework` and `plugin` choose among providers. Of `options`, those of `locate` say where it lies (`revision`,
        `subfolder`, `cache_dir`, `force_download`, `local_files_only`, `token`), the others go to the model class (for
        Flax: `FlaxPreTrainedModel.from_pretrained`). `trust_remote_code` is accepted and has no effect: code comes
        from installed packages. Raises CheckpointError, ConfigError, ResolutionError, PluginError,
        BackendUnavailableError.
        """
        from automodels.checkpoint.stability import again_if_changed

        asked = cls._framework(framework)

        def load() -> Any:
            location, raw, others = read_checkpoint(name, options)
            resolution = decide(raw, cls.task, asked, plugin, source=location.name, location=location)
            return load_model(resolution, location, config or config_of(resolution, raw, location), others)

        return again_if_changed(load)

    @classmethod
    def from_config(
        cls, config: PretrainedConfig, *, framework: str | None = None, plugin: str | None = None, **options: Any
    ) -> Any:
        """A model of this config with fresh weights; options go to the class. Raises UnknownArgumentError."""
        if not isinstance(getattr(config, "model_type", None), str):
            raise InputError(f"{shown(config)} is not a config; from_pretrained takes names.")
        resolution = decide({"model_type": config.model_type}, cls.task, cls._framework(framework), plugin)
        model_class = model_class_of(resolution)
        check_call(model_class, options)
        return model_class(config, **options)

    @classmethod
    def register(cls, config_class: type, model_class: type, *, workers: bool = False) -> None:
        """Offers a model class for this task in this process; repeating the same call changes nothing.

        Inside `with automodels.registrations()`, only until the block ends. With `workers=True`, processes that are
        started afterwards know it too, and import both classes by name. Raises RegistrationError when another class is
        registered for the same model type, task and framework, or workers could not import it.
        """
        register_model(cls.task, config_class, model_class, cls.framework, workers=workers)

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
