"""Resolution: one documented order, every rejection with its reason, no code of a plugin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import automodels
from automodels.errors import (
    AmbiguousModelError,
    CheckpointNotFoundError,
    InputError,
    NoUsablePluginError,
    ResolutionError,
    UnknownModelTypeError,
    UnknownPluginError,
    UnknownTaskError,
)
from automodels.plugins.catalog import load_catalog
from automodels.plugins.resolve import Request, resolve_entry
from automodels.testing.sites import FakeSite


def lines(error: BaseException) -> list[str]:
    found = str(error).splitlines()
    assert len(found) <= 12
    assert all(line.isprintable() for line in found)
    return found


def test_the_only_plugin_is_chosen_and_nothing_of_it_is_imported(site, checkpoint):
    site.toy("good-toy", files={"__init__.py": "raise SystemExit"})

    found = automodels.resolve(checkpoint())

    assert (found.entry.plugin.name, found.reason, found.notes) == ("good-toy", "the only candidate", ())
    assert [str(candidate) for candidate in found.candidates] == ["good-toy 1.0 (flax): accepted"]
    assert "good_toy" not in sys.modules


def test_a_model_type_stands_for_itself_and_a_directory_of_that_name_wins(site):
    site.toy("good-toy")
    site.plugin(
        "other-toy",
        (site.path / "good_toy/automodels.toml")
        .read_text()
        .replace("good-toy", "other-toy")
        .replace('"toy"', '"other"'),
    )

    before = automodels.resolve("toy").entry.model_type
    Path("toy").mkdir()
    Path("toy/config.json").write_text('{"model_type": "other"}')

    assert (before, automodels.resolve("toy").entry.model_type) == ("toy", "other")


# Rejections

REJECTED = {
    "another api": ({"head": 'schema = 1\nname = "bad-toy"\napi = ">=2"\n'}, "needs plugin API >=2; this is 1.0"),
    "not installed": ({"requires": '["absent>=1"]'}, "absent is not installed (needs absent>=1)"),
    "too old": ({"requires": '["packaging>=9999"]'}, "is installed, needs packaging>=9999"),
    "malformed": ({"requires": '["packaging>>1"]'}, "'packaging>>1' is not a requirement"),
    "bad marker": ({"requires": '["packaging; sys.exit(1)"]'}, "is not a requirement"),
    "bad manifest": ({"head": "{head}\nsummary = 7\n"}, None),
    "other framework": ({"framework": "torch"}, "is for torch; flax was asked for"),
}


@pytest.mark.parametrize(("options", "reason"), REJECTED.values(), ids=REJECTED.keys())
def test_a_plugin_that_does_not_fit_is_rejected_with_its_reason_and_the_next_one_is_taken(site, options, reason):
    site.toy("bad-toy", **options)
    site.toy("good-toy")

    found = automodels.resolve("toy", framework="flax")

    rejections = {candidate.entry.plugin.name: candidate.rejection for candidate in found.candidates}
    assert found.entry.plugin.name == "good-toy"
    assert reason is None or reason in rejections["bad-toy"]
    assert rejections["good-toy"] is None


@pytest.mark.parametrize(("options", "reason"), REJECTED.values(), ids=REJECTED.keys())
def test_when_no_plugin_fits_the_error_has_a_reason_for_each(site, checkpoint, options, reason):
    site.toy("bad-toy", **options)

    with pytest.raises(ResolutionError) as caught:
        automodels.resolve(checkpoint(), framework="flax")

    assert type(caught.value) is (NoUsablePluginError if reason else UnknownModelTypeError)
    assert "bad-toy 1.0" in "\n".join(lines(caught.value))
    assert reason is None or reason in str(caught.value)


def test_a_requirement_whose_marker_does_not_apply_here_holds(site):
    site.toy("good-toy", requires="[\"absent; python_version < '3'\", \"absent; sys_platform == 'none'\"]")

    assert automodels.resolve("toy").entry.plugin.name == "good-toy"


def test_many_rejected_plugins_leave_room_for_those_that_could_not_be_read(site):
    for number in range(9):
        site.toy(f"bad-{number}-toy", requires='["absent"]')
    for number in range(5):
        site.plugin(f"unreadable-{number}", "[[[")

    with pytest.raises(NoUsablePluginError) as caught:
        automodels.resolve("toy")

    text = lines(caught.value)
    assert any("unreadable-0" in line for line in text)
    assert "    and 5 more" in text
    assert text[-1] == "Run: registry doctor"
    assert len(caught.value.trace) == 14


# Two plugins for one entry


@pytest.fixture
def rivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[FakeSite]:
    """`a-toy` and `b-toy` in two directories, the second one first on the path."""
    sites = [FakeSite(tmp_path / name) for name in ("first", "second")]
    sites[0].toy("a-toy", version="1.5")
    sites[1].toy("b-toy", version="0.1")
    for site in sites:
        monkeypatch.syspath_prepend(str(site.path))
    return sites


def test_two_plugins_for_one_entry_are_an_error_that_names_both_and_three_ways_to_choose(rivals):
    with pytest.raises(AmbiguousModelError) as caught:
        automodels.resolve("toy")

    assert lines(caught.value) == [
        "[AM102] base for 'toy' is provided by 2 flax plugins:",
        f"    a-toy  1.5  {rivals[0].path / 'a_toy'}",
        f"    b-toy  0.1  {rivals[1].path / 'b_toy'}",
        'Choose one: plugin="a-toy", or with automodels.pin("toy", "a-toy"), or AUTOMODELS_PIN_TOY=a-toy',
    ]


def test_the_order_of_installation_and_of_the_path_decides_nothing(rivals):
    messages = []
    for order in (rivals, rivals[::-1]):
        catalog = load_catalog(path=[str(site.path) for site in order])
        with pytest.raises(AmbiguousModelError) as caught:
            resolve_entry(catalog, Request(model_type="toy"))
        messages.append(str(caught.value))

    assert messages[0] == messages[1]


@pytest.mark.parametrize("name", ["a-toy", "b-toy"])
def test_each_of_the_three_ways_to_choose_works(rivals, monkeypatch, name):
    by_argument = automodels.resolve("toy", plugin=name)
    with automodels.pin("toy", name):
        by_block = automodels.resolve("toy")
    monkeypatch.setenv("AUTOMODELS_PIN_TOY", name)
    by_environment = automodels.resolve("toy")

    found = [by_argument, by_block, by_environment]
    assert [resolution.entry.plugin.name for resolution in found] == [name] * 3
    assert [resolution.reason for resolution in found] == [
        f"plugin='{name}'",
        f"pin('toy', '{name}')",
        "AUTOMODELS_PIN_TOY",
    ]


def test_disabling_all_but_one_is_a_choice_too(rivals):
    with automodels.policy(deny=["a-toy"]):
        found = automodels.resolve("toy")

    assert found.entry.plugin.name == "b-toy"


def test_twenty_plugins_for_one_entry_still_fit_a_small_terminal(site):
    for number in range(20):
        site.toy(f"toy-{number}")

    with pytest.raises(AmbiguousModelError) as caught:
        automodels.resolve("toy")

    text = lines(caught.value)
    assert "and 11 more lines; the trace has them" in text[-2]
    assert text[-1].startswith("Choose one: ")
    assert len(caught.value.trace) == 20


# Frameworks


@pytest.fixture
def frameworks(site: FakeSite) -> FakeSite:
    site.toy("a-toy", framework="torch")
    site.toy("z-toy", framework="flax")
    return site


def test_of_two_frameworks_flax_is_taken_and_one_line_says_so(frameworks, log):
    found = automodels.resolve("toy")

    assert found.entry.framework == "flax"
    said = "base for 'toy' is offered for flax and torch; flax was taken: the order is flax, torch."
    assert [record.getMessage() for record in log.records] == [said]
    assert log.records[0].levelname == "INFO"


def test_the_preferred_framework_comes_first(frameworks, monkeypatch, log):
    monkeypatch.setenv("AUTOMODELS_FRAMEWORK", "torch")

    found = automodels.resolve("toy")

    assert found.entry.framework == "torch"
    assert log.records[0].getMessage().endswith("torch was taken: it is the preferred framework.")


def test_a_framework_that_is_asked_for_is_taken_without_a_word(frameworks, monkeypatch, log):
    monkeypatch.setenv("AUTOMODELS_FRAMEWORK", "flax")

    found = automodels.resolve("toy", framework="torch")

    assert found.entry.framework == "torch"
    assert log.records == []


def test_a_preferred_framework_that_nobody_offers_decides_nothing(site, monkeypatch):
    site.toy("good-toy", framework="flax")
    monkeypatch.setenv("AUTOMODELS_FRAMEWORK", "torch")

    assert automodels.resolve("toy").entry.framework == "flax"


@pytest.mark.parametrize("arguments", [{"framework": "jax"}, {"framework": 7}, {"task": None}, {"plugin": ["x"]}])
def test_an_argument_of_the_wrong_kind_is_refused(frameworks, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        automodels.resolve("toy", **arguments)


# A plugin that is asked for


@pytest.mark.parametrize(
    ("plugin", "why"),
    [
        ("godo-toy", "it is not installed (did you mean 'good-toy'?)"),
        ("zzz", "it is not installed."),
        ("idle-toy", "it does not offer that"),
        ("bad-toy", "it cannot be used: [P203]"),
        ("poor-toy", "it cannot be used: absent is not installed"),
        ("torch-toy", "it cannot be used: is for torch; flax was asked for"),
        ("\x1b[31m", "it is not installed"),
    ],
)
def test_a_plugin_that_was_asked_for_and_cannot_answer_is_an_error_that_says_why(site, plugin, why):
    site.toy("good-toy")
    site.toy("torch-toy", framework="torch")
    site.toy("poor-toy", requires='["absent"]')
    site.plugin("idle-toy")
    site.plugin("bad-toy", "[[[")

    with pytest.raises(UnknownPluginError) as caught:
        automodels.resolve("toy", framework="flax", plugin=plugin)

    assert why in str(caught.value)
    assert lines(caught.value)[-1] == "Offered by: good-toy"


def test_a_recorded_plugin_is_a_wish(site, checkpoint, log):
    site.toy("a-toy")
    site.toy("b-toy")
    found = automodels.resolve(checkpoint(automodels={"plugin": "b-toy"}))

    with automodels.policy(deny=["b-toy"]):
        without = automodels.resolve(checkpoint(automodels={"plugin": "b-toy"}))

    assert (found.entry.plugin.name, found.reason) == ("b-toy", "the checkpoint was saved with it")
    assert without.entry.plugin.name == "a-toy"
    assert without.notes == ("The checkpoint was saved with 'b-toy', which cannot be used here.",)


@pytest.mark.parametrize("recorded", [7, "b-toy", [], {}, {"plugin": 7}, {"plugin": None}, {"plugin": "\x1b[2J"}, None])
def test_a_record_of_any_shape_harms_nobody(site, checkpoint, recorded):
    site.toy("good-toy")

    found = automodels.resolve(checkpoint(automodels=recorded))

    assert found.entry.plugin.name == "good-toy"
    assert all(note.isprintable() for note in found.notes)


# Nothing found


def test_an_unknown_model_type_names_the_nearest_the_unreadable_and_what_to_do(site, checkpoint):
    site.toy("good-toy")
    for number in range(5):
        site.plugin(f"bad-{number}", "[[[")

    with pytest.raises(UnknownModelTypeError) as caught:
        automodels.resolve(checkpoint(model_type="toyy"))

    text = lines(caught.value)
    assert text[0].startswith("[AM101] No installed plugin offers the model type 'toyy', which ")
    assert text[0].endswith("checkpoint asks for.")
    assert "The nearest name is 'toy'." in text
    assert "Plugins that could not be read and might offer it:" in text
    assert text[-3].startswith("    bad-2 1.0: [P203] ")
    assert text[-2:] == ["    and 2 more", "Install a plugin that offers it, or run: registry doctor"]
    assert len(caught.value.trace) == 5


@pytest.mark.parametrize(
    ("model_type", "command"),
    [
        ("bert", "pip install flax-bert or torch-heads"),
        ("opt", "pip install flax-opt or torch-heads"),
        ("gpt_neo", "pip install flax-gptneo or torch-heads"),
    ],
)
def test_a_model_type_of_a_known_plugin_says_what_to_install(site, model_type, command):
    catalog = load_catalog(path=[str(site.path)])

    with pytest.raises(UnknownModelTypeError) as caught:
        resolve_entry(catalog, Request(model_type=model_type))

    assert lines(caught.value) == [
        f"[AM101] No installed plugin offers the model type '{model_type}'.",
        f"Run: {command}",
    ]


@pytest.mark.parametrize("model_type", ["\x1b[31mred", "x" * 1_000_000, "two\nlines", "\u202e", "\ud800", "../../etc"])
def test_a_model_type_of_any_form_is_shown_harmlessly(site, checkpoint, model_type):
    site.toy("good-toy")

    with pytest.raises(UnknownModelTypeError) as caught:
        automodels.resolve(checkpoint(model_type=model_type))

    assert max(map(len, lines(caught.value))) < 300
    assert "\x1b" not in str(caught.value)


def test_an_unknown_task_names_those_that_are_offered(site, checkpoint):
    site.toy("good-toy", task="causal-lm")
    site.plugin("bad-toy", "[[[")

    with pytest.raises(UnknownTaskError) as caught:
        automodels.resolve(checkpoint(), task="casual-lm")

    text = lines(caught.value)
    assert text[0] == "[AM103] No installed plugin offers casual-lm for 'toy'."
    assert text[1] == "good-toy offers: causal-lm."
    assert any("bad-toy 1.0: [P203]" in line for line in text)
    assert "Did you mean 'causal-lm'?" in text
    assert text[-1] == "Run: registry show toy"


def test_what_is_neither_a_checkpoint_nor_a_model_type_is_told_both(site):
    site.toy("good-toy")
    site.plugin("bad-toy", "[[[")

    with pytest.raises(CheckpointNotFoundError) as caught:
        automodels.resolve("toyy")

    text = lines(caught.value)
    assert text[0].startswith("[AM401] There is no directory toyy, the cache has nothing of toyy in ")
    assert "The nearest name is 'toy'." in text
    assert any("bad-toy 1.0: [P203]" in line for line in text)


def test_a_path_that_is_missing_is_not_mistaken_for_a_model_type(site):
    with pytest.raises(CheckpointNotFoundError) as caught:
        automodels.resolve("./missing/toy")

    assert "model type" not in str(caught.value)


def test_a_disabled_plugin_that_cannot_be_read_is_named_as_disabled(site):
    site.plugin("bad-toy", "[[[")

    with automodels.policy(deny=["bad-toy"]), pytest.raises(CheckpointNotFoundError) as caught:
        automodels.resolve("toy")

    assert any("bad-toy 1.0: [P302] disabled by" in line for line in lines(caught.value))


# Code in checkpoints


@pytest.mark.parametrize("trust_remote_code", [False, True])
@pytest.mark.parametrize("offered", [False, True])
def test_code_in_a_checkpoint_is_never_run_and_the_message_says_so(site, checkpoint, log, offered, trust_remote_code):
    directory = checkpoint(auto_map={"AutoModel": "modeling_toy.ToyModel", "AutoConfig": "modeling_toy.ToyConfig"})
    (directory / "modeling_toy.py").write_text("import os; os.environ['RAN'] = '1'; raise SystemExit\n")
    if offered:
        site.toy("good-toy")

    try:
        model = automodels.AutoModel.from_pretrained(directory, trust_remote_code=trust_remote_code)
        said = type(model).__module__
    except UnknownModelTypeError as error:
        said = "\n".join(lines(error))

    assert "modeling_toy" not in sys.modules
    assert ("good_toy.modeling" if offered else "code from checkpoints is never run") in said
    assert ("trust_remote_code has no effect" in log.text) == trust_remote_code


def test_code_in_a_checkpoint_of_a_known_model_type_names_the_plugin_to_install(site):
    request = Request(model_type="opt", repository_code=True)

    with pytest.raises(UnknownModelTypeError) as caught:
        resolve_entry(load_catalog(path=[str(site.path)]), request)

    assert lines(caught.value)[1:] == [
        "The checkpoint brings Python code of its own; code from checkpoints is never run.",
        "Run: pip install flax-opt or torch-heads",
    ]


def test_known_plugins_that_are_installed_and_offer_nothing_are_not_to_be_installed_again(site):
    site.plugin("flax-opt")
    site.plugin("torch-heads")

    with pytest.raises(UnknownModelTypeError, match="flax-opt and torch-heads are installed and do not offer it yet"):
        automodels.resolve("opt")
