"""Registration at run time: the same rules as for installed plugins."""

from __future__ import annotations

from typing import ClassVar

import pytest

import automodels
from automodels.config import PretrainedConfig
from automodels.errors import AmbiguousModelError, InputError, NoUsablePluginError, RegistrationError


class ToyConfig(PretrainedConfig):
    model_type: ClassVar[str] = "toy"


class OtherConfig(PretrainedConfig):
    model_type: ClassVar[str] = "toy"


class ToyModel:
    framework = "flax"

    def __init__(self, config, **options):
        self.config = config

    @classmethod
    def from_pretrained(cls, location, *, config, resolution, **options):
        return cls(config)


class TorchModel(ToyModel):
    framework = "torch"


class SecondModel(ToyModel):
    pass


def test_a_registered_class_is_loaded_like_an_installed_one(checkpoint):
    automodels.AutoModel.register(ToyConfig, ToyModel)

    model = automodels.AutoModel.from_pretrained(checkpoint())
    config = automodels.AutoConfig.from_pretrained(checkpoint())

    assert type(model) is ToyModel
    assert type(model.config) is type(config) is ToyConfig
    assert type(automodels.AutoModel.from_config(config)) is ToyModel


def test_repeating_a_registration_changes_nothing(checkpoint):
    for _ in range(3):
        automodels.AutoModel.register(ToyConfig, ToyModel)
        automodels.AutoConfig.register("toy", ToyConfig)

    assert len(automodels.catalog().registered) == 1


@pytest.mark.parametrize("second", [(ToyConfig, SecondModel), (OtherConfig, ToyModel)])
def test_a_second_class_for_the_same_entry_is_refused_and_the_first_one_stays(checkpoint, second):
    automodels.AutoModel.register(ToyConfig, ToyModel)

    with pytest.raises(RegistrationError, match=r"ToyModel is already registered for base of 'toy' in flax"):
        automodels.AutoModel.register(*second)

    assert type(automodels.AutoModel.from_pretrained(checkpoint())) is ToyModel


def test_a_second_config_class_for_a_model_type_is_refused():
    automodels.AutoConfig.register("toy", ToyConfig)

    with pytest.raises(RegistrationError, match=r"ToyConfig is already registered for model type 'toy'"):
        automodels.AutoConfig.register("toy", OtherConfig)


def test_tasks_and_frameworks_are_registered_apart(checkpoint):
    automodels.AutoModel.register(ToyConfig, ToyModel)
    automodels.AutoModelForMaskedLM.register(ToyConfig, SecondModel)
    automodels.TorchAutoModel.register(ToyConfig, TorchModel)

    found = [
        automodels.AutoModel.from_pretrained(checkpoint()),
        automodels.AutoModelForMaskedLM.from_pretrained(checkpoint()),
        automodels.AutoModel.from_pretrained(checkpoint(), framework="torch"),
    ]

    assert [type(model) for model in found] == [ToyModel, SecondModel, TorchModel]


def test_a_registered_class_and_an_installed_plugin_are_ambiguous_until_one_is_chosen(site, checkpoint):
    site.toy("good-toy")
    automodels.AutoModel.register(ToyConfig, ToyModel)
    registered = automodels.catalog().registered[0].plugin.name

    with pytest.raises(AmbiguousModelError) as caught:
        automodels.AutoModel.from_pretrained(checkpoint())
    with automodels.pin("toy", registered):
        mine = automodels.AutoModel.from_pretrained(checkpoint())
    theirs = automodels.AutoModel.from_pretrained(checkpoint(), plugin="good-toy")

    assert registered in str(caught.value)
    assert "good-toy" in str(caught.value)
    assert type(mine) is ToyModel
    assert type(theirs).__module__ == "good_toy.modeling"


def test_a_pin_to_a_registered_class_is_no_unknown_name(checkpoint, log):
    automodels.AutoModel.register(ToyConfig, ToyModel)

    with automodels.pin("toy", automodels.catalog().registered[0].plugin.name), automodels.policy(strict=True):
        automodels.resolve(checkpoint())

    assert log.records == []


@pytest.mark.parametrize("rule", [{"safe_mode": True}, {"allow": []}, {"allow": ["other"]}])
def test_lists_and_safe_mode_hold_for_registered_classes_too(checkpoint, rule):
    automodels.AutoModel.register(ToyConfig, ToyModel)

    with automodels.policy(**rule), pytest.raises(NoUsablePluginError):
        automodels.resolve(checkpoint())


def test_a_class_of_a_package_called_like_a_first_party_plugin_gets_no_privilege():
    impostor = type("ToyModel", (ToyModel,), {"__module__": "flax_bert.modeling"})

    automodels.AutoModel.register(ToyConfig, impostor)

    assert automodels.catalog().registered[0].plugin.name == "flax_bert.registered"


@pytest.mark.parametrize(
    ("config_class", "model_class", "error", "message"),
    [
        (ToyConfig, "ToyModel", InputError, "register takes two classes, not 'ToyModel'"),
        ("toy", ToyModel, InputError, "register takes two classes, not 'toy'"),
        (ToyConfig(), ToyModel, InputError, "register takes two classes"),
        (object, ToyModel, RegistrationError, "builtins.object has model_type None, which is not a name"),
        (PretrainedConfig, ToyModel, RegistrationError, "has model_type '', which is not a name"),
        (ToyConfig, object, RegistrationError, "builtins.object has framework None, not one of flax, torch"),
        (ToyConfig, type("M", (), {"framework": "jax"}), RegistrationError, "has framework 'jax', not one of flax"),
    ],
)
def test_what_cannot_be_registered_is_refused(config_class, model_class, error, message):
    with pytest.raises(error) as caught:
        automodels.AutoModel.register(config_class, model_class)

    assert message in str(caught.value)
    assert automodels.catalog().registered == ()


def test_a_class_of_the_other_framework_is_refused_by_an_auto_class_with_a_framework():
    with pytest.raises(RegistrationError, match="ToyModel is for flax, this auto class for torch"):
        automodels.TorchAutoModel.register(ToyConfig, ToyModel)


@pytest.mark.parametrize(
    ("model_type", "config_class", "error"),
    [
        ("other", ToyConfig, RegistrationError),
        ("t y", ToyConfig, InputError),
        (7, ToyConfig, InputError),
        ("toy", None, RegistrationError),
    ],
)
def test_a_config_class_that_says_another_model_type_is_refused(model_type, config_class, error):
    with pytest.raises(error, match="model.type"):
        automodels.AutoConfig.register(model_type, config_class)
