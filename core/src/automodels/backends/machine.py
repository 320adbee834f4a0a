"""Machine: kinds of device, read off files and variables; no framework is imported and nothing is initialised.

What a framework sees may be narrower: one that is installed without CUDA sees no GPU. That is read off the installed
distributions. The word of the framework itself counts in the end; a runtime passes its own device when a model is made.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from automodels.plugins.scan import Distribution, printable

SECONDS = 5.0  # nvidia-smi takes some tenths; a driver that hangs must not
_NEEDED = {"flax": ("jax", "flax"), "torch": ("torch",)}
_JAX_PLUGINS = {"cuda": ("jax-cuda12-plugin", "jax-cuda13-plugin"), "rocm": ("jax-rocm60-plugin", "jax-rocm7-plugin")}
_KINDS = ("cuda", "rocm", "tpu", "mps", "xpu", "cpu")


_TORCH_BUILD = re.compile(r"(?P<cpu>cpu)|(?P<cuda>cu\d)|(?P<rocm>rocm)|(?P<xpu>xpu)", re.ASCII)  # others tell nothing
_DEVICE_NAME = re.compile(r"\d+|(?:GPU|MIG)-.+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Kinds of device that are there, the fastest first, and why others are not."""

    devices: tuple[str, ...] = ("cpu",)
    """`cpu` is the last; it is there unless a framework cannot use it, or is not installed."""

    absent: Mapping[str, str]
    """Kind → why it cannot be used."""

    def lacks(self, kind: str) -> str | None:
        """Why there is no device of this kind, or None when there is one."""
        return None if kind in self.devices else self.absent.get(kind, f"there is no {kind} device here")


def this_machine() -> Machine:
    """What files and environment say about this machine."""
    absent = {kind: reason for kind, look in _LOOKS.items() if (reason := look()) is not None}
    return Machine(devices=(*(kind for kind in _LOOKS if kind not in absent), "cpu"), absent=absent)


def as_seen_by(framework: str, machine: Machine, installed: Mapping[str, Distribution]) -> Machine:
    """The machine as an installed framework can use it; one that is not installed can use nothing."""
    if missing := [name for name in _NEEDED.get(framework, ()) if name not in installed]:
        return Machine(devices=(), absent=dict.fromkeys(_KINDS, f"{missing[0]} is not installed"))
    narrower = {kind: reason for kind in machine.devices if (reason := _unseen(framework, kind, installed)) is not None}
    return Machine(
        devices=tuple(kind for kind in machine.devices if kind not in narrower), absent={**machine.absent, **narrower}
    )


@functools.cache
def cuda_capability() -> int | None:
    """Compute capability of the first GPU times ten, as the driver's own tool says; None where it does not answer.

    The first is that of CUDA_VISIBLE_DEVICES, where that is set.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=compute_cap", "--format=csv,noheader"]
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    if re.fullmatch(r"\d+|GPU-[\w-]+", first, re.ASCII):
        command.append(f"--id={first}")
    try:
        found = subprocess.run(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS, check=True
        )
        capability = round(float(found.stdout.splitlines()[0]) * 10)
    except (OSError, subprocess.SubprocessError, ValueError, OverflowError, IndexError):
        return None
    return capability if 10 <= capability < 1000 else None


def _no_cuda() -> str | None:
    if not os.path.exists("/dev/nvidiactl") and not os.path.exists("/dev/dxg"):  # the second in WSL
        return "there is no NVIDIA driver here (no /dev/nvidiactl)"
    return _hidden_by("CUDA_VISIBLE_DEVICES")


def _no_rocm() -> str | None:
    if not os.path.exists("/dev/kfd"):
        return "there is no AMD driver here (no /dev/kfd)"
    return _hidden_by("HIP_VISIBLE_DEVICES") or _hidden_by("ROCR_VISIBLE_DEVICES")


def _no_tpu() -> str | None:
    found = os.path.exists("/dev/accel0") or "TPU_NAME" in os.environ
    return None if found else "there is no TPU here (no /dev/accel0)"


def _no_mps() -> str | None:
    found = sys.platform == "darwin" and os.uname().machine == "arm64"
    return None if found else "this is no Apple machine with Metal"


def _no_xpu() -> str | None:
    return None if os.path.exists("/sys/module/xe") else "there is no driver for Intel GPUs here (no /sys/module/xe)"


def _hidden_by(variable: str) -> str | None:
    """The first name in such a variable that means no device hides all that follow; none at all hides every one."""
    value = os.environ.get(variable)
    if value is None or _DEVICE_NAME.fullmatch(value.partition(",")[0].strip()):
        return None
    return f"{variable}={printable(value)[:60]} hides it"


_LOOKS = {"cuda": _no_cuda, "rocm": _no_rocm, "tpu": _no_tpu, "mps": _no_mps, "xpu": _no_xpu}  # the fastest first


def _unseen(framework: str, kind: str, installed: Mapping[str, Distribution]) -> str | None:
    """Why an installed framework cannot use a kind of device that is there; None where nothing speaks against it."""
    return _unseen_by_jax(kind, installed) if framework == "flax" else _unseen_by_torch(kind, installed)


def _unseen_by_jax(kind: str, installed: Mapping[str, Distribution]) -> str | None:
    platforms = os.environ.get("JAX_PLATFORMS", "").lower().replace("gpu", "cuda,rocm")
    if platforms.strip() and kind not in [name.strip() for name in platforms.split(",")]:
        return f"JAX_PLATFORMS={printable(os.environ['JAX_PLATFORMS'])[:60]} leaves it out"
    plugins = _JAX_PLUGINS.get(kind)
    if plugins is not None and not any(name in installed for name in plugins):
        return f"jax is installed without it (no {' or '.join(plugins)})"
    if kind == "tpu" and "libtpu" not in installed:
        return "jax is installed without it (no libtpu)"
    return "jax does not know it" if kind in ("mps", "xpu") else None


def _unseen_by_torch(kind: str, installed: Mapping[str, Distribution]) -> str | None:
    if kind == "tpu":
        return "our PyTorch models do not run on it"
    version = installed["torch"].version
    build = _TORCH_BUILD.match(version.partition("+")[2])
    if kind in ("cuda", "rocm", "xpu") and build is not None and build.lastgroup != kind:
        return f"torch {printable(version)[:60]} is built without it"
    return None
