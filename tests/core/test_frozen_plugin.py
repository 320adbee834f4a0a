"""A plugin that was built against plugin API 1.0, as a wheel: it is found, judged, and used without a framework."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import automodels
from automodels.errors import CheckpointNotFoundError, InputError, UnknownArgumentError

sys.path.insert(0, str(Path(__file__).parents[1] / "frozen"))

from installing import SHA256, SOURCE, WHEEL, installed

PACKAGED = "pkg:frozen-plugin-1-0/frozen_plugin/checkpoint"


@pytest.fixture(autouse=True)
def frozen(clean_process, tmp_path):
    """The plugin, installed."""
    with installed(tmp_path / "site-packages") as directory:
        yield directory


def seen():
    import frozen_plugin.hooks

    return frozen_plugin.hooks.seen


def test_the_wheel_is_the_one_that_was_frozen_and_holds_the_source():
    with zipfile.ZipFile(WHEEL) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("frozen_plugin/")}
    there = [path for path in (SOURCE / "frozen_plugin").rglob("*") if path.is_file() and path.suffix != ".pyc"]

    assert hashlib.sha256(WHEEL.read_bytes()).hexdigest() == SHA256
    assert packed == {path.relative_to(SOURCE).as_posix(): path.read_bytes() for path in there}


def test_the_plugin_is_in_order():
    plugin = automodels.catalog().plugin("frozen-plugin")

    assert (plugin.state, plugin.version, plugin.problems) == ("ok", "1.0", ())
    assert plugin.manifest.api == ">=1.0,<2"


def test_its_own_task_has_an_auto_class():
    assert automodels.AutoModelForFrozenTallying.task == "frozen-tallying"
    assert automodels.FlaxAutoModelForFrozenTallying.framework == "flax"


def test_a_checkpoint_in_the_wheel_is_loaded_saved_and_loaded_again(tmp_path):
    model = automodels.AutoModelForFrozenTallying.from_pretrained(PACKAGED, scale=1.0)
    report = model.save_pretrained(tmp_path / "saved")
    again = automodels.AutoModelForFrozenTallying.from_pretrained(tmp_path / "saved", scale=1.0)

    assert model("One two TWO three").tolist() == [0.5, 4.0, 3.0]
    assert again("One two TWO three").tolist() == [0.5, 4.0, 3.0]
    assert report.files == ("config.json", "model.safetensors")
    assert again.config.to_dict() == model.config.to_dict()
    assert again.resolution.entry.plugin.name == "frozen-plugin"


def test_its_hooks_are_called():
    model = automodels.AutoModelForFrozenTallying.from_pretrained(PACKAGED)

    assert model.scale == 2.0
    assert seen() == [("configure_load", "frozen-tally"), ("model_loaded", "Tally")]


def test_its_source_is_asked_for_addresses_of_its_scheme(frozen, monkeypatch):
    monkeypatch.setenv("FROZEN_CHECKPOINTS", str(frozen / "frozen_plugin"))

    model = automodels.AutoModelForFrozenTallying.from_pretrained("frozen://checkpoint")

    assert model.config.words == ["one", "two", "three"]
    assert seen()[0] == ("locate_checkpoint", "frozen://checkpoint")
    with pytest.raises(CheckpointNotFoundError, match="frozen://nothing"):
        automodels.AutoConfig.from_pretrained("frozen://nothing")
    with pytest.raises(InputError, match="has no revisions"):
        automodels.AutoConfig.from_pretrained("frozen://checkpoint", revision="main")


def test_a_model_is_made_of_a_config():
    config = automodels.AutoConfig.for_model("frozen-tally", words=["cat"])

    model = automodels.AutoModelForFrozenTallying.from_config(config)

    assert np.array_equal(model("cat and cat"), [2.0])


def test_what_it_refuses_is_refused():
    with pytest.raises(UnknownArgumentError, match=r"did you mean 'scale'"):
        automodels.AutoModelForFrozenTallying.from_pretrained(PACKAGED, scalee=1.0)


def test_its_config_for_both_frameworks_is_read_without_either():
    config = automodels.AutoConfig.for_model("frozen-lm", hidden_size=24)

    assert (config.feed_forward_size, config.attention_needs.head_sizes) == (48, (12,))
    assert config.attention_needs.always == {"causal"}
    with pytest.raises(ValueError, match="hidden_size 25 is no multiple of 2 heads"):
        automodels.AutoConfig.for_model("frozen-lm", hidden_size=25)


def test_its_key_map_is_read_without_a_framework():
    from frozen_plugin.keymap import KEYMAP

    parameter, layout = KEYMAP.parameter("body.layers.3.norm.gamma")

    assert (parameter, layout.value) == ("layers.3.norm.scale", "same")
    assert KEYMAP.tensor("layers.3.qkv.kernel")[0] == "layers.3.qkv.weight"
    assert KEYMAP.is_buffer("body.layers.0.mask")
