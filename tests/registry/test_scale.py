"""What one plugin more costs is the same however many there are: counted in calls of the system, not in time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from automodels.testing.sites import FakeSite, model_table

PROGRAM = """
import collections, json, sys
path, again, *arguments = sys.argv[1:]
sys.path.insert(0, path)
import automodels, automodels_cli.main, tomllib
import automodels.config  # what resolving needs anyway
calls = collections.Counter()
def count(frame, event, what):
    if event == "c_call" and what.__module__ == "posix":
        calls[what.__name__] += 1
    elif event == "call" and frame.f_code is tomllib.loads.__code__:
        calls["tomllib.loads"] += 1
def work():
    if arguments[0] == "resolve":
        automodels.resolve("toy7", task="base")
    else:
        automodels_cli.main.main(arguments)
if again == "again":
    work()
sys.setprofile(count)
work()
sys.setprofile(None)
print("\\n" + json.dumps(calls))
"""
COMMANDS = [["list"], ["list", "--json"], ["explain", "toy7"], ["show", "toy7"], ["doctor"], ["backends"], ["resolve"]]


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Sites with 20, 40 and 80 plugins; the first directory that `sys.path` has ages before anybody looks at it."""
    found = {}
    for size in (20, 40, 80):
        site = FakeSite(tmp_path_factory.mktemp(f"site{size}"))
        for number in range(size):
            tables = model_table(f"toy_{number}", model_type=f"toy{number}") + "".join(
                f'{task} = "x.y:Z"\n' for task in ("masked-lm", "causal-lm", "token-classification", "rerank")
            )
            site.plugin(f"toy-{number}", "= = =" if number == 3 else "{head}" + tables)
            site.distribution(f"other-{number}", files={"entry_points.txt": "[console_scripts]\na = b:c\n"})
        found[size] = str(site.path)
    return found


@pytest.fixture
def counted(sites, environment):
    def run(size, arguments, again="once"):
        variables = {**environment, "PYTHONPATH": "", "XDG_CACHE_HOME": sites[20] + "/cache"}
        command = [sys.executable, "-c", PROGRAM, sites[size], again, *arguments]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_plugin_costs_the_same_among_many_as_among_few(counted, arguments):
    few, some, many = (counted(size, arguments) for size in (20, 40, 80))

    totals = {name: (few.get(name, 0), some.get(name, 0), many.get(name, 0)) for name in many}
    for name, (at_20, at_40, at_80) in totals.items():
        if name not in ("write", "fstat", "read"):  # buffers are written, and directories listed, in blocks
            assert at_80 - at_40 == 2 * (at_40 - at_20), (name, totals[name])
    per_plugin = {name: (at_40 - at_20) / 20 for name, (at_20, at_40, _) in totals.items()}
    assert per_plugin["open"] <= 9, per_plugin  # two distributions: entry points, manifest, metadata
    assert per_plugin["stat"] <= 20, per_plugin


def test_a_second_decision_in_one_process_parses_nothing(counted):
    first, later = counted(40, ["resolve"]), counted(40, ["resolve"], again="again")

    assert first["tomllib.loads"] >= 39
    assert "tomllib.loads" not in later
    assert later["open"] < first["open"]
