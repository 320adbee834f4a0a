"""What is there, told by files, variables and installed distributions."""

from __future__ import annotations

import os
import platform
import sys

import pytest

from automodels.backends import Machine, as_seen_by, cuda_capability, machine, this_machine
from automodels.plugins.scan import Distribution

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "JAX_PLATFORMS", "TPU_NAME")
FILES = {"cuda": "/dev/nvidiactl", "rocm": "/dev/kfd", "tpu": "/dev/accel0", "xpu": "/sys/module/xe"}
EVERYTHING = Machine(devices=("cuda", "rocm", "tpu", "mps", "xpu", "cpu"), absent={})


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    cuda_capability.cache_clear()
    yield
    cuda_capability.cache_clear()


@pytest.fixture
def files(monkeypatch):
    """Lets only these files exist."""

    def exist(*names):
        monkeypatch.setattr(os.path, "exists", lambda path: path in names)

    monkeypatch.setattr(sys, "platform", "linux")
    exist()
    return exist


def test_a_machine_without_files_of_drivers_has_a_cpu_and_says_what_is_missing(files):
    found = this_machine()

    assert found.devices == ("cpu",)
    assert found.lacks("cpu") is None
    assert found.lacks("cuda") == "there is no NVIDIA driver here (no /dev/nvidiactl)"
    assert found.lacks("rocm") == "there is no AMD driver here (no /dev/kfd)"
    assert found.lacks("tpu") == "there is no TPU here (no /dev/accel0)"
    assert found.lacks("mps") == "this is no Apple machine with Metal"
    assert found.lacks("xpu") == "there is no driver for Intel GPUs here (no /sys/module/xe)"
    assert found.lacks("abacus") == "there is no abacus device here"


@pytest.mark.parametrize(("kind", "file"), [*FILES.items(), ("cuda", "/dev/dxg")])
def test_a_file_of_a_driver_is_a_device(files, kind, file):
    files(file)

    found = this_machine()

    assert found.devices == (kind, "cpu")
    assert found.lacks(kind) is None


def test_the_fastest_comes_first_and_the_cpu_last(files):
    files(*FILES.values())

    assert this_machine().devices == ("cuda", "rocm", "tpu", "xpu", "cpu")


@pytest.mark.parametrize(
    ("kind", "variable", "value", "hidden"),
    [
        ("cuda", "CUDA_VISIBLE_DEVICES", "", True),
        ("cuda", "CUDA_VISIBLE_DEVICES", "-1", True),
        ("cuda", "CUDA_VISIBLE_DEVICES", " -1 ", True),
        ("cuda", "CUDA_VISIBLE_DEVICES", "-1,0", True),
        ("cuda", "CUDA_VISIBLE_DEVICES", "NoDevFiles", True),
        ("cuda", "CUDA_VISIBLE_DEVICES", "none", True),
        ("cuda", "CUDA_VISIBLE_DEVICES", "0", False),
        ("cuda", "CUDA_VISIBLE_DEVICES", "1,0", False),
        ("cuda", "CUDA_VISIBLE_DEVICES", "0,-1", False),
        ("cuda", "CUDA_VISIBLE_DEVICES", "GPU-8932f937", False),
        ("cuda", "CUDA_VISIBLE_DEVICES", "MIG-GPU-8932f937/1/2", False),
        ("cuda", "HIP_VISIBLE_DEVICES", "", False),
        ("rocm", "HIP_VISIBLE_DEVICES", "", True),
        ("rocm", "ROCR_VISIBLE_DEVICES", "-1", True),
        ("rocm", "ROCR_VISIBLE_DEVICES", "0", False),
        ("rocm", "CUDA_VISIBLE_DEVICES", "-1", False),
    ],
)
def test_variables_hide_devices(files, monkeypatch, kind, variable, value, hidden):
    files(*FILES.values())
    monkeypatch.setenv(variable, value)

    assert this_machine().lacks(kind) == (f"{variable}={value} hides it" if hidden else None)


def test_a_tpu_may_be_named_by_a_variable(files, monkeypatch):
    monkeypatch.setenv("TPU_NAME", "local")

    assert this_machine().devices == ("tpu", "cpu")


@pytest.mark.skipif(not hasattr(os, "uname"), reason="needs os.uname")
@pytest.mark.parametrize(("system", "processor", "there"), [("darwin", "arm64", True), ("darwin", "x86_64", False)])
def test_metal_is_on_apples_own_processors(files, monkeypatch, system, processor, there):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(os, "uname", lambda: platform.uname()._replace(node="x")._replace(release=processor))
    monkeypatch.setattr(os, "uname", lambda: type("Names", (), {"machine": processor}))

    assert ("mps" in this_machine().devices) is there


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"])
def test_control_characters_in_variables_never_reach_a_reason(files, monkeypatch, variable):
    files(*FILES.values())
    monkeypatch.setenv(variable, "\x1b[31mnone\x07" + "x" * 500)

    found = as_seen_by("flax", this_machine(), installed("jax", "flax", "jax-cuda12-plugin"))

    assert found.lacks("cuda").isprintable()
    assert len(found.lacks("cuda")) < 120


def installed(*distributions):
    """Distributions by name, of `name` or `name version`."""
    pairs = [(*text.split(" "), "1.0")[:2] for text in distributions]
    return {name: Distribution(name=name, version=version, metadata="") for name, version in pairs}


@pytest.mark.parametrize(
    ("distributions", "devices"),
    [
        (["jax", "flax"], ("cpu",)),
        (["jax", "flax", "jax-cuda12-plugin"], ("cuda", "cpu")),
        (["jax", "flax", "jax-cuda13-plugin"], ("cuda", "cpu")),
        (["jax", "flax", "jax-rocm60-plugin"], ("rocm", "cpu")),
        (["jax", "flax", "jax-rocm7-plugin"], ("rocm", "cpu")),
        (["jax", "flax", "libtpu"], ("tpu", "cpu")),
        (["jax", "flax", "libtpu", "jax-cuda12-plugin"], ("cuda", "tpu", "cpu")),
    ],
)
def test_jax_sees_what_it_has_a_plugin_for(distributions, devices):
    found = as_seen_by("flax", EVERYTHING, installed(*distributions))

    assert found.devices == devices
    if "jax-cuda12-plugin" not in distributions and "jax-cuda13-plugin" not in distributions:
        assert found.lacks("cuda") == "jax is installed without it (no jax-cuda12-plugin or jax-cuda13-plugin)"
    assert found.lacks("mps") == found.lacks("xpu") == "jax does not know it"


@pytest.mark.parametrize(
    ("platforms", "devices"),
    [
        ("", ("cuda", "cpu")),
        (" ", ("cuda", "cpu")),
        ("cpu", ("cpu",)),
        ("CPU", ("cpu",)),
        ("cuda", ("cuda",)),
        ("gpu", ("cuda",)),
        ("cuda,cpu", ("cuda", "cpu")),
        (" cpu , gpu ", ("cuda", "cpu")),
        ("rocm", ()),
        ("nonsense", ()),
    ],
)
def test_jax_is_told_by_a_variable_what_to_see(monkeypatch, platforms, devices):
    monkeypatch.setenv("JAX_PLATFORMS", platforms)

    found = as_seen_by("flax", EVERYTHING, installed("jax", "flax", "jax-cuda12-plugin"))

    assert found.devices == devices
    for kind in ("cuda", "cpu"):
        assert found.lacks(kind) == (None if kind in devices else f"JAX_PLATFORMS={platforms} leaves it out")


def test_the_variable_of_jax_says_nothing_to_torch(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")

    assert "cuda" in as_seen_by("torch", EVERYTHING, installed("torch 2.13.0+cu126")).devices


@pytest.mark.parametrize(
    ("version", "gpus"),
    [
        ("2.13.0+cpu", set()),
        ("2.5.1+cpu.cxx11.abi", set()),
        ("2.13.0+cu126", {"cuda"}),
        ("2.13.0+rocm6.4", {"rocm"}),
        ("2.13.0+xpu", {"xpu"}),
        ("2.13.0", {"cuda", "rocm", "xpu"}),
        ("2.6.0a0+ecf3bae40a.nv25.1", {"cuda", "rocm", "xpu"}),
        ("2.6.0a0+git1a2b3c4", {"cuda", "rocm", "xpu"}),
        ("2.6.0a0+customised", {"cuda", "rocm", "xpu"}),
    ],
)
def test_torch_sees_what_it_is_built_for_and_what_its_version_does_not_tell(version, gpus):
    found = as_seen_by("torch", EVERYTHING, installed(f"torch {version}"))

    assert set(found.devices) == gpus | {"mps", "cpu"}
    assert found.lacks("tpu") == "our PyTorch models do not run on it"
    for kind in {"cuda", "rocm", "xpu"} - gpus:
        assert found.lacks(kind) == f"torch {version} is built without it"


@pytest.mark.parametrize(
    ("framework", "distributions", "missing"),
    [("flax", [], "jax"), ("flax", ["flax"], "jax"), ("flax", ["jax"], "flax"), ("torch", ["jax", "flax"], "torch")],
)
def test_a_framework_that_is_not_installed_can_use_nothing(framework, distributions, missing):
    found = as_seen_by(framework, EVERYTHING, installed(*distributions))

    assert found.devices == ()
    assert found.lacks("cpu") == found.lacks("cuda") == f"{missing} is not installed"


def test_what_the_machine_lacks_is_said_before_what_the_framework_lacks():
    lacking = Machine(devices=("cpu",), absent={"cuda": "there is no driver"})

    assert as_seen_by("flax", lacking, installed("jax", "flax")).lacks("cuda") == "there is no driver"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Puts a script called nvidia-smi on the path, and nothing else."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def write(script, mode=0o755):
        file = tmp_path / "bin" / "nvidia-smi"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(mode)

    return write


@pytest.mark.parametrize(
    ("script", "capability"),
    [
        ("echo 9.0", 90),
        ("echo 8.6; echo 7.5", 86),
        ("echo ' 12.0 '", 120),
        ("echo 10.3", 103),
        ("echo 9.0; exit 9", None),
        ("echo No devices were found", None),
        ("echo '[N/A]'", None),
        ("echo", None),
        ("true", None),
        ("echo nan", None),
        ("echo inf", None),
        ("echo 1e300", None),
        ("echo -- -9.0", None),
        ("echo 0.0", None),
        ("printf '\\377\\376'", None),
        ("printf '\\377\\376' >&2; echo 9.0", 90),
        ("kill -SEGV $$", None),
        ('[ "$*" = "--query-gpu=compute_cap --format=csv,noheader" ] && echo 8.9', 89),
    ],
)
def test_the_drivers_tool_is_believed_when_it_speaks_of_a_capability(tool, script, capability):
    tool(script)

    assert cuda_capability() == capability


def test_a_tool_that_hangs_is_not_waited_for(tool, monkeypatch):
    monkeypatch.setattr(machine, "SECONDS", 0.2)
    tool("exec 2>&-; while :; do :; done")

    assert cuda_capability() is None


@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_where_there_is_no_tool_nothing_is_known(tool, tmp_path, mode):
    assert cuda_capability() is None

    tool("echo 9.0", mode)
    (tmp_path / "bin" / "nvidia-smi").write_text("no program")
    cuda_capability.cache_clear()
    assert cuda_capability() is None


@pytest.mark.parametrize(
    ("visible", "asked"),
    [(None, ""), ("1,0", "--id=1"), (" GPU-8932f937-d72c ,1", "--id=GPU-8932f937-d72c"), ("MIG-1", ""), ("0;rm", "")],
)
def test_the_tool_is_asked_about_the_first_gpu_that_is_visible(tool, monkeypatch, visible, asked):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    tool(f'[ "$3" = "{asked}" ] && [ $# -le 3 ] && echo 8.0')

    assert cuda_capability() == 80


def test_the_tool_is_asked_once(tool):
    tool("echo 9.0")
    assert cuda_capability() == 90

    tool("echo 7.0")
    assert cuda_capability() == 90
