from __future__ import annotations

import json

import pytest

from automodels.testing.sites import model_table


@pytest.fixture
def toys(site):
    site.plugin("toy-flax", "{head}" + model_table("toy_flax"))
    site.plugin("toy-torch", "{head}" + model_table("toy_torch", framework="torch"))
    site.plugin("toy-poor", "{head}" + model_table("toy_poor", requires='["nowhere-to-be-found"]'))


def checkpoint(directory, config):
    directory.mkdir()
    (directory / "config.json").write_text(config)
    return str(directory)


def test_the_decision_is_printed_with_every_candidate_and_why(here, toys, capsys):
    assert here(["explain", "toy"]) == 0

    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "base for toy: toy-flax 1.0 (flax)"
    assert any(line.startswith("toy-flax") and line.endswith("accepted") for line in lines)
    assert any(line.startswith("toy-torch") and "rejected: flax was taken" in line for line in lines)
    assert any(line.startswith("toy-poor") and "nowhere-to-be-found is not installed" in line for line in lines)


def test_json_names_class_reason_and_candidates(here, toys, capsys):
    assert here(["explain", "toy", "--framework", "torch", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "explain"
    assert document["plugin"] == "toy-torch"
    assert document["model"] == "toy_torch.modeling:ToyModel"
    assert {each["plugin"]: each["accepted"] for each in document["candidates"]} == {
        "toy-flax": False,
        "toy-poor": False,
        "toy-torch": True,
    }


def test_a_checkpoint_directory_is_explained_by_its_config(here, toys, tmp_path, capsys):
    directory = checkpoint(tmp_path / "checkpoint", '{"model_type": "toy"}')

    assert here(["explain", directory, "--plugin", "toy-torch"]) == 0

    out = capsys.readouterr().out
    assert "toy-torch 1.0 (torch)" in out
    assert "plugin='toy-torch'" in out


def test_two_rivals_are_exit_code_4_and_the_trace_is_the_answer(here, site, toys, capsys):
    site.plugin("toy-rival", "{head}" + model_table("toy_rival"))

    assert here(["explain", "toy", "--framework", "flax"]) == 4

    captured = capsys.readouterr()
    assert "toy-rival 1.0 (flax): accepted" in captured.out
    assert captured.err.startswith("AmbiguousModelError [AM102]: ")
    assert "AUTOMODELS_PIN_TOY=" in captured.err


def test_an_error_in_json_is_one_document_on_stdout(here, site, toys, capsys):
    site.plugin("toy-rival", "{head}" + model_table("toy_rival"))

    assert here(["explain", "toy", "--framework", "flax", "--json"]) == 4

    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["schema", "kind", "error"]
    assert list(document["error"]) == ["type", "code", "message", "hints", "trace"]
    assert document["error"]["code"] == "AM102"
    assert len(document["error"]["trace"]) == 4


def test_no_usable_plugin_is_exit_code_4(here, site, capsys):
    site.plugin("toy-poor", "{head}" + model_table("toy_poor", requires='["nowhere-to-be-found"]'))

    assert here(["explain", "toy"]) == 4

    assert "rejected: nowhere-to-be-found is not installed" in capsys.readouterr().out


def test_what_is_not_there_is_exit_code_3(here, toys, tmp_path, capsys):
    assert here(["explain", str(tmp_path / "missing")]) == 3
    assert here(["explain", "toyy"]) == 3
    assert "nearest name is 'toy'" in capsys.readouterr().err
    assert here(["explain", "toy", "--task", "causal-lm"]) == 3
    assert here(["explain", checkpoint(tmp_path / "unknown", '{"model_type": "never-heard-of"}')]) == 3


def test_a_broken_config_is_exit_code_5(here, toys, tmp_path, capsys):
    assert here(["explain", checkpoint(tmp_path / "one", "{")]) == 5
    assert here(["explain", checkpoint(tmp_path / "two", "{}")]) == 5

    assert "[AM304]" in capsys.readouterr().err
