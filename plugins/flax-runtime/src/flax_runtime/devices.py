"""Which backend computes here: devices as JAX sees them, matched with what plugins declare."""

from __future__ import annotations

import jax
import numpy as np

from automodels.backends import BackendReport, Situation, choose_backend
from automodels.needs import AttentionNeeds
from automodels.plugins.catalog import load_catalog

DEVICE_KINDS = {"gpu": "cuda"}  # jax's name of the platform → ours; rocm and cuda both say gpu to older jax


def backend_here(asked: str, dtype: np.dtype, needs: AttentionNeeds) -> BackendReport:
    """The backend for JAX's first device. Raises BackendUnavailableError when the one that is asked for cannot run."""
    return choose_backend(load_catalog(), asked, situation(dtype.name, needs))


def situation(dtype: str, needs: AttentionNeeds) -> Situation:
    """JAX's first device, for a model that computes in `dtype` and needs this of attention."""
    device = jax.devices()[0]
    kind = device_kind(device)
    found = getattr(device, "compute_capability", None)  # "9.0" on CUDA, absent elsewhere
    capability = round(float(found) * 10) if kind == "cuda" and found else None
    return Situation(framework="flax", device=kind, capability=capability, dtype=dtype, needs=needs)


def device_kind(device: jax.Device) -> str:
    """The kind of a device as manifests call it."""
    if device.platform == "gpu" and "rocm" in device.client.platform_version.lower():
        return "rocm"
    platform: str = device.platform
    return DEVICE_KINDS.get(platform, platform)
