"""Which backend computes here: torch's devices, matched with what plugins declare."""

from __future__ import annotations

import torch

from automodels.backends import BackendReport, choose_backend
from automodels.plugins.catalog import load_catalog
from torch_runtime.tensors import dtype_name


def backend_here(asked: str, dtype: torch.dtype, device: torch.device) -> BackendReport:
    """The backend for a device. Raises BackendUnavailableError when the one that is asked for cannot run on it."""
    kind = "cpu" if device.type == "meta" else device.type
    if kind == "cuda" and torch.version.hip:
        kind = "rocm"
    capability = None
    if kind == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        capability = 10 * major + minor
    return choose_backend(
        load_catalog(), "torch", asked, dtype=dtype_name(dtype), devices=(kind,), capability=capability
    )
