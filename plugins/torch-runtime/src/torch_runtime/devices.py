"""Which backend computes here: torch's devices, matched with what plugins declare.

Nothing is asked of CUDA, and so nothing of it initialised, unless a device is one of its own.
"""

from __future__ import annotations

import torch

from automodels.backends import BackendReport, Situation, choose_backend
from automodels.config import PretrainedConfig
from automodels.plugins.catalog import load_catalog
from torch_runtime.tensors import dtype_name


def backend_here(asked: str, config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> BackendReport:
    """The backend for a model on a device. Raises BackendUnavailableError when what is asked for cannot run on it."""
    situation = Situation(
        framework="torch",
        device=kind_of(device),
        capability=capability_of(device),
        dtype=dtype_name(dtype),
        needs=config.attention_needs,
    )
    return choose_backend(load_catalog(), asked, situation)


def kind_of(device: torch.device) -> str:
    """The kind of device that manifests name; a model without memory is taken to be for the CPU."""
    if device.type == "meta":
        return "cpu"
    return "rocm" if device.type == "cuda" and torch.version.hip else device.type


def capability_of(device: torch.device) -> int | None:
    """CUDA compute capability times ten; None elsewhere."""
    if kind_of(device) != "cuda":
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
