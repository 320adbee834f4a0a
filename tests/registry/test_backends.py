from __future__ import annotations

import json
import sys

import pytest

MANIFEST = """{head}
[[backend]]
name = "toy-slow"
framework = "flax"
implementation = "toy_plugin:slow"
supports = ["mask", "padding", "causal", "window", "bias", "dropout", "weights"]
priority = 1

[[backend]]
name = "toy-fast"
framework = "flax"
implementation = "toy_plugin:fast"
summary = "fast beads"
devices = ["abacus"]
dtypes = ["float16", "bfloat16"]
min_capability = 80
supports = ["window", "causal"]
max_head_size = 256
head_size_multiple = 8
min_queries = 17
priority = 999
probe = "toy_plugin.probes:fast"

[[backend]]
name = "toy-cuda"
framework = "flax"
implementation = "toy_plugin:cuda"
devices = ["cuda"]
min_capability = 80
supports = []
priority = 500

[[backend]]
name = "toy-run"
framework = "flax"
kind = "execution"
implementation = "toy_plugin:run"

[[backend]]
name = "toy-poor"
framework = "torch"
implementation = "toy_plugin:poor"
requires = ["nowhere-to-be-found"]
"""
PROBED = """{head}
[[backend]]
name = "toy-yes"
framework = "flax"
implementation = "toy_plugin:yes"
devices = ["cuda", "cpu"]
probe = "toy_plugin.probes:yes"

[[backend]]
name = "toy-no"
framework = "flax"
implementation = "toy_plugin:no"
probe = "toy_plugin.probes:no"
"""
PROBES = """
import os, sys
def yes(situation):
    assert (situation.framework, situation.device, situation.dtype) == ("flax", "cpu", None)
def no(situation):
    print("noise")
    os._exit(3)
"""


@pytest.fixture
def alone(monkeypatch, here, machine):
    """Only the plugin `toy-plugin` counts, whatever else is installed where the tests run."""
    monkeypatch.setenv("AUTOMODELS_PLUGINS", "toy-plugin")
    return here


@pytest.fixture
def plugin(site):
    site.plugin("toy-plugin", MANIFEST)


def rows(text):
    """Name → the cells of a row, of all tables."""
    lines = [line for line in text.splitlines() if line.startswith("toy-")]
    return {line.split()[0]: [cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines}


def found(capsys):
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["kind"]) == (1, "backends")
    return {backend["name"]: backend for backend in document["backends"] if backend["name"].startswith("toy-")}


def test_backends_stand_in_the_order_of_choice_each_with_its_reason(alone, plugin, capsys):
    assert alone(["backends"]) == 0

    cells = rows(capsys.readouterr().out)
    assert list(cells) == ["toy-fast", "toy-cuda", "toy-slow", "toy-run", "toy-poor"]
    assert cells["toy-fast"] == [
        *("toy-fast", "toy-plugin", "abacus", "float16 bfloat16", "causal window", "999"),
        "unavailable: there is no abacus device here",
    ]
    assert cells["toy-cuda"] == [
        *("toy-cuda", "toy-plugin", "cuda>=8.0", "all", "-", "500"),
        "unavailable: there is no NVIDIA driver here (no /dev/nvidiactl)",
    ]
    assert cells["toy-slow"] == ["toy-slow", "toy-plugin", "cpu cuda tpu", "all", "all", "1", "available"]
    assert cells["toy-run"] == ["toy-run", "toy-plugin", "cpu cuda tpu", "all", "100", "available"]
    assert cells["toy-poor"][-1].startswith("unavailable: nowhere-to-be-found is not installed")


def test_there_is_a_table_for_each_framework_and_kind_and_it_says_which_devices_there_are(
    here, machine, site, plugin, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "path", [str(site.path)])

    assert here(["backends"]) == 0

    out = capsys.readouterr().out.splitlines()
    headings = [line for line in out if "devices here" in line]
    assert headings == [f"{what} (devices here: cpu)" for what in _KINDS]
    assert out[1].split() == ["BACKEND", "PLUGIN", "DEVICES", "DTYPES", "SUPPORTS", "PRIORITY", "STATUS"]


_KINDS = ("attention in flax", "execution in flax", "attention in torch")


@pytest.mark.parametrize("width", [100, 120])
def test_a_hundred_columns_are_enough_for_a_table(here, machine, site, plugin, capsys, monkeypatch, width):
    monkeypatch.setattr(sys, "path", [str(site.path)])
    monkeypatch.setenv("COLUMNS", str(width))

    assert here(["backends"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("BACKEND  ") for line in lines) == 3  # no table is stacked
    assert len(lines) < 25


def test_a_gpu_is_available_only_where_the_framework_can_use_it(alone, plugin, machine, capsys):
    machine("9.0")

    assert alone(["backends"]) == 0

    status = rows(capsys.readouterr().out)["toy-cuda"][-1]
    assert status.startswith("unavailable: jax is installed without it (no jax-cuda12-plugin")


@pytest.mark.parametrize(
    ("capability", "status"),
    [
        ("9.0", "available"),
        ("7.5", "unavailable: needs compute capability 8.0; this device has 7.5"),
        ("junk", "available"),
    ],
)
def test_a_gpu_may_be_too_old(alone, plugin, machine, capsys, capability, status):
    machine(capability, "jax-cuda12-plugin")

    assert alone(["backends"]) == 0

    out = capsys.readouterr().out
    assert rows(out)["toy-cuda"][-1] == status
    assert "attention in flax (devices here: cuda cpu)" in out


def test_variables_that_hide_devices_are_named(alone, plugin, machine, capsys, monkeypatch):
    machine("9.0", "jax-cuda12-plugin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    assert alone(["backends"]) == 0

    assert rows(capsys.readouterr().out)["toy-cuda"][-1] == "unavailable: CUDA_VISIBLE_DEVICES=-1 hides it"


def test_a_plugin_that_is_disabled_says_so_for_each_of_its_backends(alone, plugin, capsys, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_DISABLE", "toy-plugin")

    assert alone(["backends"]) == 0

    statuses = {cells[-1] for cells in rows(capsys.readouterr().out).values()}
    assert statuses == {"unavailable: disabled by AUTOMODELS_DISABLE"}


def test_a_framework_that_is_not_installed_runs_nothing(here, site, machine, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(site.path), *(path for path in sys.path if "site-packages" not in path)])
    site.plugin("toy-plugin", MANIFEST)
    for directory in site.path.glob("torch-*"):
        (directory / "METADATA").unlink()
        directory.rename(directory.with_name("nothing"))

    assert here(["backends", "--framework", "torch"]) == 0

    out = capsys.readouterr().out
    assert rows(out)["toy-poor"][-1].startswith("unavailable: torch is not ")
    assert "attention in torch (devices here: none)" in out


def test_json_holds_what_the_manifest_declares(alone, plugin, capsys):
    assert alone(["backends", "--json", "--framework", "flax"]) == 0

    backends = found(capsys)
    assert list(backends) == ["toy-fast", "toy-cuda", "toy-run", "toy-slow"]
    assert backends["toy-fast"] == {
        "name": "toy-fast",
        "framework": "flax",
        "plugin": "toy-plugin",
        "version": "1.0",
        "kind": "attention",
        "summary": "fast beads",
        "implementation": "toy_plugin:fast",
        "devices": ["abacus"],
        "dtypes": ["float16", "bfloat16"],
        "min_capability": 80,
        "supports": ["window", "causal"],
        "max_head_size": 256,
        "head_size_multiple": 8,
        "min_queries": 17,
        "priority": 999,
        "requires": [],
        "probe": "toy_plugin.probes:fast",
        "available": False,
        "reason": "there is no abacus device here",
        "probed": False,
    }
    assert backends["toy-run"]["kind"] == "execution"


def test_json_holds_the_devices_of_each_framework(alone, plugin, machine, capsys):
    machine("9.0")

    assert alone(["backends", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["schema", "kind", "devices", "backends"]
    assert document["devices"]["flax"]["usable"] == ["cpu"]
    assert document["devices"]["torch"]["absent"]["cuda"] == "torch 77.0+cpu is built without it"


def test_without_being_asked_no_probe_is_asked_and_that_is_said(alone, site, capsys):
    site.plugin("toy-plugin", PROBED, files={"probes.py": PROBES})

    assert alone(["backends"]) == 0

    captured = capsys.readouterr()
    assert {cells[-1] for cells in rows(captured.out).values()} == {"available, if its probe agrees"}
    assert captured.err == "Probes were not asked; with --probe they are, each in a process of its own.\n"


def test_probes_are_asked_in_processes_of_their_own(alone, site, capfd):
    site.plugin("toy-plugin", PROBED, files={"probes.py": PROBES})

    assert alone(["backends", "--probe"]) == 0

    captured = capfd.readouterr()
    cells = rows(captured.out)
    assert cells["toy-yes"][-1] == "available"
    assert cells["toy-no"][-1] == "unavailable: its probe ended the process it ran in (exit status 3)"
    assert captured.err.startswith("Probes are asked, each in a process of its own")
    assert "noise" not in captured.out + captured.err
    assert "toy_plugin.probes" not in sys.modules


def test_json_says_which_probes_were_asked(alone, site, capsys):
    site.plugin("toy-plugin", MANIFEST.replace('["abacus"]', '["cpu"]'), files={"probes.py": "fast = 7"})

    assert alone(["backends", "--probe", "--json"]) == 0

    backends = found(capsys)
    assert {name: backend["probed"] for name, backend in backends.items() if backend["probed"]} == {"toy-fast": True}
    assert backends["toy-fast"]["reason"] == "its probe failed with TypeError: 'int' object is not callable"


def test_where_nothing_is_declared_that_is_said(here, machine, capsys, monkeypatch, site):
    monkeypatch.setattr(sys, "path", [str(site.path)])

    assert here(["backends"]) == 0
    assert capsys.readouterr() == (
        "",
        "No installed plugin declares a backend. Run: pip install flax-runtime, or torch-runtime\n",
    )
    assert here(["backends", "--framework", "torch"]) == 0
    assert capsys.readouterr() == (
        "",
        "No installed plugin declares a backend for torch. Run: pip install torch-runtime\n",
    )


@pytest.mark.parametrize("option", ["--task", "--dtype", "--backend", "--device", "--plugin"])
def test_what_is_about_a_model_needs_one(alone, option, capsys):
    assert alone(["backends", option, "x"]) == 2

    err = capsys.readouterr().err
    assert f"{option} is about a model." in err
    assert "Run: registry backends --for MODEL" in err
