"""Which backend computes here: torch's devices, matched with what plugins declare."""

from __future__ import annotations

import dataclasses

import torch

from automodels.backends import AttentionNeeds, BackendReport, Situation, choose_backend
from automodels.config import PretrainedConfig
from automodels.plugins.catalog import load_catalog
from torch_runtime.tensors import dtype_name


def backend_here(asked: str, config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> BackendReport:
    """The backend for a model on a device. Raises BackendUnavailableError when what is asked for cannot run on it.

    Nothing is asked of CUDA, and so nothing of it initialised, unless the device is one of its own.
    """
    kind = "cpu" if device.type == "meta" else device.type
    if kind == "cuda" and torch.version.hip:
        kind = "rocm"
    capability = None
    if kind == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        capability = 10 * major + minor
    situation = Situation(
        framework="torch", device=kind, capability=capability, dtype=dtype_name(dtype), needs=_needs(config)
    )
    return choose_backend(load_catalog(), asked, situation)


def _needs(config: PretrainedConfig) -> AttentionNeeds:
    """What is asked of a backend's function: weights are not, since those that are shown are the formula's anyway."""
    needs = config.attention_needs
    return dataclasses.replace(needs, always=needs.always - {"weights"})
