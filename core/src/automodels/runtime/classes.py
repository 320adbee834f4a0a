"""What a model class knows about itself, whatever its framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from automodels.auto import AutoModel
from automodels.auto import auto_class as named_auto_class
from automodels.checkpoint.keymap import KeyMap
from automodels.config import PretrainedConfig
from automodels.errors import InputError, UnsupportedConfigError
from automodels.plugins.catalog import load_catalog
from automodels.plugins.entries import Plugin


class ModelClass:
    """The class half of a model: its config class, its key map, and what it implements."""

    config_class: ClassVar[type[PretrainedConfig]]
    keymap: KeyMap
    base_model_prefix: ClassVar[str] = ""
    """Attribute of the backbone in the module; empty for a backbone itself."""

    may_be_fresh: ClassVar[tuple[str, ...]] = ()
    """Paths of the backbone that a checkpoint may lack."""

    implemented: ClassVar[Mapping[str, Any]] = {}
    """Fields of the config whose other values mean a network that this class does not build."""

    @classmethod
    def check_config(cls, config: object) -> None:
        """Raises InputError for a config of another class, UnsupportedConfigError for a network not built here."""
        if not isinstance(config, cls.config_class):
            raise InputError(f"{cls.__name__} needs a {cls.config_class.__name__}, not a {type(config).__name__}.")
        for field, value in cls.implemented.items():
            if (found := getattr(config, field)) != value:
                raise UnsupportedConfigError(
                    f"{cls.__name__} is implemented for {field}={value!r} only; the config has {found!r}."
                )

    @classmethod
    def register_for_auto_class(cls, auto_class: str | type[AutoModel] = "AutoModel", *, workers: bool = False) -> None:
        """Offers the class to an auto class of this name in this process, as `AutoModel.register` does.

        Nothing about it goes into checkpoints. Raises InputError for a name that no auto class has, RegistrationError
        when another class is registered for the same model type and task.
        """
        found = named_auto_class(auto_class) if isinstance(auto_class, str) else auto_class
        if not (isinstance(found, type) and issubclass(found, AutoModel)):
            raise InputError(f"{auto_class!r} is not an auto class such as 'AutoModel' or 'AutoModelForMaskedLM'.")
        found.register(cls.config_class, cls, workers=workers)


def plugin_of(model_class: type) -> Plugin | None:
    """The plugin whose manifest names the class, or a class that it is derived from; None for anybody's own class.

    A head for any backbone stands in many manifests: what it stands on (`backbone_class`) says whose it is.
    """
    entries = load_catalog().entries
    for ancestor in (getattr(model_class, "backbone_class", None) or model_class).__mro__:
        reference = f"{ancestor.__module__}:{ancestor.__qualname__}"
        for entry in entries:
            if entry.model in (reference, ancestor):
                return entry.plugin
    return None
