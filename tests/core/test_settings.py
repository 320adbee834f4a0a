"""Allow and deny lists, safe and strict mode, frameworks and pins: arguments, environment, project file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import automodels
from automodels.errors import InputError, NoUsablePluginError, StrictModeError
from automodels.testing.sites import FakeSite


def states() -> dict[str, str]:
    return {plugin.name: plugin.state for plugin in automodels.catalog().plugins if plugin.name.endswith("-toy")}


@pytest.fixture
def two(site: FakeSite) -> FakeSite:
    """Two plugins for different frameworks."""
    site.toy("flax-toy")
    site.toy("torch-toy", framework="torch")
    return site


def test_the_allow_list_admits_only_what_it_names(two, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_PLUGINS", " torch-toy , ")

    assert states() == {"flax-toy": "disabled", "torch-toy": "ok"}


def test_the_deny_list_wins_over_the_allow_list(two, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "flax-toy,torch-toy")
    monkeypatch.setenv("AUTOMODELS_DISABLE", "flax-toy")

    assert states() == {"flax-toy": "disabled", "torch-toy": "ok"}


def test_policy_takes_the_same_lists_as_arguments_and_ends_with_its_block(two):
    with automodels.policy(allow=["flax-toy", "torch-toy"], deny=["flax-toy"]):
        inside = states()

    assert inside == {"flax-toy": "disabled", "torch-toy": "ok"}
    assert states() == {"flax-toy": "ok", "torch-toy": "ok"}


def test_a_policy_is_undone_when_its_block_raises(two):
    with pytest.raises(KeyError), automodels.policy(deny=["flax-toy"]):
        raise KeyError

    assert states()["flax-toy"] == "ok"


def test_safe_mode_admits_first_party_plugins_only(two, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_SAFE_MODE", "1")

    with pytest.raises(NoUsablePluginError) as caught:
        automodels.resolve("toy")

    assert str(caught.value).count("safe mode admits first-party plugins only") == 2


def test_a_third_party_that_takes_a_first_party_name_is_not_admitted_by_safe_mode(site):
    site.package("rogue", {"automodels.toml": 'schema = 1\nname = "flax-opt"\napi = ">=1.0,<2"\n'})
    site.distribution("rogue", files={"entry_points.txt": "[automodels.plugins]\nflax-opt = rogue:automodels.toml\n"})

    with automodels.policy(safe_mode=True):
        plugins = automodels.catalog().plugins

    rogue = next(plugin for plugin in plugins if plugin.location.startswith(str(site.path)))
    assert rogue.state == "disabled"
    assert {plugin.state for plugin in plugins if plugin.name == "flax-opt" and plugin is not rogue} <= {"ok", "empty"}


@pytest.mark.parametrize("variables", [{"AUTOMODELS_PLUGINS": ""}, {"AUTOMODELS_DISABLE": "flax-toy,torch-toy"}])
def test_when_everything_is_disabled_the_error_names_every_plugin_and_why(two, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(NoUsablePluginError) as caught:
        automodels.resolve("toy")

    text = str(caught.value)
    assert "flax-toy 1.0 (flax): rejected: " in text
    assert "torch-toy 1.0 (torch): rejected: " in text
    assert all(name in text for name in variables)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AUTOMODELS_PLUGINS", "flax-toy,torch-toy,flax-bret", "'flax-bret', which is not an installed plugin"),
        ("AUTOMODELS_DISABLE", "flex-toy", "'flex-toy', which is not an installed plugin; did you mean 'flax-toy'?"),
        ("AUTOMODELS_DISABLE", "\x1b[31m", r"'\x1b[31m', which is not an installed plugin"),
        ("AUTOMODELS_PIN_TOY", "flax-toi", "AUTOMODELS_PIN_TOY names 'flax-toi', which is not an installed plugin"),
        ("AUTOMODELS_PIN_TOI", "flax-toy", "AUTOMODELS_PIN_TOI is for the model type 'TOI', which no installed plugin"),
        ("AUTOMODELS_DISABEL", "x", "AUTOMODELS_DISABEL is not a variable of automodels; did you mean"),
    ],
)
def test_an_unknown_name_in_the_environment_warns_once_and_is_an_error_in_strict_mode(
    two, monkeypatch, log, variable, value, said
):
    monkeypatch.setenv(variable, value)

    for _ in range(3):
        automodels.resolve("toy", plugin="torch-toy")
    with automodels.policy(strict=True), pytest.raises(StrictModeError) as caught:
        automodels.resolve("toy", plugin="torch-toy")

    warnings = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert len([message for message in warnings if said in message]) == 1
    assert said in str(caught.value)


def test_strict_mode_refuses_a_broken_plugin_that_is_otherwise_skipped(two, monkeypatch):
    two.plugin("bad-toy", "[[[")
    assert automodels.resolve("toy").entry.plugin.name == "flax-toy"
    monkeypatch.setenv("AUTOMODELS_STRICT", "1")

    with pytest.raises(StrictModeError, match=r"bad-toy 1\.0 .*\[P203\]") as caught:
        automodels.resolve("toy")

    assert caught.value.hints == ("Run: registry doctor",)


def test_strict_mode_passes_by_a_broken_plugin_that_is_disabled(two):
    two.plugin("bad-toy", "[[[")

    with automodels.policy(strict=True, deny=["bad-toy"]):
        found = automodels.resolve("toy")

    assert found.entry.plugin.name == "flax-toy"


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_a_flag_is_set_by_the_usual_words(monkeypatch, value):
    monkeypatch.setenv("AUTOMODELS_SAFE_MODE", value)

    assert automodels.catalog().settings.safe_mode


@pytest.mark.parametrize("value", ["", "0", "False", "no", "off"])
def test_a_flag_is_cleared_by_the_usual_words(monkeypatch, value):
    monkeypatch.setenv("AUTOMODELS_SAFE_MODE", value)

    assert not automodels.catalog().settings.safe_mode


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("AUTOMODELS_SAFE_MODE", "maybe", "AUTOMODELS_SAFE_MODE is 'maybe', neither 1 nor 0"),
        ("AUTOMODELS_STRICT", "2", "AUTOMODELS_STRICT is '2', neither 1 nor 0"),
        ("AUTOMODELS_FRAMEWORK", "jax", "AUTOMODELS_FRAMEWORK is 'jax', not one of flax, torch"),
    ],
)
def test_a_variable_that_means_nothing_is_an_error_that_names_it(monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)

    with pytest.raises(InputError, match=message):
        automodels.catalog()


@pytest.mark.parametrize(
    "arguments", [{"allow": "flax-toy"}, {"deny": "flax-toy"}, {"allow": ["a b"]}, {"deny": [7]}, {"deny": ["../x"]}]
)
def test_a_policy_of_the_wrong_form_is_refused(arguments):
    with pytest.raises(InputError), automodels.policy(**arguments):
        pass


@pytest.mark.parametrize("arguments", [("toy", "a b"), ("to y", "a"), ("toy", None), (7, "a")])
def test_a_pin_of_the_wrong_form_is_refused(arguments):
    with pytest.raises(InputError), automodels.pin(*arguments):
        pass


# The project file


def write_project(text: str | bytes, directory: Path | None = None) -> Path:
    file = (directory or Path.cwd()) / "automodels.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_the_project_file_pins_plugins_and_prefers_a_framework(two):
    two.toy("other-toy")
    file = write_project('framework = "torch"\n[pins]\ntoy = "other-toy"\n')

    found = automodels.resolve("toy")

    assert (found.entry.plugin.name, found.reason) == ("other-toy", str(file))


def test_the_nearest_project_file_counts_alone(two, monkeypatch):
    write_project('[pins]\ntoy = "flax-toy"\n')
    inner = Path.cwd() / "a" / "b"
    write_project('[pins]\ntoy = "torch-toy"\n', inner)
    deepest = inner / "c" / "d"
    deepest.mkdir(parents=True)

    outer_choice = automodels.resolve("toy").entry.plugin.name
    monkeypatch.chdir(deepest)
    inner_choice = automodels.resolve("toy").entry.plugin.name

    assert (outer_choice, inner_choice) == ("flax-toy", "torch-toy")


def test_a_manifest_in_the_working_directory_is_no_project_file_and_is_passed_by(two, monkeypatch):
    write_project('[pins]\ntoy = "torch-toy"\n')
    write_project('schema = 1\nname = "my-plugin"\n', Path.cwd() / "plugin")
    monkeypatch.chdir("plugin")

    assert automodels.resolve("toy").entry.plugin.name == "torch-toy"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[[[", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b".".join([b"a"] * 20_000) + b" = 1", "nested too deeply"),
        (b"pin = 1", "unknown key 'pin'"),
        (b"pins = 1", "is not a table of model type = plugin"),
        (b"[pins]\ntoy = 7", "7 cannot be the name of a plugin"),
        (b'[pins]\n"to y" = "x"', "'to y' cannot be the name of a model type"),
        (b'framework = "jax"', "is 'jax', not one of flax, torch"),
        (b"framework = 0", "is 0, not one of flax, torch"),
        (b'disable = "flax-toy"', "disable in"),
        (b"disable = {a = 1}", "is not a list of plugins"),
        (b'disable = ["flax-toy", 7]', "7 cannot be the name of a plugin"),
        (b'disable = ["../x"]', "'../x' cannot be the name of a plugin"),
        (b'disable = [["flax-toy"]]', "cannot be the name of a plugin"),
        (b'disabled = ["x"]', "unknown key 'disabled'"),
        (b"#" * 70_000, "larger than 65536 bytes"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_a_malformed_project_file_is_an_error_that_names_it(two, content, message):
    file = write_project(content)

    with pytest.raises(InputError) as caught:
        automodels.resolve("toy")

    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 12


def test_a_directory_or_a_pipe_called_like_the_project_file_is_passed_by(two, monkeypatch):
    (Path.cwd() / "automodels.toml").mkdir()
    (Path.cwd() / "below").mkdir()
    os.mkfifo(Path.cwd() / "below" / "automodels.toml")
    monkeypatch.chdir("below")

    assert automodels.resolve("toy").entry.plugin.name == "flax-toy"


def test_without_a_working_directory_there_is_no_project_file(two):
    os.rmdir(os.getcwd())

    assert automodels.resolve("toy").entry.plugin.name == "flax-toy"


def test_the_project_file_disables_plugins_in_addition_to_the_environment_and_messages_say_which_did(two, monkeypatch):
    file = write_project('disable = ["flax-toy", "flax-toy"]\n')
    monkeypatch.setenv("AUTOMODELS_DISABLE", "torch-toy")

    with pytest.raises(NoUsablePluginError) as caught:
        automodels.resolve("toy")

    assert f"flax-toy 1.0 (flax): rejected: disabled by {file}" in str(caught.value)
    assert "torch-toy 1.0 (torch): rejected: disabled by AUTOMODELS_DISABLE\n" in str(caught.value)
    assert automodels.catalog().settings.deny == ("torch-toy", "flax-toy")


def test_neither_an_allow_list_nor_a_block_admits_what_the_project_file_disables(two, monkeypatch):
    write_project('disable = ["flax-toy"]\n')
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "flax-toy,torch-toy")

    with automodels.policy(allow=["flax-toy", "torch-toy"], deny=[]):
        inside = states()

    assert inside == {"flax-toy": "disabled", "torch-toy": "ok"}


def test_an_unknown_name_that_the_project_file_disables_is_a_warning_with_the_file_and_the_nearest_name(two, log):
    file = write_project('disable = ["flax-toi"]\n')

    automodels.resolve("toy")

    assert f"{file} names 'flax-toi', which is not an installed plugin; did you mean 'flax-toy'?" in log.text


def test_a_disabled_plugin_that_is_pinned_is_an_error_that_names_both_decisions(two, monkeypatch):
    file = write_project('disable = ["flax-toy"]\n')
    monkeypatch.setenv("AUTOMODELS_PIN_TOY", "flax-toy")

    with pytest.raises(automodels.AutomodelsError) as caught:
        automodels.resolve("toy")

    assert "AUTOMODELS_PIN_TOY" in str(caught.value)
    assert f"disabled by {file}" in str(caught.value)


# Who wins


def test_pins_win_in_the_documented_order(site, monkeypatch, checkpoint):
    for name in ("argument-toy", "block-toy", "environment-toy", "project-toy", "recorded-toy"):
        site.toy(name)
    directory = checkpoint(automodels={"plugin": "recorded-toy"})
    choices = [automodels.resolve(directory).entry.plugin.name]

    write_project('[pins]\ntoy = "project-toy"\n')
    choices.append(automodels.resolve(directory).entry.plugin.name)
    monkeypatch.setenv("AUTOMODELS_PIN_TOY", "environment-toy")
    choices.append(automodels.resolve(directory).entry.plugin.name)
    with automodels.pin("toy", "project-toy"), automodels.pin("toy", "block-toy"):
        choices.append(automodels.resolve(directory).entry.plugin.name)
        choices.append(automodels.resolve(directory, plugin="argument-toy").entry.plugin.name)
    choices.append(automodels.resolve(directory).entry.plugin.name)

    assert choices == ["recorded-toy", "project-toy", "environment-toy", "block-toy", "argument-toy", "environment-toy"]


@pytest.mark.parametrize("variable", ["AUTOMODELS_PIN_GPT_TOY", "AUTOMODELS_PIN_gpt_toy"])
@pytest.mark.parametrize("model_type", ["gpt-toy", "gpt_toy", "GPT.toy"])
def test_a_model_type_is_spelled_in_a_variable_with_underscores(site, monkeypatch, model_type, variable):
    for name in ("one", "two"):
        table = (
            f'[[model]]\nmodel_type = "{model_type}"\nframework = "flax"\nconfig = "a:b"\n[model.tasks]\nbase = "a:b"'
        )
        site.plugin(f"{name}-toy", "{head}" + table)
    monkeypatch.setenv(variable, "two-toy")

    found = automodels.resolve(model_type)

    assert (found.entry.plugin.name, found.reason) == ("two-toy", variable)


def test_an_empty_pin_is_no_pin(two, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_PIN_TOY", " ")

    assert automodels.resolve("toy").entry.plugin.name == "flax-toy"


def test_allowing_a_model_allows_the_plugins_that_its_distribution_requires(site, monkeypatch):
    site.plugin("toy-base")
    site.plugin("toy-runtime")
    site.plugin("stranger")
    for name, requires in (("toy", "toy_runtime>=1"), ("toy-runtime", "Toy.Base")):
        site.toy("toy") if name == "toy" else None
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {requires}\n"
        extra = "Requires-Dist: stranger; extra == 'more'\n\nRequires-Dist: stranger\n"
        entry = f"[automodels.plugins]\n{name} = {name.replace('-', '_')}:automodels.toml\n"
        site.distribution(name, files={"METADATA": metadata + extra, "entry_points.txt": entry})
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy")

    states = {plugin.name: plugin.state for plugin in automodels.catalog().plugins if "toy" in plugin.name}

    assert states == {"toy": "ok", "toy-runtime": "empty", "toy-base": "empty"}
    assert automodels.catalog().plugin("stranger").state == "disabled"


def test_a_block_cannot_allow_what_the_environment_or_an_outer_block_denies(site, monkeypatch):
    for name in ("one-toy", "two-toy", "three-toy"):
        site.toy(name)
    monkeypatch.setenv("AUTOMODELS_DISABLE", "one-toy")

    with automodels.policy(deny=["two-toy"]), automodels.policy(deny=[]):
        states = {name: automodels.catalog().plugin(name).state for name in ("one-toy", "two-toy", "three-toy")}

    assert states == {"one-toy": "disabled", "two-toy": "disabled", "three-toy": "ok"}
