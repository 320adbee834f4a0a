"""torch's plugins beside a real torch: found, honest about offering nothing, and importing nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import automodels
from automodels.errors import UnknownModelTypeError

pytest.importorskip("torch")


@pytest.mark.parametrize("name", ["torch-runtime", "torch-heads"])
def test_the_plugins_are_found_and_offer_nothing_yet(name):
    assert automodels.catalog().plugin(name).state == "empty"


def test_a_model_asked_for_in_torch_is_refused_with_what_there_is(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')

    with pytest.raises(UnknownModelTypeError, match="'bert'"):
        automodels.TorchAutoModel.from_pretrained(tmp_path)


def test_listing_and_importing_the_plugins_does_not_import_torch():
    code = (
        "import sys, torch_heads, torch_runtime, automodels; automodels.catalog().entries; "
        "print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
