"""The key map of flax-bert: names of published checkpoints, old and new, and parameters, as one bijection.

Importing the table needs no framework; the package it stands in does not import one either.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automodels.checkpoint.keymap import PLACEHOLDER, SAME, TRANSPOSED
from automodels.checkpoint.reader import Checkpoint
from flax_bert.keymap import KEYMAP

GOLDEN = Path(__file__).parents[1] / "golden" / "bert"
ROWS = sorted(KEYMAP._by_tensor)
WRITTEN = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))

names = st.builds(
    lambda row, number: row.replace(PLACEHOLDER, str(number)), st.sampled_from(ROWS), st.integers(0, 10**4)
)


@given(names)
def test_the_table_is_a_bijection(tensor):
    parameter, layout = KEYMAP.parameter(tensor)

    assert KEYMAP.tensor(parameter) == (tensor, layout)
    assert re.findall(r"\d+", parameter) == re.findall(r"\d+", tensor)
    assert not KEYMAP.is_buffer(tensor)


@given(a=names, b=names)
def test_different_tensors_fill_different_parameters(a, b):
    assert (a == b) == (KEYMAP.parameter(a) == KEYMAP.parameter(b))


@given(
    tensor=names,
    prefixed=st.booleans(),
    older=st.booleans(),
    wrappers=st.lists(st.sampled_from(["module.", "_orig_mod."]), max_size=3),
)
def test_every_spelling_of_a_tensor_fills_the_same_parameter(tensor, prefixed, older, wrappers):
    spelling = tensor
    if older:
        for today, former in WRITTEN:
            spelling = re.sub(re.escape(today) + "$", former, spelling)
    spelling = "".join(wrappers) + ("bert." if prefixed else "") + spelling

    assert KEYMAP.canonical(spelling) == tensor
    assert KEYMAP.parameter(spelling) == KEYMAP.parameter(tensor)


def test_only_the_kernels_of_dense_layers_are_transposed():
    for tensor in ROWS:
        parameter, layout = KEYMAP._by_tensor[tensor]

        assert (layout is TRANSPOSED) == parameter.endswith(".kernel")


@pytest.mark.parametrize("name", ["embeddings.position_ids", "bert.embeddings.position_ids"])
def test_position_ids_of_old_versions_are_a_buffer(name):
    assert KEYMAP.is_buffer(name)
    assert KEYMAP.parameter(name) is None


@pytest.mark.parametrize("name", ["cls.predictions.weight", "classifier.dense.weight", "encoder.layer.weight", "bert"])
def test_other_tensors_are_in_no_table(name):
    assert KEYMAP.parameter(name) is None


def test_tied_tensors_that_are_stored_nevertheless_are_second_spellings():
    assert KEYMAP.alternate("cls.predictions.decoder.weight") == ("embeddings.word_embeddings.embedding", SAME)
    assert KEYMAP.alternate("cls.predictions.decoder.bias") == ("cls.predictions.bias", SAME)
    assert KEYMAP.parameter("cls.predictions.decoder.bias") is None


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_the_names_that_the_reference_implementation_writes_are_all_known(case):
    unknown = [name for name in Checkpoint.open(GOLDEN / case) if KEYMAP.parameter(name) is None]

    assert [name for name in unknown if not KEYMAP.alternate(name) and not KEYMAP.is_buffer(name)] == []


def test_the_table_is_imported_without_a_framework():
    program = "import json, sys, flax_bert.keymap; print(json.dumps(sorted(sys.modules)))"

    modules = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)

    assert {"jax", "jaxlib", "flax", "torch"}.isdisjoint(modules)
