"""From a name to a directory: on this machine, or in the data of an installed distribution."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from automodels.checkpoint.locate import Location, locate, split_options
from automodels.errors import (
    AutomodelsError,
    CheckpointNotFoundError,
    CheckpointSecurityError,
    HubOfflineError,
    InputError,
)


@pytest.fixture
def data(site) -> Path:
    """The folder `model` in the package of an installed distribution `my-weights`."""
    site.distribution("my-weights", "1.5")
    return site.package("my_weights", {"model/config.json": "{}", "model/deep/config.json": "{}"}) / "model"


def refusal(error: type[AutomodelsError], name, **options) -> str:
    with pytest.raises(error) as caught:
        locate(name, **options)
    assert type(caught.value) is error
    assert len(str(caught.value).splitlines()) <= 12
    return str(caught.value)


@pytest.mark.parametrize("kind", [str, Path, lambda path: f"{path}/"])
def test_a_directory_is_a_checkpoint_however_it_is_spelled(tmp_path, kind):
    location = locate(kind(tmp_path))

    assert location.directory == tmp_path
    assert location.name == os.fspath(kind(tmp_path))


def test_a_relative_directory_is_taken_from_where_the_process_is(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)

    assert locate("here").directory.samefile(tmp_path / "here")
    assert locate(".").directory.samefile(tmp_path)


def test_a_location_is_located_already(tmp_path):
    location = Location(name="asked for", directory=tmp_path)

    assert locate(location) is location


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    assert locate("~/models").directory == tmp_path / "models"
    assert "There is no directory ~/nothing" in refusal(CheckpointNotFoundError, "~/nothing")


@pytest.mark.parametrize("name", ["~no-such-user/models", "/no/such/place", "x" * 5000, f"{'a' * 300}/{'b' * 10}"])
def test_a_missing_directory_is_not_found(name):
    assert f"There is no directory {name}." in refusal(CheckpointNotFoundError, name)


def test_what_looks_like_a_name_on_the_hub_is_looked_for_there_and_a_path_is_not():
    assert "the cache has nothing of org/model" in refusal(HubOfflineError, "org/model")
    assert "There is no directory ./org/model." in refusal(CheckpointNotFoundError, "./org/model")
    assert "There is no directory org/model." in refusal(CheckpointNotFoundError, Path("org/model"))


def test_a_file_is_answered_with_its_directory(tmp_path):
    (tmp_path / "model.safetensors").touch()

    text = refusal(CheckpointNotFoundError, tmp_path / "model.safetensors")

    assert "is a file; a checkpoint is a directory" in text
    assert f"Pass the directory: {tmp_path}" in text


@pytest.mark.parametrize("name", ["", b"bytes", 5, None, True, ["x"], "a\nb", "\x1b[31m", "nul\0", "\u202e", "\ud800"])
def test_what_cannot_be_a_name_is_refused(name):
    text = refusal(InputError, name)

    assert "cannot be the name of a checkpoint" in text
    assert text.isprintable()


@pytest.mark.parametrize("subfolder", ["deep", "deep/", "./deep", "deep/../deep"])
def test_a_subfolder_is_found(data, subfolder):
    for name in (str(data), "pkg:my-weights/my_weights/model"):
        location = locate(name, subfolder=subfolder)

        assert location.directory.samefile(data / "deep")
        assert location.name == name


@pytest.mark.parametrize("subfolder", ["", ".", "./", "deep/..", None])
def test_a_subfolder_may_be_the_checkpoint_itself(data, subfolder):
    assert locate(data, subfolder=subfolder).directory == data


@pytest.mark.parametrize("subfolder", ["..", "../x", "/etc", "deep/../..", "out"])
def test_a_subfolder_that_leaves_the_checkpoint_is_refused(data, subfolder):
    (data / "out").symlink_to("/")

    assert f"subfolder {subfolder!r} leaves the checkpoint" in refusal(
        CheckpointSecurityError, data, subfolder=subfolder
    )


@pytest.mark.parametrize("subfolder", ["missing", "config.json", "deep/config.json"])
def test_a_subfolder_that_is_no_directory_is_not_found(data, subfolder):
    assert f"has no subfolder {subfolder!r}" in refusal(CheckpointNotFoundError, data, subfolder=subfolder)


@pytest.mark.parametrize("subfolder", [3, b"deep", "nul\0", "a\nb"])
def test_what_cannot_be_a_subfolder_is_refused(data, subfolder):
    assert "cannot be a subfolder" in refusal(InputError, data, subfolder=subfolder)


@pytest.mark.parametrize("distribution", ["my-weights", "my_weights", "My.Weights"])
def test_data_of_an_installed_distribution_is_found_without_importing_it(data, site, distribution):
    site.write(data.parent, {"__init__.py": "raise RuntimeError('imported')"})

    location = locate(f"pkg:{distribution}/my_weights/model")

    assert location.directory.samefile(data)
    assert locate("pkg:my-weights/my_weights").directory.samefile(data.parent)
    assert locate("pkg:my-weights/my_weights/model/").directory.samefile(data)


def test_an_unknown_distribution_is_answered_with_the_nearest_one(data):
    text = refusal(CheckpointNotFoundError, "pkg:my-wieghts/my_weights/model")

    assert "the distribution 'my-wieghts' is not installed; did you mean my-weights?" in text
    assert "Run: pip install my-wieghts" in text


@pytest.mark.parametrize("name", ["pkg:", "pkg:/x", "pkg:; rm -rf /x", "pkg:$(boom)/x", "pkg:-r evil/x"])
def test_only_what_can_be_a_distribution_is_suggested_for_installing(name):
    text = refusal(CheckpointNotFoundError, name)

    assert "is not installed" in text
    assert "pip install" not in text


@pytest.mark.parametrize("package", ["", "nothing", "..", "my weights"])
def test_a_package_that_the_distribution_lacks_is_not_found(data, package):
    text = refusal(CheckpointNotFoundError, f"pkg:my-weights/{package}")

    assert f"my-weights 1.5 has no folder {package!r}" in text or f"my_weights 1.5 has no folder {package!r}" in text


@pytest.mark.parametrize("inside", ["..", "../other", "model/../..", "/etc", "out"])
def test_a_path_that_leaves_the_package_is_refused(data, inside):
    (data.parent / "out").symlink_to("/")

    text = refusal(CheckpointSecurityError, f"pkg:my-weights/my_weights/{inside}")

    assert "the path leaves the package my_weights" in text


@pytest.mark.parametrize("inside", ["missing", "model/config.json"])
def test_a_path_to_no_directory_is_not_found(data, inside):
    assert f"has no folder 'my_weights/{inside}'" in refusal(
        CheckpointNotFoundError, f"pkg:my-weights/my_weights/{inside}"
    )


def test_options_are_split_into_those_of_locating_and_the_rest():
    where = {"subfolder": "x", "revision": "v1", "cache_dir": None, "force_download": False, "local_files_only": True}

    assert split_options({**where, "token": "t", "dtype": "float32"}) == ({**where, "token": "t"}, {"dtype": "float32"})


def test_of_a_directory_the_files_are_known_and_nothing_is_fetched(data):
    location = locate(data)

    location.fetch("config.json", "missing")
    location.need("missing")

    assert location.names() == ("config.json",)
    assert (location.source, location.commit) == ("directory", None)
    assert locate("pkg:my-weights/my_weights/model").source == "package"
