"""Config and weights of one load are of one save, whatever is saved in between."""

from __future__ import annotations

import json

import numpy as np
import pytest

from automodels.checkpoint.locate import locate
from automodels.checkpoint.opening import open_checkpoint
from automodels.checkpoint.stability import ATTEMPTS, again_if_changed
from automodels.checkpoint.writer import save_tensors
from automodels.errors import CheckpointChangedError, CheckpointNotFoundError


def save(folder, edition: int, *, config: object = None, **options) -> None:
    config = json.dumps(config or {"model_type": "toy", "edition": edition}).encode()
    save_tensors(folder, {"a": np.full(4, edition, np.float32)}, files={"config.json": config}, **options)


def test_weights_saved_after_the_config_was_read_are_refused(tmp_path):
    save(tmp_path, 1)
    location = locate(tmp_path)
    assert location.config["edition"] == 1
    save(tmp_path, 2)

    with pytest.raises(CheckpointChangedError, match="was saved anew after its config was read"):
        open_checkpoint(location)


def test_a_config_that_nobody_has_read_binds_nobody(tmp_path):
    save(tmp_path, 1)
    location = locate(tmp_path)
    save(tmp_path, 2)

    assert open_checkpoint(location)["a"][...][0] == 2
    assert location.config["edition"] == 2


def test_a_save_of_the_same_config_fits_it(tmp_path):
    same = {"model_type": "toy"}
    save(tmp_path, 1, config=same)
    location = locate(tmp_path)
    assert location.config == same
    save(tmp_path, 2, config=same)

    assert open_checkpoint(location)["a"][...][0] == 2


def test_the_config_is_read_once(tmp_path):
    save(tmp_path, 1)
    location = locate(tmp_path)
    first = location.config
    (tmp_path / "config.json").unlink()

    assert location.config is first


def test_a_config_that_is_gone_is_an_error_of_its_own(tmp_path):
    save(tmp_path, 1)
    location = locate(tmp_path)
    assert location.config
    (tmp_path / "config.json").unlink()

    with pytest.raises(CheckpointNotFoundError, match=r"config\.json is missing"):
        open_checkpoint(location)


@pytest.mark.parametrize("changes", [0, 1, ATTEMPTS - 1])
def test_a_load_is_repeated_until_nothing_changes(changes):
    seen = []

    def load() -> str:
        seen.append(0)
        if len(seen) <= changes:
            raise CheckpointChangedError("changed")
        return "loaded"

    assert again_if_changed(load) == "loaded"
    assert len(seen) == changes + 1


def test_a_checkpoint_that_never_rests_is_an_error():
    seen = []

    def load() -> None:
        seen.append(0)
        raise CheckpointChangedError("changed")

    with pytest.raises(CheckpointChangedError):
        again_if_changed(load)
    assert len(seen) == ATTEMPTS
