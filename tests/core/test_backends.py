"""The choice of a backend: what is declared, where it is to run, for which model, and what was asked for."""

from __future__ import annotations

import itertools
import pickle

import pytest

from automodels.backends import AttentionNeeds, Machine, Situation, choose_backend, forget_probes, unavailable
from automodels.errors import BackendUnavailableError, InputError
from automodels.plugins.catalog import load_catalog
from automodels.plugins.tables import BACKEND_KINDS, FEATURES

ON_CPU = Situation(framework="flax", device="cpu", dtype="float32")
ON_GPU = Situation(framework="flax", device="cuda", capability=90, dtype="bfloat16")
PLAIN = {"name": "plain", "priority": 1, "devices": ["cpu", "cuda"], "supports": list(FEATURES)}
FAST = {"name": "fast", "priority": 500, "devices": ["cpu", "cuda"]}
JIT = {"name": "jit", "kind": "execution", "priority": 10}
EAGER = {"name": "eager", "kind": "execution", "priority": 1}


@pytest.fixture
def declare(site):
    """Installs a plugin with these `[[backend]]` tables; the catalog of all that were installed."""
    numbers = itertools.count()

    def write(*tables, name=None, head="{head}", files=None):
        manifest = head
        for table in tables:
            fields = {"framework": "flax", "implementation": "toy.attention:attend", **table}
            manifest += "\n[[backend]]\n" + "\n".join(f"{key} = {value!r}" for key, value in fields.items()) + "\n"
        site.plugin(name or f"toy-{next(numbers)}", manifest, files=files)
        return load_catalog(path=[str(site.path)])

    forget_probes()
    return write


def verdicts(report):
    """Name → rejection, or the note on one that can be taken."""
    return {found.table.name: found.rejection or found.note for found in report.candidates}


def refused(catalog, asked, situation, **options):
    with pytest.raises(BackendUnavailableError) as caught:
        choose_backend(catalog, asked, situation, **options)
    assert len(str(caught.value).splitlines()) <= 12
    return caught.value


def test_auto_takes_the_highest_priority_of_each_kind(declare):
    catalog = declare(PLAIN, FAST, JIT, EAGER)

    report = choose_backend(catalog, "auto", ON_CPU)

    assert (report.name, report.spec, report.is_named) == ("fast", "fast+jit", False)
    assert report.execution.table.name == "jit"
    assert [found.table.name for found in report.candidates] == ["fast", "plain", "jit", "eager"]
    assert report.situation is ON_CPU


def test_the_report_is_a_text_with_every_candidate(declare):
    report = choose_backend(declare(PLAIN, {**FAST, "devices": ["cuda"]}, JIT), "auto", ON_CPU)

    assert str(report).splitlines() == [
        "backend plain+jit on cpu in float32",
        "fast of toy-0 1.0: rejected: runs on cuda; here is cpu",
        "plain of toy-0 1.0: accepted",
        "jit of toy-0 1.0: accepted",
    ]


def test_a_report_survives_pickling(declare):
    report = choose_backend(declare(PLAIN, JIT), "auto", ON_CPU)

    again = pickle.loads(pickle.dumps(report))

    assert (again.spec, str(again)) == (report.spec, str(report))


def test_where_no_way_of_executing_is_declared_there_is_none(declare):
    report = choose_backend(declare(PLAIN), "auto", ON_CPU)

    assert (report.spec, report.execution) == ("plain", None)


def test_backends_of_another_framework_are_no_candidates(declare):
    catalog = declare(PLAIN, {**FAST, "framework": "torch"})

    assert verdicts(choose_backend(catalog, "auto", ON_CPU)) == {"plain": ""}


def test_equal_priorities_are_settled_by_name_and_not_by_who_was_installed_first(declare):
    declare({**FAST, "name": "b"})

    assert choose_backend(declare({**FAST, "name": "a"}), "auto", ON_CPU).name == "a"


@pytest.mark.parametrize(
    ("limits", "situation", "reason"),
    [
        ({"devices": ["cuda"]}, ON_CPU, "runs on cuda; here is cpu"),
        ({"devices": ["tpu", "abacus"]}, ON_GPU, "runs on tpu, abacus; here is cuda"),
        ({"min_capability": 91}, ON_GPU, "needs compute capability 9.1; this device has 9.0"),
        ({"dtypes": ["float16", "bfloat16"]}, ON_CPU, "computes in float16, bfloat16, not in float32"),
        ({"requires": ["nowhere-to-be-found>=2"]}, ON_CPU, "nowhere-to-be-found is not installed (needs nowhere-to"),
        ({"requires": ["!!"]}, ON_CPU, "'!!' is not a requirement"),
    ],
)
@pytest.mark.parametrize("kind", BACKEND_KINDS)
def test_what_does_not_fit_is_rejected_with_the_reason_and_the_next_one_is_taken(
    declare, limits, situation, reason, kind
):
    common = {"kind": kind, "devices": ["cpu", "cuda"]}
    catalog = declare(PLAIN, {**common, **limits, "name": "narrow", "priority": 900}, {**JIT, **common, "priority": 5})

    report = choose_backend(catalog, "auto", situation)

    assert verdicts(report)["narrow"].startswith(reason)
    assert "narrow" not in report.spec
    assert refused(catalog, "narrow", situation).message.count(reason) == 1


@pytest.mark.parametrize(
    ("limits", "situation"),
    [
        ({"min_capability": 90}, ON_GPU),
        ({"min_capability": 90}, ON_CPU),
        ({"min_capability": 90}, Situation(framework="flax", device="cuda", dtype="float32")),
        ({"dtypes": ["float16", "bfloat16"]}, ON_GPU),
        ({"dtypes": ["float16"]}, Situation(framework="flax", device="cpu")),
        ({"requires": ["automodels>=0; python_version<'3'"]}, ON_CPU),
        ({"max_head_size": 64, "head_size_multiple": 8}, ON_CPU),
    ],
    ids=str,
)
def test_what_is_not_known_or_does_not_apply_speaks_against_nothing(declare, limits, situation):
    assert choose_backend(declare(PLAIN, {**FAST, **limits}), "auto", situation).name == "fast"


def needing(*always, head_sizes=(), possible=("mask", "padding")):
    needs = AttentionNeeds(head_sizes=head_sizes, always=frozenset(always), possible=frozenset(possible))
    return Situation(framework="flax", device="cpu", dtype="float32", needs=needs)


@pytest.mark.parametrize(
    ("limits", "sizes", "reason"),
    [
        ({"max_head_size": 64}, (64,), ""),
        ({"max_head_size": 64}, (65,), "takes heads of up to 64 numbers; the model's have 65"),
        ({"max_head_size": 64}, (32, 128), "takes heads of up to 64 numbers; the model's have 128"),
        ({"head_size_multiple": 8}, (80,), ""),
        ({"head_size_multiple": 8}, (64, 20), "takes heads of multiples of 8 numbers; the model's have 20"),
        ({"head_size_multiple": 8, "max_head_size": 64}, (), ""),
    ],
)
def test_the_models_heads_must_fit(declare, limits, sizes, reason):
    report = choose_backend(declare(PLAIN, {**FAST, **limits}), "auto", needing(head_sizes=sizes, possible=()))

    assert (report.name, verdicts(report)["fast"]) == ("plain" if reason else "fast", reason)


@pytest.mark.parametrize(
    ("supports", "always", "missing"),
    [
        (["mask"], ["mask", "padding", "causal", "window"], ""),
        (["bias"], ["mask", "padding", "causal", "window", "bias"], ""),
        (["causal"], ["causal"], ""),
        (["causal"], ["causal", "window"], "window"),
        (["padding"], ["mask", "padding"], "mask"),
        (["mask"], ["bias"], "bias"),
        (["mask", "bias"], ["dropout", "weights"], "dropout, weights"),
        ([], ["causal"], "causal"),
        ([], [], ""),
        (list(FEATURES), list(FEATURES), ""),
    ],
)
def test_what_every_call_needs_must_be_there_as_it_is_or_said_in_another_way(declare, supports, always, missing):
    catalog = declare(PLAIN, {**FAST, "supports": supports})

    report = choose_backend(catalog, "auto", needing(*always, possible=()))

    reason = f"cannot do what the model needs: {missing}" if missing else ""
    assert (report.name, verdicts(report)["fast"]) == ("plain" if missing else "fast", reason)
    if missing:
        assert reason in refused(catalog, "fast", needing(*always)).message


def test_what_only_some_calls_need_is_a_note_and_auto_says_what_becomes_of_them(declare):
    catalog = declare(PLAIN, {**FAST, "supports": ["causal"]})
    situation = needing("causal", possible=("mask", "padding", "dropout"))

    auto, named = (choose_backend(catalog, asked, situation) for asked in ("auto", "fast"))

    assert (auto.name, named.name, auto.is_named, named.is_named) == ("fast", "fast", False, True)
    assert verdicts(auto)["fast"] == "calls with dropout or mask or padding: the plain formula"
    assert verdicts(named)["fast"] == "calls with dropout or mask or padding: refused"
    assert str(auto.chosen).endswith("accepted (calls with dropout or mask or padding: the plain formula)")


def test_a_kernel_for_prompts_says_that_short_calls_go_elsewhere_also_when_it_is_named(declare):
    catalog = declare(PLAIN, {**FAST, "min_queries": 16})

    for asked in ("auto", "fast"):
        report = choose_backend(catalog, asked, needing(possible=()))
        assert verdicts(report)["fast"] == "fewer than 16 query tokens: the plain formula"


def test_ways_of_executing_are_not_asked_about_heads_and_features(declare):
    limits = {"supports": [], "max_head_size": 1, "head_size_multiple": 7, "min_queries": 9}
    catalog = declare(PLAIN, {**JIT, **limits})

    report = choose_backend(catalog, "auto", needing("causal", head_sizes=(64,)))

    assert report.spec == "plain+jit"
    assert verdicts(report)["jit"] == ""


@pytest.mark.parametrize(
    ("asked", "spec", "is_named"),
    [
        ("auto", "fast+jit", False),
        ("plain", "plain+jit", True),
        ("eager", "fast+eager", False),
        ("plain+eager", "plain+eager", True),
        ("eager+plain", "plain+eager", True),
        ("auto+eager", "fast+eager", False),
        ("plain+auto", "plain+jit", True),
        ("auto+auto", "fast+jit", False),
    ],
)
def test_one_of_each_kind_may_be_named(declare, asked, spec, is_named):
    report = choose_backend(declare(PLAIN, FAST, JIT, EAGER), asked, ON_CPU)

    assert (report.spec, report.is_named) == (spec, is_named)
    assert choose_backend(declare(), report.spec, ON_CPU).spec == spec


def test_the_others_say_what_was_asked_for_where_nothing_else_speaks_against_them(declare):
    report = choose_backend(declare(PLAIN, FAST, {**FAST, "name": "far", "devices": ["tpu"]}), "plain", ON_CPU)

    expected = {"fast": "plain was asked for", "far": "runs on tpu; here is cpu", "plain": ""}
    assert verdicts(report) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [("plain+fast", "plain and fast"), ("jit+fast+eager", "jit and eager"), ("fast+fast", "fast and fast")],
)
def test_two_of_a_kind_are_a_contradiction(declare, asked, said):
    catalog = declare(PLAIN, FAST, JIT, EAGER)

    with pytest.raises(InputError, match=f"names two backends of kind .*: {said}") as caught:
        choose_backend(catalog, asked, ON_CPU)
    assert "one of each kind" in caught.value.hints[0]


@pytest.mark.parametrize("asked", [None, 7, ["fast"], b"fast", {"fast": "\x1b"}])
def test_what_is_no_text_is_no_name(declare, asked):
    with pytest.raises(InputError, match="not a backend's name") as caught:
        choose_backend(declare(PLAIN), asked, ON_CPU)
    assert str(caught.value.message).isprintable()


def test_an_unknown_name_is_an_error_with_the_nearest_one(declare):
    catalog = declare(PLAIN, FAST)

    assert "flax backend 'fasst'; did you mean 'fast'?" in refused(catalog, "fasst", ON_CPU).message
    assert refused(catalog, "zzzzz", ON_CPU).message.endswith("'zzzzz'; declared: fast, plain.")
    assert "backend 'jit'; declared: fast, plain." in refused(catalog, "fast+jit", ON_CPU).message
    assert refused(catalog, "", ON_CPU).message.endswith("''; declared: fast, plain.")
    assert refused(declare(), "fast", Situation(framework="torch", device="cpu")).message.endswith("declared: none.")


def test_control_characters_in_a_name_never_reach_a_message(declare):
    error = refused(declare(PLAIN), "\x1b[31mfast\x07" + "x" * 500, ON_CPU)

    assert error.message.isprintable()
    assert len(error.message) < 200


def test_where_nothing_is_declared_that_is_said(declare):
    assert refused(declare(), "auto", ON_CPU).message == "No installed plugin declares a flax backend."


def test_where_nothing_can_run_every_reason_is_told(declare):
    error = refused(declare({**PLAIN, "devices": ["cuda"]}, {**FAST, "dtypes": ["float16"]}), "auto", ON_CPU)

    assert error.message.splitlines() == [
        "No flax backend can run here (auto, on cpu in float32):",
        "    fast of toy-0 1.0: rejected: computes in float16, not in float32",
        "    plain of toy-0 1.0: rejected: runs on cuda; here is cpu",
    ]
    assert len(error.trace) == 2
    assert error.hints == ("Run: registry backends",)


def test_what_was_named_is_never_replaced_and_only_its_reasons_are_told(declare):
    error = refused(declare(PLAIN, {**FAST, "devices": ["cuda"]}), "fast", ON_CPU)

    assert error.message.splitlines() == [
        "No flax backend can run here (fast, on cpu in float32):",
        "    fast of toy-0 1.0: rejected: runs on cuda; here is cpu",
    ]
    assert error.trace[1:] == ("plain of toy-0 1.0: rejected: fast was asked for",)


def test_where_no_declared_way_of_executing_can_run_only_one_that_was_asked_for_is_an_error(declare):
    catalog = declare(PLAIN, {**JIT, "devices": ["tpu"]})

    report = choose_backend(catalog, "auto", ON_CPU)
    error = refused(catalog, "jit", ON_CPU)

    assert (report.spec, verdicts(report)["jit"]) == ("plain", "runs on tpu; here is cpu")
    assert error.message.startswith("No flax way of executing can run here (jit, on cpu in float32):")


def test_with_a_machine_the_reason_says_why_it_has_no_such_device(declare):
    catalog = declare(PLAIN, {**FAST, "devices": ["cuda", "abacus"]})
    machine = Machine(devices=("cpu",), absent={"cuda": "there is no driver"})

    report = choose_backend(catalog, "auto", ON_CPU, machine=machine)

    assert verdicts(report)["fast"] == "cuda: there is no driver; abacus: there is no abacus device here"


def test_a_model_that_is_put_elsewhere_is_told_so_though_the_machine_has_the_device(declare):
    machine = Machine(devices=("cuda", "cpu"), absent={})

    report = choose_backend(declare(PLAIN, {**FAST, "devices": ["cuda"]}), "auto", ON_CPU, machine=machine)

    assert verdicts(report)["fast"] == "runs on cuda; here is cpu"


def test_a_name_that_two_plugins_declare_is_taken_from_neither(declare):
    declare(PLAIN, FAST, name="toy-one")
    catalog = declare({**FAST, "priority": 2}, name="toy-two")

    for asked in ("auto", "fast"):
        error = refused(catalog, asked, ON_CPU)
        assert "'fast' is declared by several plugins: toy-one 1.0 (" in error.message
        assert error.hints == ("Disable all but one: AUTOMODELS_DISABLE=toy-two",)
        assert any("toy-two" in line for line in error.trace)
    assert choose_backend(catalog, "plain", ON_CPU).name == "plain"


def test_a_name_that_two_plugins_declare_for_different_devices_is_clear(declare):
    declare(PLAIN, FAST, name="toy-one")
    catalog = declare({**FAST, "devices": ["tpu"]}, name="toy-two")

    assert choose_backend(catalog, "fast", ON_CPU).chosen.plugin.name == "toy-one"


def test_one_plugin_may_declare_a_name_for_several_devices(declare):
    other = {**FAST, "devices": ["cuda"], "implementation": "toy.attention:other"}
    catalog = declare({**FAST, "devices": ["cpu"]}, other, {**other, "priority": 3})

    assert choose_backend(catalog, "fast", ON_CPU).chosen.table.implementation == "toy.attention:attend"
    assert choose_backend(catalog, "fast", ON_GPU).chosen.table.priority == FAST["priority"]


def test_a_name_of_both_kinds_is_an_error_that_says_whose_they_are(declare, monkeypatch):
    declare(PLAIN, FAST, name="toy-one")
    catalog = declare({**JIT, "name": "fast"}, name="toy-two")

    error = refused(catalog, "fast", ON_CPU)

    assert "'fast' is declared as attention by toy-one 1.0 (" in error.message
    assert " and as execution by toy-two 1.0 (" in error.message
    assert error.hints == ("Disable one of them: AUTOMODELS_DISABLE=toy-two",)
    monkeypatch.setenv("AUTOMODELS_DISABLE", "toy-two")
    assert choose_backend(declare(), "fast", ON_CPU).name == "fast"


def test_what_plugins_declare_that_may_not_be_used_is_a_candidate_with_the_reason(declare, monkeypatch):
    declare({**FAST, "name": "old"}, name="toy-old", head='schema = 1\nname = "toy-old"\napi = "<1"\n')
    declare({**FAST, "name": "off"}, name="toy-off")
    declare({**FAST, "name": "claims"}, name="other", head='schema = 1\nname = "toy-off"\napi = ">=1"\n')
    monkeypatch.setenv("AUTOMODELS_DISABLE", "toy-off")

    report = choose_backend(declare(PLAIN), "auto", ON_CPU)

    assert report.name == "plain"
    found = verdicts(report)
    assert found["old"] == "needs plugin API <1; this is 1.0"
    assert found["off"] == found["claims"] == "disabled by AUTOMODELS_DISABLE"
    assert "disabled by AUTOMODELS_DISABLE" in refused(declare(), "off", ON_CPU).message


def test_one_manifest_that_is_no_good_hides_no_backend_of_others(declare, site):
    site.plugin("toy-broken", "= = =")
    site.plugin("toy-wrong", '{head}[[backend]]\nname = "fast"\nframework = "jax"\nimplementation = "a:b"\n')

    assert choose_backend(declare(PLAIN), "auto", ON_CPU).name == "plain"


def test_ninety_candidates_make_no_message_of_ninety_lines(declare):
    catalog = declare(*({**FAST, "name": f"fast-{number}", "devices": ["tpu"]} for number in range(90)))

    error = refused(catalog, "auto", ON_CPU)

    assert len(error.trace) == 90


@pytest.mark.parametrize(
    ("limits", "devices", "capability", "reason"),
    [
        ({}, ("cuda", "cpu"), 70, None),
        ({"devices": ["cuda"]}, ("cpu",), None, "no driver"),
        ({"devices": ["cuda", "tpu"]}, ("cpu",), None, "cuda: no driver; tpu: there is no tpu device here"),
        ({"devices": ["cuda"], "min_capability": 80}, ("cuda", "cpu"), 70, "needs compute capability 8.0; this device"),
        ({"devices": ["cuda"], "min_capability": 80}, ("cuda", "cpu"), 80, None),
        ({"devices": ["cuda"], "min_capability": 80}, ("cuda", "cpu"), None, None),
        ({"devices": ["cpu", "cuda"], "min_capability": 80}, ("cuda", "cpu"), 70, None),
        ({"requires": ["nowhere-to-be-found"]}, ("cpu",), None, "nowhere-to-be-found is not installed"),
        ({}, (), None, "not installed"),
    ],
)
def test_whether_a_backend_can_run_at_all_is_told_without_a_model(declare, limits, devices, capability, reason):
    catalog = declare({**FAST, "devices": ["cpu"], **limits, "probe": "toy.never:imported"})
    machine = Machine(devices=devices, absent={"cuda": "no driver", "cpu": "not installed"})
    ((plugin, table),) = catalog.backends()

    found = unavailable(plugin, table, catalog, machine, capability)

    assert found == reason if reason is None else found.startswith(reason)


def test_of_a_plugin_that_may_not_be_used_no_backend_can_run(declare, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_DISABLE", "toy-0")
    catalog = declare(FAST)
    ((plugin, table),) = catalog.backends()

    found = unavailable(plugin, table, catalog, Machine(absent={}))

    assert found == "disabled by AUTOMODELS_DISABLE"
