from __future__ import annotations

import json

from automodels.testing.sites import model_table

HEAD = "{head}"


def two_plugins(site):
    site.plugin("toy-flax", HEAD + model_table("toy_flax", model_type="toy", task="causal-lm"))
    site.plugin("toy-torch", HEAD + model_table("toy_torch", model_type="toy", framework="torch"))


def rows_of(capsys):
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["kind"] == "list"
    return {row["plugin"]: row for row in document["rows"]}


def test_each_model_type_framework_and_plugin_has_a_row(here, site, capsys):
    two_plugins(site)

    code = here(["list", "toy"])

    out = capsys.readouterr().out.splitlines()
    assert code == 0
    assert out[0].split() == ["MODEL", "TYPE", "FRAMEWORK", "TASKS", "PLUGIN", "VERSION", "STATUS"]
    assert [line.split() for line in out[1:]] == [
        ["toy", "flax", "causal-lm", "toy-flax", "1.0", "ok"],
        ["toy", "torch", "base", "toy-torch", "1.0", "ok"],
    ]


def test_json_has_schema_and_kind_first_and_the_same_rows(here, site, capsys):
    two_plugins(site)

    code = here(["list", "--json", "--plugin", "toy-flax"])

    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert list(document) == ["schema", "kind", "rows", "warnings"]
    assert document["rows"] == [
        {
            "model_type": "toy",
            "framework": "flax",
            "tasks": ["causal-lm"],
            "backends": [],
            "sources": [],
            "plugin": "toy-flax",
            "version": "1.0",
            "status": "ok",
            "reason": None,
            "code": None,
        }
    ]


def test_every_kind_of_unfit_plugin_is_listed_with_its_reason(here, site, capsys, monkeypatch):
    site.plugin("is-empty")
    site.plugin("is-broken", "= = =")
    site.plugin("is-old", 'schema = 1\nname = "is-old"\napi = "<1"\n' + model_table("is_old"))
    site.plugin("is-off", HEAD + model_table("is_off"))
    site.plugin("is-poor", HEAD + model_table("is_poor", requires='["nowhere-to-be-found>=3"]'))
    site.plugin(
        "is-backend", HEAD + '\n[[backend]]\nname = "fast"\nframework = "flax"\nimplementation = "is_backend:fast"\n'
    )
    monkeypatch.setenv("AUTOMODELS_DISABLE", "is-off")

    code = here(["list", "--json", "is-*"])

    rows = rows_of(capsys)
    assert code == 0
    assert {name: row["status"] for name, row in rows.items()} == {
        "is-empty": "empty",
        "is-broken": "broken",
        "is-old": "incompatible",
        "is-off": "disabled",
        "is-poor": "missing-requirement",
        "is-backend": "ok",
    }
    assert rows["is-broken"]["code"] == "P203"
    assert "nowhere-to-be-found is not installed" in rows["is-poor"]["reason"]
    assert rows["is-backend"]["backends"] == ["fast"]
    assert rows["is-broken"]["model_type"] is None


def test_the_table_says_why_and_stderr_points_to_the_doctor(here, site, capsys):
    site.plugin("is-empty")
    site.plugin("is-broken", "= = =")

    assert here(["list", "is-"]) == 0

    captured = capsys.readouterr()
    assert "is-empty   1.0      offers nothing yet" in captured.out
    assert "broken: " in captured.out
    assert "is not TOML" in captured.out
    assert "registry doctor" in captured.err


def test_filters_by_framework_task_status_and_plugin(here, site, capsys):
    two_plugins(site)

    assert here(["list", "toy", "--json", "--framework", "torch"]) == 0
    assert set(rows_of(capsys)) == {"toy-torch"}
    assert here(["list", "toy", "--json", "--task", "causal-lm"]) == 0
    assert set(rows_of(capsys)) == {"toy-flax"}
    assert here(["list", "toy", "--json", "--status", "ok", "--plugin", "toy-torch"]) == 0
    assert set(rows_of(capsys)) == {"toy-torch"}


def test_nothing_that_matches_is_exit_code_1_with_the_nearest_name(here, site, capsys):
    two_plugins(site)

    assert here(["list", "toy-falx"]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "did you mean 'toy-flax'?" in captured.err


def test_an_unknown_framework_is_a_usage_error(here, capsys):
    assert here(["list", "--framework", "falx"]) == 2

    assert "Did you mean 'flax'?" in capsys.readouterr().err


def test_an_unknown_variable_is_a_warning_on_stderr_and_in_the_document(here, site, capsys, monkeypatch):
    two_plugins(site)
    monkeypatch.setenv("AUTOMODELS_DISABEL", "x")

    assert here(["list", "--json", "toy"]) == 0

    captured = capsys.readouterr()
    assert "did you mean AUTOMODELS_DISABLE?" in captured.err
    assert "AUTOMODELS_DISABEL" in json.loads(captured.out)["warnings"][0]


def test_a_plugin_that_only_answers_for_a_scheme_is_listed_with_it(here, site, capsys):
    site.plugin("toy-source", '{head}hooks = "toy_source.hooks"\n[[source]]\nscheme = "toys"\n')

    assert here(["list", "toy-source"]) == 0

    assert "ok, offers source toys://" in capsys.readouterr().out


def test_a_row_names_a_few_tasks_and_counts_the_rest(here, site, capsys):
    tasks = ["base", "masked-lm", "causal-lm", "question-answering"]
    table = model_table("toy_flax", model_type="toy")
    more = "".join(f'{task} = "toy_flax.modeling:ToyModel"\n' for task in tasks[1:])
    site.plugin("toy-flax", HEAD + table + more)

    here(["list", "toy"])
    shown = capsys.readouterr().out.splitlines()[1]
    here(["list", "toy", "--json"])

    assert "base, masked-lm and 2 more" in " ".join(shown.split())
    assert rows_of(capsys)["toy-flax"]["tasks"] == tasks


def test_a_plugin_of_many_backends_has_a_row_that_can_be_read_and_json_names_all(here, site, capsys):
    table = '[[backend]]\nname = "b{}"\nframework = "flax"\nimplementation = "toy_plugin:b"\n'
    site.plugin("toy-plugin", "{head}" + "".join(table.format(number) for number in range(9)))

    assert here(["list", "toy-plugin"]) == 0
    assert "ok, offers backends b0, b1 and 7 more\n" in capsys.readouterr().out
    assert here(["list", "toy-plugin", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["backends"] == [f"b{number}" for number in range(9)]


def test_what_a_program_registered_for_its_workers_is_listed(here, site, monkeypatch, capsys):
    monkeypatch.setenv("AUTOMODELS_REGISTERED", "toy/base/flax=my_models.toy:ToyConfig,my_models.toy:ToyModel")

    assert here(["list", "toy"]) == 0

    assert capsys.readouterr().out.splitlines()[1].split() == ["toy", "flax", "base", "my_models", "registered", "ok"]
