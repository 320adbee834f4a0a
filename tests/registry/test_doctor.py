from __future__ import annotations

import shutil

import pytest

from automodels.testing.sites import FakeSite, model_table
from automodels_cli.caches import Cache, cache_findings
from automodels_cli.caches import caches as looked_at


@pytest.fixture
def alone(monkeypatch, here, tmp_path):
    """Only the plugin `toy-plugin` counts and caches are empty, whatever there is where the tests run."""
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-plugin")
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return here


@pytest.fixture
def examined(capsys, document_of):
    """The document that was printed."""

    def read():
        document = document_of(capsys.readouterr().out)
        assert document["kind"] == "doctor"
        return document

    return read


def test_a_sound_installation_is_exit_code_0(alone, site, capsys):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))

    code = alone(["doctor"])

    out = capsys.readouterr().out
    assert code == 0, out
    assert "plugin API     1.0" in out
    assert "only plugins   toy-plugin" in out
    assert "0 problems found." in out


def test_every_problem_is_found_at_once_and_the_exit_code_is_1(alone, site, monkeypatch, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin", requires='["nowhere-to-be-found>=2"]'))
    site.plugin("toy-broken", "= = =")
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-plugin,toy-broken,toy-missing")
    monkeypatch.setenv("AUTOMODELS_DISABEL", "x")

    assert alone(["doctor", "--json"]) == 1

    document = examined()
    problems = [f"{each['subject']}: {each['message']}" for each in document["findings"] if each["level"] == "problem"]
    assert document["ok"] is False
    assert any(text.startswith("toy-broken: ") and "is not TOML" in text for text in problems)
    assert any("toy in flax cannot be used: nowhere-to-be-found is not installed" in text for text in problems)
    assert any("toy-missing" in text for text in problems)
    assert any("AUTOMODELS_DISABEL is not a variable" in text for text in problems)


def test_damage_that_concerns_no_plugin_is_a_note(alone, site, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    (site.distribution("unrelated") / "METADATA").unlink()

    assert alone(["doctor", "--json"]) == 0

    notes = [each for each in examined()["findings"] if each["subject"] == "unrelated"]
    assert [each["code"] for each in notes] == ["P105"]


def test_a_shadowed_copy_of_a_plugin_is_a_problem(alone, site, tmp_path, monkeypatch, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    second = FakeSite(tmp_path / "second")
    second.plugin("toy-plugin", "{head}" + model_table("toy_plugin"), version="2.0")
    monkeypatch.syspath_prepend(str(second.path))

    assert alone(["doctor", "--json"]) == 1

    problem = next(each for each in examined()["findings"] if each["code"] == "P104")
    assert "is shadowed by toy_plugin 2.0" in problem["message"]


def test_the_project_file_and_pins_are_shown(alone, site, tmp_path, capsys, monkeypatch):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    (tmp_path / "automodels.toml").write_text('framework = "flax"\n[pins]\ntoy = "toy-plugin"\n')

    assert alone(["doctor"]) == 0

    out = capsys.readouterr().out
    assert f"project file   {tmp_path / 'automodels.toml'}" in out
    assert "TOY = toy-plugin (" in out


def test_malformed_settings_are_reported_and_do_not_stop_it(alone, site, monkeypatch, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    monkeypatch.setenv("AUTOMODELS_FRAMEWORK", "jax")

    assert alone(["doctor", "--json"]) == 1

    document = examined()
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


def test_json_says_what_each_framework_can_use_and_why_not_the_rest(alone, machine, site, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))

    alone(["doctor", "--json"])

    document = examined()
    assert document["devices"] == document["frameworks"]["flax"]["usable"] == ["cpu"]
    assert document["frameworks"]["torch"]["absent"]["cuda"] == "there is no NVIDIA driver here (no /dev/nvidiactl)"


def test_libraries_are_read_from_metadata(alone, site, examined):
    shutil.rmtree(site.path)
    site.path.mkdir()
    site.distribution("jax", "77.0")

    alone(["doctor", "--json"])

    assert examined()["libraries"]["jax"] == "77.0"


@pytest.fixture
def hub(tmp_path):
    """A Hub cache with one model: a file, a download that did not end, and a link to nothing."""
    model = tmp_path / "cache" / "huggingface" / "hub" / "models--ours--tiny"
    (model / "blobs").mkdir(parents=True)
    (model / "snapshots" / "abc").mkdir(parents=True)
    (model / "blobs" / "one").write_bytes(b"x" * 1000)
    (model / "snapshots" / "abc" / "config.json").symlink_to("../../blobs/one")
    return model


def test_caches_are_told_with_place_and_size(alone, site, hub, tmp_path, capsys):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))

    assert alone(["doctor"]) == 0

    out = capsys.readouterr().out
    assert f"Hub cache      {tmp_path / 'cache' / 'huggingface' / 'hub'} (1.0 kB in 1 files)" in out
    assert f"XLA cache      {tmp_path / 'cache' / 'automodels' / 'xla'} (not there yet)" in out


def test_a_link_to_nothing_is_a_problem_with_the_command_that_mends_it(alone, site, hub, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    (hub / "snapshots" / "abc" / "model.safetensors").symlink_to("../../blobs/gone")

    assert alone(["doctor", "--json"]) == 1

    (problem,) = [each for each in examined()["findings"] if each["subject"] == "Hub cache"]
    assert problem["level"] == "problem"
    assert problem["message"] == ("1 link to files that are gone: models--ours--tiny/snapshots/abc/model.safetensors")
    assert problem["remedy"] == "Run: registry pull ours/tiny"


def test_a_download_that_did_not_end_is_a_note(alone, site, hub, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    (hub / "blobs" / "two.incomplete").write_bytes(b"x")

    assert alone(["doctor", "--json"]) == 0

    (note,) = [each for each in examined()["findings"] if each["subject"] == "Hub cache"]
    assert (note["level"], note["remedy"]) == ("note", "To go on with it, run: registry pull ours/tiny")


def test_a_cache_that_is_a_file_is_a_problem(alone, site, tmp_path, monkeypatch, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "hub"))

    assert alone(["doctor", "--json"]) == 1

    document = examined()
    assert any("cannot be written" in each["message"] for each in document["findings"])
    assert document["caches"][0]["writable"] is False


def test_a_full_disk_is_a_problem():
    (found,) = cache_findings([Cache(name="Hub", directory="/x", free=1000)])

    assert found.problem
    assert "1.0 kB left" in found.message
    assert "HF_HUB_CACHE" in str(found)


def test_a_huge_cache_is_not_counted_to_its_end(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("automodels_cli.caches.ENTRIES", 2)

    found, _ = looked_at({"XDG_CACHE_HOME": str(tmp_path / "cache")})

    assert not found.complete
    assert "more than" in str(found)


@pytest.mark.parametrize("odd", ["~nobody-here/x", "x" * 5000, "${HOME", "/dev/null/x", "\udcff"])
def test_an_odd_place_for_a_cache_is_no_crash(odd):
    found, _ = looked_at({"HF_HUB_CACHE": odd})

    assert not found.exists
    assert str(found).endswith("(not there yet)")


def test_every_problem_says_what_to_do(alone, site, monkeypatch, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin", requires='["nowhere-to-be-found>=2"]'))
    site.plugin("toy-broken", "= = =")
    site.plugin("toy-old", "{head}".replace("1", "9") + "schema = 1")
    site.distribution("toy-points", files={"entry_points.txt": "[automodels.plugins]\nx\n"})
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-plugin,toy-broken,toy-old,toy-points,nobody")

    assert alone(["doctor", "--json"]) == 1

    problems = [each for each in examined()["findings"] if each["level"] == "problem"]
    assert len(problems) >= 5
    assert all(each["remedy"] for each in problems)
    assert any(each["remedy"] == "Run: pip install 'nowhere-to-be-found>=2'" for each in problems)


def test_the_lock_file_in_force_is_named(alone, site, monkeypatch, tmp_path, capsys, examined):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    path = tmp_path / "automodels.lock"
    assert alone(["lock", "--file", str(path)]) == 0
    capsys.readouterr()
    monkeypatch.setenv("AUTOMODELS_LOCK", str(path))

    assert alone(["doctor", "--json"]) == 0
    assert examined()["settings"]["lock"] == str(path)
    assert alone(["doctor"]) == 0
    assert f"lock file      {path}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"), [(None, "There is no lock file"), ("{}", "is not a lock file"), ("{", "")]
)
def test_a_lock_file_that_is_missing_or_malformed_is_a_problem(
    alone, site, monkeypatch, tmp_path, examined, content, said
):
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    path = tmp_path / "automodels.lock"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("AUTOMODELS_LOCK", str(path))

    assert alone(["doctor", "--json"]) == 1

    (problem,) = [each for each in examined()["findings"] if each["level"] == "problem"]
    assert problem["subject"] == "lock file"
    assert said in problem["message"]
    assert str(path) in problem["message"]
