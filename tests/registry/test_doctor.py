from __future__ import annotations

import json
import shutil

import pytest

from automodels.testing.sites import FakeSite, model_table


@pytest.fixture
def alone(monkeypatch, here):
    """Only the plugin `toy-plugin` counts, whatever else is installed where the tests run."""
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-plugin")
    return here


def examined(capsys):
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["kind"] == "doctor"
    return document


def test_a_sound_installation_is_exit_code_0(alone, site, capsys):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))

    code = alone(["doctor"])

    out = capsys.readouterr().out
    assert code == 0, out
    assert "plugin API     1.0" in out
    assert "only plugins   toy-plugin" in out
    assert "0 problems found." in out


def test_every_problem_is_found_at_once_and_the_exit_code_is_1(alone, site, capsys, monkeypatch):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin", requires='["nowhere-to-be-found>=2"]'))
    site.plugin("toy-broken", "= = =")
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-plugin,toy-broken,toy-missing")
    monkeypatch.setenv("AUTOMODELS_DISABEL", "x")

    assert alone(["doctor", "--json"]) == 1

    document = examined(capsys)
    problems = [f"{each['subject']}: {each['message']}" for each in document["findings"] if each["level"] == "problem"]
    assert document["ok"] is False
    assert any(text.startswith("toy-broken: ") and "is not TOML" in text for text in problems)
    assert any("toy in flax cannot be used: nowhere-to-be-found is not installed" in text for text in problems)
    assert any("toy-missing" in text for text in problems)
    assert any("AUTOMODELS_DISABEL is not a variable" in text for text in problems)


def test_damage_that_concerns_no_plugin_is_a_note(alone, site, capsys):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    (site.distribution("unrelated") / "METADATA").unlink()

    assert alone(["doctor", "--json"]) == 0

    notes = [each for each in examined(capsys)["findings"] if each["subject"] == "unrelated"]
    assert [each["code"] for each in notes] == ["P105"]


def test_a_shadowed_copy_of_a_plugin_is_a_problem(alone, site, tmp_path, capsys, monkeypatch):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    second = FakeSite(tmp_path / "second")
    second.plugin("toy-plugin", "{head}" + model_table("toy_plugin"), version="2.0")
    monkeypatch.syspath_prepend(str(second.path))

    assert alone(["doctor", "--json"]) == 1

    problem = next(each for each in examined(capsys)["findings"] if each["code"] == "P104")
    assert "is shadowed by toy_plugin 2.0" in problem["message"]


def test_the_project_file_and_pins_are_shown(alone, site, tmp_path, capsys, monkeypatch):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    (tmp_path / "automodels.toml").write_text('framework = "flax"\n[pins]\ntoy = "toy-plugin"\n')

    assert alone(["doctor"]) == 0

    out = capsys.readouterr().out
    assert f"project file   {tmp_path / 'automodels.toml'}" in out
    assert "TOY = toy-plugin (" in out


def test_malformed_settings_are_reported_and_do_not_stop_it(alone, site, capsys, monkeypatch):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    monkeypatch.setenv("AUTOMODELS_FRAMEWORK", "jax")

    assert alone(["doctor", "--json"]) == 1

    document = examined(capsys)
    assert document["findings"][0]["subject"] == "settings"
    assert "AUTOMODELS_FRAMEWORK is 'jax'" in document["findings"][0]["message"]
    assert "toy-plugin" in [plugin["name"] for plugin in document["plugins"]]


def test_devices_that_a_framework_cannot_use_are_told(alone, machine, site, capsys):
    machine("9.0", "jax-cuda12-plugin")
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))

    alone(["doctor"])

    out = capsys.readouterr().out
    assert "  devices        cuda, cpu\n  not for torch  cuda: torch 77.0+cpu is built without it\n" in out
    assert "not for flax" not in out


def test_json_says_what_each_framework_can_use_and_why_not_the_rest(alone, machine, site, capsys):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))

    alone(["doctor", "--json"])

    document = examined(capsys)
    assert document["devices"] == document["frameworks"]["flax"]["usable"] == ["cpu"]
    assert document["frameworks"]["torch"]["absent"]["cuda"] == "there is no NVIDIA driver here (no /dev/nvidiactl)"


def test_libraries_are_read_from_metadata(alone, site, capsys):
    shutil.rmtree(site.path)
    site.path.mkdir()
    site.distribution("jax", "77.0")

    alone(["doctor", "--json"])

    assert examined(capsys)["libraries"]["jax"] == "77.0"
