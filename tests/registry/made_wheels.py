"""Wheels made by hand, right or wrong in every way."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

HEAD = 'schema = 1\nname = "flax-nano"\napi = ">=1.0,<2"\nsummary = "Nano"\n'
MODEL = """
[[model]]
model_type = "nano"
framework = "flax"
config = "flax_nano.config:NanoConfig"
architectures = ["NanoModel"]
[model.tasks]
base = "flax_nano.modeling:NanoModel"
[model.example]
width = 3
"""
CONFIG = '''
from typing import ClassVar

from automodels.config import PretrainedConfig


class NanoConfig(PretrainedConfig):
    model_type: ClassVar[str] = "nano"

    width: int = 4
    """Its width."""
'''
MODELING = """
from flax_nano.config import NanoConfig

class NanoModel:
    framework = "flax"
    config_class = NanoConfig

    @classmethod
    def from_pretrained(cls, name, **options): ...
"""
METADATA = """Metadata-Version: 2.4
Name: flax-nano
Version: 1.0
Summary: Nano in Flax
License-Expression: MIT
Requires-Python: >=3.11
Requires-Dist: flax-runtime>=0.1,<0.2
"""
INFO = "flax_nano-1.0.dist-info"
POINTS = "[automodels.plugins]\nflax-nano = flax_nano:automodels.toml\n"
RIGHT = {
    "flax_nano/__init__.py": "",
    "flax_nano/py.typed": "",
    "flax_nano/automodels.toml": HEAD + MODEL,
    "flax_nano/config.py": CONFIG,
    "flax_nano/modeling.py": MODELING,
    f"{INFO}/METADATA": METADATA,
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/entry_points.txt": POINTS,
}


def record(files: dict[str, str]) -> str:
    lines = [f"{name},sha256={digest(text)},{len(text.encode())}" for name, text in files.items()]
    return "\n".join([*lines, f"{INFO}/RECORD,,", ""])


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def make_wheel(directory: Path, changes: dict[str, str | None] | None = None, *, name: str | None = None) -> Path:
    """A wheel with files changed, added, or (None) left out; its RECORD agrees, unless that was given."""
    files = {**RIGHT, **(changes or {})}
    kept = {key: text for key, text in files.items() if text is not None}
    kept.setdefault(f"{INFO}/RECORD", record(kept))
    file = directory / (name or "flax_nano-1.0-py3-none-any.whl")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, text in kept.items():
            archive.writestr(key, text)
    return file
