"""Files of torch.save, read without torch; and files that only look like it."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automodels.checkpoint import pickled
from automodels.checkpoint.dtypes import BY_NUMPY_NAME
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.torchzip import read_torch
from automodels.errors import CheckpointError, CheckpointFormatError, CheckpointSecurityError

GOLDEN = Path(__file__).parent.parent / "golden" / "torch_bin"
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0%sX\x03\0\0\0cpuK%ctQ"
    b"K%cK%c\x85K%c\x85\x89NtR"
)
"""A tensor of one axis: (key of the storage, its elements, offset, length, stride)."""


def archive(code: bytes, storages: dict[str, bytes] | None = None, root: str = "archive", **records: bytes) -> bytes:
    """A zip file as torch writes it, with this pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(f"{root}/data.pkl", code)
        for name, content in records.items():
            file.writestr(f"{root}/{name}", content)
        for key, content in (storages or {"0": bytes(range(24))}).items():
            file.writestr(f"{root}/data/{key}", content)
    return stream.getvalue()


def table(*pairs: tuple[bytes, bytes]) -> bytes:
    """A pickle of a dict: name → code of a value."""
    items = b"".join(b"X" + len(name).to_bytes(4, "little") + name + value for name, value in pairs)
    return b"\x80\x02}(" + items + b"u."


def tensor(key: bytes = b"0", elements: int = 6, offset: int = 0, length: int = 6, stride: int = 1) -> bytes:
    return TENSOR % (key, elements, offset, length, stride)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "pytorch_model.bin"
        path.write_bytes(content)
        return path

    return write


def refusal(path: Path, error: type[CheckpointError] = CheckpointFormatError) -> str:
    """The text of the error; nothing is imported or executed, and nothing large allocated, on the way to it."""
    before = set(sys.modules)
    tracemalloc.start()
    with pytest.raises(error) as caught:
        read_torch(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    text = str(caught.value)
    assert type(caught.value) is error
    assert path.name in text
    assert len(text.splitlines()) <= 12
    assert len(text) < 1000
    assert text.replace("\n", "").isprintable()
    assert peak < 2_000_000 + 60 * path.stat().st_size
    assert not {name for name in set(sys.modules) - before if not name.startswith("encodings")}
    return text


@pytest.mark.parametrize("name", ["types", "views", "module", "parameters", "nested", "protocol4", "protocol5"])
def test_what_torch_saved_is_read_bit_by_bit(name):
    expected = np.load(GOLDEN / f"{name}.npz")

    contents = read_torch(GOLDEN / f"{name}.bin")

    assert len(contents.tensors) == len(expected.files)
    for key in expected.files:
        tensor_name, dtype, shape = key.split("|")
        array = contents.tensors[tensor_name].numpy()
        assert array.dtype == BY_NUMPY_NAME[dtype]
        assert ",".join(map(str, array.shape)) == shape
        assert np.ascontiguousarray(array).tobytes() == expected[key].tobytes()


def test_tensors_that_share_a_storage_show_the_same_bytes_of_the_file():
    tensors = read_torch(GOLDEN / "views.bin").tensors

    assert tensors["tied"].start == tensors["whole"].start
    assert tensors["second_row"].start == tensors["whole"].start + 12
    assert [name for name, view in tensors.items() if not view.is_contiguous] == ["column", "transposed", "every_other"]
    assert tensors["transposed"][2].tolist() == [2, 5, 8, 11]
    assert not tensors["transposed"].numpy().flags.writeable


def test_values_that_are_no_tensors_are_noted_wherever_they_stand():
    others = ("epoch", "lr", "big", "names", "shape", "kind")

    assert read_torch(GOLDEN / "nested.bin").ignored == others
    assert read_torch(GOLDEN / "protocol4.bin").ignored == others


def test_shards_with_an_index_are_one_checkpoint():
    expected = np.load(GOLDEN / "sharded.npz")

    checkpoint = Checkpoint.open(GOLDEN / "sharded")

    assert (checkpoint.format, checkpoint.naming, checkpoint.index) == ("torch", "hub", "pytorch_model.bin.index.json")
    assert len(checkpoint.files) == 2
    assert {key.split("|")[0] for key in expected.files} == set(checkpoint)
    assert checkpoint["b.weight"].dtype.name == "bfloat16"
    assert checkpoint["b.weight"].numpy().tobytes() == expected["b.weight|bfloat16|3"].tobytes()


def test_a_file_of_old_torch_is_named_with_what_to_do():
    text = refusal(GOLDEN / "legacy.bin")

    assert "is of torch before 1.6" in text
    assert "safetensors" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (bytes(600), "is full of zeros"),
        (pickle.dumps({"a": 1}), "is a bare pickle, which is not read"),
        (b"a".ljust(257, b"\0") + b"ustar" + bytes(300), "is a tar archive"),
        (b"<html>", "is a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x93NUMPY\xff\xff", "is not a file of torch: it is no zip archive"),
        (archive(table())[:-30], "is truncated: a zip archive without the directory"),
        (archive(table()) + b"more", "has bytes after the end of the zip archive"),
        (b"PK\x03\x04" + bytes(50), "is truncated"),
        (archive(table(), byteorder=b"big"), "lie in 'big' byte order"),
        (archive(table(), **{"constants.pkl": b""}), "is a TorchScript program"),
        (archive(table(), root="a/b"), "but not of torch.save: it has 0 data.pkl"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named_for_what_it_is(file, content, said):
    assert said in refusal(file(content))


def test_a_compressed_archive_is_refused(file):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("archive/data.pkl", table())

    assert "'archive/data.pkl' is compressed or encrypted" in refusal(file(stream.getvalue()))


def test_a_name_that_stands_twice_in_the_archive_is_refused(file):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        zipped.writestr("archive/data.pkl", table())
        with pytest.warns(UserWarning, match="Duplicate"):
            zipped.writestr("archive/data.pkl", table((b"a", tensor())))

    assert "'archive/data.pkl' stands there twice" in refusal(file(stream.getvalue()))


def test_an_archive_whose_headers_disagree_with_its_directory_is_refused(file):
    content = archive(table()).replace(b"archive/data.pkl", b"archive/atad.pkl", 1)

    assert "'archive/data.pkl' is not where the directory says" in refusal(file(content))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (tensor(key=b"7"), "its storage 7 is not in the archive"),
        (tensor(elements=7), "its storage promises 28 bytes and has 24"),
        (tensor(length=7), "lie outside its storage of 24 bytes"),
        (tensor(offset=1), "lie outside its storage of 24 bytes"),
        (tensor(stride=2), "lie outside its storage of 24 bytes"),
        (tensor(length=200, stride=0), "shows the same bytes more than once"),
    ],
)
def test_a_tensor_never_leaves_its_storage(file, code, said):
    kind = CheckpointSecurityError if "outside" in said else CheckpointFormatError

    text = refusal(file(archive(table((b"a", code)))), kind)

    assert "pytorch_model.bin, tensor 'a': " in text
    assert said in text


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"\x80\x02N.", "holds a value of type NoneType"),
        (table((b"a", table((b"x", tensor()))[2:-1]), (b"b", table((b"x", tensor()))[2:-1])), "several dicts of"),
        (table((b"a", tensor()), (b"a", tensor())), "the key 'a' stands there twice"),
        (table((b"two\nlines", tensor())), "all of them printable"),
        (b"\x80\x02}K\x01" + tensor() + b"s.", "the name of a tensor is a string"),
        (b"\x80\x02}.more", "4 bytes follow its end"),
        (b"\x80\x02}}.", "1 values are left at its end"),
        (b"\x80\x02}", "it is truncated"),
        (b"\x80\x02", "it is truncated"),
        (b"\x80\x02.", "it is damaged"),
        (b"\x80\x00}.", "pickles of version 0 are not known"),
        (b"\x80\x02(t)(.", "a mark stands where a value should be"),
    ],
)
def test_a_pickle_that_is_no_dict_of_tensors_is_refused(file, code, said):
    assert said in refusal(file(archive(code)))


class Runs:
    """What Python's own machine would call while it reads."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (Runs(os.system, "touch PWNED"), "system"),
        (Runs(eval, "open('PWNED', 'w')"), ".eval"),
        (Runs(exec, "open('PWNED', 'w')"), ".exec"),
        (Runs(getattr, Runs(__import__, "os"), "system"), ".getattr"),
        (Runs(shutil.rmtree, "."), "shutil.rmtree"),
        (Runs(open, "PWNED", "w"), "open"),
        (Runs(pickle.loads, b""), "loads"),
        (Runs(bytearray, 1 << 40), ".bytearray"),
        (Runs(np.zeros, 1 << 30), "zeros"),
        (Runs(complex, 1), ".complex"),
        (Path("x"), "Path"),
        ({"a": {1, 2}.__class__}, ".set"),
        (ValueError("x"), ".ValueError"),
    ],
)
def test_whatever_a_pickle_wants_to_call_is_refused_by_name(file, protocol, value, asked):
    text = refusal(file(archive(pickle.dumps({"a": value}, protocol=protocol))), CheckpointSecurityError)

    assert "asks for '" in text
    assert asked in text
    assert "nothing was executed" in text
    assert not Path("PWNED").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"ctorch\nload\n(X\x01\0\0\0xtR.", "asks for 'torch.load'"),
        (b"ctorch._utils\n__builtins__\n.", "asks for 'torch._utils.__builtins__'"),
        (b"ccollections\nOrderedDict.__init__\n.", "asks for 'collections.OrderedDict.__init__'"),
        (b"c\x1b[31m\nx\n.", "asks for '\\x1b[31m.x'"),
        (b"ctorch\nFloatStorage\n)R.", "calls a value of type Named"),
        (b"ctorch\nfloat32\n)R.", "calls a value of type Named"),
        (b"])R.", "calls a value of type list"),
        (b"ccollections\nOrderedDict\n)R)R.", "calls a value of type dict"),
        (b"]}b.", "sets the state of a value of type list"),
        (b"ccollections\nOrderedDict\n}b.", "sets the state of a value of type Named"),
        (b"}]b.", "sets the state of a value of type dict"),
        (b"ccollections\nOrderedDict\n)\x81.", "uses the instruction NEWOBJ"),
        (b"(icollections\nOrderedDict\n.", "uses the instruction INST"),
        (b"(ccollections\nOrderedDict\no.", "uses the instruction OBJ"),
        (b"\x82\x01.", "uses the instruction EXT1"),
        (b"\x83\x01\x01.", "uses the instruction EXT2"),
        (b"\x84\x01\x01\x01\x01.", "uses the instruction EXT4"),
        (b"P0\n.", "uses the instruction PERSID"),
        (b"\x97.", "uses the instruction NEXT_BUFFER"),
    ],
)
def test_instructions_that_build_or_reach_something_are_refused(file, code, said):
    assert said in refusal(file(archive(b"\x80\x02" + code)), CheckpointSecurityError)


def nested(count: int) -> bytes:
    """A tuple of tuples, each one twice in the next: two to the power of `count` when written out."""
    return b")" + b"".join(b"q%ch%c\x86" % (i % 256, i % 256) for i in range(count))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"\x8b\xff\xff\xff\x7f.", "a number of 2147483647 bytes"),
        (b"\x8a\xff" + bytes(255) + b".", "a number of 255 bytes"),
        (b"\x8e" + b"\xff" * 7 + b"\x7f.", "it is truncated"),
        (b"\x8d" + b"\xff" * 8 + b".", "it is truncated"),
        (b"B\xff\xff\xff\xff.", "it is truncated"),
        (b"\x96" + b"\xff" * 7 + b"\x7f.", "is none that lists of tensors need"),
        (b"}r\xff\xff\xff\x7f.", "the place 2147483647 of its memo follows on 0"),
        (b"j\xff\xff\xff\x7f.", "it is damaged"),
        (b"h\x00.", "it is damaged"),
        (b"]" * 200_000 + b".", "its stack grows without end"),
        (b"(" * 200_000 + b".", "its stack grows without end"),
        (b"}" + nested(200) + b"Ns.", "a key of type tuple"),
        (b"}J\xff\xff\xff\x7fNs.", "a key of type int"),
        (b"}G" + bytes(8) + b"Ns.", "a key of type float"),
        (b"I1" + b"0" * 5000 + b"\n.", "is none that lists of tensors need"),
        (nested(200) + b"Q.", "the description of a storage: it is no list of five"),
        (b"NQ.", "it is no list of five"),
        (b"(X\x07\0\0\0storageNX\x01\0\0\x000Nt.", "holds a value of type tuple"),
        (b"(X\x07\0\0\0storageNX\x01\0\0\x000NK\x01tQ.", "which kind of storage"),
        (b"(X\x07\0\0\0storagectorch\nfloat32\nX\x01\0\0\x000NK\x01tQ.", "which kind of storage"),
        (b"(X\x07\0\0\0storagectorch\nIntStorage\nX\x02\0\0\0..NK\x01tQ.", "its key is no number"),
        (b"(X\x07\0\0\0storagectorch\nIntStorage\nX\x01\0\0\x000NJ\xff\xff\xff\xfftQ.", "how large it is"),
        (b"(X\x07\0\0\0storagectorch\nIntStorage\nX\x01\0\0\x000N\x88tQ.", "how large it is"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "_rebuild_tensor_v2: "),
        (b"ctorch._utils\n_rebuild_parameter\n(NNNtR.", "_rebuild_parameter: it is no tensor"),
        (b"ctorch\nSize\n(]tR.", "Size: it is no list of lengths"),
        (b"ctorch\nSize\n]R.", "Size is called without a list"),
        (b"]Na.", "holds a value of type list"),
        (b"}Na.", "appended to what is no list"),
        (b"](Nu.", "items are set in what is no dict"),
        (b"}(Nu.", "items are set in what is no dict"),
        (b"NN\x93.", "a name is no text"),
        (b"X\x02\0\0\0\xff\xff.", "it is damaged"),
    ],
)
def test_pickles_that_lie_or_never_end_are_refused_without_memory(file, code, said):
    assert said in refusal(file(archive(b"\x80\x02" + code)))


def test_a_value_without_end_is_passed_over(file):
    endless = b"}q\0X\x04\0\0\0selfh\0s"
    contents = read_torch(file(archive(b"\x80\x02}(X\x01\0\0\0a" + tensor() + b"X\x01\0\0\0b" + endless + b"u.")))

    assert (list(contents.tensors), contents.ignored) == (["a"], ("b",))


def test_a_pickle_with_too_many_instructions_is_refused(file, monkeypatch):
    monkeypatch.setattr(pickled, "STEPS", 40_000)  # of four million, which take half a minute

    assert "more than 40000 instructions" in refusal(file(archive(b"\x80\x02" + b"]" + b"Na" * 20_000 + b".")))


def test_a_tensor_that_is_marked_as_conjugate_is_refused(file):
    marked = tensor().replace(b"\x89NtR", b"\x89N}X\x04\0\0\0conj\x88stR")

    assert "marked as conjugate" in refusal(file(archive(table((b"a", marked)))))
    assert list(read_torch(file(archive(table((b"a", tensor().replace(b"\x89NtR", b"\x89N}tR")))))).tensors) == ["a"]


def test_an_index_of_torch_cannot_lead_out_of_the_directory(tmp_path):
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "../x.bin"}}))

    with pytest.raises(CheckpointSecurityError, match="leaves the checkpoint"):
        Checkpoint.open(tmp_path)
