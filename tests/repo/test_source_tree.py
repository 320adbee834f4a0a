from __future__ import annotations

import importlib.util
import tomllib

import pytest

from automodels.plugins.catalog import load_catalog
from automodels.plugins.scan import scan


@pytest.fixture
def source_tree(repository):
    spec = importlib.util.spec_from_file_location("source_tree", repository / "benchmarks" / "gpu" / "source_tree.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_source_tree_offers_what_its_distributions_would(source_tree, repository, tmp_path):
    files = [*repository.glob("*/pyproject.toml"), *repository.glob("plugins/*/pyproject.toml")]

    for file in files:
        source_tree.add(file, tmp_path)

    found = scan([str(tmp_path)])
    assert set(found.distributions) == {tomllib.loads(file.read_text())["project"]["name"] for file in files}
    assert not found.unreadable
    assert "cudnn" in {table.name for _, table in load_catalog([str(tmp_path)]).backends("flax")}
