"""Subject: what a plugin's author declares about a model, and what the suite makes of it once for all its tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from automodels.checkpoint.keymap import SAME, Layout
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from automodels.config import PretrainedConfig
from automodels.loading import decide, model_class_of
from automodels.plugins.catalog import load_catalog
from automodels.plugins.entries import Entry
from automodels.plugins.resolve import Resolution
from automodels.testing.conformance.driver import Array, Driver
from automodels.testing.tiny import example_of

ROWS, TOKENS = 3, 7  # odd, different, and small: what mixes up axes shows
SPREAD = 0.2  # of the values added to fresh parameters, so that no two arrays are alike and none is zero


class Subject:
    """Declarations, for a subclass to fill in, and the fixtures that the tests share."""

    driver: ClassVar[Driver]
    """Given by the framework's half of the suite."""

    model_class: ClassVar[Any] = None
    """The model class; or leave it out, and name `model_type` and `task`."""

    model_type: ClassVar[str] = ""
    task: ClassVar[str] = "base"
    plugin: ClassVar[str | None] = None
    """The plugin to take, where several offer the model."""

    in_manifest: ClassVar[bool] = True
    """Whether an installed plugin offers the class; False for a class of your own that nobody installs."""

    fields: ClassVar[Mapping[str, Any]] = {}
    """Of a tiny config: a few layers, odd sizes, and dropout above 0. Default: `[model.example]` of the manifest."""

    padding: ClassVar[tuple[str, ...]] = ("right",)
    """Sides on which padding changes nothing."""

    first_token_outputs: ClassVar[tuple[str, ...]] = ("pooler_output",)
    """Outputs that are read off the first token, whatever it is: not compared with padding on the left."""

    float32_outputs: ClassVar[tuple[str, ...]] = ()
    """Outputs that are float32 whatever the model computes in."""

    index_outputs: ClassVar[tuple[str, ...]] = ()
    """Outputs that are whole numbers, such as places of tokens."""

    attentions: ClassVar[bool] = True
    hidden_states: ClassVar[bool] = True
    """Whether calls return them when they are asked for."""

    generation: ClassVar[bool] = True
    """Whether a class that `generates` goes on from ids alone, with nothing else that the example's calls have."""

    tolerances: ClassVar[Mapping[str, float]] = {"float32": 1e-5, "bfloat16": 0.1, "float16": 0.02}
    """Type of the computation → how far an output may be off (see `assert_close`). A type left out is not tested."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Test, or `test[parameter]` → why it fails. A test named here that passes is a failure."""

    _made: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._made = {}
        for name, reason in cls.expected_failures.items():
            if not callable(getattr(cls, name.partition("[")[0], None)):
                raise TypeError(f"{cls.__name__} expects {name} to fail, but the suite has no such test")
            if not reason.strip():
                raise TypeError(f"{cls.__name__} does not say why {name} fails")

    def example_inputs(self, config: Any) -> dict[str, Any]:
        """Arguments of a call: random ids without padding. To be overridden where a model takes something else.

        Every array has the batch as its first axis; ids, masks, segments and positions have tokens as their last.
        """
        ids = np.random.default_rng(0).integers(1, config.vocab_size, (ROWS, TOKENS), dtype=np.int32)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    def layers(self, config: Any) -> int:
        """Number of layers that return attentions and hidden states."""
        count: int = config.num_hidden_layers
        return count

    def heads(self, config: Any) -> int:
        """Attention heads of a layer."""
        count: int = config.num_attention_heads
        return count

    @property
    def tested(self) -> Any:
        """The model class, imported now if it was declared by model type and task."""
        if self.model_class is not None:
            return self.model_class
        return self.once("class", lambda: model_class_of(self.resolution))

    @property
    def resolution(self) -> Resolution:
        """How the declared model type and task lead to a class."""
        asked = {"model_type": self.model_type}
        found: Resolution = self.once(
            "resolution", lambda: decide(asked, self.task, self.driver.framework, self.plugin)
        )
        return found

    @property
    def entry(self) -> Entry | None:
        """The entry of an installed plugin that leads to the class, if there is one."""
        if self.model_class is None and self.model_type:
            return self.resolution.entry  # which may name no class, but a head that stands on any backbone
        found = self.tested
        names = (found, f"{found.__module__}:{found.__qualname__}")
        return next((entry for entry in load_catalog().entries if entry.model in names), None)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returns, made at the first call and kept for all tests of this class."""
        made = type(self)._made
        if name not in made:
            made[name] = make()
        return made[name]

    @pytest.fixture(autouse=True)
    def _expected_failure(self, request: pytest.FixtureRequest) -> None:
        name = request.node.name
        reason = self.expected_failures.get(name) or self.expected_failures.get(name.partition("[")[0])
        if reason is not None:
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def config(self) -> PretrainedConfig:
        """The tiny config, as declared."""
        config: PretrainedConfig = self.tested.config_class(**self.declared)
        return config

    @property
    def declared(self) -> Mapping[str, Any]:
        """The fields of the tiny config: those of the class, or else those of the manifest's example."""
        entry = None if self.fields else self.entry
        return self.fields if entry is None else example_of(entry)

    @pytest.fixture
    def model(self, config: Any) -> Any:
        """A model in float32, no two parameters of which are alike. Not to be changed."""
        return self.once("model", lambda: self.distinct(config))

    @pytest.fixture
    def inputs(self, config: Any) -> dict[str, Any]:
        return self.example_inputs(config)

    @pytest.fixture
    def outputs(self, model: Any, inputs: Any) -> Any:
        """What the model returns for the inputs, without any flag."""
        return self.once("outputs", lambda: self.driver.run(model, inputs))

    @pytest.fixture
    def saved(self, model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The model, saved as safetensors in one file. Not to be changed."""

        def save() -> Path:
            directory = tmp_path_factory.mktemp(type(self).__name__)
            self.driver.save(model, directory)
            return directory

        directory: Path = self.once("saved", save)
        return directory

    def distinct(self, config: Any, **options: Any) -> Any:
        """A model with random values added to all of its parameters, the same ones each time."""
        model = self.driver.build(self.tested, config, **options)
        random = np.random.default_rng(1)
        parameters = sorted(self.driver.parameters(model).items())
        changed = {
            path: (value.astype(np.float64) + random.normal(0, SPREAD, value.shape)).astype(value.dtype)
            for path, value in parameters
        }
        self.driver.set_parameters(model, changed)
        return model

    def tensor_of(self, model: Any, parameter: str) -> tuple[str, Layout] | None:
        """(name in a saved checkpoint, layout) of a parameter; None when the key map lacks it.

        Without a key map, tensors bear the names of parameters.
        """
        keymap = getattr(model, "keymap", None)
        if keymap is None:
            return parameter, SAME
        inside = not self.is_head(parameter) and bool(self.backbone)
        found = keymap.tensor(parameter.removeprefix(f"{self.backbone}.") if inside else parameter)
        return (keymap.prefix + found[0], found[1]) if found is not None and inside else found

    @property
    def backbone(self) -> str:
        """Path of the backbone in the model; empty for a backbone itself."""
        path: str = getattr(self.tested, "base_model_prefix", "")
        return path

    def is_head(self, parameter: str) -> bool:
        """Whether a parameter is outside the backbone."""
        return bool(self.backbone) and not parameter.startswith(f"{self.backbone}.")

    def is_required(self, parameter: str) -> bool:
        """Whether a checkpoint must have a tensor for a parameter."""
        may_be_fresh = getattr(self.tested, "may_be_fresh", ())
        spellings = (parameter, re.sub(r"\.\d+(?=\.)", ".{i}", parameter))
        below = any(f"{spelling}.".startswith(f"{path}.") for spelling in spellings for path in may_be_fresh)
        return not self.is_head(parameter) and not below

    def edited(self, saved: Path, directory: Path, edit: Callable[[dict[str, Array]], None]) -> Path:
        """A copy of a saved checkpoint whose tensors `edit` has changed."""
        tensors = {name: np.array(view.numpy()) for name, view in Checkpoint.open(saved).items()}
        edit(tensors)
        save_tensors(directory, tensors, files={"config.json": (saved / "config.json").read_bytes()})
        return directory
