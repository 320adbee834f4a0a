"""The pytest plugin: fixtures for whoever asks, and nothing for everybody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PLUGIN = "automodels.testing.pytest_plugin"
LIGHT = """
import json, sys
before = set(sys.modules)
import pytest
with_pytest = set(sys.modules)
import automodels.testing.pytest_plugin
print(json.dumps(sorted(set(sys.modules) - with_pytest)))
"""
ASKING = """
import os
import pytest

def test_one(plugin_site, clean_automodels):
    from automodels import resolve
    plugin_site.toy("flax-toy")
    assert resolve("toy").entry.plugin.name == "flax-toy"
    assert "AUTOMODELS_DISABLE" not in os.environ

def test_nothing_of_it_is_left(clean_automodels):
    from automodels.plugins.catalog import load_catalog
    assert "toy" not in load_catalog().model_types

def test_the_tiny_model(plugin_site, clean_automodels, tiny_checkpoint):
    from automodels.errors import InputError
    plugin_site.toy("flax-toy")
    with pytest.raises(InputError, match="no .model.example."):
        tiny_checkpoint("toy")

@pytest.mark.automodels_needs("no_such_library")
def test_skipped():
    raise AssertionError

@pytest.mark.automodels_needs("json")
def test_not_skipped():
    pass
"""


@pytest.fixture
def run(tmp_path):
    """Runs pytest on a file in an empty project, with nothing but our plugin."""

    def run(source, *options, pyproject="", **variables):
        (tmp_path / "test_it.py").write_text(source)
        (tmp_path / "pyproject.toml").write_text(pyproject + "[tool.pytest.ini_options]\nfilterwarnings = ['error']\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", *options]
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": PLUGIN, **variables}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_loading_it_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, timeout=120)

    added = [name for name in json.loads(done.stdout) if not name.startswith("automodels")]
    ours = [name for name in json.loads(done.stdout) if name.startswith("automodels")]
    assert added == []
    assert ours == ["automodels", "automodels.testing", PLUGIN]


def test_runs_of_other_people_import_nothing_of_it(run):
    source = """
import sys
def test_it():
    ours = sorted(name for name in sys.modules if name.startswith("automodels"))
    assert ours == ["automodels", "automodels.testing", "automodels.testing.pytest_plugin"]
    assert not {"numpy", "pydantic", "pluggy._never", "jax", "torch", "flax"} & set(sys.modules)
"""
    done = run(source)

    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "automodels: plugin API" not in done.stdout


def test_collecting_imports_nothing_of_it(run):
    done = run(
        "import sys\nassert 'automodels.plugins.catalog' not in sys.modules\ndef test_it(): ...\n", "--collect-only"
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_header_of_a_plugins_project_names_the_api(run):
    toml = '[project.entry-points."automodels.plugins"]\nflax-nano = "flax_nano:automodels.toml"\n'

    done = run("def test_it(): ...\n", pyproject=toml)

    assert "automodels: plugin API 1.0; plugins: " in done.stdout


def test_whoever_asks_gets_the_fixtures(run):
    done = run(ASKING, AUTOMODELS_DISABLE="flax-toy")

    assert "4 passed, 1 skipped" in done.stdout, done.stdout + done.stderr


def test_the_marker_is_declared(run):
    done = run("", "--markers")

    assert "automodels_needs(library, ...)" in done.stdout
