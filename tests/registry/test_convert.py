from __future__ import annotations

import json

import numpy as np
import pytest

from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors


@pytest.fixture
def source(tmp_path):
    tensors = {f"layer.{i}.weight": np.full((4, 4), i, np.float32) for i in range(3)}
    files = {"config.json": b'{"model_type": "toy"}', "modeling_toy.py": b"", "vocab.txt": b"a"}
    save_tensors(tmp_path / "source", tensors, files=files)
    return tmp_path / "source"


def test_shards_and_type_are_changed_and_told(here, capsys, source, tmp_path):
    target = tmp_path / "target"

    assert here(["convert", str(source), str(target), "--max-shard-size", "64", "--dtype", "float16"]) == 0

    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == str(target)
    assert "not copied  modeling_toy.py" in captured.out
    assert "cast        3 tensors" in captured.out
    assert "Written in" in captured.err
    opened = Checkpoint.open(target)
    assert (len(opened.files), opened["layer.1.weight"].dtype.name) == (2, "float16")


def test_json_is_one_document(here, capsys, source, tmp_path):
    assert here(["convert", str(source), str(tmp_path / "target"), "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["kind"]) == (1, "convert")
    assert document["format"] == {"from": "safetensors", "to": "safetensors"}
    assert document["tensors"] == 3
    assert document["left_out"] == ["modeling_toy.py"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["{source}", "{source}"], 2),
        (["{source}", "{target}", "--format", "bin"], 2),
        (["{source}", "{target}", "--max-shard-size", "much"], 2),
        (["{source}", "{target}", "--dtype", "int4"], 2),
        (["{source}", "{target}", "--naming", "flax"], 2),
        (["{source}"], 2),
        (["/nowhere/at/all", "{target}"], 3),
        (["{source}", "{source}/config.json"], 5),
    ],
)
def test_what_cannot_be_done_has_its_exit_code_and_leaves_nothing(here, capsys, source, tmp_path, arguments, code):
    places = {"source": source, "target": tmp_path / "target"}

    assert here(["convert", *(argument.format(**places) for argument in arguments)]) == code

    assert not (tmp_path / "target").exists()
    assert len(Checkpoint.open(source)) == 3


def test_a_model_on_the_hub_is_fetched_with_its_tokenizer(here, capsys, fake_hub, source, tmp_path):
    files = {path.name: path.read_bytes() for path in source.glob("[!.]*")}
    fake_hub.add("org/model", {**files, "modules.json": '[{"path": "1_Pooling"}]', "1_Pooling/config.json": "{}"})

    assert here(["convert", "org/model", str(tmp_path / "target")]) == 0

    names = {path.relative_to(tmp_path / "target").as_posix() for path in (tmp_path / "target").rglob("[!.]*")}
    assert names >= {"config.json", "model.safetensors", "vocab.txt", "modules.json", "1_Pooling/config.json"}
    assert "modeling_toy.py" not in names
