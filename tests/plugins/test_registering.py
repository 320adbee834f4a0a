"""register_for_auto_class: anybody's own class behind an auto class, in one process."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest

import automodels
from automodels import AutoConfig, AutoModel, AutoModelForMaskedLM
from automodels.errors import InputError, RegistrationError
from automodels.plugins.registration import forget_registrations
from flax_bert import BertConfig, FlaxBertForMaskedLM, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 0], [1, 9, 2, 0, 0]])


class OwnConfig(BertConfig):
    model_type: ClassVar[str] = "own-bert"


class OwnModel(FlaxBertModel):
    config_class = OwnConfig


class OwnMaskedLM(FlaxBertForMaskedLM):
    config_class = OwnConfig


class OtherModel(FlaxBertModel):
    config_class = OwnConfig


@pytest.fixture(autouse=True)
def forgetting():
    yield
    forget_registrations()


@pytest.fixture
def saved(tmp_path):
    OwnModel(OwnConfig(**TINY), seed=5).save_pretrained(tmp_path / "own")
    return tmp_path / "own"


@pytest.mark.parametrize("auto_class", ["AutoModel", "FlaxAutoModel", AutoModel])
def test_a_registered_class_is_what_its_checkpoints_load_as(saved, auto_class):
    OwnModel.register_for_auto_class(auto_class)

    model = AutoModel.from_pretrained(saved)

    assert type(model) is OwnModel
    assert type(model.config) is OwnConfig
    assert type(AutoConfig.from_pretrained(saved)) is OwnConfig
    np.testing.assert_array_equal(model(IDS)[0], OwnModel(OwnConfig(**TINY), seed=5)(IDS)[0])
    assert type(AutoModel.from_config(OwnConfig(**TINY))) is OwnModel


def test_each_task_has_its_class_and_doing_it_twice_changes_nothing(saved):
    OwnModel.register_for_auto_class()
    OwnModel.register_for_auto_class()
    OwnMaskedLM.register_for_auto_class("AutoModelForMaskedLM")

    assert type(AutoModel.from_pretrained(saved)) is OwnModel
    assert type(AutoModelForMaskedLM.from_pretrained(saved)) is OwnMaskedLM
    assert automodels.resolve(saved, task="masked-lm").entry.model is OwnMaskedLM


def test_a_second_class_for_the_same_task_is_refused():
    OwnModel.register_for_auto_class()

    with pytest.raises(RegistrationError, match="OwnModel is already registered for base of 'own-bert' in flax"):
        OtherModel.register_for_auto_class()


@pytest.mark.parametrize("name", ["AutoModl", "BertModel", 3, BertConfig])
def test_what_is_no_auto_class_is_refused(name):
    with pytest.raises(InputError, match="is not an auto class"):
        OwnModel.register_for_auto_class(name)


def test_a_class_for_another_framework_is_refused():
    with pytest.raises(RegistrationError, match="is for flax, this auto class for torch"):
        OwnModel.register_for_auto_class("TorchAutoModel")


def test_nothing_about_code_goes_into_a_checkpoint(tmp_path):
    OwnModel.register_for_auto_class()

    OwnModel(OwnConfig(**TINY)).save_pretrained(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert "auto_map" not in config
    assert __name__ not in json.dumps(config)
    assert config["architectures"] == ["OwnModel"]
