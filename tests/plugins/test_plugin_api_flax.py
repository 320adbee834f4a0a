"""What the plugin API promises of the Flax runtime."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plugin_api"))

import signatures


def test_the_flax_runtime_keeps_what_plugin_api_1_promises():
    assert signatures.verdict("flax") == ""
