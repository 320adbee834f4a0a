"""Situation: where and for what a backend is to run; probes are called with it."""

from __future__ import annotations

from dataclasses import dataclass

from automodels.needs import AttentionNeeds


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known of one model on one kind of device."""

    framework: str
    device: str
    """Kind of device: `cpu`, `cuda`, `rocm`, `tpu`, `mps` or `xpu`."""

    capability: int | None = None
    """CUDA compute capability times ten; None elsewhere, or where it is not known."""

    dtype: str | None = None
    """Type of the computation, such as `bfloat16`; None for any."""

    needs: AttentionNeeds | None = None
    """What the model asks of attention; None for any model."""

    def __str__(self) -> str:
        return f"{self.device}" + (f" in {self.dtype}" if self.dtype else "")
