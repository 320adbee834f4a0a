"""A config survives everything that happens to configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from automodels.testing.conformance.processes import in_another_process, same
from automodels.testing.conformance.subject import Subject

UNKNOWN = {"conformance_unknown": {"nested": [1, None, "ü"]}}


class ConfigTests(Subject):
    """The config class: dict, JSON, file, unknown keys, pickling."""

    def test_a_config_survives_dict_and_json(self, config: Any) -> None:
        written = json.loads(config.to_json_string(use_diff=False))

        assert type(config).from_dict(config.to_dict()) == config, "from_dict(to_dict()) is another config"
        assert type(config).from_dict(written) == config, "from_dict of the JSON is another config"
        assert written["model_type"] == type(config).model_type

    def test_a_config_keeps_every_value_that_was_given(self, config: Any) -> None:
        written, spelling = config.to_dict(), type(config).written_as

        for field, value in self.declared.items():
            assert getattr(config, field) == value, f"{field} is {getattr(config, field)!r}; {value!r} was given"
            if field != "num_labels":
                kept = json.loads(json.dumps(value))
                found = written.get(spelling.get(field, field))
                assert found == kept, f"{field} is written as {found!r}, not {kept!r}"

    def test_a_config_survives_a_file(self, config: Any, tmp_path: Path) -> None:
        config.save_pretrained(tmp_path)

        assert type(config).from_pretrained(tmp_path) == config, "from_pretrained reads another config"
        assert type(config).from_json_file(tmp_path / "config.json") == config, "from_json_file reads another config"

    def test_a_config_keeps_keys_that_it_does_not_know(self, config: Any, tmp_path: Path) -> None:
        type(config).from_dict({**config.to_dict(), **UNKNOWN}).save_pretrained(tmp_path)

        written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))

        (key,) = UNKNOWN
        assert written.get(key) == UNKNOWN[key], f"the unknown key {key} is written as {written.get(key)!r}"

    def test_a_config_survives_another_process(self, config: Any) -> None:
        returned = in_another_process(same, config)

        assert returned == config, "another process returns another config"
        assert returned.to_dict() == config.to_dict(), "another process returns a config that is written differently"

    def test_a_model_has_a_config_of_its_own(self, config: Any) -> None:
        given = config.copy_with()
        model = self.driver.build(self.tested, given)

        given.architectures = ["Changed"]

        assert model.config == config, "changing the config that a model was built from changes the model's"
