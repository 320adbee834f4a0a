from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from automodels.checkpoint.writer import save_tensors


@pytest.fixture
def saved(tmp_path):
    def save(**options):
        tensors = {"a": np.ones(4, np.float32), "b": np.array([1, np.nan], np.float32)}
        save_tensors(tmp_path / "c", tensors, files={"config.json": b'{"model_type": "toy"}'}, **options)
        return tmp_path / "c"

    return save


def test_a_checkpoint_in_order_is_a_table_and_exit_code_0(here, capsys, saved):
    assert here(["verify", str(saved())]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["FILE", "SIZE", "TENSORS"]
    assert lines[2].split() == ["model.safetensors", "480", "B", "2"] or lines[2].startswith("model.safetensors")
    assert lines[-1].endswith("ok, 2 tensors, 24 B.")


def test_every_problem_is_told_with_its_file_and_exit_code_5(here, capsys, saved):
    directory = saved(max_shard_size=16)
    (directory / "model-00001-of-00002.safetensors").write_bytes(b"<html>")
    (directory / "model-00002-of-00002.safetensors").unlink()
    (directory / "flax_model.msgpack").write_bytes(b"")

    assert here(["verify", str(directory)]) == 5

    out = capsys.readouterr().out
    assert "model-00001-of-00002.safetensors is a web page, not weights." in out
    assert "The shard is missing; the index has 1 tensors in it (b)." in out
    assert "It is not read, and is broken besides" in out
    assert out.endswith("2 problems found.\n")


def test_finite_reads_the_values(here, capsys, saved):
    directory = str(saved())

    assert here(["verify", directory, "--finite"]) == 5
    assert "b has 1 NaN among its 2 values." in capsys.readouterr().out


def test_json_has_files_checksums_and_defects(here, capsys, saved):
    directory = saved(variant="fp16")

    assert here(["verify", str(directory), "--json", "--sha256", "--finite", "--variant", "fp16"]) == 5

    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["kind"], document["ok"]) == (1, "verify", False)
    assert document["files"][1] == {
        "name": "model.fp16.safetensors",
        "size": (directory / "model.fp16.safetensors").stat().st_size,
        "tensors": 2,
        "sha256": hashlib.sha256((directory / "model.fp16.safetensors").read_bytes()).hexdigest(),
    }
    [defect] = document["defects"]
    assert (defect["file"], defect["kind"], defect["tensors"], defect["breaks"]) == (
        "model.fp16.safetensors", "values", ["b"], True,
    )  # fmt: skip


def test_checksums_are_a_column(here, capsys, saved):
    directory = saved()

    assert here(["verify", str(directory), "--sha256"]) == 0

    assert hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest() in capsys.readouterr().out


def test_no_directory_is_exit_code_3_and_an_impossible_variant_2(here, capsys, saved):
    assert here(["verify", "/nowhere/at/all"]) == 3
    assert here(["verify", str(saved()), "--variant", "../x"]) == 2


def test_a_model_on_the_hub_is_fetched_and_held_against_its_hashes(here, capsys, fake_hub, saved):
    directory = saved()
    fake_hub.add("org/model", {path.name: path.read_bytes() for path in directory.glob("[!.]*")})

    assert here(["verify", "org/model", "--sha256", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["commit"] == fake_hub.repositories["org/model"].refs["main"]
    assert all(file["sha256"] for file in document["files"])
