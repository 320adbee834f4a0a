"""Bad checkpoints, as a user meets them: one clear typed error each, before anything large is allocated."""

from __future__ import annotations

import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from automodels import AutoModel
from automodels.checkpoint.reader import INDEX, SINGLE
from automodels.errors import (
    AutomodelsError,
    CheckpointFormatError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    CheckpointSecurityError,
    ConfigFileError,
    ConfigValueError,
    MissingModelTypeError,
    UnknownModelTypeError,
    UnsupportedConfigError,
)

pytest.importorskip("jax")

GOLDEN = Path(__file__).parents[1] / "golden" / "bert"
BYTES = 100 << 20  # room for reading JSON and for tracing a tiny model; what the files below promise is far beyond it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny checkpoint with one weight file, good until a test changes it."""
    return Path(shutil.copytree(GOLDEN / "odd", tmp_path / "checkpoint"))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A tiny checkpoint with an index and five shards."""
    return Path(shutil.copytree(GOLDEN / "masked_lm_sharded", tmp_path / "checkpoint"))


def refusal(folder: Path, error: type[AutomodelsError], **options: Any) -> str:
    """The text of the error with which loading ends; nothing large was allocated until then."""
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            AutoModel.from_pretrained(str(folder), **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert type(caught.value) is error
    assert text.startswith(f"[{error.code}] ")
    assert len(text.splitlines()) <= 12
    assert peak < BYTES
    return text


def change_config(folder: Path, changes: Mapping[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def header_of(file: Path) -> tuple[dict[str, Any], bytes]:
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def rewrite(file: Path, change: Callable[[dict[str, Any]], str | None], size: int | None = None) -> None:
    """Replaces a file's header; `change` edits it, or returns the text to be written. `size` extends the data."""
    header, data = header_of(file)
    text = (change(header) or json.dumps(header)).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    if size is not None:
        with file.open("r+b") as stream:
            stream.truncate(8 + len(text) + size)  # sparse


def pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def test_the_checkpoints_are_good_before_they_are_changed(folder):
    assert AutoModel.from_pretrained(str(folder)).load_report.missing == ()
    assert AutoModel.from_pretrained(str(GOLDEN / "masked_lm_sharded")).load_report.missing != ()


def test_what_is_no_directory(folder):
    assert f"There is no directory {folder}/missing" in refusal(folder / "missing", CheckpointNotFoundError)
    assert f"{folder}/{SINGLE} is a file" in refusal(folder / SINGLE, CheckpointNotFoundError)
    assert "has no subfolder 'deep'" in refusal(folder, CheckpointNotFoundError, subfolder="deep")
    assert "subfolder '..' leaves the checkpoint" in refusal(folder, CheckpointSecurityError, subfolder="..")


def test_no_config(folder):
    (folder / "config.json").unlink()

    assert f"{folder}/config.json is missing" in refusal(folder, CheckpointNotFoundError)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not strict JSON"),
        (b'{"model_type": "bert",}', "not strict JSON"),
        (b"<!DOCTYPE html>", "not strict JSON"),
        (b'["bert"]', "holds an array, not an object"),
        (b'{"model_type": "bert\xff"}', "not UTF-8"),
        (b'{"model_type": "bert", "model_type": "opt"}', "'model_type' stands there twice"),
        (b'{"model_type": "bert", "layer_norm_eps": NaN}', "NaN is not a JSON value"),
        (b'{"model_type": "bert", "layer_norm_eps": 1e999}', "too large for a number"),
        (b'{"model_type": "bert", "x": %b}' % (b"[" * 40 + b"]" * 40), "nested more than 32 levels"),
        (b'{"model_type": "bert", "x": %b}' % (b"[" * 99999 + b"]" * 99999), "nested more than 32 levels"),
    ],
)
def test_a_config_that_is_not_strict_json(folder, content, said):
    (folder / "config.json").write_bytes(content)

    text = refusal(folder, ConfigFileError)

    assert said in text
    assert f"{folder}/config.json" in text


def test_a_config_that_is_too_large(folder):
    with (folder / "config.json").open("wb") as stream:
        stream.truncate(1 << 40)  # sparse

    assert f"{folder}/config.json has more than 16777216 bytes" in refusal(folder, ConfigFileError)


def test_a_config_that_is_a_pipe_is_not_waited_for(folder):
    pipe(folder / "config.json")

    assert f"{folder}/config.json is not a regular file" in refusal(folder, ConfigFileError)


@pytest.mark.parametrize(
    ("model_type", "error", "said"),
    [
        (None, MissingModelTypeError, "config.json names no model_type"),
        ("", MissingModelTypeError, "config.json has model_type ''"),
        (3, MissingModelTypeError, "config.json has model_type 3"),
        (["bert"], MissingModelTypeError, "config.json has model_type ['bert']"),
        ("bret", UnknownModelTypeError, "No installed plugin offers the model type 'bret'"),
        ("\x1b[31m", UnknownModelTypeError, "'\\x1b[31m'"),
    ],
)
def test_a_model_type_that_is_missing_or_unknown(folder, model_type, error, said):
    change_config(folder, {"model_type": model_type})

    assert said in refusal(folder, error)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_size": -20}, "hidden_size is -20"),
        ({"hidden_size": "20"}, "hidden_size is '20'"),
        ({"hidden_size": 20.5}, "hidden_size is 20.5"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"hidden_size": 10**30}, "hidden_size is 1000000000000000000000000000000"),
        ({"vocab_size": 2**31}, "vocab_size is 2147483648"),
        ({"num_attention_heads": 3}, "hidden_size 20 is not a multiple of num_attention_heads 3"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"hidden_act": "gleu"}, "hidden_act is 'gleu'"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob is 1.5"),
        ({"pad_token_id": 37}, "pad_token_id 37 is outside a vocabulary of 37"),
        ({"architectures": "BertModel"}, "architectures is 'BertModel'"),
        ({"id2label": [1]}, "id2label is [1]"),
        ({"num_labels": -1}, "num_labels is -1"),
        ({"hidden_size": 0, "vocab_size": 0, "intermediate_size": 0}, "intermediate_size is 0"),
    ],
)
def test_a_config_with_impossible_values(folder, changes, said):
    change_config(folder, changes)

    assert said in refusal(folder, ConfigValueError)


def test_a_config_that_asks_for_another_network(folder):
    change_config(folder, {"position_embedding_type": "relative_key"})

    assert "position_embedding_type is 'relative_key'" in refusal(folder, UnsupportedConfigError)


def test_no_weights(folder):
    (folder / SINGLE).unlink()

    assert f"{folder} has no weights" in refusal(folder, CheckpointNotFoundError)
    (folder / "tf_model.h5").touch()
    assert "tf_model.h5 is of another format" in refusal(folder, CheckpointNotFoundError)
    (folder / "pytorch_model.bin").touch()
    assert "pytorch_model.bin is empty, not weights" in refusal(folder, CheckpointFormatError)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize 4900000000\n" % (b"ab12" * 16),
            f"{SINGLE} is a Git LFS pointer (4.9 GB, sha256 ab12…), not weights.\nRun: git lfs pull",
        ),
        (b"<!DOCTYPE html><html><body>404</body></html>", f"{SINGLE} is a web page"),
        (b"PK\x03\x04\x00\x00\x08\x08" + bytes(99), f"{SINGLE} is a zip archive"),
        (b"", f"{SINGLE} is empty"),
        (bytes(4096), f"{SINGLE} is full of zeros"),
        ((1 << 60).to_bytes(8, "little") + b"{}", f"{SINGLE} is not a safetensors file"),
        ((99 << 20).to_bytes(8, "little") + b"{}", f"{SINGLE} is truncated: its header has"),
    ],
)
def test_a_weight_file_that_holds_something_else(folder, content, said):
    (folder / SINGLE).write_bytes(content)

    assert said in refusal(folder, CheckpointFormatError)


def test_weights_that_are_truncated(folder):
    content = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(content[:-1])

    text = refusal(folder, CheckpointFormatError)

    assert f"{SINGLE} is truncated: it has {len(content) - 1} bytes, its header promises {len(content)}" in text
    assert "1 tensors are cut (pooler.dense.weight)" in text


def test_a_header_that_promises_more_than_any_machine_has(folder):
    def grow(header: dict[str, Any]) -> None:
        header["huge"] = {"dtype": "F32", "shape": [1 << 58], "data_offsets": [end, end + (1 << 60)]}

    end = max(entry["data_offsets"][1] for name, entry in header_of(folder / SINGLE)[0].items() if name[0] != "_")
    rewrite(folder / SINGLE, grow)

    text = refusal(folder, CheckpointFormatError)

    assert f"{SINGLE} is truncated" in text
    assert "1 tensors are cut (huge)" in text


def test_a_file_of_a_terabyte_that_does_not_fit_is_refused_without_reading_it(folder):
    size = 1 << 40

    def grow(header: dict[str, Any]) -> None:
        header["embeddings.word_embeddings.weight"] = {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, size]}
        for name in list(header):
            if name != "embeddings.word_embeddings.weight":
                del header[name]

    rewrite(folder / SINGLE, grow, size)

    text = refusal(folder, CheckpointMismatchError)

    assert "embeddings.word_embeddings.weight has shape [274877906944], the model needs [37, 20]" in text
    assert "missing: " in text


def test_tensor_names_that_stand_there_twice(folder):
    def twice(header: dict[str, Any]) -> str:
        return json.dumps(header)[:-1] + ', "pooler.dense.bias": {}}'

    rewrite(folder / SINGLE, twice)

    text = refusal(folder, CheckpointFormatError)

    assert f"the header of {SINGLE}" in text
    assert "'pooler.dense.bias' stands there twice" in text


def test_two_spellings_of_one_tensor(folder):
    def twice(header: dict[str, Any]) -> None:
        header["bert.pooler.dense.bias"] = {"dtype": "F32", "shape": [20], "data_offsets": [end, end + 80]}

    end = max(entry["data_offsets"][1] for name, entry in header_of(folder / SINGLE)[0].items() if name[0] != "_")
    rewrite(folder / SINGLE, twice, end + 80)

    text = refusal(folder, CheckpointFormatError)

    assert f"{folder}: pooler.dense.bias and bert.pooler.dense.bias are two spellings of one tensor" in text


def test_data_that_overlaps(folder):
    def overlap(header: dict[str, Any]) -> None:
        header["pooler.dense.bias"]["data_offsets"] = header["embeddings.LayerNorm.bias"]["data_offsets"]

    rewrite(folder / SINGLE, overlap)

    assert re.search(rf"{SINGLE}, tensor '[\w.]+': its data overlaps", refusal(folder, CheckpointFormatError))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocab_size": 38}, "embeddings.word_embeddings.weight has shape [37, 20], the model needs [38, 20]"),
        ({"vocab_size": 2**31 - 1}, "has shape [37, 20], the model needs [2147483647, 20]"),
        (
            {"intermediate_size": 2**31 - 1},
            "dense.weight has shape [28, 20], the model needs [2147483647, 20]",
        ),
        (
            {"max_position_embeddings": 2**31 - 1},
            "has shape [16, 20], the model needs [2147483647, 20]",
        ),
        ({"num_hidden_layers": 3}, "missing: encoder.layer.2.attention"),
    ],
)
def test_shapes_that_do_not_fit_the_config(folder, changes, said):
    change_config(folder, changes)

    text = refusal(folder, CheckpointMismatchError)

    assert said in text
    assert f"{folder} does not fit the model" in text


def test_a_shape_is_told_as_it_stands_in_the_file_though_it_is_transposed_on_loading(folder):
    change_config(folder, {"intermediate_size": 30})

    text = refusal(folder, CheckpointMismatchError)

    assert "layer.0.intermediate.dense.weight has shape [28, 20], the model needs [30, 20]" in text


def test_whole_numbers_are_not_taken_for_weights(folder):
    rewrite(folder / SINGLE, lambda header: header["pooler.dense.bias"].update(dtype="I32"))

    assert "pooler.dense.bias is int32, which is not cast to float32" in refusal(folder, CheckpointMismatchError)


@pytest.mark.parametrize("make", [pipe, lambda path: (path.unlink(), path.mkdir())])
def test_weights_that_are_no_file_are_not_waited_for(folder, make):
    make(folder / SINGLE)

    assert f"not a regular file: {SINGLE}" in refusal(folder, CheckpointFormatError)


def test_weights_that_are_a_link_out_of_the_checkpoint(folder, tmp_path):
    (folder / SINGLE).rename(tmp_path / "elsewhere")
    (folder / SINGLE).symlink_to(tmp_path / "elsewhere")

    assert f"{SINGLE} is a link to {tmp_path}/elsewhere, outside" in refusal(folder, CheckpointSecurityError)


def test_a_shard_that_is_missing(sharded):
    (sharded / "model-00003-of-00005.safetensors").unlink()

    text = refusal(sharded, CheckpointFormatError)

    assert f"{sharded} lacks 1 of 5 weight files (4 are there): model-00003-of-00005.safetensors" in text


def test_an_index_that_is_missing(sharded):
    (sharded / INDEX).unlink()

    assert f"has 5 shards, but no {INDEX}" in refusal(sharded, CheckpointNotFoundError)


@pytest.mark.parametrize("file", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "C:\\x.safetensors"])
def test_an_index_that_leaves_the_directory(sharded, file):
    pipe(sharded.parent / "secret.safetensors")
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"]["bert.pooler.dense.weight"] = file
    (sharded / INDEX).write_text(json.dumps(index))

    text = refusal(sharded, CheckpointSecurityError)

    assert f"{INDEX}: the file of 'bert.pooler.dense.weight' is {file!r}, which leaves the checkpoint" in text


def test_an_index_that_is_no_index(sharded):
    (sharded / INDEX).write_text('{"metadata": {}}')

    assert f"{INDEX} has no weight_map" in refusal(sharded, CheckpointFormatError)


def test_a_tensor_that_stands_in_two_shards(sharded):
    index = json.loads((sharded / INDEX).read_text())["weight_map"]
    name, file = next(iter(index.items()))
    other = next(shard for shard in index.values() if shard != file)

    def add(header: dict[str, Any]) -> None:
        header[name] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}

    rewrite(sharded / other, add)

    assert f"more than one shard: {name} in {file} and {other}" in refusal(sharded, CheckpointFormatError)


def test_a_tensor_that_its_shard_lacks(sharded):
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"]["bert.more"] = "model-00001-of-00005.safetensors"
    (sharded / INDEX).write_text(json.dumps(index))

    assert "bert.more in model-00001-of-00005.safetensors" in refusal(sharded, CheckpointFormatError)


def test_strict_loading_refuses_what_is_left_over(sharded):
    text = refusal(sharded, CheckpointMismatchError, strict=True)

    assert "left over: cls." in text
    assert "Load it without strict=True" in text
