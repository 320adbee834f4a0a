"""The pytest plugin of `automodels[testing]`: fixtures and a marker, for whoever asks for them.

pytest loads it in every run where `automodels` is installed, so it imports nothing but pytest, uses nothing by itself,
and says nothing about projects that are no plugins. The reference is docs/testing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from automodels.testing.hub import FakeHub
    from automodels.testing.sites import FakeSite

PROJECT_BYTES = 1 << 20
MARKER = "automodels_needs(library, ...): skip the test unless all of these can be imported, such as 'flax' or 'torch'"


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker."""
    config.addinivalue_line("markers", MARKER)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose marker names a library that is not there. Nothing is imported to find that out."""
    for marker in item.iter_markers("automodels_needs"):
        from importlib.machinery import PathFinder

        missing = [name for name in marker.args if PathFinder.find_spec(str(name)) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")


def pytest_report_header(config: pytest.Config) -> str | None:
    """For projects that are plugins: the plugin API, and the plugins that tests will find."""
    project = Path(config.rootpath, "pyproject.toml")
    try:
        with project.open("rb") as stream:
            is_plugin = b"automodels.plugins" in stream.read(PROJECT_BYTES)
    except OSError:
        return None
    if not is_plugin:
        return None
    from automodels.plugins.catalog import load_catalog
    from automodels.plugins.judge import PLUGIN_API
    from automodels.plugins.settings import Settings

    found = load_catalog(settings=Settings()).plugins
    names = ", ".join(f"{plugin.name} {plugin.version}" for plugin in found)
    return f"automodels: plugin API {PLUGIN_API}; plugins: {names or 'none'}"


@pytest.fixture
def plugin_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    """A directory like site-packages, the first one on `sys.path`, for plugins that exist during one test."""
    from automodels.testing.sites import FakeSite

    site = FakeSite(tmp_path / "plugin-site")
    monkeypatch.syspath_prepend(str(site.path))
    return site


@pytest.fixture
def clean_automodels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the outside decides, and nothing that the test registers or imports from `tmp_path` is left."""
    from automodels.testing.state import forget_everything, without_settings

    without_settings(monkeypatch)
    forget_everything()
    yield
    forget_everything(below=tmp_path)


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub on the loopback that huggingface_hub is directed to, with an empty cache and nobody logged in."""
    from automodels.testing.hub import running_hub

    yield from running_hub(tmp_path, monkeypatch)


@pytest.fixture
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function of a model type, which writes a checkpoint of the tiny model in `[model.example]` of its manifest.

    `tiny_checkpoint("nano", task="causal-lm", framework="flax", plugin="flax-nano")`; only the first is needed.
    """
    from automodels.testing.tiny import save_tiny_model

    def make(model_type: str, *, task: str = "base", framework: str | None = None, plugin: str | None = None) -> Path:
        return save_tiny_model(tmp_path_factory.mktemp(model_type), model_type, task, framework, plugin)

    return make
