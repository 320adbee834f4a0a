"""Checkpoint: which files it chooses, how little it reads, and what happens when they change underneath."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from automodels.checkpoint import reader
from automodels.checkpoint.journal import temporary_name
from automodels.checkpoint.reader import INDEX, SINGLE, Checkpoint
from automodels.checkpoint.safetensors import read_header
from automodels.errors import CheckpointChangedError, CheckpointFormatError, CheckpointNotFoundError, InputError

GOLDEN = Path(__file__).parent.parent / "golden" / "torch_bin"
MSGPACK = b"\x81\xa7msgpack" + bytes.fromhex("c7 0b 01 93 90 a5 75696e7438 c4 01 07")
"""One uint8 tensor, `msgpack`, without axes."""


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file of float32 arrays."""
    header, data = {} if metadata is None else {"__metadata__": metadata}, b""
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.astype("<f4").tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def numbers(*shape: int, start: float = 0) -> np.ndarray:
    return np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_single_file_is_preferred_to_shards(tmp_path):
    write(tmp_path / SINGLE, {"single": numbers(2)})
    write(tmp_path / "a.safetensors", {"sharded": numbers(2)})
    (tmp_path / INDEX).write_text('{"weight_map": {"sharded": "a.safetensors"}}')

    checkpoint = Checkpoint.open(tmp_path)

    assert (list(checkpoint), checkpoint.files, len(checkpoint)) == (["single"], (SINGLE,), 1)


def place(folder: Path, *names: str) -> Path:
    """A directory with a weight file of each of these names, or an index of one shard, holding a tensor named by it."""
    folder.mkdir(exist_ok=True)
    for name in names:
        if name.endswith(".json"):
            suffix = next(suffix for suffix in (".safetensors", ".msgpack", ".bin") if suffix in name)
            shard = f"shard-of-{name}{suffix}"
            place(folder, shard)
            tensor = {".safetensors": shard, ".msgpack": "msgpack", ".bin": "p"}[suffix]
            (folder / name).write_text(json.dumps({"weight_map": {tensor: shard}}))
        elif name.endswith(".safetensors"):
            write(folder / name, {name: numbers(2)})
        elif name.endswith(".msgpack"):
            (folder / name).write_bytes(MSGPACK)
        else:
            (folder / name).write_bytes((GOLDEN / "parameters.bin").read_bytes())
    return folder


IN_ORDER = [
    "model.safetensors",
    "model.safetensors.index.json",
    "flax_model.msgpack",
    "flax_model.msgpack.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
]
VARIANTS = [
    "model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
    "model.fp16.safetensors.index.json",
    "model.safetensors.fp16.index.json",
    "flax_model.fp16.msgpack",
    "flax_model.msgpack.index.fp16.json",
    "pytorch_model.fp16.bin",
    "pytorch_model.bin.index.fp16.json",
]


@pytest.mark.parametrize("number", range(len(IN_ORDER)))
def test_the_first_format_of_the_documented_order_is_taken(tmp_path, number):
    checkpoint = Checkpoint.open(place(tmp_path / "x", *reversed(IN_ORDER[number:])))

    assert (checkpoint.index or checkpoint.files[0]) == IN_ORDER[number]
    assert checkpoint.format == ["safetensors", "msgpack", "torch"][number // 2]
    assert checkpoint.naming == ("flax" if checkpoint.format == "msgpack" else "hub")


@pytest.mark.parametrize("number", range(len(VARIANTS)))
def test_a_variant_is_found_in_every_published_spelling(tmp_path, number):
    folder = place(tmp_path / "x", *IN_ORDER, *VARIANTS[number:])

    checkpoint = Checkpoint.open(folder, variant="fp16")

    assert (checkpoint.index or checkpoint.files[0]) == VARIANTS[number]


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({"use_safetensors": True}, "model.safetensors"),
        ({"use_safetensors": False}, "flax_model.msgpack"),
        ({"from_pt": True}, "model.safetensors"),
        ({"from_pt": True, "use_safetensors": False}, "pytorch_model.bin"),
        ({"from_pt": True, "use_safetensors": True}, "model.safetensors"),
        ({"from_flax": True}, "flax_model.msgpack"),
        ({"from_flax": True, "use_safetensors": False}, "flax_model.msgpack"),
        ({"variant": ""}, "model.safetensors"),
    ],
)
def test_options_choose_the_format(tmp_path, options, taken):
    assert Checkpoint.open(place(tmp_path / "x", *IN_ORDER), **options).files == (taken,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"from_pt": True, "from_flax": True}, "from_pt and from_flax cannot both be True"),
        ({"from_flax": True, "use_safetensors": True}, "from_flax=True asks for Flax's msgpack"),
        ({"use_safetensors": "yes"}, "use_safetensors is 'yes'; it can be True or False"),
        ({"from_pt": None}, "from_pt is None"),
        ({"variant": "../x"}, "'../x' cannot be a variant"),
        ({"variant": "x" * 65}, "cannot be a variant"),
        ({"variant": ".x"}, "cannot be a variant"),
        ({"variant": 16}, "16 cannot be a variant"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        Checkpoint.open(tmp_path, **options)


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (
            ["model.safetensors"],
            {"from_flax": True},
            "no weights as from_flax=True asks for; there is model.safetensors",
        ),
        (["flax_model.msgpack"], {"from_pt": True}, "no weights as from_pt=True asks for; there is flax_model.msgpack"),
        (
            ["pytorch_model.bin"],
            {"use_safetensors": True},
            "as use_safetensors=True asks for; there is pytorch_model.bin",
        ),
        (["model.safetensors"], {"use_safetensors": False}, "as use_safetensors=False asks for; there is model"),
        (["model.fp16.safetensors"], {}, "has weights in the variants fp16 only"),
        (["model.fp16.safetensors", "pytorch_model.bin.index.int8.json"], {"variant": "bf16"}, "there is fp16, int8"),
        (["model.safetensors"], {"variant": "fp16"}, "neither model.fp16.safetensors nor model.safetensors.index.fp16"),
        (["flax_model-00001-of-00002.msgpack"], {}, "has 1 shards, but no flax_model.msgpack.index.json"),
    ],
)
def test_weights_that_are_not_those_asked_for_are_named(tmp_path, files, options, said):
    with pytest.raises(CheckpointNotFoundError) as caught:
        Checkpoint.open(place(tmp_path / "x", *files), **options)

    assert said in str(caught.value)


def test_safetensors_that_say_so_bear_the_names_of_flax(tmp_path):
    write(tmp_path / SINGLE, {"a.kernel": numbers(2)}, {"format": "flax", "step": "3"})

    checkpoint = Checkpoint.open(tmp_path)

    assert (checkpoint.format, checkpoint.naming) == ("safetensors", "flax")
    assert checkpoint.metadata == {"format": "flax", "step": "3"}


def test_from_pt_passes_over_files_with_the_names_of_flax(tmp_path):
    write(tmp_path / SINGLE, {"a.kernel": numbers(2)}, {"format": "flax"})

    with pytest.raises(
        CheckpointNotFoundError, match=r"model\.safetensors bear Flax's names, but from_pt=True asks for"
    ):
        Checkpoint.open(tmp_path, from_pt=True)
    place(tmp_path, "pytorch_model.bin")
    assert Checkpoint.open(tmp_path, from_pt=True).format == "torch"


def test_metadata_is_what_all_shards_say_alike_and_naming_must_be(tmp_path):
    write(tmp_path / "a.safetensors", {"a": numbers(2)}, {"format": "pt", "part": "1", "by": "x"})
    write(tmp_path / "b.safetensors", {"b": numbers(2)}, {"format": "pt", "part": "2"})
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}')

    assert Checkpoint.open(tmp_path).metadata == {"format": "pt"}
    write(tmp_path / "b.safetensors", {"b": numbers(2)}, {"format": "flax"})
    with pytest.raises(CheckpointFormatError, match=r"b\.safetensors says that its tensors bear Flax's names, a\.safe"):
        Checkpoint.open(tmp_path)


def test_a_save_that_was_decided_counts_and_is_found_after_it_is_completed(tmp_path):
    identity = "0123456789abcdef"
    write(tmp_path / SINGLE, {"old": numbers(2)})
    shard = "model-00001-of-00001.safetensors"
    new = write(tmp_path / f".automodels-{identity}-{shard}", {"new": numbers(2, start=5)})
    index = tmp_path / f".automodels-{identity}-{INDEX}"
    index.write_text(json.dumps({"weight_map": {"new": shard}}))
    record = {"schema": 1, "id": identity, "publish": [shard, INDEX], "remove": [SINGLE]}
    (tmp_path / ".automodels-commit.json").write_text(json.dumps(record))

    checkpoint = Checkpoint.open(tmp_path)
    new.rename(tmp_path / shard)

    assert (list(checkpoint), checkpoint.files, checkpoint.index) == (["new"], (shard,), INDEX)
    assert checkpoint["new"].numpy().tolist() == [5, 6]


@pytest.mark.parametrize("times", [1, 4, 5])
def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch, times):
    write(tmp_path / SINGLE, {"a": numbers(2)})
    left = [times]

    def replaced(folder, held):
        if left[0]:
            left[0] -= 1
            os.replace(write(tmp_path / "new", {f"after_{times - left[0]}": numbers(2)}), tmp_path / SINGLE)
        return naming(folder, held)

    naming = reader._naming
    monkeypatch.setattr(reader, "_naming", replaced)

    if times < 5:
        assert list(Checkpoint.open(tmp_path)) == [f"after_{times}"]
    else:
        with pytest.raises(CheckpointChangedError, match="was changed 5 times while it was being read"):
            Checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], r"has no weights: neither model\.safetensors nor model\.safetensors\.index\.json"),
        (["tf_model.h5", "x.gguf"], "has no weights that can be read; tf_model.h5, x.gguf is of another format"),
        (["model-00001-of-00002.safetensors"], "has 1 shards, but no model.safetensors.index.json"),
    ],
)
def test_a_directory_without_weights_says_what_is_there_instead(tmp_path, files, said):
    for name in files:
        (tmp_path / name).touch()

    with pytest.raises(CheckpointNotFoundError, match=said):
        Checkpoint.open(tmp_path)


def test_what_is_no_directory_is_not_found(tmp_path):
    (tmp_path / "file").touch()

    for name in ("file", "missing", "file/below", "x" * 5000, "nul\0"):
        with pytest.raises(CheckpointNotFoundError, match="There is no directory"):
            Checkpoint.open(tmp_path / name)


def test_opening_reads_the_headers_and_nothing_else(tmp_path):
    size = 10 << 30
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path = tmp_path / SINGLE
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with path.open("r+b") as stream:
        stream.truncate(8 + len(header) + size)  # sparse: the file system keeps no zeros
    opened = []

    def watch(event, arguments):
        if watching and event == "open":
            opened.append(Path(arguments[0]).name)

    watching = True
    sys.addaudithook(watch)
    view = Checkpoint.open(tmp_path)["a"]
    watching = False

    assert opened == [SINGLE, SINGLE]  # open(), and os.open() below it
    assert (view.shape, view.nbytes) == ((size,), size)
    assert view.file._mapped is None
    assert view[5_000_000_000:5_000_000_003].tolist() == [0, 0, 0]


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what a process reads")
def test_the_bytes_that_opening_reads_do_not_grow_with_the_data(tmp_path):
    def read_while_opening(count: int) -> int:
        write(tmp_path / SINGLE, {"a": numbers(count)})
        before = bytes_read()
        Checkpoint.open(tmp_path)
        return bytes_read() - before

    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    read_while_opening(1)

    assert read_while_opening(10_000_000) <= read_while_opening(10_000) + 100


def test_a_view_reads_slices(tmp_path):
    array = numbers(6, 5, 4)
    view = read_header(write(tmp_path / "x.safetensors", {"before": numbers(3), "a": array}))["a"]

    for index in [0, (1, 2), slice(2, 5), (slice(None), 3), (..., slice(None, None, -2)), (5, 4, 3), np.array([3, 1])]:
        np.testing.assert_array_equal(view[index], array[index], strict=True)
    with pytest.raises(IndexError):
        view[6]


def test_arrays_cannot_be_written_to(tmp_path):
    view = read_header(write(tmp_path / "x.safetensors", {"a": numbers(3)}))["a"]

    with pytest.raises(ValueError, match="read-only"):
        view.numpy()[0] = 1


def test_views_of_one_file_share_one_mapping(tmp_path):
    checkpoint = Checkpoint.open(write(tmp_path / SINGLE, {"a": numbers(3), "b": numbers(3)}).parent)

    assert checkpoint["a"].file is checkpoint["b"].file
    assert checkpoint["a"].file.mapped() is checkpoint["b"].file.mapped()


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ({"a": numbers(4)}, r"was changed after its header was verified: it had \d+ bytes then and has \d+ now"),
        ({"a": numbers(3, start=9)}, "was changed after its header was verified: it is newer now"),
    ],
)
def test_a_file_that_is_replaced_after_opening_is_refused(tmp_path, later, said):
    path = write(tmp_path / SINGLE, {"a": numbers(3)})
    os.utime(path, (1, 1))
    view = Checkpoint.open(tmp_path)["a"]

    os.replace(write(tmp_path / "new", later), path)

    with pytest.raises(CheckpointChangedError, match=rf"model\.safetensors {said}"):
        view.numpy()


def test_a_file_that_is_removed_after_opening_is_named(tmp_path):
    path = write(tmp_path / SINGLE, {"a": numbers(3)})
    view = Checkpoint.open(tmp_path)["a"]

    path.unlink()

    with pytest.raises(CheckpointChangedError, match="was removed after its header was verified"):
        view.numpy()


def test_a_file_that_gets_its_final_name_just_as_it_is_opened_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / temporary_name("0" * 16, SINGLE), {"a": numbers(3)})
    view = read_header(path)["a"]
    system_open = os.open

    def save_is_completed(opened, *arguments):
        if os.fspath(opened) == str(path) and path.exists():
            path.rename(tmp_path / SINGLE)
        return system_open(opened, *arguments)

    monkeypatch.setattr(os, "open", save_is_completed)

    np.testing.assert_array_equal(view.numpy(), numbers(3))
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_file_that_is_replaced_by_a_pipe_is_not_waited_for(tmp_path):
    path = write(tmp_path / SINGLE, {"a": numbers(3)})
    view = Checkpoint.open(tmp_path)["a"]

    path.unlink()
    os.mkfifo(path)

    with pytest.raises(CheckpointFormatError, match="is not a regular file"):
        view.numpy()


@pytest.mark.skipif(sys.platform == "win32", reason="mapped files cannot be removed there")
def test_a_mapping_outlives_the_file_and_the_checkpoint(tmp_path):
    path = write(tmp_path / SINGLE, {"a": numbers(3), "b": numbers(3, start=7)})
    checkpoint = Checkpoint.open(tmp_path)
    first = checkpoint["a"].numpy()

    path.unlink()
    write(path, {"a": numbers(3, start=50)})
    second = checkpoint["b"].numpy()
    del checkpoint

    assert first.tolist() == [0, 1, 2]
    assert second.tolist() == [7, 8, 9]


@pytest.mark.parametrize("copied", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
def test_checkpoints_and_views_travel_to_other_processes(tmp_path, copied):
    write(tmp_path / SINGLE, {"a": numbers(3), "none": numbers(0, 4), "b": numbers(2, 2)})
    original = Checkpoint.open(tmp_path)
    original["a"].numpy()

    checkpoint = copied(original)
    view = copied(original["b"])

    assert list(checkpoint) == ["a", "none", "b"]
    assert checkpoint["a"].file is checkpoint["b"].file
    assert checkpoint["a"].numpy().tolist() == [0, 1, 2]
    assert checkpoint["none"].numpy().shape == (0, 4)
    assert view.numpy().tolist() == [[0, 1], [2, 3]]


def test_a_pickled_view_notices_that_its_file_was_replaced(tmp_path):
    path = write(tmp_path / SINGLE, {"a": numbers(3)})
    os.utime(path, (1, 1))
    message = pickle.dumps(Checkpoint.open(tmp_path))

    os.replace(write(tmp_path / "new", {"a": numbers(3)}), path)

    with pytest.raises(CheckpointChangedError, match="was changed"):
        pickle.loads(message)["a"].numpy()
