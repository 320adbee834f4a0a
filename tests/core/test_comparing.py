"""Two tensors of files hold the same values, or they do not, however they lie and whatever their types."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from automodels.checkpoint import comparing
from automodels.checkpoint.comparing import same_values
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors

TABLE = np.random.default_rng(0).normal(size=(37, 5)).astype(np.float32)


@pytest.fixture
def same(tmp_path, monkeypatch):
    """Whether two arrays are the same once they are tensors of a file, compared four numbers at a time."""
    monkeypatch.setattr(comparing, "PART", 4)

    def compare(one, other, **options):
        save_tensors(tmp_path, {"one": one, "other": other})
        tensors = Checkpoint.open(tmp_path)
        return same_values(tensors["one"], tensors["other"], **options)

    return compare


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int8])
def test_copies_are_the_same_and_one_other_number_anywhere_is_not(same, dtype):
    table = (TABLE * 9).astype(dtype)
    changed = table.copy()
    changed[-1, -1] += dtype(1)

    assert same(table, table)
    assert not same(table, changed)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_what_was_cast_is_the_same_as_what_it_was_cast_from(same, dtype):
    other = (TABLE + np.float32(0.1)).astype(dtype)

    assert same(TABLE, TABLE.astype(dtype))
    assert same(TABLE.astype(dtype), TABLE)
    assert not same(TABLE, other)


def test_what_lies_the_other_way_round_is_the_same_where_that_is_said(same):
    turned = np.ascontiguousarray(TABLE.T)

    assert same(TABLE, turned, transposed=True)
    assert not same(TABLE, turned)
    assert not same(TABLE, turned + 1, transposed=True)


def test_zero_has_no_sign_and_no_number_equals_no_number(same):
    odd = np.array([0.0, np.nan, 1.0], np.float32)

    assert same(odd, np.array([-0.0, np.nan, 1.0], np.float32))
    assert not same(odd, np.array([0.0, 0.0, 1.0], np.float32))


@pytest.mark.parametrize("shape", [(), (0, 3), (1,)])
def test_numbers_alone_and_no_numbers_are_compared_too(same, shape):
    assert same(np.ones(shape, np.float32), np.ones(shape, np.float32))
