"""Planning shards: from names and sizes alone, the same for the same tensors, nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automodels.checkpoint.formats import MSGPACK, SAFETENSORS, checked_variant, new_variant
from automodels.checkpoint.shards import natural, parse_size, plan_shards
from automodels.errors import InputError

NAMES = st.text("ab.01_", min_size=1, max_size=6)
TENSORS = st.dictionaries(NAMES, st.tuples(st.integers(0, 50), st.none() | st.integers(0, 3)), max_size=20)


@pytest.mark.parametrize(
    ("size", "nbytes"),
    [
        (1, 1),
        (5_000_000_000, 5_000_000_000),
        ("7", 7),
        ("7B", 7),
        ("5GB", 5 * 10**9),
        ("5gb", 5 * 10**9),
        ("200MB", 2 * 10**8),
        ("200MiB", 200 << 20),
        ("1 KiB", 1024),
        (" 1kB ", 1000),
        ("1.5GiB", 3 << 29),
        ("0.000001MB", 1),
        ("2TB", 2 * 10**12),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes_are_powers_of_1000_or_with_an_i_of_1024(size, nbytes):
    assert parse_size(size) == nbytes


@pytest.mark.parametrize("size", ["", "GB", "five", "5 G B", "-5GB", "5EB", "1e9", "٥GB", "5GB\n5", 1.5, True, None])
def test_what_is_no_size_is_refused_with_an_example(size):
    with pytest.raises(InputError, match=r"is no size.\n.*5GB"):
        parse_size(size)


@pytest.mark.parametrize("size", [0, -1, "0", "0GB", "0.0000001KB", "0.1B"])
def test_a_shard_of_nothing_is_refused(size):
    with pytest.raises(InputError, match="no size|above 0"):
        parse_size(size)


def planned(limit, *tensors):
    return plan_shards([(*tensor, None)[:3] for tensor in tensors], limit).shards


def test_numbers_in_names_are_compared_as_numbers():
    assert planned(100, ("l.10.w", 1), ("l.2.w", 1), ("l.1.w", 1)) == (("l.1.w", "l.2.w", "l.10.w"),)
    assert natural("l.01") != natural("l.1")


def test_shards_are_filled_in_the_order_of_names():
    assert planned(10, ("a", 4), ("b", 4), ("c", 4), ("d", 6)) == (("a", "b"), ("c", "d"))


def test_a_tensor_larger_than_a_shard_is_alone_and_the_others_join_up():
    assert planned(10, ("a", 4), ("b", 11), ("c", 4)) == (("a", "c"), ("b",))


def test_a_first_tensor_larger_than_a_shard_is_alone():
    assert planned(10, ("a", 11), ("b", 4), ("c", 4)) == (("a",), ("b", "c"))


def test_tensors_of_one_storage_stay_together_even_beyond_the_size():
    assert planned(10, ("a", 6, 1), ("b", 4), ("c", 6, 1)) == (("a", "c"), ("b",))


def test_no_tensors_are_one_empty_shard():
    plan = plan_shards([], "5GB")

    assert (plan.shards, plan.total_size) == (((),), 0)


def test_a_name_that_stands_there_twice_is_refused():
    with pytest.raises(InputError, match="1 tensors have the name of another one: 'a'"):
        plan_shards([("a", 1, None), ("b", 1, None), ("a", 2, None)], 10)


@given(TENSORS, st.integers(1, 60), st.randoms())
def test_a_plan_has_every_tensor_once_keeps_the_size_and_does_not_depend_on_the_order(tensors, limit, random):
    entries = [(name, nbytes, storage) for name, (nbytes, storage) in tensors.items()]
    plan = plan_shards(entries, limit)
    shuffled = random.sample(entries, len(entries))

    assert plan == plan_shards(shuffled, limit)
    assert sorted(name for shard in plan.shards for name in shard) == sorted(tensors)
    assert list(plan.nbytes) == [sum(tensors[name][0] for name in shard) for shard in plan.shards]
    for shard, nbytes in zip(plan.shards, plan.nbytes, strict=True):
        storages = {tensors[name][1] for name in shard if tensors[name][0]}
        assert nbytes <= limit or len(storages) == 1
    for storage in {storage for _, _, storage in entries if storage is not None}:
        assert sum(any(tensors[name][1] == storage for name in shard) for shard in plan.shards) == 1


@pytest.mark.parametrize(
    ("form", "variant", "single", "shard", "index"),
    [
        (SAFETENSORS, None,
         "model.safetensors", "model-00002-of-00003.safetensors", "model.safetensors.index.json"),
        (SAFETENSORS, "fp16",
         "model.fp16.safetensors", "model.fp16-00002-of-00003.safetensors", "model.safetensors.index.fp16.json"),
        (MSGPACK, None,
         "flax_model.msgpack", "flax_model-00002-of-00003.msgpack", "flax_model.msgpack.index.json"),
    ],
)  # fmt: skip
def test_files_are_called_as_the_hub_calls_them(form, variant, single, shard, index):
    assert (form.single(variant), form.shard(2, 3, variant), form.indexes(variant)[0]) == (single, shard, index)
    assert form.shard(1, 1, variant) == single
    assert all(form.owns(name, variant) for name in (single, shard, *form.indexes(variant)))


@pytest.mark.parametrize(
    "name",
    ["model.fp16.safetensors", "model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json",
     "adapter_model.safetensors", "model.safetensors.bak", "my-model-00001-of-00002.safetensors", "model-1.safetensors",
     "flax_model.msgpack", "config.json", "modelXsafetensors"],
)  # fmt: skip
def test_files_of_others_and_of_other_variants_are_not_owned(name):
    assert not SAFETENSORS.owns(name)


@pytest.mark.parametrize("variant", ["../x", "a b", "fp16-00001-of-00002", ".", "a/b", "é", "x" * 65])
def test_a_variant_that_cannot_stand_in_a_name_is_refused(variant):
    with pytest.raises(InputError, match="cannot be a variant"):
        new_variant(variant)


@pytest.mark.parametrize("variant", ["fp16-ema", "non.ema"])
def test_a_variant_that_others_wrote_is_read_and_not_written(variant):
    assert checked_variant(variant) == variant
    with pytest.raises(InputError, match="cannot be a variant: letters, digits and underscores can"):
        new_variant(variant)
