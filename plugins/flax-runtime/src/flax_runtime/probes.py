"""Probes: why a backend of this plugin cannot run in a situation, beyond what its manifest says."""

from __future__ import annotations

import importlib.util
from typing import Any

import jax

from automodels.backends import Situation
from flax_runtime.devices import device_kind

_HOPPER = 90
_OLD_HEAD = 128  # numbers in a head that cuDNN takes before Hopper


def cudnn(situation: Situation) -> str | None:
    """Whether JAX sees an NVIDIA GPU and a cuDNN, and the heads are not too large for the GPU."""
    if (reason := _no_device(situation)) is not None:
        return reason
    sizes = () if situation.needs is None else situation.needs.head_sizes
    if situation.capability is not None and situation.capability < _HOPPER and max(sizes, default=0) > _OLD_HEAD:
        return f"takes heads of up to {_OLD_HEAD} numbers below compute capability {_HOPPER / 10}"
    try:
        from jax._src.cudnn import fused_attention_stablehlo

        check: Any = fused_attention_stablehlo.check_cudnn_version
        check()
    except (ImportError, AttributeError):  # not a public name, and may move; the kernel itself says no then
        return None
    except RuntimeError as error:
        return str(error)
    return None


def pallas(situation: Situation) -> str | None:
    """Whether JAX sees an NVIDIA GPU, and has the kernel and what compiles it."""
    if (reason := _no_device(situation)) is not None:
        return reason
    name = "jax.experimental.pallas.ops.gpu.attention"
    return None if importlib.util.find_spec(name) is not None else f"this jax has no {name}"


def _no_device(situation: Situation) -> str | None:
    """What JAX's own list of devices says; asking for it initialises them."""
    kinds = {device_kind(device) for device in jax.devices()}
    if situation.device in kinds:
        return None
    return f"jax {jax.__version__} sees no {situation.device} device, but {', '.join(sorted(kinds))}"
