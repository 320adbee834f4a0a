"""Saving and loading: bit-exact, in every format, whole or in shards; and what is not right is refused or reported."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automodels.checkpoint.reader import Checkpoint
from automodels.errors import CheckpointMismatchError, UnknownArgumentError
from automodels.testing.conformance.comparing import assert_same_parameters, flat
from automodels.testing.conformance.driver import Array
from automodels.testing.conformance.subject import Subject

SHARDS = 3
EXTRA = "conformance.no_such_tensor"


class CheckpointTests(Subject):
    """Weights on their way into files and back."""

    def test_what_is_saved_loads_bit_by_bit_in_every_format(self, model: Any, tmp_path: Path) -> None:
        expected = self.driver.parameters(model)

        for name, options in self.driver.formats.items():
            self.driver.save(model, tmp_path / name, **options)
            loaded = self.driver.load(self.tested, tmp_path / name)

            assert_same_parameters(self.driver.parameters(loaded), expected, f"{name}, saved and loaded")

    def test_a_loaded_model_computes_the_same(self, saved: Path, inputs: Any, outputs: Any) -> None:
        loaded = self.driver.load(self.tested, saved)

        found = self.driver.run(loaded, inputs)

        assert_same_parameters(flat(found), flat(outputs), "outputs of the loaded model")

    def test_the_saved_config_is_the_models(self, saved: Path, config: Any) -> None:
        found = self.driver.load(self.tested, saved).config

        for field, value in config.to_diff_dict().items():
            kept = found.to_dict().get(field)
            assert kept == value, f"{field} comes back as {kept!r}; {value!r} was saved"

    def test_shards_hold_the_same_as_one_file(self, model: Any, tmp_path: Path) -> None:
        expected = self.driver.parameters(model)
        largest = sum(value.nbytes for value in expected.values()) // SHARDS

        for name, options in self.driver.formats.items():
            self.driver.save(model, tmp_path / name, max_shard_size=largest, **options)
            loaded = self.driver.load(self.tested, tmp_path / name)

            files = Checkpoint.open(tmp_path / name).files
            assert len(files) > 1, f"{name}: max_shard_size={largest} gives one file"
            assert_same_parameters(self.driver.parameters(loaded), expected, f"{name}, in {len(files)} shards")

    def test_loading_reports_what_it_did(self, model: Any, saved: Path) -> None:
        report = self.driver.load(self.tested, saved, strict=True).load_report

        assert report is not None, "load_report is None after loading"
        lost = self.driver.parameters(model).keys() - {*report.loaded, *report.tied}
        assert not lost, f"the report does not have {sorted(lost)}"
        for word in ("missing", "unexpected", "mismatched", "cast"):
            assert not getattr(report, word), f"the report on a complete checkpoint has {word}: {getattr(report, word)}"

    def test_a_missing_tensor_is_an_error_that_names_it(self, model: Any, saved: Path, tmp_path: Path) -> None:
        required = sorted(path for path in self.driver.parameters(model) if self.is_required(path))

        for number, path in enumerate((required[0], required[-1])):
            name = self.tensor_name(model, path)
            edited = self.edited(saved, tmp_path / str(number), lambda tensors, name=name: tensors.pop(name))  # type: ignore[misc]
            with pytest.raises(CheckpointMismatchError) as raised:
                self.driver.load(self.tested, edited)

            assert path in " ".join(raised.value.trace), f"the error does not name {path}: {raised.value}"

    def test_a_tensor_too_many_is_reported_and_refused_when_strict(self, saved: Path, tmp_path: Path) -> None:
        edited = self.edited(saved, tmp_path, lambda tensors: tensors.update({EXTRA: np.zeros(3, np.float32)}))

        report = self.driver.load(self.tested, edited).load_report

        assert report.unexpected == (EXTRA,), f"the report has unexpected: {report.unexpected}"
        with pytest.raises(CheckpointMismatchError, match=EXTRA):
            self.driver.load(self.tested, edited, strict=True)

    def test_a_wrong_shape_is_refused_or_starts_afresh_when_asked(
        self, model: Any, saved: Path, tmp_path: Path
    ) -> None:
        path = max(parameters := self.driver.parameters(model), key=lambda path: parameters[path].size)
        name = self.tensor_name(model, path)

        def grow(tensors: dict[str, Array]) -> None:
            tensors[name] = np.concatenate([tensors[name], tensors[name][:1]])

        edited = self.edited(saved, tmp_path, grow)

        with pytest.raises(CheckpointMismatchError) as raised:
            self.driver.load(self.tested, edited)
        assert name in str(raised.value), f"the error does not name {name}: {raised.value}"
        loaded = self.driver.load(self.tested, edited, ignore_mismatched_sizes=True)
        assert loaded.load_report.mismatched == (path,), f"the report has mismatched: {loaded.load_report.mismatched}"
        assert self.driver.parameters(loaded)[path].shape == parameters[path].shape

    def test_a_type_that_is_no_number_type_of_parameters_is_refused(
        self, model: Any, saved: Path, tmp_path: Path
    ) -> None:
        name = self.tensor_name(model, next(iter(sorted(self.driver.parameters(model)))))

        def change(tensors: dict[str, Array]) -> None:
            tensors[name] = np.ones_like(tensors[name], dtype=np.int32)

        edited = self.edited(saved, tmp_path, change)

        with pytest.raises(CheckpointMismatchError, match="int32"):
            self.driver.load(self.tested, edited)

    def test_tensors_of_another_floating_type_are_cast_and_reported(
        self, model: Any, saved: Path, tmp_path: Path
    ) -> None:
        path = next(iter(sorted(self.driver.parameters(model))))
        name = self.tensor_name(model, path)

        def narrow(tensors: dict[str, Array]) -> None:
            tensors[name] = tensors[name].astype(np.float16)

        loaded = self.driver.load(self.tested, self.edited(saved, tmp_path, narrow))

        value = self.driver.parameters(model)[path]
        expected = {path: value.astype(np.float16).astype(value.dtype)}
        assert_same_parameters({path: self.driver.parameters(loaded)[path]}, expected, "cast from float16")
        assert loaded.load_report.cast == (path,), f"the report has cast: {loaded.load_report.cast}"

    def test_a_checkpoint_of_the_backbone_alone_leaves_the_head_fresh(
        self, model: Any, saved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        parameters = self.driver.parameters(model)
        heads = {path for path in parameters if self.is_head(path)}
        if not heads:
            pytest.skip("the model has no head")
        prefix = model.keymap.prefix

        def strip(tensors: dict[str, Array]) -> None:
            for path in heads:
                del tensors[self.tensor_name(model, path)]
            for name in list(tensors):
                tensors[name.removeprefix(prefix)] = tensors.pop(name)

        edited = self.edited(saved, tmp_path, strip)
        with caplog.at_level(logging.WARNING, logger="automodels"):
            loaded = self.driver.load(self.tested, edited)

        assert set(loaded.load_report.missing) == heads, f"the report has missing: {loaded.load_report.missing}"
        assert any(path in caplog.text for path in heads), "no warning names a parameter that is fresh"
        found = self.driver.parameters(loaded)
        kept = {path: value for path, value in parameters.items() if path not in heads}
        assert_same_parameters({path: found[path] for path in kept}, kept, "the backbone alone")
        with pytest.raises(CheckpointMismatchError):
            self.driver.load(self.tested, edited, strict=True)

    def test_a_misspelt_option_of_loading_is_refused_by_name(self, saved: Path) -> None:
        known = "ignore_mismatched_sizes"

        with pytest.raises(UnknownArgumentError) as raised:
            self.driver.load(self.tested, saved, ignore_missmatched_sizes=True)

        takes = known in inspect.signature(self.tested.from_pretrained).parameters
        assert known in str(raised.value) or not takes, f"the error does not name {known}: {raised.value}"

    def tensor_name(self, model: Any, path: str) -> str:
        """Name of a parameter in a saved checkpoint."""
        found = self.tensor_of(model, path)
        assert found is not None, f"the key map has no tensor for {path}"
        return found[0]
