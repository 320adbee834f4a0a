"""Probes of this plugin's backends: cheap looks at what is installed, which initialise nothing."""

from __future__ import annotations

import importlib.util
import os
import shutil

from automodels.backends import Situation

_COMPILERS = ("c++", "g++", "clang++", "cl")


def compiler(here: Situation) -> str | None:
    """Why torch.compile has nothing to make kernels with, or None."""
    if here.device == "cpu":
        return _no_cpp_compiler()
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return None


def _no_cpp_compiler() -> str | None:
    named = os.environ.get("CXX", "").strip()
    if named:
        found = shutil.which(named) or shutil.which(named.split()[0])  # it may have options
        return None if found else f"CXX={named} is not there"
    if any(shutil.which(name) for name in _COMPILERS):
        return None
    return f"there is no C++ compiler ({', '.join(_COMPILERS)}) on PATH"
