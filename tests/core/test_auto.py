"""Auto classes: the right class from config.json, for every task and framework, without any of the core knowing it."""

from __future__ import annotations

import pickle

import pytest

import automodels
from automodels.errors import (
    AmbiguousModelError,
    CheckpointNotFoundError,
    CheckpointSecurityError,
    ConfigFileError,
    ConfigValueError,
    HubOfflineError,
    InputError,
    MissingModelTypeError,
    NoUsablePluginError,
    UnknownArgumentError,
    UnknownModelTypeError,
)
from automodels.plugins.catalog import STANDARD_TASKS


def test_a_model_is_loaded_through_the_installed_plugin_with_its_config_and_options(site, checkpoint):
    site.toy("good-toy")

    model = automodels.AutoModel.from_pretrained(checkpoint(width=7), anything=1)

    assert type(model).__module__ == "good_toy.modeling"
    assert model.config.width == 7
    assert model.options == {"anything": 1}


def test_a_model_is_made_from_a_config(site, checkpoint):
    site.toy("good-toy")
    config = automodels.AutoConfig.from_pretrained(checkpoint(), width=9)

    model = automodels.AutoModel.from_config(config, seed=1)

    assert (model.config.width, model.options) == (9, {"seed": 1})


@pytest.mark.parametrize(("task", "name"), STANDARD_TASKS.items())
def test_every_standard_task_has_its_auto_class(site, checkpoint, task, name):
    site.toy("good-toy", task=task)
    auto_class = getattr(automodels, name)

    model = auto_class.from_pretrained(checkpoint())

    assert (auto_class.task, auto_class.__name__) == (task, name)
    assert type(model).__module__ == "good_toy.modeling"
    assert name in automodels.__all__


@pytest.mark.parametrize("name", STANDARD_TASKS.values())
@pytest.mark.parametrize(("prefix", "framework", "other"), [("Flax", "flax", "torch"), ("Torch", "torch", "flax")])
def test_auto_classes_with_a_prefix_have_their_framework_fixed(site, checkpoint, name, prefix, framework, other):
    task = getattr(automodels, name).task
    site.toy("flax-toy", task=task)
    site.toy("torch-toy", task=task, framework="torch")
    fixed = getattr(automodels, f"{prefix}{name}")

    model = fixed.from_pretrained(checkpoint())

    assert type(model).__module__ == f"{framework}_toy.modeling"
    assert issubclass(fixed, getattr(automodels, name))
    with pytest.raises(InputError, match=f"{prefix}{name} is for {framework}; framework='{other}' contradicts it"):
        fixed.from_pretrained(checkpoint(), framework=other)


THINGS = '{head}\n[[task]]\nname = "things"\nauto_class = "AutoModelForThings"\n'


def test_a_task_of_a_third_party_gets_its_auto_classes_without_any_change_of_the_core(site, checkpoint):
    with pytest.raises(AttributeError, match="module 'automodels' has no attribute 'AutoModelForThings'"):
        _ = automodels.AutoModelForThings
    site.toy("things-toy", head=THINGS, task="things")

    model = automodels.AutoModelForThings.from_pretrained(checkpoint())
    with_framework = automodels.FlaxAutoModelForThings.from_pretrained(checkpoint())

    assert type(model) is type(with_framework)
    assert automodels.AutoModelForThings is automodels.AutoModelForThings
    assert issubclass(automodels.FlaxAutoModelForThings, automodels.AutoModelForThings)
    assert automodels.AutoModelForThings.task == "things"


@pytest.mark.parametrize("rule", [{"deny": ["things-toy"]}, {"safe_mode": True}])
def test_a_task_of_a_plugin_that_may_not_be_used_has_no_auto_class(site, rule):
    site.toy("things-toy", head=THINGS, task="things")

    with automodels.policy(**rule):
        found = hasattr(automodels, "AutoModelForThings")

    assert not found


def test_a_plugin_cannot_take_over_a_standard_task_or_its_auto_class(site):
    head = """{head}
[[task]]
name = "causal-lm"
auto_class = "AutoModelForEvil"
[[task]]
name = "evil"
auto_class = "AutoModelForCausalLM"
"""
    site.toy("evil-toy", head=head, task="evil")

    assert not hasattr(automodels, "AutoModelForEvil")
    assert automodels.AutoModelForCausalLM.task == "causal-lm"
    assert automodels.catalog().tasks["causal-lm"] == "AutoModelForCausalLM"


def test_a_task_that_plugins_declare_differently_belongs_to_none_of_them(site, checkpoint):
    site.toy("things-toy", head=THINGS, task="things")
    site.toy("other-toy", head=THINGS.replace("AutoModelForThings", "AutoModelForOthers"), task="things")

    assert not hasattr(automodels, "AutoModelForThings")
    assert not hasattr(automodels, "AutoModelForOthers")
    messages = [problem.message for problem in automodels.catalog().warnings]
    assert any("other-toy declares the task 'things' with AutoModelForOthers" in message for message in messages)
    assert any("things-toy declares the task 'things' with AutoModelForThings" in message for message in messages)


def test_a_task_that_plugins_declare_alike_belongs_to_all_of_them(site, checkpoint):
    site.toy("things-toy", head=THINGS, task="things")
    site.plugin("more-toy", THINGS)

    assert automodels.AutoModelForThings.task == "things"


@pytest.mark.parametrize(
    "name", ["AutoModelForNothing", "FlaxFlaxAutoModel", "FlaxAutoConfig", "JaxAutoModel", "nothing"]
)
def test_there_is_no_auto_class_for_what_nobody_declares(name):
    assert not hasattr(automodels, name)


@pytest.mark.parametrize("name", ["AutoModel", "AutoModelForMaskedLM", "FlaxAutoModel", "TorchAutoModelForCausalLM"])
def test_auto_classes_can_be_pickled(name):
    auto_class = getattr(automodels, name)

    assert pickle.loads(pickle.dumps(auto_class)) is auto_class


@pytest.mark.parametrize("name", ["AutoModel", "AutoModelForCausalLM", "FlaxAutoModel"])
def test_an_auto_class_is_never_instantiated(name):
    with pytest.raises(InputError, match=rf"Use {name}\.from_pretrained\(name\) or \.from_config\(config\)"):
        getattr(automodels, name)()


@pytest.mark.parametrize("config", ["toy", {"model_type": "toy"}, None, 7])
def test_from_config_takes_a_config(config):
    with pytest.raises(InputError, match="is not a config; from_pretrained takes names"):
        automodels.AutoModel.from_config(config)


# AutoConfig


def test_several_plugins_that_name_one_config_class_need_no_choice_for_the_config(site, checkpoint):
    site.toy("a-toy")
    manifest = (site.path / "a_toy" / "automodels.toml").read_text()
    site.plugin("b-toy", manifest.replace("a-toy", "b-toy"))

    config = automodels.AutoConfig.from_pretrained(checkpoint(width=5))

    assert config.width == 5
    with pytest.raises(AmbiguousModelError):
        automodels.AutoModel.from_pretrained(checkpoint())


def test_a_config_needs_nothing_of_what_the_model_requires(site, checkpoint):
    site.toy("poor-toy", requires='["absent"]')

    config = automodels.AutoConfig.from_pretrained(checkpoint(width=5))

    assert config.width == 5
    with pytest.raises(NoUsablePluginError):
        automodels.AutoModel.from_pretrained(checkpoint())


def test_plugins_with_different_config_classes_are_ambiguous_for_the_config_too(site, checkpoint):
    site.toy("a-toy")
    site.toy("b-toy")

    with pytest.raises(AmbiguousModelError):
        automodels.AutoConfig.from_pretrained(checkpoint())


def test_a_disabled_plugin_gives_no_config(site, checkpoint):
    site.toy("good-toy")

    with automodels.policy(deny=["good-toy"]), pytest.raises(NoUsablePluginError):
        automodels.AutoConfig.from_pretrained(checkpoint())


def test_a_config_for_a_model_type_refuses_fields_that_it_does_not_have(site):
    site.toy("good-toy")
    config = automodels.AutoConfig.for_model("toy", width=3)

    with pytest.raises(UnknownArgumentError, match="ToyConfig has no argument 'widht'; did you mean 'width'"):
        automodels.AutoConfig.for_model("toy", widht=3)

    assert config.width == 3


def test_an_option_that_is_no_field_is_refused_with_the_nearest_one(site, checkpoint):
    site.toy("good-toy")

    with pytest.raises(UnknownArgumentError, match="did you mean 'width'"):
        automodels.AutoConfig.from_pretrained(checkpoint(), widht=3)


# Checkpoints that are none


@pytest.mark.parametrize("load", [automodels.AutoConfig.from_pretrained, automodels.AutoModel.from_pretrained])
@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, CheckpointNotFoundError, "config.json is missing"),
        (b"", ConfigFileError, "is not strict JSON"),
        (b"[]", ConfigFileError, "holds an array, not an object"),
        (b'{"model_type": "toy", "model_type": "toy"}', ConfigFileError, "stands there twice"),
        (b"{}", MissingModelTypeError, "names no model_type"),
        (b'{"model_type": ""}', MissingModelTypeError, "has model_type ''"),
        (b'{"model_type": 7}', MissingModelTypeError, "has model_type 7"),
        (b'{"model_type": ["toy"]}', MissingModelTypeError, "has model_type ['toy']"),
        (b'{"model_type": "toi"}', UnknownModelTypeError, "The nearest name is 'toy'"),
        (b'{"model_type": "toy", "width": "wide"}', ConfigValueError, "width is 'wide'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_config_that_is_none_is_one_clear_error(site, checkpoint, load, content, error, message):
    site.toy("good-toy")
    directory = checkpoint()
    (directory / "config.json").unlink()
    if content is not None:
        (directory / "config.json").write_bytes(content)

    with pytest.raises(error) as caught:
        load(directory)

    assert message in str(caught.value)
    assert type(caught.value) is error
    assert len(str(caught.value).splitlines()) <= 12


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("./nowhere", CheckpointNotFoundError),
        ("org/nowhere", HubOfflineError),
        ("pkg:no-such-distribution/x", CheckpointNotFoundError),
        ("", InputError),
        ("\x1b[31m", InputError),
        (b"bytes", InputError),
    ],
)
def test_a_name_that_leads_nowhere_is_one_clear_error(name, error):
    with pytest.raises(error) as caught:
        automodels.AutoModel.from_pretrained(name)

    assert type(caught.value) is error
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_subfolder_is_read_and_may_not_leave_the_checkpoint(site, checkpoint):
    site.toy("good-toy")
    directory = checkpoint(width=8)

    model = automodels.AutoModel.from_pretrained(directory.parent, subfolder="checkpoint")

    assert model.config.width == 8
    with pytest.raises(CheckpointSecurityError):
        automodels.AutoModel.from_pretrained(directory, subfolder="../checkpoint/..")
