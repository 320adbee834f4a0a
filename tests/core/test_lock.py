"""The lock file as a value, and the lock in force."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

import automodels
from automodels.checkpoint.locate import locate
from automodels.checkpoint.writer import save_tensors
from automodels.errors import (
    CheckpointNotFoundError,
    CheckpointSecurityError,
    InputError,
    LockError,
    MissingModelTypeError,
)
from automodels.locking.checkpoints import find_checkpoint, locked_checkpoint, locked_name, place
from automodels.locking.drift import catalog_drift, checkpoint_drift
from automodels.locking.lock_file import is_file_name, lock_text, read_lock
from automodels.locking.making import make_lock


@pytest.fixture
def two(site):
    site.toy("flax-toy")
    site.toy("torch-toy", framework="torch", files={"modeling.py": TORCH})
    return site


TORCH = """
    class ToyModel:
        framework = "torch"

        @classmethod
        def from_pretrained(cls, location, *, config, resolution, **options):
            return cls()
"""


def toys():
    """The catalog without this repository's own plugins, so that the tests see what they installed."""
    return automodels.catalog()


def lock_here(*names, path="automodels.lock"):
    """Writes the lock of what is installed, and of checkpoints."""
    catalog = toys()
    found = {locked_name(locate(name), path): locked_checkpoint(catalog, locate(name)) for name in names}
    Path(path).write_text(lock_text(make_lock(catalog, found)))
    return read_lock(path)


def drift(lock):
    return [str(each) for each in catalog_drift(lock, toys())]


def change(path, **keys):
    raw = json.loads(Path(path).read_text())
    raw.update(keys)
    Path(path).write_text(json.dumps(raw))


# What is written


def test_a_lock_has_plugins_with_manifests_and_every_decision(two):
    lock = lock_here()
    raw = json.loads(Path("automodels.lock").read_text())

    manifest = (two.path / "flax_toy" / "automodels.toml").read_bytes()
    flax = {"plugin": "flax-toy", "model": "flax_toy.modeling:ToyModel", "config": "flax_toy.config:ToyConfig"}
    torch = {"plugin": "torch-toy", "model": "torch_toy.modeling:ToyModel", "config": "torch_toy.config:ToyConfig"}
    assert list(raw) == sorted(raw)
    assert (raw["schema"], raw["kind"], raw["plugin_api"]) == (1, "lock", "1.0")
    assert raw["plugins"]["flax-toy"] == {
        "distribution": "flax-toy",
        "version": "1.0",
        "manifest": hashlib.sha256(manifest).hexdigest(),
    }
    assert raw["decisions"]["toy"] == {"base": {"any": flax, "flax": flax, "torch": torch}}
    assert drift(lock) == []


def test_the_same_content_is_the_same_bytes(two, checkpoint):
    lock_here(checkpoint())
    first = Path("automodels.lock").read_bytes()

    lock_here(checkpoint())

    assert Path("automodels.lock").read_bytes() == first
    assert lock_text(read_lock("automodels.lock")).encode() == first


def test_what_cannot_be_decided_is_locked_with_its_code(site):
    site.toy("a-toy")
    site.toy("b-toy")
    site.toy("poor-toy", framework="torch", requires='["nowhere-to-be-found"]')

    lock_here()

    raw = json.loads(Path("automodels.lock").read_text())
    assert raw["decisions"]["toy"]["base"] == {
        "any": {"error": "AM102"},
        "flax": {"error": "AM102"},
        "torch": {"error": "AM104"},
    }


def test_broken_and_disabled_plugins_are_not_locked(two, monkeypatch):
    two.plugin("bad-toy", "[[[")
    monkeypatch.setenv("AUTOMODELS_DISABLE", "torch-toy")

    lock = lock_here()

    assert "flax-toy" in lock.plugins
    assert not {"bad-toy", "torch-toy"} & lock.plugins.keys()
    assert list(lock.decisions["toy"]["base"]) == ["any", "flax"]


def test_making_a_lock_imports_nothing_of_a_plugin(two, checkpoint):
    import sys

    lock_here(checkpoint())

    assert not {"flax_toy", "torch_toy"} & sys.modules.keys()


def test_what_was_registered_at_run_time_is_not_locked(two):
    from registered_class import Config, Model

    with automodels.registrations():
        automodels.AutoModel.register(Config, Model)
        lock = lock_here()

    assert lock.decisions["toy"]["base"]["any"].plugin == "flax-toy"


@pytest.fixture(autouse=True)
def registered_class(site):
    site.write(
        site.path,
        {
            "registered_class.py": """
                from typing import ClassVar

                from automodels.config import PretrainedConfig

                class Config(PretrainedConfig):
                    model_type: ClassVar[str] = "toy"

                class Model:
                    framework = "flax"
            """
        },
    )


# Checkpoints


def test_a_checkpoint_is_locked_by_the_size_and_hash_of_every_visible_file(two, checkpoint):
    directory = checkpoint()
    hidden = {".git/x": b"", "__pycache__/a.pyc": b""}
    two.write(directory, {"model.safetensors": b"abc", "1_Pooling/config.json": b"{}", **hidden})

    lock = lock_here(directory)

    (name,) = lock.checkpoints
    assert name == "../checkpoint"
    locked = lock.checkpoints[name]
    assert (locked.source, locked.model_type, locked.commit) == ("directory", "toy", None)
    assert list(locked.files) == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    assert locked.files["model.safetensors"].sha256 == hashlib.sha256(b"abc").hexdigest()
    assert locked.files["model.safetensors"].size == 3


def test_a_lock_in_the_checkpoint_itself_does_not_lock_itself(two, checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint())

    lock_here(".")
    lock = lock_here(".")

    assert list(lock.checkpoints) == ["."]
    assert list(lock.checkpoints["."].files) == ["config.json"]


def test_the_plugin_that_saved_a_checkpoint_is_locked_for_it_where_it_makes_a_difference(site, checkpoint):
    site.toy("a-toy")
    site.toy("b-toy")

    lock = lock_here(checkpoint(automodels={"plugin": "b-toy"}))

    (locked,) = lock.checkpoints.values()
    assert lock.decisions["toy"]["base"]["any"].error == "AM102"
    assert locked.decisions["base"]["any"].plugin == "b-toy"
    with automodels.policy(lock="automodels.lock"):
        assert automodels.AutoModel.from_pretrained(checkpoint(automodels={"plugin": "b-toy"})) is not None


@pytest.mark.parametrize(
    ("make", "said", "error"),
    [
        (lambda folder: write(folder, "model.safetensors", "abd"), "model.safetensors has other bytes", LockError),
        (lambda folder: write(folder, "model.safetensors", "abcd"), "model.safetensors has 4 bytes; 3 are", LockError),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing", LockError),
        (lambda folder: write(folder, "pytorch_model.bin", ""), "pytorch_model.bin is new", LockError),
        (lambda folder: write(folder, "config.json", '{"model_type":  "toy"}'), "config.json has", LockError),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing", CheckpointNotFoundError),
        (lambda folder: write(folder, "config.json", "{}"), "names no model_type", MissingModelTypeError),
    ],
)
def test_every_change_of_a_file_is_a_difference_and_refuses_the_load(two, checkpoint, make, said, error):
    directory = checkpoint()
    write(directory, "model.safetensors", "abc")
    lock = lock_here(directory)
    ((name, locked),) = lock.checkpoints.items()
    make(directory)

    found = checkpoint_drift(name, locked, toys(), lambda: locate(directory))

    assert len(found) == 1
    assert said in str(found[0])
    with automodels.policy(lock="automodels.lock"), pytest.raises(error, match=said):
        automodels.AutoModel.from_pretrained(directory)


def write(folder, name, text):
    (folder / name).write_text(text)


def test_a_checkpoint_with_a_link_to_elsewhere_cannot_be_locked(two, checkpoint, tmp_path):
    directory = checkpoint()
    (tmp_path / "secret").write_text("s")
    (directory / "extra.txt").symlink_to(tmp_path / "secret")

    with pytest.raises(CheckpointSecurityError, match=r"extra.txt is a link to .*secret, outside"):
        lock_here(directory)


def test_a_checkpoint_that_is_saved_somewhere_else_is_not_compared(two, checkpoint, tmp_path):
    directory = checkpoint()
    lock_here(directory)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "toy", "width": 9}')

    with automodels.policy(lock="automodels.lock"):
        model = automodels.AutoModel.from_pretrained(other)

    assert model.config.width == 9


def test_a_model_on_the_hub_is_locked_by_its_commit_and_the_files_that_loading_needs(two, fake_hub, tmp_path):
    pytest.importorskip("huggingface_hub")
    save_tensors(tmp_path / "made", {"w": np.ones(4, np.float32)}, files={"config.json": b'{"model_type": "toy"}'})
    files = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    fake_hub.add("org/toy", {**files, "README.md": "# Toy", "tf_model.h5": b"no", "flax_model.msgpack": b"no"})

    lock = lock_here("org/toy")
    with automodels.policy(lock="automodels.lock"):
        model = automodels.AutoModel.from_pretrained("org/toy")
        fake_hub.add("org/toy", {**files, "README.md": "# Another"})
        with pytest.raises(LockError, match=r"org/toy is commit \w{12}; \w{12} is locked"):
            automodels.AutoModel.from_pretrained("org/toy")

    locked = lock.checkpoints["org/toy"]
    assert model is not None
    assert (locked.source, len(locked.commit)) == ("hub", 40)
    assert list(locked.files) == ["README.md", "config.json", "model.safetensors"]
    assert [each.kind for each in checkpoint_drift("org/toy", locked, toys(), lambda: locate("org/toy"))] == ["commit"]


def test_a_damaged_file_in_the_hub_cache_is_a_difference(two, fake_hub, tmp_path):
    pytest.importorskip("huggingface_hub")
    save_tensors(tmp_path / "made", {"w": np.ones(4, np.float32)}, files={"config.json": b'{"model_type": "toy"}'})
    fake_hub.add("org/toy", {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()})
    lock_here("org/toy")
    blob = (locate("org/toy").directory / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")

    with (
        automodels.policy(lock="automodels.lock"),
        pytest.raises(LockError, match="org/toy: model.safetensors has other bytes"),
    ):
        automodels.AutoModel.from_pretrained("org/toy")


# Differences


def test_another_version_and_another_manifest_are_differences(two):
    lock = lock_here()
    (two.path / "flax_toy-1.0.dist-info").rename(two.path / "flax_toy-1.1.dist-info")
    manifest = two.path / "torch_toy" / "automodels.toml"
    manifest.write_text(manifest.read_text() + "# changed\n")

    assert drift(lock) == [
        "flax-toy: 1.1 is installed; 1.0 is locked",
        "torch-toy: the manifest has changed (sha256)",
    ]


def test_a_plugin_that_is_gone_disabled_or_broken_is_a_difference_and_so_is_what_it_decided(two, monkeypatch):
    lock = lock_here()
    monkeypatch.setenv("AUTOMODELS_DISABLE", "torch-toy")

    assert drift(lock) == [
        "torch-toy: cannot be used: disabled by AUTOMODELS_DISABLE; 1.0 is locked",
        "base for toy: would get nothing (not offered) with framework=torch; torch-toy (torch_toy.modeling:ToyModel) "
        "is locked",
    ]


def test_a_new_plugin_is_a_difference_where_it_changes_a_decision_only(two):
    lock = lock_here()
    two.plugin("other-plugin", "{head}" + '[[task]]\nname = "x"\nauto_class = "AutoModelForX"\n')
    unrelated = drift(lock)

    two.toy("rival-toy")

    assert unrelated == []
    assert drift(lock) == [
        "base for toy: would get nothing (AM102); flax-toy (flax_toy.modeling:ToyModel) is locked",
        "base for toy: would get nothing (AM102) with framework=flax; flax-toy (flax_toy.modeling:ToyModel) is locked",
    ]


def test_another_config_class_alone_is_told_apart(two):
    lock = lock_here()
    manifest = two.path / "flax_toy" / "automodels.toml"
    manifest.write_text(manifest.read_text().replace("flax_toy.config:", "flax_toy.other:"))

    assert drift(lock)[1].endswith(
        "would get flax-toy (flax_toy.modeling:ToyModel) with flax_toy.other:ToyConfig; "
        "flax-toy (flax_toy.modeling:ToyModel) with flax_toy.config:ToyConfig is locked"
    )


def test_another_plugin_api_is_a_difference(two):
    lock_here()
    change("automodels.lock", plugin_api="1.7")

    assert drift(read_lock("automodels.lock")) == ["plugin API: 1.7 is locked; this is 1.0"]


# In force


def test_a_lock_in_force_admits_what_it_says(two, checkpoint, monkeypatch):
    lock_here(checkpoint())
    monkeypatch.setenv("AUTOMODELS_LOCK", "automodels.lock")

    found = [
        automodels.AutoModel.from_pretrained(checkpoint()),
        automodels.AutoModel.from_pretrained(checkpoint(), framework="torch"),
        automodels.AutoModel.from_pretrained(checkpoint(), plugin="torch-toy"),
        automodels.AutoModel.from_config(automodels.AutoConfig.from_pretrained(checkpoint())),
    ]

    assert [type(model).__module__.partition(".")[0] for model in found] == [
        "flax_toy",
        "torch_toy",
        "torch_toy",
        "flax_toy",
    ]


def test_a_lock_in_force_refuses_another_choice_before_anything_is_imported(two, checkpoint, monkeypatch):
    import sys

    lock_here()
    monkeypatch.setenv("AUTOMODELS_LOCK", "automodels.lock")
    monkeypatch.setenv("AUTOMODELS_FRAMEWORK", "torch")

    with pytest.raises(LockError) as caught:
        automodels.AutoModel.from_pretrained(checkpoint())

    assert caught.value.message == (
        "This is not what automodels.lock says:\n"
        "    base for toy would get torch-toy (torch_toy.modeling:ToyModel); "
        "flax-toy (flax_toy.modeling:ToyModel) is locked"
    )
    assert "registry lock --check" in str(caught.value)
    assert "torch_toy" not in sys.modules


@pytest.mark.parametrize("task", ["base", "causal-lm"])
def test_a_model_type_or_task_that_is_not_locked_is_refused(two, checkpoint, task):
    lock_here()
    raw = json.loads(Path("automodels.lock").read_text())
    del raw["decisions"]["toy"]["base"]
    Path("automodels.lock").write_text(json.dumps(raw))
    two.toy("late-toy", task="causal-lm")

    with automodels.policy(lock="automodels.lock"), pytest.raises(LockError) as caught:
        automodels.resolve(checkpoint(), task=task)

    assert f"{task} for toy is not in it" in str(caught.value)


def test_all_that_is_different_is_named_at_once(two, checkpoint):
    lock_here()
    (two.path / "flax_toy-1.0.dist-info").rename(two.path / "flax_toy-2.0.dist-info")
    manifest = two.path / "flax_toy" / "automodels.toml"
    manifest.write_text(manifest.read_text().replace("modeling:ToyModel", "modeling:OtherModel"))

    with automodels.policy(lock="automodels.lock"), pytest.raises(LockError) as caught:
        automodels.resolve(checkpoint())

    assert [line.strip() for line in caught.value.message.splitlines()[1:]] == [
        "base for toy would get flax-toy (flax_toy.modeling:OtherModel); "
        "flax-toy (flax_toy.modeling:ToyModel) is locked",
        "flax-toy: 2.0 is installed; 1.0 is locked",
        "flax-toy: the manifest has changed (sha256)",
    ]


def test_a_plugin_with_backends_for_the_framework_must_be_locked_too(two, checkpoint):
    lock_here()
    two.plugin(
        "fast-backend",
        '{head}[[backend]]\nname = "fast"\nframework = "flax"\nimplementation = "fast_backend:attend"\n',
    )

    with automodels.policy(lock="automodels.lock"):
        torch = automodels.resolve(checkpoint(), framework="torch")
        with pytest.raises(LockError, match=r"the plugin fast-backend 1\.0 is not in it"):
            automodels.resolve(checkpoint(), framework="flax")

    assert torch.entry.plugin.name == "torch-toy"


def test_a_class_that_was_registered_at_run_time_is_refused(two, checkpoint):
    from registered_class import Config, Model

    lock_here()

    with automodels.registrations(), automodels.policy(lock="automodels.lock", deny=["flax-toy"]):
        automodels.AutoModel.register(Config, Model)
        with pytest.raises(LockError, match=r"would get registered_class \(registered_class:Model\)"):
            automodels.resolve("toy")


def test_a_config_class_that_is_not_locked_is_refused(two, checkpoint):
    from registered_class import Config

    lock_here()

    with automodels.registrations(), automodels.policy(lock="automodels.lock"):
        fine = automodels.AutoConfig.from_pretrained(checkpoint())
        automodels.AutoConfig.register("toy", Config)
        with pytest.raises(LockError, match="the config class registered_class:Config for toy is not in it"):
            automodels.AutoConfig.from_pretrained(checkpoint())

    assert type(fine).__module__ == "flax_toy.config"


def test_a_lock_that_is_rewritten_counts_from_then_on(two, checkpoint):
    lock_here()
    change("automodels.lock", decisions={})
    with automodels.policy(lock="automodels.lock"), pytest.raises(LockError):
        automodels.resolve(checkpoint())

    lock_here()

    with automodels.policy(lock="automodels.lock"):
        assert automodels.resolve(checkpoint()).entry.plugin.name == "flax-toy"


def test_an_empty_variable_is_no_lock(two, checkpoint, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_LOCK", "")

    assert automodels.resolve(checkpoint()).entry.plugin.name == "flax-toy"


@pytest.mark.parametrize("lock", ["", 7, ["automodels.lock"]])
def test_a_lock_that_is_no_path_is_refused(lock):
    with pytest.raises(InputError, match="not the path of a lock file"), automodels.policy(lock=lock):
        pass


# Hostile lock files

SHA = "0" * 64
CHOICE = {"plugin": "a", "model": "a:b", "config": "a:b"}


def checkpoint_with(**keys):
    return {"./x": {"source": "directory", "model_type": "toy", "decisions": {}, "files": {}, **keys}}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"schema": 2}, "its schema is 2; this version reads 1"),
        ({"schema": True}, "its schema is True"),
        ({"kind": "list"}, "its kind is 'list', not 'lock'"),
        ({"extra": 1}, "the file has the unknown key 'extra'"),
        ({"plugin_api": 1}, "plugin_api of the file is 1"),
        ({"plugins": []}, "plugins is [], not an object"),
        ({"plugins": {"../x": {}}}, "'../x' cannot stand in plugins"),
        ({"plugins": {"a": {"distribution": "a", "version": "1", "manifest": "x"}}}, "manifest of 'a' is 'x'"),
        ({"plugins": {"a": {"distribution": "a", "version": "\x1b[2J", "manifest": SHA}}}, "version of 'a' is"),
        ({"plugins": {"a": 7}}, "'a' in plugins is 7, not an object"),
        ({"decisions": {"toy": {"base": {"jax": CHOICE}}}}, "'jax' cannot stand in 'base'"),
        ({"decisions": {"toy": {"base": {"any": {**CHOICE, "model": "os.system('x')"}}}}}, "model of 'any' is"),
        ({"decisions": {"toy": {"base": {"any": {"error": "no"}}}}}, "error of 'any' is 'no'"),
        ({"decisions": {"toy": {"base": {"any": {**CHOICE, "error": "AM102"}}}}}, "unknown key 'plugin'"),
        ({"checkpoints": checkpoint_with(source="s3")}, "source of './x' is 's3'"),
        ({"checkpoints": checkpoint_with(source="hub")}, "commit of './x' is None"),
        ({"checkpoints": checkpoint_with(commit="main")}, "commit of './x' is 'main'"),
        ({"checkpoints": checkpoint_with(files={"../x": {"size": 1, "sha256": SHA}})}, "could lie outside"),
        ({"checkpoints": checkpoint_with(files={"/etc/passwd": {"size": 1, "sha256": SHA}})}, "could lie outside"),
        ({"checkpoints": checkpoint_with(files={"a/../../x": {"size": 1, "sha256": SHA}})}, "could lie outside"),
        ({"checkpoints": checkpoint_with(files={"C:\\x": {"size": 1, "sha256": SHA}})}, "could lie outside"),
        ({"checkpoints": checkpoint_with(files={"x": {"size": -1, "sha256": SHA}})}, "size of 'x' is -1"),
        ({"checkpoints": checkpoint_with(files={"x": {"size": 1.5, "sha256": SHA}})}, "size of 'x' is 1.5"),
        ({"checkpoints": checkpoint_with(files={"x": {"size": True, "sha256": SHA}})}, "size of 'x' is True"),
        ({"checkpoints": checkpoint_with(files={"x": {"size": 1, "sha256": "A" * 64}})}, "sha256 of 'x' is"),
        ({"checkpoints": {"x\x1b": {}}}, "cannot stand in checkpoints"),
    ],
)
def test_a_lock_file_of_another_form_is_refused_with_the_place(two, keys, said):
    lock_here()
    change("automodels.lock", **keys)

    with pytest.raises(InputError) as caught:
        read_lock("automodels.lock")
    with automodels.policy(lock="automodels.lock"), pytest.raises(InputError):
        automodels.resolve("toy")

    assert said in str(caught.value)
    assert "automodels.lock" in str(caught.value)
    assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not strict JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[]", "holds an array"),
        (b'{"schema": 1, "schema": 1}', "stands there twice"),
        (b'{"a": ' * 5000, "nested more than"),
        (b'{"a": NaN}', "NaN"),
        (b"{}", "its kind is None"),
    ],
    ids=lambda value: value[:10].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_a_file_that_is_no_lock_is_refused(content, said):
    Path("automodels.lock").write_bytes(content)

    with pytest.raises(InputError) as caught:
        read_lock("automodels.lock")

    assert said in str(caught.value)


def test_a_missing_lock_a_directory_and_a_pipe_are_errors_that_name_them(two):
    os.mkfifo("pipe")
    Path("folder").mkdir()
    for name, said in (("gone", "There is no lock file gone"), ("pipe", "not a regular"), ("folder", "not a regular")):
        with automodels.policy(lock=name), pytest.raises(InputError, match=said):
            automodels.resolve("toy")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("/etc", "directory"),
        ("x", "directory"),
        ("~/x", "directory"),
        ("s3://bucket/x", "hub"),
        ("pkg:a/b", "hub"),
        ("./x", "hub"),
        ("a/b", "package"),
        ("..\\x", "hub"),
    ],
)
def test_a_name_that_does_not_fit_its_source_is_not_looked_for(name, source):
    with pytest.raises(InputError, match="cannot be the name of a checkpoint of the kind"):
        place(name, source, "automodels.lock")


def test_a_lock_that_names_a_directory_without_a_config_reads_none_of_its_files(two, checkpoint, tmp_path):
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "secret").write_bytes(b"s")
    os.chmod(folder / "secret", 0)
    lock = lock_here(checkpoint())
    (locked,) = lock.checkpoints.values()

    found = checkpoint_drift("../private", locked, toys(), lambda: locate(folder))

    assert [each.kind for each in found] == ["checkpoint"]
    assert "config.json is missing" in str(found[0])


def test_names_of_files_stay_inside_by_their_form():
    fine = ["config.json", "1_Pooling/config.json", "model-00001-of-00002.safetensors", "ü.txt"]
    bad = ["", "/", "/a", "a/", "a//b", "..", "a/..", "./a", ".git/x", "a\\b", "a:b", "a\nb", "a\x00b", "x" * 513, "*"]

    assert [name for name in fine if not is_file_name(name)] == []
    assert [name for name in bad if is_file_name(name)] == []


def test_a_locked_checkpoint_is_found_however_its_place_is_spelled(two, checkpoint, tmp_path, monkeypatch):
    directory = checkpoint()
    lock = lock_here(directory)
    link = tmp_path / "link"
    link.symlink_to(directory)
    spellings = [directory, "../checkpoint", f"{directory}/", f"{directory}/../checkpoint", link]

    found = [find_checkpoint(lock, "automodels.lock", locate(spelling)) for spelling in spellings]
    monkeypatch.chdir(tmp_path)

    assert [pair and pair[0] for pair in found] == ["../checkpoint"] * len(spellings)
    assert find_checkpoint(lock, "work/automodels.lock", locate("checkpoint"))[0] == "../checkpoint"
