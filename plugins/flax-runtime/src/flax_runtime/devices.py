"""Which backend computes here: devices as JAX sees them, matched with what plugins declare."""

from __future__ import annotations

import jax
import numpy as np

from automodels.backends import BackendReport, choose_backend
from automodels.plugins.catalog import load_catalog

DEVICE_KINDS = {"gpu": "cuda"}  # jax's name of the platform → ours; rocm and cuda both say gpu to older jax


def backend_here(asked: str, dtype: np.dtype) -> BackendReport:
    """The backend for JAX's first device. Raises BackendUnavailableError when the one that is asked for cannot run."""
    device = jax.devices()[0]
    kind = DEVICE_KINDS.get(device.platform, device.platform)
    found = getattr(device, "compute_capability", None)  # "9.0" on CUDA, absent elsewhere
    capability = round(float(found) * 10) if kind == "cuda" and found else None
    return choose_backend(load_catalog(), "flax", asked, dtype=dtype.name, devices=(kind,), capability=capability)
