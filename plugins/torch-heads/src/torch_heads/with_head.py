"""A head on any backbone: one class for each task, and out of it one for each backbone.

A manifest names the class of the task; the backbone is the one that the same plugin offers for the model type:

    [model.tasks]
    base = "my_plugin.modeling:MyModel"
    beam-question-answering = "torch_heads.tasks:BackboneForBeamQuestionAnswering"
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self, cast

from torch import Tensor, nn

from automodels.arguments import parameters, refuse_unknown
from automodels.checkpoint.locate import Location, locate, split_options
from automodels.config import PretrainedConfig
from automodels.errors import InputError, PluginError
from automodels.plugins.catalog import load_catalog
from automodels.plugins.entries import Entry
from automodels.plugins.host import activate
from automodels.plugins.resolve import Request, Resolution, resolve_entry
from automodels.runtime.loading import again_if_saved
from torch_runtime.modeling import TorchPreTrainedModel


class BackboneWithHead(TorchPreTrainedModel):
    """Base of the tasks: they write out `add_head` and `forward`; `on(backbone)` gives the class to use.

    A backbone is a TorchPreTrainedModel whose call returns states [B, T, D] first. D is its config's `hidden_size`, or
    its own attribute `output_width` where that differs.
    """

    backbone_class: ClassVar[type[TorchPreTrainedModel] | None] = None
    """None for a task that is on no backbone yet."""

    head_options: ClassVar[tuple[str, ...]] = ()
    """Keys of the config that the head reads; `from_pretrained` takes them, whatever the family."""

    @classmethod
    def on(cls, backbone_class: type[TorchPreTrainedModel]) -> type[Self]:
        """The class of this task for a backbone, always the same one.

        The backbone is the attribute that its family's other models have it as. Raises PluginError when it is no
        TorchPreTrainedModel.
        """
        if cls.backbone_class is not None:
            raise InputError(f"{cls.__name__} is on {cls.backbone_class.__name__} already.")
        found: Any = backbone_class  # of a plugin, so it may be anything
        if not (isinstance(found, type) and issubclass(found, TorchPreTrainedModel)):
            raise PluginError(f"{found!r} is no TorchPreTrainedModel, so {cls.__name__} cannot stand on it.")
        if (cls, found) not in _joined:
            _joined.setdefault((cls, found), _join(cls, found))
        return cast("type[Self]", _joined[cls, found])

    @classmethod
    def for_entry(cls, entry: Entry) -> type[Self]:
        """The class of this task for an entry that names it: on the backbone of the same plugin and model type.

        Where the plugin has none, another plugin's is taken, as by an auto class. Raises ResolutionError when there is
        none, PluginError when it cannot be imported.
        """
        if cls.backbone_class is not None:
            return cls
        catalog = load_catalog()
        base = next((found for found in catalog.entries if _is_base_of(entry, found)), None)
        if base is None:
            request = Request(model_type=entry.model_type, framework=cls.framework, source=cls.__name__)
            base = resolve_entry(catalog, request).entry
        return cls.on(activate(base.plugin).load(base.model))

    @classmethod
    @again_if_saved
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] | Location | None,
        *,
        config: PretrainedConfig | None = None,
        resolution: Resolution | None = None,
        **options: Any,
    ) -> Self:
        """As `TorchPreTrainedModel.from_pretrained`; options may also be the head's `head_options`.

        A task that is on no backbone yet takes the one that the installed plugins offer for the checkpoint.
        """
        if name is not None:
            where, options = split_options(options)
            name = locate(name, **where)
        if cls.backbone_class is None:
            if name is None:
                raise InputError(f"{cls.__name__} is on no backbone, and there is no checkpoint that says which.")
            model_type = name.config["model_type"]
            entry = resolve_entry(load_catalog(), Request(model_type=model_type, framework=cls.framework)).entry
            return cls.for_entry(entry).from_pretrained(name, config=config, resolution=resolution, **options)
        if config is None and name is not None:
            config = cls.config_class.from_dict(name.config, name_or_path=name.name)
        given = {key: options.pop(key) for key in cls.head_options if key in options}
        if config is not None:
            cls.check_config(config)
            config = config.copy_with(**given)
        return super().from_pretrained(name, config=config, resolution=resolution, **options)

    def __init__(self, config: PretrainedConfig, **making: Any) -> None:
        """A model with fresh values; raises InputError for a task that is on no backbone."""
        if self.backbone_class is None:
            raise InputError(
                f"{type(self).__name__} is on no backbone.",
                hints=[f"Use {type(self).__name__}.on(BackboneClass), or from_pretrained, which finds it."],
            )
        super().__init__(config, **making)
        # A pooler that no head looks at would only be fresh.
        spared = {"add_pooling_layer": False} if "add_pooling_layer" in parameters(self.backbone_class) else {}
        backbone = self.backbone_class(self.config, backend=self.backend_report, **spared)
        setattr(self, self.base_model_prefix, backbone)
        self._taken = parameters(backbone.forward)
        self.add_head(output_width(backbone))
        self.post_init()

    def add_head(self, width: int) -> None:
        """Makes the head's modules, for states of a width; for a task to define."""
        raise NotImplementedError

    def states_of(self, **inputs: Any) -> tuple[Tensor, dict[str, Any]]:
        """The backbone's states [B, T, D], and the hidden states and attentions that were asked for.

        Raises UnknownArgumentError for an input that neither the backbone nor the head takes.
        """
        given = {key: value for key, value in inputs.items() if value is not None}
        if not given.keys() <= self._taken:
            refuse_unknown(type(self).__name__, given, self._taken, elsewhere=parameters(type(self).forward))
        wanted = {"return_dict": True, "use_cache": False}  # a cache is for what comes after; nothing does
        output = self.base_model(**{**{key: value for key, value in wanted.items() if key in self._taken}, **given})
        states = output if isinstance(output, Tensor) else output[0]
        return states, {key: getattr(output, key, None) for key in ("hidden_states", "attentions")}

    def _init_weights(self, module: nn.Module) -> None:
        self.base_model._init_weights(module)  # a head's fresh values are drawn as its family's other ones

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class of a task on a backbone has no name that it could be imported by.
        task = type(self).__dict__.get("task_class")
        if task is None:
            return super().__reduce_ex__(protocol)
        state: Any = self.__getstate__()  # type: ignore[no-untyped-call]  # a module's, without what is compiled
        return _empty, (task, self.backbone_class), state


def output_width(backbone: nn.Module) -> int:
    """Width of a backbone's states; raises PluginError when it does not say."""
    found = getattr(backbone, "output_width", None) or getattr(getattr(backbone, "config", None), "hidden_size", None)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise PluginError(
            f"{type(backbone).__name__} does not say how wide its states are: its config has no hidden_size, and the "
            "model no attribute output_width."
        )
    return found


_joined: dict[tuple[type, type], type] = {}


def _join(task: type[BackboneWithHead], backbone_class: type[TorchPreTrainedModel]) -> type:
    family = backbone_class.__name__.removesuffix("Model")
    prefix = _attribute(backbone_class)
    fresh = backbone_class.may_be_fresh
    return type(
        family + task.__name__.removeprefix("Backbone"),
        (task,),
        {
            "__module__": task.__module__,
            "__doc__": f"`{task.__name__}` on `{backbone_class.__name__}`.",
            "task_class": task,
            "backbone_class": backbone_class,
            "config_class": backbone_class.config_class,
            "spelling": {**backbone_class.spelling, "prefix": f"{prefix}."},
            "base_model_prefix": prefix,
            "may_be_fresh": (*fresh, *(f"{prefix}.{path}" for path in fresh)),
            "implemented": backbone_class.implemented,
            "no_split_modules": backbone_class.no_split_modules,
            "input_embeddings": backbone_class.input_embeddings,
        },
    )


def _attribute(backbone_class: type[TorchPreTrainedModel]) -> str:
    """What the family's models with heads call their backbone; a family without such models calls it `backbone`."""
    named = (getattr(ancestor, "base_model_prefix", "") for ancestor in backbone_class.__mro__)
    spelled = str(backbone_class.spelling.get("prefix", "")).rstrip(".")
    return next((prefix for prefix in named if prefix), spelled) or "backbone"


def _is_base_of(entry: Entry, found: Entry) -> bool:
    return (found.plugin.name, found.model_type, found.framework, found.task) == (
        entry.plugin.name,
        entry.model_type,
        entry.framework,
        "base",
    )


def _empty(task: type[BackboneWithHead], backbone_class: type[TorchPreTrainedModel]) -> Any:
    joined = task.on(backbone_class)
    return joined.__new__(joined)
