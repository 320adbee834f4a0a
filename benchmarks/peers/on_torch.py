"""What workers with torch do alike on a GPU, or on the CPU where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from protocol import seconds_of, versions

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def device() -> dict[str, Any]:
    if DEVICE == "cpu":
        return {"kind": "cpu", "name": "cpu", **versions()}
    cudnn = f"cudnn {torch.backends.cudnn.version()}, cuda {torch.version.cuda}"
    found = versions()["versions"]
    return {"kind": "cuda", "name": torch.cuda.get_device_name(), "versions": f"{found}, {cudnn}"}


def sync(_: Any = None) -> None:
    """Returns when the device has done everything."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def timed(function: Callable[[], Any]) -> float:
    """Seconds until the result is there."""
    sync()

    def run() -> None:
        function()
        sync()

    return seconds_of(run)
