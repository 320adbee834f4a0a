"""Registrations that end with a block, and those that reach other processes."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

import automodels
from automodels.errors import InputError, NoUsablePluginError, PluginReferenceError, RegistrationError
from automodels.plugins.registered_variable import VARIABLE

CLASSES = """
    from typing import ClassVar

    from automodels.config import PretrainedConfig

    class ToyConfig(PretrainedConfig):
        model_type: ClassVar[str] = "toy"

    class ToyModel:
        framework = "flax"

        def __init__(self, config, **options):
            self.config = config

        @classmethod
        def from_pretrained(cls, location, *, config, resolution, **options):
            return cls(config)

    class OtherModel(ToyModel):
        pass

    def made():
        return type("ToyModel", (ToyModel,), {"__qualname__": "made.<locals>.ToyModel", "__module__": __name__})
"""
WORK = """
    import sys

    import automodels

    def chosen(checkpoint):
        imported = "my_models.classes" in sys.modules
        found = automodels.resolve(checkpoint).entry
        imported = imported or "my_models.classes" in sys.modules
        model = automodels.AutoModel.from_pretrained(checkpoint)
        config = automodels.AutoConfig.from_pretrained(checkpoint)
        again = automodels.AutoModel.from_config(config)
        classes = [type(made).__name__ for made in (model, config, again)]
        return imported, str(found.model), found.plugin.name, *classes

    def registers_another():
        from automodels.errors import RegistrationError
        from my_models.classes import OtherModel, ToyConfig, ToyModel

        automodels.AutoModel.register(ToyConfig, ToyModel)
        automodels.AutoModel.register(ToyConfig, ToyModel, workers=True)
        try:
            automodels.AutoModel.register(ToyConfig, OtherModel)
        except RegistrationError as error:
            return len(automodels.catalog().registered), str(error)

    def answers(checkpoint):
        try:
            return str(automodels.resolve(checkpoint).entry.model)
        except automodels.AutomodelsError as error:
            return str(error)
"""


@pytest.fixture
def package(site):
    """The package `my_models`, which is on the path of this process and of workers."""
    site.package("my_models", {"classes.py": CLASSES, "work.py": WORK})
    return importlib.import_module("my_models.classes")


@pytest.fixture
def in_worker(package):
    """Runs a function of `my_models.work` in a process that was spawned, and returns its result."""
    work = importlib.import_module("my_models.work")

    def run(name, *arguments):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(getattr(work, name), arguments)

    return run


def registered():
    return [(entry.task, entry.framework) for entry in automodels.catalog().registered]


# Blocks


def test_a_registration_ends_with_its_block(package):
    with automodels.registrations():
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel)
        automodels.AutoConfig.register("toy", package.ToyConfig)
        inside = registered()

    assert inside == [("base", "flax")]
    assert registered() == []
    with pytest.raises(automodels.AutomodelsError, match="'toy'"):
        automodels.AutoConfig.for_model("toy")


def test_a_registration_ends_also_when_an_exception_leaves_the_block(package):
    def fails():
        with automodels.registrations():
            automodels.AutoModel.register(package.ToyConfig, package.ToyModel, workers=True)
            raise KeyError

    with pytest.raises(KeyError):
        fails()

    assert registered() == []
    assert VARIABLE not in os.environ


def test_blocks_nest_and_what_the_outer_one_registered_stays(package):
    with automodels.registrations():
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel)
        with automodels.registrations():
            automodels.AutoModel.register(package.ToyConfig, package.ToyModel)
            automodels.AutoModelForCausalLM.register(package.ToyConfig, package.ToyModel)
            inner = registered()
        outer = registered()

    assert inner == [("base", "flax"), ("causal-lm", "flax")]
    assert outer == [("base", "flax")]
    assert registered() == []


def test_what_was_registered_without_a_block_stays_when_a_block_repeats_it(package):
    automodels.AutoModel.register(package.ToyConfig, package.ToyModel)

    with automodels.registrations():
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel, workers=True)

    assert registered() == [("base", "flax")]
    assert VARIABLE not in os.environ


def test_after_a_block_another_class_may_take_the_place(package):
    with automodels.registrations():
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel)

    automodels.AutoModel.register(package.ToyConfig, package.OtherModel)

    assert automodels.resolve("toy").entry.model is package.OtherModel


def test_other_threads_see_a_registration_and_keep_what_they_made_themselves(package):
    seen = []

    def work():
        seen.extend(registered())
        automodels.AutoModelForCausalLM.register(package.ToyConfig, package.ToyModel)

    with automodels.registrations():
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    assert seen == [("base", "flax")]
    assert registered() == [("causal-lm", "flax")]


def test_blocks_of_two_threads_that_register_the_same_class_do_not_end_each_other(package):
    first_is_in, second_is_out = threading.Event(), threading.Event()
    seen = []

    def first():
        with automodels.registrations():
            automodels.AutoModel.register(package.ToyConfig, package.ToyModel)
            first_is_in.set()
            second_is_out.wait(30)
            seen.extend(registered())

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait(30)
    with automodels.registrations():
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel)
    second_is_out.set()
    thread.join()

    assert seen == [("base", "flax")]
    assert registered() == []


# Workers


def test_a_spawned_worker_does_not_know_what_it_was_not_told(package, in_worker, checkpoint):
    automodels.AutoModel.register(package.ToyConfig, package.ToyModel)

    assert "[AM101]" in in_worker("answers", str(checkpoint()))


def test_a_spawned_worker_knows_what_was_registered_for_workers_and_imports_it_when_it_is_chosen(
    package, in_worker, checkpoint
):
    automodels.AutoModel.register(package.ToyConfig, package.ToyModel, workers=True)
    automodels.AutoConfig.register("toy", package.ToyConfig, workers=True)

    found = in_worker("chosen", str(checkpoint()))

    assert found == (False, "my_models.classes:ToyModel", "my_models", "ToyModel", "ToyConfig", "ToyModel")


def test_a_worker_may_repeat_the_registration_and_nothing_else(package, in_worker):
    automodels.AutoModel.register(package.ToyConfig, package.ToyModel, workers=True)

    entries, message = in_worker("registers_another")

    assert entries == 1
    assert "ToyModel is already registered for base of 'toy' in flax" in message


def test_a_worker_that_has_registered_nothing_refuses_another_class_in_an_inherited_place(package, monkeypatch):
    monkeypatch.setenv(VARIABLE, "toy/base/flax=my_models.classes:ToyConfig,my_models.classes:ToyModel")

    with pytest.raises(RegistrationError, match=r"my_models.classes:ToyModel \(AUTOMODELS_REGISTERED\) is already"):
        automodels.AutoModel.register(package.ToyConfig, package.OtherModel)
    automodels.AutoModel.register(package.ToyConfig, package.ToyModel)

    assert len(registered()) == 1


def test_workers_that_are_started_after_the_block_do_not_know_it(package, in_worker, checkpoint):
    with automodels.registrations():
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel, workers=True)
        inside = in_worker("answers", str(checkpoint()))

    assert inside == "my_models.classes:ToyModel"
    assert "[AM101]" in in_worker("answers", str(checkpoint()))


def test_a_block_leaves_in_the_variable_what_the_process_inherited(package, monkeypatch):
    inherited = "opt=automodels.families.opt:OPTConfig"
    monkeypatch.setenv(VARIABLE, inherited)

    with automodels.registrations():
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel, workers=True)
        inside = os.environ[VARIABLE]

    assert inside == f"{inherited};toy/base/flax=my_models.classes:ToyConfig,my_models.classes:ToyModel"
    assert os.environ[VARIABLE] == inherited


def test_an_inherited_entry_obeys_the_rules_of_installed_ones(package, site, monkeypatch, checkpoint):
    site.toy("good-toy")
    monkeypatch.setenv(VARIABLE, "toy/base/flax=my_models.classes:ToyConfig,my_models.classes:ToyModel")

    with pytest.raises(automodels.AutomodelsError, match=r"\[AM102\]"):
        automodels.resolve("toy")
    with automodels.policy(deny=["my_models"]):
        other = automodels.resolve("toy").entry.plugin.name
    with automodels.policy(safe_mode=True), pytest.raises(NoUsablePluginError):
        automodels.resolve("toy")

    assert other == "good-toy"


def test_a_disabled_registration_gives_no_config_class_either(package):
    automodels.AutoConfig.register("toy", package.ToyConfig)

    with automodels.policy(deny=["my_models"]), pytest.raises(automodels.AutomodelsError, match=r"\[AM101\]"):
        automodels.AutoConfig.for_model("toy")


def test_classes_that_a_worker_could_not_import_are_refused_and_nothing_is_registered(package):
    made = package.made()
    replaced = type("ToyModel", (package.ToyModel,), {"__module__": "my_models.classes"})
    of_program = type("ToyModel", (package.ToyModel,), {"__module__": "__main__"})
    nowhere = type("ToyModel", (package.ToyModel,), {"__module__": "no_such_module"})

    messages = []
    for kind in (made, replaced, of_program, nowhere):
        with pytest.raises(RegistrationError) as caught:
            automodels.AutoModel.register(package.ToyConfig, kind, workers=True)
        messages.append(caught.value.message)

    assert "was made inside a function" in messages[0]
    assert "is another object" in messages[1]
    assert "the program that is run" in messages[2]
    assert "no_such_module cannot be imported" in messages[3]
    assert registered() == []
    assert VARIABLE not in os.environ


def test_workers_is_true_or_false(package):
    with pytest.raises(InputError, match="workers is 4"):
        automodels.AutoModel.register(package.ToyConfig, package.ToyModel, workers=4)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("toy", "neither TYPE=CONFIG nor"),
        ("toy=a:B,c:D", "neither TYPE=CONFIG nor"),
        ("toy/base/flax=a:B", "neither TYPE=CONFIG nor"),
        ("toy/base/jax=a:B,c:D", "neither TYPE=CONFIG nor"),
        ("toy/base=a:B,c:D", "neither TYPE=CONFIG nor"),
        ("../x=a:B", "neither TYPE=CONFIG nor"),
        ("toy=os.system('x')", "neither TYPE=CONFIG nor"),
        ("toy=\x1b[31m:B", r"has the item 'toy=\\x1b"),
        ("toy=a:B;toy=a:C", "names two classes for toy"),
        (";".join(f"t{number}=a:B" for number in range(600)), "more than 512 items"),
        ("x" * 100_000, "neither TYPE=CONFIG nor"),
    ],
)
def test_a_malformed_variable_is_an_error_that_names_it(monkeypatch, value, message):
    monkeypatch.setenv(VARIABLE, value)

    with pytest.raises(InputError, match=message) as caught:
        automodels.catalog()

    assert VARIABLE in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_reference_that_leads_nowhere_is_an_error_when_it_is_chosen_and_not_before(package, checkpoint, monkeypatch):
    monkeypatch.setenv(VARIABLE, "toy/base/flax=my_models.classes:ToyConfig,my_models.classes:Gone")

    found = automodels.resolve(checkpoint())

    assert found.entry.model == "my_models.classes:Gone"
    with pytest.raises(PluginReferenceError, match="AUTOMODELS_REGISTERED names my_models.classes:Gone, but"):
        automodels.AutoModel.from_pretrained(checkpoint())


def test_the_command_shows_what_a_program_handed_on(package, site):
    automodels.AutoModel.register(package.ToyConfig, package.ToyModel, workers=True)

    done = subprocess.run(
        [sys.executable, "-m", "automodels_cli", "explain", "toy"],
        env={**os.environ, "PYTHONPATH": str(site.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("base for toy: my_models registered (flax)")
    assert done.returncode == 0
