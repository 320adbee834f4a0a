"""What doctor says of entry_points.txt is what importlib.metadata does with it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

from automodels.plugins.package_files import unreadable_entry_points
from automodels.plugins.scan import scan

FILES = {
    "fine": "[console_scripts]\na = b:c\n\n# a comment\n[other]\n",
    "empty": "",
    "before": "a line before any section\n[x]\na = b\n",
    "no equals": "[automodels.plugins]\nx\n",
    "other group": "[anything]\n\n oh dear \n",
    "bytes": b"[x]\n\xff = y\n",
    "brackets": "[[[\n= x\n",
    "closed": "[x]\na = b\n]\n",
    "equals": "[x]\n=\n",
}


def fails(path):
    try:
        list(importlib.metadata.Distribution.at(path).entry_points)
    except (TypeError, ValueError):
        return True
    return False


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_malformed_if_python_cannot_read_it(site, name):
    info = site.distribution("odd", files={"entry_points.txt": FILES[name]})
    distribution = scan([str(site.path)]).distributions["odd"]

    assert (unreadable_entry_points(distribution) is not None) == fails(info)


def test_doctor_names_the_file_though_it_is_no_plugins(here, site, capsys, document_of):
    site.distribution("odd", files={"entry_points.txt": "[anything]\noh dear\n"})

    assert here(["doctor", "--json"]) == 1

    (found,) = [each for each in document_of(capsys.readouterr().out)["findings"] if each["subject"] == "odd"]
    assert "line 2: 'oh dear' is not 'name = value'; libraries" in found["message"]
    assert found["remedy"] == "Run: pip install --force-reinstall odd"


def test_a_damaged_distribution_stops_no_config(site, environment):
    site.toy("toy-plugin")
    site.distribution("odd", files={"entry_points.txt": "[anything]\noh dear\n"})
    program = (
        "from automodels import AutoConfig\n"
        "config = AutoConfig.for_model('toy', width=3)\n"
        "from pydantic import BaseModel\n"
        "class Other(BaseModel):\n    x: int = 1\n"
        "print(config.width, Other().x)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("3 1\n", 0), done.stderr
    assert "Run: registry doctor" in done.stderr


def test_commands_that_read_a_config_work_beside_it(site, registry):
    site.toy("toy-plugin")
    site.distribution("odd", files={"entry_points.txt": "[anything]\noh dear\n"})

    process = registry("backends", "--for", "toy", "--json")

    assert process.returncode != 70  # whether anything can run it depends on what else is installed
    assert json.loads(process.stdout)["kind"] in ("backend-choices", "error")
