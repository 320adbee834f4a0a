from __future__ import annotations

import json

import numpy as np
import pytest

from automodels.checkpoint.writer import save_tensors


@pytest.fixture
def files(tmp_path):
    """A repository with two formats, a tokenizer, code and a folder."""
    save_tensors(tmp_path / "c", {"a": np.ones(4, np.float32), "b": np.ones(4, np.float32)}, max_shard_size=16)
    save_tensors(tmp_path / "c", {"a": np.ones(4, np.float16)}, variant="fp16")
    weights = {path.name: path.read_bytes() for path in (tmp_path / "c").glob("[!.]*")}
    return {
        **weights, "config.json": '{"model_type": "toy"}', "tokenizer.json": "{}", "vocab.txt": "a", "run.py": "",
        "generation_config.json": "{}", "pytorch_model.bin": b"x" * 100, "onnx/model.onnx": b"x", "README.md": "# it",
    }  # fmt: skip


WEIGHTS = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}
BESIDE = {"config.json", "generation_config.json", "tokenizer.json"}


def test_what_from_pretrained_needs_is_downloaded_and_nothing_else(here, capsys, fake_hub, files, tmp_path):
    fake_hub.add("org/model", files)

    assert here(["pull", "org/model", "--cache-dir", str(tmp_path / "cache"), "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["kind"], document["source"]) == (1, "pull", "hub")
    assert {file["name"] for file in document["files"]} == WEIGHTS | BESIDE
    assert document["directory"].startswith(str(tmp_path / "cache"))
    assert document["commit"] == fake_hub.repositories["org/model"].refs["main"]


def test_a_second_pull_downloads_nothing(here, capsys, fake_hub, files):
    fake_hub.add("org/model", files)
    assert here(["pull", "org/model"]) == 0
    first = capsys.readouterr().out
    before = len(fake_hub.asked("GET", "/resolve/"))

    assert here(["pull", "org/model"]) == 0

    assert len(fake_hub.asked("GET", "/resolve/")) == before
    assert capsys.readouterr().out == first
    assert "model.safetensors.index.json" in first


def test_variant_revision_and_subfolder_choose(here, capsys, fake_hub, files):
    repository = fake_hub.add("org/model", {f"inner/{name}": data for name, data in files.items()})
    repository.commit({"inner/config.json": '{"model_type": "later"}'}, ref="later")

    arguments = ["--variant", "fp16", "--revision", "main", "--subfolder", "inner"]
    assert here(["pull", "org/model", *arguments, "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert {file["name"] for file in document["files"]} == {"model.fp16.safetensors"} | BESIDE
    assert document["commit"] == repository.refs["main"]


def test_a_gated_model_needs_a_token(here, capsys, fake_hub, files):
    fake_hub.add("org/model", files, gated=True)
    fake_hub.tokens["hf_good"] = {"org/model"}

    assert here(["pull", "org/model"]) == 5
    assert "HubAccessError [AM411]" in capsys.readouterr().err
    assert here(["pull", "org/model", "--token", "hf_good"]) == 0


def test_a_model_that_is_not_there_is_exit_code_3(here, capsys, fake_hub):
    assert here(["pull", "org/nothing"]) == 3


def test_a_directory_is_only_looked_at(here, capsys, tmp_path):
    save_tensors(tmp_path / "c", {"a": np.ones(4)}, files={"config.json": b'{"model_type": "toy"}'})

    assert here(["pull", str(tmp_path / "c")]) == 0

    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "c")
