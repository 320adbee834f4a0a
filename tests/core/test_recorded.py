"""What a checkpoint says of the plugin that saved it: used where it helps, and never trusted."""

from __future__ import annotations

import pytest

import automodels
from automodels.checkpoint.provenance import file_metadata, provenance
from automodels.errors import NoUsablePluginError, UnknownModelTypeError, UnknownTaskError
from automodels.plugins.recorded import recorded_in
from automodels.testing.sites import model_table

SAVED = {"plugin": "new-toy", "plugin_version": "1.2", "plugin_api": "1.0", "distribution": "new-toy-models"}


def test_a_saved_checkpoint_names_plugin_version_distribution_and_api(site):
    site.toy("good-toy", version="1.4rc1")

    said = provenance(automodels.catalog().plugin("good-toy"))

    assert said == {
        "version": automodels.__version__,
        "plugin": "good-toy",
        "plugin_version": "1.4rc1",
        "plugin_api": "1.0",
        "distribution": "good-toy",
    }
    assert file_metadata(automodels.catalog().plugin("good-toy"))["automodels_distribution"] == "good-toy"
    assert recorded_in({"automodels": said}).version == "1.4rc1"


def test_a_plugin_whose_distribution_has_another_name_is_recorded_with_it(site):
    site.package("toy_models", {"automodels.toml": 'schema = 1\nname = "good-toy"\napi = ">=1.0"\n'})
    points = "[automodels.plugins]\ngood-toy = toy_models:automodels.toml\n"
    site.distribution("Toy_Models", files={"entry_points.txt": points})

    assert provenance(automodels.catalog().plugin("good-toy"))["distribution"] == "toy-models"


def test_a_class_that_was_registered_at_run_time_has_no_distribution_to_record(site):
    site.toy("good-toy")
    plugin = automodels.catalog().plugin("good-toy")
    registered = type(plugin)(name="my_models", version="registered", location="", editable=False, manifest=None)

    assert "distribution" not in provenance(registered)
    assert recorded_in({"automodels": provenance(registered)}).hints() == []


def test_an_unknown_model_type_says_with_what_the_checkpoint_was_saved_and_what_to_install(site, checkpoint):
    with pytest.raises(UnknownModelTypeError) as caught:
        automodels.AutoModel.from_pretrained(checkpoint(automodels=SAVED))

    said = "The checkpoint says that it was saved with 'new-toy' 1.2 (distribution new-toy-models), which is not"
    assert said in caught.value.message
    assert caught.value.hints[0] == "If you trust that package: pip install new-toy-models"


def test_an_unknown_task_and_a_refused_plugin_say_it_too(site, checkpoint):
    site.plugin("poor-toy", "{head}" + model_table("poor_toy", requires='["nowhere-to-be-found"]'))
    directory = checkpoint(automodels=SAVED)

    for task, kind in (("causal-lm", UnknownTaskError), ("base", NoUsablePluginError)):
        with pytest.raises(kind) as caught:
            automodels.resolve(directory, task=task)
        assert "saved with 'new-toy' 1.2" in caught.value.message
        assert "If you trust that package: pip install new-toy-models" in caught.value.hints


def test_a_plugin_that_is_installed_but_cannot_be_used_is_not_recommended_for_installation(site, checkpoint):
    site.plugin("new-toy", "{head}" + model_table("new_toy", requires='["nowhere-to-be-found"]'))

    with pytest.raises(NoUsablePluginError) as caught:
        automodels.resolve(checkpoint(automodels=SAVED))

    assert "pip install" not in str(caught.value)


def test_where_another_plugin_is_taken_a_note_says_with_what_it_was_saved(site, checkpoint, log):
    site.toy("other-toy")

    found = automodels.resolve(checkpoint(automodels=SAVED))

    note = "The checkpoint was saved with 'new-toy' 1.2 (distribution new-toy-models), which is not installed."
    assert found.notes == (note,)
    assert note in log.text


def test_an_older_plugin_or_plugin_api_than_the_recorded_ones_is_a_note_and_no_refusal(site, checkpoint, log):
    site.toy("new-toy", version="1.2rc1")

    older = automodels.resolve(checkpoint(automodels={**SAVED, "plugin_api": "1.10"}))

    assert older.notes == (
        "The checkpoint was saved with new-toy 1.2; 1.2rc1 is installed.",
        "The checkpoint was saved under plugin API 1.10; this is 1.0.",
    )
    assert older.notes[0] in log.text


@pytest.mark.parametrize("version", ["1.2", "1.2.0", "1.2.post1", "v1.3", "2", "1!0", "not-a-version"])
def test_the_same_a_newer_and_a_strange_installed_version_need_no_note(site, checkpoint, version):
    site.toy("new-toy", version="9.9")
    info = site.path / "new_toy-9.9.dist-info"
    info.rename(site.path / "new_toy.dist-info")
    (site.path / "new_toy.dist-info" / "METADATA").write_text(f"Name: new-toy\nVersion: {version}\n")

    found = automodels.resolve(checkpoint(automodels=SAVED))

    assert found.entry.plugin.version == version
    assert found.notes == ()


@pytest.mark.parametrize(
    "said",
    [
        {"distribution": "--index-url=http://evil"},
        {"distribution": "new-toy; rm -rf ~"},
        {"distribution": "new-toy\nRun: rm -rf ~"},
        {"distribution": "git+https://evil/x"},
        {"distribution": "x" * 65},
        {"distribution": ["new-toy"]},
        {"distribution": "n\u0435w-toy"},
    ],
)
def test_a_distribution_that_is_no_name_is_never_recommended(site, checkpoint, said):
    with pytest.raises(UnknownModelTypeError) as caught:
        automodels.resolve(checkpoint(automodels={**SAVED, **said}))

    assert "pip install" not in str(caught.value)
    assert "saved with 'new-toy' 1.2, which" in caught.value.message


@pytest.mark.parametrize(
    "version", ["\x1b[2J", "1.2\n", "1." + "0" * 100, 12, None, [], "\u0661.2", "latest", "1.2; evil", {"a": 1}]
)
def test_a_version_that_is_none_is_left_out(version):
    recorded = recorded_in({"automodels": {**SAVED, "plugin_version": version}})

    assert str(recorded) in ("'new-toy' (distribution new-toy-models)", "'new-toy' 1.2 (distribution new-toy-models)")
    assert recorded.version in ("", "1.2")


@pytest.mark.parametrize("plugin", ["\x1b[2J", "x" * 65, "", "a b", "-r", 7, None, ["x"], "../x", "n\u0435w"])
def test_a_plugin_that_is_no_name_is_nothing(plugin):
    assert recorded_in({"automodels": {**SAVED, "plugin": plugin}}) is None


@pytest.mark.parametrize("api", ["1.0\x1b", 1.0, "1", "1.0.0", "99999.0", ">=1", None])
def test_a_plugin_api_that_is_none_is_left_out(api):
    assert recorded_in({"automodels": {**SAVED, "plugin_api": api}}).api == ""
