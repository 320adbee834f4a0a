"""convert: bit-exact round trips, files beside the weights, key maps of plugins, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automodels.checkpoint.convert import convert
from automodels.checkpoint.journal import RECORD, Record
from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.verify import verify
from automodels.checkpoint.writer import save_tensors
from automodels.errors import (
    AmbiguousModelError,
    CheckpointFormatError,
    CheckpointNotFoundError,
    CheckpointSecurityError,
    InputError,
    PluginReferenceError,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "torch_bin"
KEYMAP = KeyMap(
    ("wte.weight", "wte.embedding", SAME),
    ("h.{i}.mlp.weight", "h.{i}.mlp.kernel", TRANSPOSED),
    ("h.{i}.mlp.bias", "h.{i}.mlp.bias", SAME),
    prefix="toy.",
    older=((".gamma", ".weight"),),
    buffers=("h.{i}.mask",),
)
CONFIG = b'{"model_type": "toy", "dtype": "float32", "width": 3}'


def toy(directory: Path, *, prefix: str = "", files=None, **options) -> Path:
    tensors = {
        "wte.weight": np.arange(20, dtype=np.float32).reshape(5, 4),
        **{f"h.{i}.mlp.weight": np.arange(12, dtype=np.float32).reshape(3, 4) * (i + 1) for i in (0, 1, 10)},
        **{f"h.{i}.mlp.bias": np.full(3, i, np.float32) for i in (0, 1, 10)},
    }
    named = {prefix + name: array for name, array in tensors.items()}
    save_tensors(directory, named, files={"config.json": CONFIG, **(files or {})}, **options)
    return directory


def content(directory, **options):
    """Everything that a checkpoint's tensors are."""
    opened = Checkpoint.open(directory, **options)
    return {name: (view.dtype, view.shape, view.numpy().tobytes()) for name, view in opened.items()}


DTYPES = [
    np.dtype(name)
    for name in ("float32", "float16", "float64", "int8", "int64", "uint16", "bool", "complex64")
] + [np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2)]  # fmt: skip


@st.composite
def tensors(draw):
    """Tensors of any bytes, NaN with payloads included."""
    names = draw(
        st.lists(st.from_regex(r"[a-z]{1,3}\.[0-9]{1,2}\.[a-z]{1,3}", fullmatch=True), unique=True, max_size=9)
    )
    found = {}
    for name in names:
        dtype = draw(st.sampled_from(DTYPES))
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
        count = int(np.prod(shape)) * dtype.itemsize
        data = draw(st.binary(min_size=count, max_size=count))
        if dtype == np.bool_:
            data = bytes(byte & 1 for byte in data)
        found[name] = np.frombuffer(data, dtype).reshape(shape)
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors(), st.lists(st.integers(1, 200), min_size=3, max_size=3))
def test_any_tensors_survive_any_formats_and_shard_sizes_bit_by_bit(tmp_path_factory, arrays, sizes):
    here = tmp_path_factory.mktemp("trip")
    save_tensors(here / "0", arrays, naming="flax", max_shard_size=sizes[0])
    before = content(here / "0")

    convert(here / "0", here / "1", format="msgpack", max_shard_size=sizes[1])
    convert(here / "1", here / "2", max_shard_size=sizes[2])
    convert(here / "2", here / "3", max_shard_size=10**9)

    assert {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()} == before
    for place in "123":
        assert content(here / place) == before
        shutil.rmtree(here / place)


@pytest.mark.parametrize("name", ["parameters.bin", "protocol4.bin", "nested.bin"])
def test_a_file_of_torch_becomes_safetensors_bit_by_bit(tmp_path, name):
    source = tmp_path / "torch"
    source.mkdir()
    shutil.copy(GOLDEN / name, source / "pytorch_model.bin")
    before = content(source)

    report = convert(source, tmp_path / "one", max_shard_size="1KB")
    convert(tmp_path / "one", tmp_path / "two")

    assert (report.source_format, report.format, report.naming) == ("torch", "safetensors", "hub")
    assert before
    assert content(tmp_path / "one") == content(tmp_path / "two") == before


@pytest.mark.parametrize("prefix", ["", "toy."])
@pytest.mark.parametrize("kind", ["safetensors", "msgpack"])
def test_names_go_to_flax_and_back_bit_by_bit(tmp_path, prefix, kind):
    source = toy(tmp_path / "hub", prefix=prefix, max_shard_size=50)

    there = convert(source, tmp_path / "flax", format=kind, naming="flax", keymap=KEYMAP)
    back = convert(tmp_path / "flax", tmp_path / "back", naming="hub", keymap=KEYMAP, max_shard_size=70)

    flax = Checkpoint.open(tmp_path / "flax")
    assert flax[f"{prefix}h.10.mlp.kernel"].shape == (4, 3)
    assert (there.naming, back.source_naming, back.naming) == ("flax", "flax", "hub")
    assert content(tmp_path / "back") == content(source)
    assert verify(tmp_path / "flax").ok


def test_msgpack_means_flax_names_and_nothing_else(tmp_path):
    source = toy(tmp_path / "hub")

    assert convert(source, tmp_path / "flax", format="msgpack", keymap=KEYMAP).naming == "flax"
    with pytest.raises(InputError, match="msgpack files hold Flax's trees"):
        convert(source, tmp_path / "x", format="msgpack", naming="hub")


def test_old_spellings_and_wrappers_are_read_and_buffers_are_left_out(tmp_path):
    old = {"module.toy.wte.gamma": np.ones((2, 2), np.float32), "module.toy.h.0.mask": np.ones(3, np.bool_)}
    save_tensors(tmp_path / "old", old)

    report = convert(tmp_path / "old", tmp_path / "new", naming="flax", keymap=KEYMAP)

    assert list(Checkpoint.open(tmp_path / "new")) == ["toy.wte.embedding"]
    assert report.buffers == ("module.toy.h.0.mask",)


def test_without_a_change_of_names_everything_is_kept(tmp_path):
    save_tensors(tmp_path / "old", {"module.toy.wte.gamma": np.ones(2), "strange": np.ones(1)})

    convert(tmp_path / "old", tmp_path / "new")

    assert set(Checkpoint.open(tmp_path / "new")) == {"module.toy.wte.gamma", "strange"}


def test_tensors_that_the_key_map_lacks_are_all_named(tmp_path):
    save_tensors(tmp_path / "old", {"wte.weight": np.ones(2), "strange": np.ones(1), "odd": np.ones(1)})

    with pytest.raises(InputError, match="no row for 2 of 3 tensors: (odd, strange|strange, odd)"):
        convert(tmp_path / "old", tmp_path / "new", naming="flax", keymap=KEYMAP)
    assert not (tmp_path / "new").exists()


def test_two_spellings_of_one_tensor_are_refused(tmp_path):
    save_tensors(tmp_path / "old", {"wte.weight": np.ones(2), "wte.gamma": np.ones(2)})

    with pytest.raises(CheckpointFormatError, match="two spellings of one tensor"):
        convert(tmp_path / "old", tmp_path / "new", naming="flax", keymap=KEYMAP)


MANIFEST = """{head}
[[model]]
model_type = "toy"
framework = "flax"
config = "PACKAGE.config:ToyConfig"
requires = ["never-installed"]
keymap = "PACKAGE.keymap:KEYMAP"
[model.tasks]
base = "PACKAGE.modeling:ToyModel"
"""
KEYMAP_SOURCE = """
from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap
KEYMAP = KeyMap(
    ("wte.weight", "wte.embedding", SAME),
    ("h.{i}.mlp.weight", "h.{i}.mlp.kernel", TRANSPOSED),
    ("h.{i}.mlp.bias", "h.{i}.mlp.bias", SAME),
)
"""


def plugin(site, name, keymap=KEYMAP_SOURCE):
    package = name.replace("-", "_")
    files = {"keymap.py": keymap, "modeling.py": "raise RuntimeError('imported')"}
    site.plugin(name, MANIFEST.replace("PACKAGE", package), files=files)


def test_the_key_map_of_an_installed_plugin_is_found_and_its_model_is_not_imported(site, tmp_path):
    plugin(site, "toy-flax")

    report = convert(toy(tmp_path / "hub"), tmp_path / "flax", naming="flax")

    assert report.naming == "flax"
    assert "h.1.mlp.kernel" in Checkpoint.open(tmp_path / "flax")


def test_no_key_map_several_and_one_that_is_none_are_errors(site, tmp_path, monkeypatch):
    source = toy(tmp_path / "hub")
    with pytest.raises(InputError, match="no installed plugin declares one for 'toy'"):
        convert(source, tmp_path / "flax", naming="flax")

    plugin(site, "toy-none", "KEYMAP = 1")
    with pytest.raises(PluginReferenceError, match="as a key map"):
        convert(source, tmp_path / "flax", naming="flax")

    plugin(site, "toy-other")
    with pytest.raises(AmbiguousModelError, match="2 plugins declare a key map"):
        convert(source, tmp_path / "flax", naming="flax")

    monkeypatch.setenv("AUTOMODELS_PIN_TOY", "toy-other")
    assert convert(source, tmp_path / "flax", naming="flax").naming == "flax"


def test_floating_tensors_are_cast_and_the_config_says_so(tmp_path):
    arrays = {"w": np.array([1, 2.5], np.float32), "i": np.arange(3), "q": np.ones(2, ml_dtypes.float8_e5m2)}
    save_tensors(tmp_path / "a", arrays, files={"config.json": CONFIG})

    report = convert(tmp_path / "a", tmp_path / "b", dtype="bfloat16")

    opened = Checkpoint.open(tmp_path / "b")
    assert {name: view.dtype.name for name, view in opened.items()} == {
        "w": "bfloat16", "i": "int64", "q": "float8_e5m2",
    }  # fmt: skip
    assert report.cast == ("w",)
    assert json.loads((tmp_path / "b" / "config.json").read_text()) == {**json.loads(CONFIG), "dtype": "bfloat16"}


def test_values_that_the_type_cannot_hold_stop_the_conversion_and_nothing_is_left(tmp_path):
    save_tensors(tmp_path / "a", {"w": np.array([1, 1e9, np.inf], np.float32)})

    with pytest.raises(InputError, match="values that float16 cannot hold"):
        convert(tmp_path / "a", tmp_path / "b", dtype="float16")

    assert not (tmp_path / "b").exists()
    assert convert(tmp_path / "a", tmp_path / "c", dtype="bfloat16").cast == ("w",)


def test_configs_tokenizers_and_module_folders_are_copied_and_code_is_not(tmp_path):
    modules = [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}, {"path": "../outside"}, {"path": 3}]
    beside = {
        "tokenizer.json": b"{}", "vocab.txt": b"a\n", "LICENSE": b"free", "generation_config.json": b"{}",
        "modules.json": json.dumps(modules).encode(), "modeling_toy.py": b"raise SystemExit", "run.sh": b"",
        "weights.pkl": b"", "rust_model.ot": b"",
    }  # fmt: skip
    source = toy(tmp_path / "a", files=beside)
    for folder, name in (("1_Pooling", "config.json"), ("2_Dense", "model.safetensors"), ("2_Dense", "code.py")):
        (source / folder).mkdir(exist_ok=True)
        (source / folder / name).write_bytes(f"{folder}/{name}".encode())

    report = convert(source, tmp_path / "b")

    there = {path.relative_to(tmp_path / "b").as_posix() for path in (tmp_path / "b").rglob("[!.]*") if path.is_file()}
    assert there == {
        "config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "LICENSE", "generation_config.json",
        "modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors",
    }  # fmt: skip
    assert set(report.copied) == there - {"model.safetensors"}
    assert report.left_out == ("modeling_toy.py", "run.sh", "rust_model.ot", "weights.pkl")


def test_an_old_checkpoint_in_the_target_is_replaced_in_whatever_format(tmp_path):
    source = toy(tmp_path / "a")
    toy(tmp_path / "b", max_shard_size=20)

    report = convert(source, tmp_path / "b", format="msgpack", keymap=KEYMAP)

    assert "model.safetensors.index.json" in report.saved.removed
    assert Checkpoint.open(tmp_path / "b").format == "msgpack"


def test_a_variant_stays_that_variant(tmp_path):
    source = toy(tmp_path / "a", variant="fp16")

    convert(source, tmp_path / "b", variant="fp16", max_shard_size=40)

    assert (tmp_path / "b" / "model.safetensors.index.fp16.json").exists()
    assert content(tmp_path / "b", variant="fp16") == content(source, variant="fp16")


@pytest.mark.parametrize("way", ["same", "link", "relative"])
def test_a_checkpoint_is_not_converted_into_itself(tmp_path, way, monkeypatch):
    source = toy(tmp_path / "a")
    (tmp_path / "link").symlink_to(source)
    monkeypatch.chdir(tmp_path)
    target = {"same": source, "link": tmp_path / "link", "relative": "../" + tmp_path.name + "/a"}[way]

    with pytest.raises(InputError, match="are the same directory"):
        convert(source, target)


@pytest.mark.parametrize(
    "options",
    [{"format": "torch"}, {"naming": "x"}, {"dtype": "int8"}, {"dtype": "half"}, {"max_shard_size": "0"},
     {"variant": "../x"}, {"dtype": 3}],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, options):
    source = toy(tmp_path / "a")

    with pytest.raises(InputError):
        convert(source, tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()


def test_a_source_that_is_none_is_the_readers_matter(tmp_path):
    with pytest.raises(CheckpointNotFoundError):
        convert(tmp_path / "nowhere", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_metadata_of_others_are_kept_and_ours_are_new(tmp_path):
    save_tensors(tmp_path / "a", {"w": np.ones(2)}, metadata={"made_by": "somebody"}, tied={"v": "w"})

    convert(tmp_path / "a", tmp_path / "b")

    metadata = Checkpoint.open(tmp_path / "b").metadata
    assert (metadata["made_by"], metadata["v"], metadata["format"]) == ("somebody", "w", "pt")


def test_progress_counts_every_byte(tmp_path):
    seen = []

    report = convert(toy(tmp_path / "a"), tmp_path / "b", progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (report.saved.total_size, report.saved.total_size)
    assert len(seen) == 7


@pytest.mark.parametrize("options", [{}, {"naming": "flax", "keymap": KEYMAP}, {"dtype": "bfloat16"}])
def test_memory_is_bounded_by_the_largest_tensor(tmp_path, options):
    one = 1 << 20
    arrays = {f"h.{i}.mlp.weight": np.full((512, one // 2048), i, np.float32) for i in range(24)}
    save_tensors(tmp_path / "a", arrays)
    del arrays
    convert(tmp_path / "a", tmp_path / "warm", **options)

    tracemalloc.start()
    convert(tmp_path / "a", tmp_path / "b", max_shard_size=3 * one, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2.5 * one


def test_no_framework_and_no_library_of_the_formats_is_imported(tmp_path):
    source = toy(tmp_path / "a")
    code = (
        "import sys; from automodels.checkpoint.convert import convert;"
        "from automodels.checkpoint.verify import verify;"
        f"convert({os.fspath(source)!r}, {os.fspath(tmp_path / 'b')!r}, max_shard_size=30);"
        f"verify({os.fspath(tmp_path / 'b')!r}, finite=True, sha256=True);"
        "print([name for name in ('jax', 'flax', 'torch', 'safetensors', 'msgpack', 'huggingface_hub')"
        " if name in sys.modules])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "modules", [b"[" * 100_000, b"{}", b"[1, {}]", b"\xff", b'[{"path": "/etc"}, {"path": "a/../.."}]']
)
def test_a_list_of_modules_that_is_none_copies_no_folders(tmp_path, modules):
    source = toy(tmp_path / "a", files={"modules.json": modules})

    assert set(convert(source, tmp_path / "b").copied) == {"config.json", "modules.json"}


def test_a_pipe_beside_the_weights_is_passed_by_and_a_link_to_the_outside_is_refused(tmp_path):
    source = toy(tmp_path / "a")
    os.mkfifo(source / "vocab.txt")
    assert convert(source, tmp_path / "b").left_out == ("vocab.txt",)

    (tmp_path / "secret.txt").write_text("secret")
    (source / "merges.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(CheckpointSecurityError, match="outside the checkpoint"):
        convert(source, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_source_whose_save_waits_to_be_completed_is_converted_as_what_it_will_be(tmp_path):
    source = toy(tmp_path / "a")
    new = json.dumps({"model_type": "toy", "new": True})
    record = Record(identity="0" * 16, publish=("config.json", "model.safetensors"), remove=())
    os.rename(source / "model.safetensors", source / record.temporary("model.safetensors"))
    (source / record.temporary("config.json")).write_text(new)
    (source / RECORD).write_bytes(record.to_json())

    convert(source, tmp_path / "b")

    assert (tmp_path / "b" / "config.json").read_text() == new
    assert content(tmp_path / "b") == content(source)
