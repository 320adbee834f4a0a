"""LoadReport: what loading did, in numbers and in a few lines."""

from __future__ import annotations

import numpy as np
import pytest

from automodels.checkpoint.keymap import SAME, TRANSPOSED
from automodels.checkpoint.plan import Assignment, Plan
from automodels.checkpoint.report import LoadReport
from automodels.checkpoint.tensors import TensorView, WeightFile


def assignment(parameter: str, *shape: int, given: str = "f4", layout=SAME) -> Assignment:
    file = WeightFile("model.safetensors", 0, 0)
    tensor = TensorView(name=f"tensor of {parameter}", dtype=np.dtype(given), shape=shape, file=file, start=8)
    return Assignment(parameter=parameter, tensor=tensor, layout=layout, dtype=np.dtype("f4"))


@pytest.fixture
def plan() -> Plan:
    return Plan(
        assignments=(
            assignment("embed", 1000, 300),
            assignment("kernel", 3, 5, given="f2", layout=TRANSPOSED),
            assignment("scale"),
        ),
        fresh=("pooler.kernel", "pooler.bias"),
        unexpected=tuple(f"cls.{i}" for i in range(5)),
        buffers=("position_ids",),
        mismatched=("head.kernel",),
    )


def test_a_report_repeats_the_plan_and_counts_the_bytes_of_the_file(plan):
    report = LoadReport.of(plan, source="my/model", files=("model.safetensors",), seconds=0.25, plugin="flax-bert")

    assert report.loaded == ("embed", "kernel", "scale")
    assert report.cast == ("kernel",)
    assert report.missing == ("pooler.kernel", "pooler.bias")
    assert (report.unexpected, report.buffers, report.mismatched) == (plan.unexpected, plan.buffers, plan.mismatched)
    assert report.nbytes == 1000 * 300 * 4 + 3 * 5 * 2 + 4
    assert (report.source, report.files, report.plugin) == ("my/model", ("model.safetensors",), "flax-bert")


def test_a_report_is_printed_in_one_line_and_one_for_each_thing_that_is_not_as_usual(plan):
    report = LoadReport.of(plan, source="my/model", files=("a", "b", "c"), seconds=0.25)

    assert str(report).splitlines() == [
        "my/model: 3 parameters from a, b and 1 more, 1.2 MB in 0.25 s",
        "missing: 2 (pooler.kernel, pooler.bias)",
        "unexpected: 5 (cls.0, cls.1, cls.2 and 2 more)",
        "mismatched: 1 (head.kernel)",
        "cast: 1 (kernel)",
        "buffers: 1 (position_ids)",
    ]


def test_a_report_on_a_load_that_went_as_usual_is_one_line():
    plan = Plan(assignments=(assignment("embed", 10),), fresh=(), unexpected=(), buffers=())

    report = LoadReport.of(plan, source="my/model", files=("model.safetensors",), seconds=0)

    assert str(report) == "my/model: 1 parameters from model.safetensors, 0.0 MB in 0.00 s"
