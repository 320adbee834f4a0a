"""stub"""
from __future__ import annotations
from pathlib import Path
from automodels.checkpoint.tensors import Contents
def read_torch(path: Path) -> Contents: raise NotImplementedError
