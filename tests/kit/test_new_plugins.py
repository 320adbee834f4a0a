"""What `registry new` writes, untouched: a wheel that passes every level of the check, and its own tests."""

from __future__ import annotations

import json
import zipfile

import pytest
from kit import build_wheel, installed


@pytest.fixture
def wheel(environment, framework, tmp_path):
    environment.run_well("registry", "new", f"{framework}-nano-gpt", "--framework", framework, cwd=tmp_path)
    return build_wheel(environment, tmp_path / f"{framework}-nano-gpt", tmp_path / "wheels")


@pytest.mark.parametrize("framework", ["flax", "torch"])
def test_a_new_plugin_is_a_wheel_that_passes_the_check_and_its_own_tests(environment, wheel, framework, tmp_path):
    project = tmp_path / f"{framework}-nano-gpt"
    names = zipfile.ZipFile(wheel).namelist()
    package = f"{framework}_nano_gpt"
    assert {f"{package}/automodels.toml", f"{package}/py.typed"} <= set(names)
    assert {name.split("/")[0] for name in names} == {package, f"{package}-0.1.0.dist-info"}

    checked = environment.run("registry", "check", wheel, "--imports", "--run", "--json", cwd=tmp_path)

    document = json.loads(checked.stdout)
    assert [(each["code"], each["subject"]) for each in document["findings"]] == [
        ("C102", "authors"), ("C102", "description")
    ]  # fmt: skip
    assert checked.returncode == 0
    installed(environment, [wheel])
    listed = environment.run_well("registry", "list", "nano_gpt", cwd=tmp_path).stdout.splitlines()
    assert [line.split() for line in listed[1:]] == [
        ["nano_gpt", framework, "base,", "causal-lm", f"{framework}-nano-gpt", "0.1.0", "ok"]
    ]
    tests = environment.run_well("python", "-m", "pytest", "-q", "-W", "error", "tests", cwd=project)
    assert "failed" not in tests.stdout
    assert "passed" in tests.stdout


def test_a_plugin_whose_weights_are_lost_does_not_pass(environment, tmp_path):
    environment.run_well("registry", "new", "torch-nano", "--framework", "torch", cwd=tmp_path)
    modeling = tmp_path / "torch-nano" / "src" / "torch_nano" / "modeling.py"
    source = modeling.read_text()
    forgotten = source.replace(
        "        self.post_init()\n", "        self.post_init()\n        self.noise = torch.rand(1)\n", 1
    )
    modeling.write_text(forgotten.replace("        x = self.ln_f(x)\n", "        x = self.ln_f(x) + self.noise\n"))

    done = environment.run("registry", "check", "torch-nano", "--run", "--json", cwd=tmp_path)

    assert done.returncode == 1
    findings = json.loads(done.stdout)["findings"]
    assert {each["code"] for each in findings if each["level"] == "problem"} <= {"C401", "C402"}
    assert any("after loading" in each["message"] or "cannot be" in each["message"] for each in findings), findings


@pytest.mark.parametrize("framework", ["flax", "torch"])
def test_a_model_that_no_longer_fits_its_names_does_not_pass(environment, framework, tmp_path):
    environment.run_well("registry", "new", f"{framework}-nano", "--framework", framework, cwd=tmp_path)
    source = tmp_path / f"{framework}-nano" / "src" / f"{framework}_nano"
    if framework == "flax":
        keymap = (source / "keymap.py").read_text()
        (source / "keymap.py").write_text(
            keymap.replace('    ("ln_f.bias", ', '    ("ln_f.bais", ', 1).replace('"ln_f.bias", ', '"ln_f.bis",  ')
        )
    else:
        modeling = (source / "modeling.py").read_text()
        (source / "modeling.py").write_text(modeling.replace("from torch_nano.keymap", "from torch_nano.key_map"))

    done = environment.run("registry", "check", f"{framework}-nano", "--run", "--json", cwd=tmp_path)

    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"]


def test_the_pytest_plugin_is_loaded_from_the_wheel_and_changes_nothing(environment, tmp_path):
    source = """
import sys
def test_it():
    assert "automodels.plugins.catalog" not in sys.modules
"""
    (tmp_path / "test_it.py").write_text(source)

    done = environment.run_well("python", "-m", "pytest", "-W", "error", "test_it.py", cwd=tmp_path)

    assert "1 passed" in done.stdout
    assert "plugin API" not in done.stdout


def test_our_own_wheels_pass_the_check(environment, tmp_path):
    for name in ("flax-runtime", "torch-runtime"):
        done = environment.run("registry", "check", name, "--imports", "--json", cwd=tmp_path)

        assert done.returncode == 0, done.stdout
