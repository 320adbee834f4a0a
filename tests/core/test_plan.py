"""The plan of a load: complete before any byte is read, or one error with every culprit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from automodels.checkpoint.formats import Naming
from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap
from automodels.checkpoint.plan import AbstractParameter, Plan, make_plan
from automodels.checkpoint.report import LoadReport
from automodels.checkpoint.tensors import TensorView, WeightFile
from automodels.errors import CheckpointFormatError, CheckpointMismatchError

KEYMAP = KeyMap(
    ("embed.weight", "embed.embedding", SAME),
    ("layer.{i}.dense.weight", "layer.{i}.dense.kernel", TRANSPOSED),
    ("layer.{i}.dense.bias", "layer.{i}.dense.bias", SAME),
    ("pooler.weight", "pooler.kernel", TRANSPOSED),
    ("head.weight", "head.kernel", TRANSPOSED),
    prefix="bert.",
    older=((".beta", ".bias"),),
    buffers=("position_ids",),
)
NOWHERE = WeightFile("/nowhere/model.safetensors", 0, 0)  # never opened: a plan needs names, shapes and types only


def tensors(shapes: dict[str, tuple[int, ...]], **types: str) -> dict[str, TensorView]:
    """Views by name; float32 unless `types` says otherwise for a name's last word."""
    return {
        name: TensorView(
            name=name, dtype=np.dtype(types.get(name.split(".")[-1], "f4")), shape=shape, file=NOWHERE, start=0
        )
        for name, shape in shapes.items()
    }


def parameters(shapes: dict[str, tuple[int, ...]], dtype: str = "f4") -> dict[str, AbstractParameter]:
    return {path: AbstractParameter(shape=shape, dtype=np.dtype(dtype)) for path, shape in shapes.items()}


TENSORS = {"embed.weight": (7, 3), "layer.0.dense.weight": (5, 3), "layer.0.dense.bias": (5,)}
PARAMETERS = {"embed.embedding": (7, 3), "layer.0.dense.kernel": (3, 5), "layer.0.dense.bias": (5,)}


def assigned(plan: Plan) -> dict[str, str]:
    return {assignment.parameter: assignment.tensor.name for assignment in plan.assignments}


def refusal(*arguments, **options) -> CheckpointMismatchError:
    """The error of a plan that cannot be made; its text always fits on a small terminal."""
    with pytest.raises(CheckpointMismatchError) as caught:
        make_plan(*arguments, KEYMAP, source="my/model", **options)
    assert len(str(caught.value).splitlines()) <= 12
    assert "my/model does not fit the model" in str(caught.value)
    return caught.value


def test_every_parameter_gets_its_tensor_in_the_layout_of_the_table():
    plan = make_plan(tensors(TENSORS), parameters(PARAMETERS), KEYMAP)

    assert assigned(plan) == {
        "embed.embedding": "embed.weight",
        "layer.0.dense.kernel": "layer.0.dense.weight",
        "layer.0.dense.bias": "layer.0.dense.bias",
    }
    assert [assignment.layout for assignment in plan.assignments] == [SAME, TRANSPOSED, SAME]
    assert not any(assignment.is_cast for assignment in plan.assignments)
    assert (plan.fresh, plan.unexpected, plan.buffers, plan.mismatched) == ((), (), (), ())


def test_tensors_of_other_heads_and_buffers_are_left_over_in_two_lists():
    more = {"cls.predictions.bias": (7,), "layer.1.dense.bias": (5,), "bert.position_ids": (1, 512)}

    plan = make_plan(tensors(TENSORS | more), parameters(PARAMETERS), KEYMAP)

    assert plan.unexpected == ("cls.predictions.bias", "layer.1.dense.bias")
    assert plan.buffers == ("bert.position_ids",)


def test_a_model_with_a_head_finds_its_backbone_below_a_path_and_its_head_beside_it():
    shapes = {f"bert.{path}": shape for path, shape in PARAMETERS.items()} | {"head.kernel": (3, 2)}

    with_head = make_plan(tensors(TENSORS | {"head.weight": (2, 3)}), parameters(shapes), KEYMAP, backbone="bert")
    without = make_plan(tensors(TENSORS), parameters(shapes), KEYMAP, backbone="bert")

    assert assigned(with_head)["bert.embed.embedding"] == "embed.weight"
    assert assigned(with_head)["head.kernel"] == "head.weight"
    assert (with_head.fresh, without.fresh) == ((), ("head.kernel",))


def test_a_missing_tensor_of_the_backbone_is_an_error_naming_its_parameter():
    error = refusal(tensors({"embed.weight": (7, 3)}), parameters(PARAMETERS))

    assert error.trace == ("missing: layer.0.dense.kernel", "missing: layer.0.dense.bias")
    assert "(3 parameters)" in str(error)
    assert "missing: layer.0.dense.kernel" in str(error)


def test_a_part_that_may_be_fresh_is_fresh_when_it_is_missing():
    shapes = parameters(PARAMETERS | {"pooler.kernel": (3, 3), "poolers.kernel": (3, 3)})

    error = refusal(tensors(TENSORS), shapes, may_be_fresh=("pooler",))
    plan = make_plan(tensors(TENSORS), shapes, KEYMAP, may_be_fresh=("pooler", "poolers.kernel"))

    assert error.trace == ("missing: poolers.kernel",)
    assert plan.fresh == ("pooler.kernel", "poolers.kernel")


def test_a_part_of_every_layer_may_be_fresh():
    new = {"layer.0.cross.kernel": (3, 3), "layer.11.cross.bias": (3,), "layer.0.crossing.bias": (3,)}

    error = refusal(tensors(TENSORS), parameters(PARAMETERS | new), may_be_fresh=("layer.{i}.cross",))
    plan = make_plan(
        tensors(TENSORS), parameters(PARAMETERS | new), KEYMAP, may_be_fresh=("layer.{i}.cross", "layer.0.crossing")
    )

    assert error.trace == ("missing: layer.0.crossing.bias",)
    assert plan.fresh == ("layer.0.cross.kernel", "layer.11.cross.bias", "layer.0.crossing.bias")


def test_a_wrong_shape_is_told_as_the_file_has_it():
    error = refusal(tensors(TENSORS | {"layer.0.dense.weight": (9, 3)}), parameters(PARAMETERS))

    assert error.trace == (
        "wrong: layer.0.dense.kernel: layer.0.dense.weight has shape [9, 3], the model needs [5, 3]",
    )
    assert "ignore_mismatched_sizes=True" in str(error)


@pytest.mark.parametrize("shape", [(), (7,), (7, 3, 1), (3, 7), (0, 3), (21,)])
def test_shapes_are_never_stretched_or_folded(shape):
    assert "the model needs [7, 3]" in str(refusal(tensors(TENSORS | {"embed.weight": shape}), parameters(PARAMETERS)))


def test_mismatched_sizes_can_be_allowed_and_start_afresh():
    plan = make_plan(
        tensors(TENSORS | {"embed.weight": (9, 3)}), parameters(PARAMETERS), KEYMAP, ignore_mismatched_sizes=True
    )

    assert plan.mismatched == ("embed.embedding",)
    assert "embed.embedding" not in assigned(plan)


@pytest.mark.parametrize("given", ["f2", "f8", ml_dtypes.bfloat16])
@pytest.mark.parametrize("wanted", ["f4", ml_dtypes.bfloat16])
def test_floating_types_are_cast(given, wanted):
    plan = make_plan(tensors(TENSORS, bias=given), parameters(PARAMETERS, wanted), KEYMAP)

    cast = {assignment.parameter: assignment.is_cast for assignment in plan.assignments}
    assert cast["layer.0.dense.bias"] is (np.dtype(given) != np.dtype(wanted))
    assert {assignment.dtype for assignment in plan.assignments} == {np.dtype(wanted)}


@pytest.mark.parametrize("given", ["i1", "i8", "?", "c8", ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_other_types_are_never_cast_even_where_sizes_may_differ(given):
    error = refusal(tensors(TENSORS, bias=given), parameters(PARAMETERS), ignore_mismatched_sizes=True)

    assert error.trace == (
        f"wrong: layer.0.dense.bias: layer.0.dense.bias is {np.dtype(given).name}, which is not cast to float32",
    )


def test_strict_allows_nothing_missing_and_nothing_left_over():
    shapes = parameters(PARAMETERS | {"pooler.kernel": (3, 3)})
    more = {"cls.bias": (7,), "position_ids": (1, 512)}

    error = refusal(tensors(TENSORS | more), shapes, may_be_fresh=("pooler",), strict=True)

    assert error.trace == ("missing: pooler.kernel", "left over: cls.bias")
    assert "strict=True" in str(error)


def test_strict_is_content_with_what_fits_and_with_known_buffers():
    plan = make_plan(tensors(TENSORS | {"position_ids": (1, 512)}), parameters(PARAMETERS), KEYMAP, strict=True)

    assert len(plan.assignments) == 3
    assert plan.buffers == ("position_ids",)


@pytest.mark.parametrize("second", ["layer.0.dense.beta", "bert.layer.0.dense.bias", "module.layer.0.dense.bias"])
def test_two_spellings_of_one_tensor_are_refused(second):
    with pytest.raises(CheckpointFormatError) as caught:
        make_plan(tensors(TENSORS | {second: (5,)}), parameters(PARAMETERS), KEYMAP, source="my/model")

    said = f"my/model: layer.0.dense.bias and {second} are two spellings of one tensor (layer.0.dense.bias)"
    assert said in str(caught.value)


def test_all_culprits_are_in_the_trace_and_a_few_of_each_kind_in_the_message():
    given = {f"layer.{i}.dense.weight": (1, 1) for i in range(50)} | {f"leftover.{i}": (1,) for i in range(50)}
    shapes = {f"layer.{i}.dense.kernel": (2, 2) for i in range(50)} | {f"layer.{i}.dense.bias": (2,) for i in range(50)}

    error = refusal(tensors(given), parameters(shapes), strict=True)

    assert len(error.trace) == 150
    lines = str(error).splitlines()
    for kind in ("missing", "wrong", "left over"):
        assert sum(line.startswith(f"    {kind}:") for line in lines) == 2
        assert f"    … and 48 more {kind}" in lines
    assert lines[-2:] == [
        "Load it without strict=True to allow new heads and leftovers.",
        "Take a config and weights that belong together, or pass ignore_mismatched_sizes=True to start these "
        "parameters afresh.",
    ]


@pytest.mark.parametrize("backbone", ["", "bert"])
def test_a_backbone_of_another_size_is_first_told_to_be_of_another_config(backbone):
    wanted = {f"{backbone}.{path}" if backbone else path: shape for path, shape in PARAMETERS.items()}
    given = TENSORS | {"embed.weight": (9, 3)}
    heads = {"embed.weight": (7, 3), "head.weight": (5, 3)}

    of_backbone = refusal(tensors(given), parameters(wanted), backbone=backbone)
    of_head = refusal(tensors(TENSORS | heads), parameters(PARAMETERS | {"head.kernel": (3, 2)}), backbone="embed")

    assert of_backbone.hints[0].startswith("Take a config and weights that belong together")
    assert of_head.hints == ("Pass ignore_mismatched_sizes=True to start these parameters afresh.",)


def test_a_matrix_that_fits_the_other_way_round_is_told_so_and_not_to_start_afresh():
    given = tensors(TENSORS | {"layer.0.dense.weight": (3, 5)})

    error = refusal(given, parameters(PARAMETERS), other_weights="Here is x.bin, too: from_pt=True.")

    assert error.trace[0].endswith("has shape [3, 5], the model needs [5, 3], the other way round")
    assert error.hints == (
        "The file keeps matrices the other way round than the key map has them. "
        "Here is x.bin, too: from_pt=True.",
    )  # fmt: skip


def test_two_kinds_of_culprits_leave_room_for_three_of_each():
    given = {f"layer.{i}.dense.weight": (1, 1) for i in range(9)}
    shapes = {f"layer.{i}.dense.kernel": (2, 2) for i in range(9)} | {f"layer.{i}.dense.bias": (2,) for i in range(9)}

    text = str(refusal(tensors(given), parameters(shapes)))

    assert text.count("    missing: ") == text.count("    wrong: ") == 3
    assert text.count("… and 6 more") == 2


def test_a_plan_of_many_parameters_is_made_at_once():
    count = 20_000
    given = {f"layer.{i}.dense.bias": (1,) for i in range(0, count, 2)}
    shapes = {f"layer.{i}.dense.bias": (1,) for i in range(count)}

    error = refusal(tensors(given), parameters(shapes))

    assert len(error.trace) == count // 2


FLAX = {"embed.embedding": (7, 3), "layer.0.dense.kernel": (3, 5), "layer.0.dense.bias": (5,)}


@pytest.mark.parametrize("before", ["", "bert."])
@pytest.mark.parametrize("backbone", ["", "bert"])
def test_tensors_with_the_names_of_flax_go_by_their_path_with_and_without_the_backbone(before, backbone):
    given = tensors({f"{before}{path}": shape for path, shape in FLAX.items()} | {"other": (1,)})
    wanted = {f"{backbone}.{path}" if backbone else path: shape for path, shape in FLAX.items()}

    plan = make_plan(given, parameters(wanted), KEYMAP, backbone=backbone, naming=Naming.FLAX)

    assert {path.removeprefix("bert."): name.removeprefix("bert.") for path, name in assigned(plan).items()} == dict(
        zip(FLAX, FLAX, strict=True)
    )
    assert {assignment.layout for assignment in plan.assignments} == {SAME}
    assert plan.unexpected == ("other",)


def test_the_names_of_the_hub_mean_nothing_where_those_of_flax_are_expected():
    with pytest.raises(CheckpointMismatchError) as caught:
        make_plan(tensors(TENSORS), parameters(PARAMETERS), KEYMAP, naming=Naming.FLAX)

    assert caught.value.trace == ("missing: embed.embedding", "missing: layer.0.dense.kernel")


def test_two_spellings_of_a_flax_name_are_refused():
    given = tensors(FLAX | {"bert.layer.0.dense.bias": (5,)})

    with pytest.raises(CheckpointFormatError, match="are two spellings of one tensor"):
        make_plan(given, parameters(PARAMETERS), KEYMAP, naming=Naming.FLAX)


TIED = KeyMap(
    ("embed.weight", "embed.embedding", SAME),
    ("decoder.weight", "decoder.kernel", TRANSPOSED),
    ("head.bias", "head.bias", SAME),
    prefix="bert.",
    alternates=(("decoder.weight", "embed.weight"), ("decoder.bias", "head.bias")),
)
TIED_PARAMETERS = {"bert.embed.embedding": (7, 3), "head.bias": (7,)}


def test_a_second_spelling_fills_the_parameter_whose_tensor_is_missing():
    given = tensors({"decoder.weight": (7, 3), "decoder.bias": (7,)})

    plan = make_plan(given, parameters(TIED_PARAMETERS), TIED, backbone="bert", strict=True)

    assert assigned(plan) == {"bert.embed.embedding": "decoder.weight", "head.bias": "decoder.bias"}
    assert {assignment.layout for assignment in plan.assignments} == {SAME}
    assert plan.tied == {}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("first", ["embed.weight", "decoder.weight"])
def test_a_second_spelling_beside_the_first_is_tied_in_whatever_order_and_never_read(first, strict):
    shapes = {"embed.weight": (7, 3), "decoder.weight": (7, 3), "decoder.bias": (7,), "head.bias": (7,)}
    given = tensors({first: shapes[first], **shapes})

    plan = make_plan(given, parameters(TIED_PARAMETERS), TIED, backbone="bert", strict=strict)

    assert assigned(plan) == {"bert.embed.embedding": "embed.weight", "head.bias": "head.bias"}
    assert plan.tied == {"decoder.weight": "bert.embed.embedding", "decoder.bias": "head.bias"}
    assert plan.unexpected == ()
    assert LoadReport.of(plan, source="x", files=(), seconds=0).tied == ("decoder.weight", "decoder.bias")


def test_a_model_with_a_parameter_of_its_own_for_it_takes_the_tensor_as_any_other():
    given = tensors({"bert.embed.weight": (7, 3), "decoder.weight": (7, 3)})
    shapes = parameters({"bert.embed.embedding": (7, 3), "decoder.kernel": (3, 7)})

    plan = make_plan(given, shapes, TIED, backbone="bert", strict=True)

    assert assigned(plan) == {"bert.embed.embedding": "bert.embed.weight", "decoder.kernel": "decoder.weight"}
    assert plan.tied == {}


def test_a_second_spelling_of_another_shape_is_left_over_or_wrong():
    both = {"embed.weight": (7, 3), "decoder.weight": (8, 3)}

    plan = make_plan(tensors(both), parameters({"embed.embedding": (7, 3)}), TIED)
    with pytest.raises(CheckpointMismatchError) as wrong:
        make_plan(tensors({"decoder.weight": (8, 3)}), parameters({"embed.embedding": (7, 3)}), TIED)
    with pytest.raises(CheckpointMismatchError) as strict:
        make_plan(tensors(both), parameters({"embed.embedding": (7, 3)}), TIED, strict=True)

    assert plan.unexpected == ("decoder.weight",)
    assert wrong.value.trace == (
        "wrong: embed.embedding: decoder.weight has shape [8, 3], the model needs [7, 3]",
    )  # fmt: skip
    assert strict.value.trace == ("left over: decoder.weight",)


def test_a_second_spelling_of_what_the_model_does_not_have_is_left_over():
    given = tensors({"embed.weight": (7, 3), "decoder.bias": (7,)})

    plan = make_plan(given, parameters({"embed.embedding": (7, 3)}), TIED)

    assert plan.unexpected == ("decoder.bias",)


def test_names_of_flax_have_no_second_spellings():
    given = tensors({"embed.embedding": (7, 3), "decoder.weight": (7, 3)})

    plan = make_plan(given, parameters({"embed.embedding": (7, 3)}), TIED, naming=Naming.FLAX)

    assert plan.unexpected == ("decoder.weight",)
    assert plan.tied == {}
