"""The plugin around the model: manifest, imports, key map, backends."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from automodels.checkpoint.keymap import TRANSPOSED
from automodels.checkpoint.reader import Checkpoint
from automodels.errors import BackendUnavailableError, InputError
from automodels.loading import config_of, decide, load_model, model_class_of, read_checkpoint, resolve
from automodels.plugins.catalog import load_catalog
from automodels.plugins.judge import PLUGIN_API
from automodels.testing.conformance.comparing import assert_close, assert_same_parameters
from automodels.testing.conformance.subject import Subject
from automodels.testing.firewall import import_without
from automodels.testing.tiny import example_of

NO_BACKEND = "no-such-backend"


class PackagingTests(Subject):
    """What can be said of a plugin before one of its models computes anything, and of its backends."""

    def test_the_manifest_leads_to_the_class(self, saved: Path) -> None:
        if not self.in_manifest:
            pytest.skip("declared: in_manifest = False")
        entry = self.entry
        assert entry is not None, f"no manifest of an installed plugin names {self.tested.__qualname__}"

        resolution = resolve(saved, task=entry.task, framework=self.driver.framework, plugin=entry.plugin.name)

        assert resolution.entry.model_type == self.tested.config_class.model_type
        assert model_class_of(resolution) is self.tested, f"{resolution.entry.model} is another class"

    def test_a_saved_checkpoint_names_its_plugin(self, saved: Path) -> None:
        if not self.in_manifest:
            pytest.skip("declared: in_manifest = False")
        entry = self.entry
        assert entry is not None, f"no manifest of an installed plugin names {self.tested.__qualname__}"

        recorded = json.loads((saved / "config.json").read_text(encoding="utf-8")).get("automodels", {})

        wanted = {"plugin": entry.plugin.name, "plugin_version": entry.plugin.version, "plugin_api": PLUGIN_API}
        found = {name: recorded.get(name) for name in wanted}
        assert found == wanted, f"config.json records {found} under 'automodels', not {wanted}"

    def test_an_auto_class_loads_what_was_saved(self, model: Any, saved: Path) -> None:
        if not self.in_manifest:
            pytest.skip("declared: in_manifest = False")
        entry = self.entry
        assert entry is not None, f"no manifest of an installed plugin names {self.tested.__qualname__}"
        location, raw, _ = read_checkpoint(saved, {})
        resolution = decide(raw, entry.task, self.driver.framework, entry.plugin.name)

        loaded = load_model(resolution, location, config_of(resolution, raw, location), {})

        assert type(loaded) is self.tested, f"a {type(loaded).__name__} is loaded"
        assert_same_parameters(
            self.driver.parameters(loaded), self.driver.parameters(model), "loaded as by an auto class"
        )

    def test_the_example_of_the_manifest_is_a_config(self) -> None:
        entry = self.entry
        fields = {} if entry is None else example_of(entry)
        if not fields:
            pytest.skip("the manifest has no [model.example]")

        config = self.tested.config_class(**fields)

        assert config.to_dict().items() >= config.to_diff_dict().items()
        unknown = sorted(fields.keys() - self.tested.config_class.field_names())
        assert not unknown, f"[model.example] has {unknown}, which are no fields of {type(config).__name__}"

    def test_a_backend_that_nobody_declares_is_refused_by_name(self, saved: Path) -> None:
        with pytest.raises((BackendUnavailableError, InputError)) as raised:
            self.driver.load(self.tested, saved, backend=NO_BACKEND)

        assert NO_BACKEND in str(raised.value), f"the error does not name {NO_BACKEND}: {raised.value}"

    def test_manifest_config_and_key_map_import_no_framework(self) -> None:
        modules = {self.tested.config_class.__module__}
        if (entry := self.entry) is not None and entry.plugin.manifest is not None:
            tables = [table for table in entry.plugin.manifest.models if table.model_type == entry.model_type]
            references = [reference for table in tables for reference in (table.config, table.keymap) if reference]
            modules |= {reference.partition(":")[0] for reference in references}

        report = _import_report(*sorted(modules))

        assert report.passed, str(report)

    def test_the_key_map_is_a_bijection_over_all_parameters(self, model: Any) -> None:
        keymap = getattr(model, "keymap", None)
        parameters = self.driver.parameters(model)

        tensors = {path: self.tensor_of(model, path) for path in parameters}

        lost = [path for path, found in tensors.items() if found is None]
        assert not lost, f"the key map has no tensor for {lost}"
        names = [found[0] for found in tensors.values() if found is not None]
        assert len(set(names)) == len(names), f"several parameters are named {sorted(names)}"
        for path, found in tensors.items():
            if keymap is None or found is None:
                continue
            back = keymap.parameter(found[0]) or ("nothing", None)
            own = path if self.is_head(path) else path.removeprefix(f"{self.backbone}." if self.backbone else "")
            assert back[0] == own, f"{path} → {found[0]} → {back[0]}"
            flat = found[1] is TRANSPOSED and parameters[path].ndim != 2
            assert not flat, f"{path} has {parameters[path].ndim} axes and cannot be transposed"

    def test_saved_tensors_have_the_names_and_layouts_of_the_key_map(self, model: Any, saved: Path) -> None:
        checkpoint = Checkpoint.open(saved)
        expected = {}
        for path, value in self.driver.parameters(model).items():
            if (found := self.tensor_of(model, path)) is not None:
                expected[found[0]] = value.T if found[1] is TRANSPOSED else value

        assert set(checkpoint) == set(expected), f"saved, or expected, only: {sorted(set(checkpoint) ^ set(expected))}"
        for name, value in expected.items():
            array = checkpoint[name].numpy()
            assert array.shape == value.shape, f"{name} is saved as {list(array.shape)}, not {list(value.shape)}"
            assert (array == value).all(), f"{name} is saved with other values, or another layout"

    def test_every_declared_backend_loads_or_explains_itself(self, saved: Path, inputs: Any, outputs: Any) -> None:
        declared = {table.name for _, table in load_catalog().backends(self.driver.framework)}
        ran: list[str] = []
        refused: dict[str, tuple[str, ...]] = {}

        for name in sorted(declared - self.driver.left_out_backends):
            try:
                model = self.driver.load(self.tested, saved, backend=name)
            except BackendUnavailableError as error:
                refused[name] = error.trace
            else:
                if name not in self.driver.slow_backends:
                    assert_close(self.driver.run(model, inputs), outputs, self.tolerances["float32"], f"backend {name}")
                ran.append(name)

        for name, trace in refused.items():
            reasons = [line for line in trace if line.startswith(f"{name} ") and "rejected: " in line]
            assert reasons, f"{name} is refused without a reason: {trace}"
        assert ran, f"none of the declared backends runs here: {sorted(declared)}"
        with pytest.raises(BackendUnavailableError):
            self.driver.load(self.tested, saved, backend="conformance-no-such-backend")


_import_report = functools.cache(import_without)  # classes of one family share modules, and each try takes a process
