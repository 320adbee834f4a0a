"""Throw-away directories that look like site-packages, for tests of discovery."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

TOY_CONFIG = """
    from typing import ClassVar

    from automodels.config import PretrainedConfig

    class ToyConfig(PretrainedConfig):
        model_type: ClassVar[str] = "toy"
        width: int = 4
"""
TOY_MODELING = """
    class ToyModel:
        framework = "flax"

        def __init__(self, config, **options):
            self.config, self.options = config, options

        @classmethod
        def from_pretrained(cls, location, *, config, resolution, **options):
            return cls(config, **options)
"""


class FakeSite:
    """A directory with distributions in it; put `str(site.path)` on `sys.path`, or pass it as `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def distribution(self, name: str, version: str = "1.0", *, files: Mapping[str, str | bytes] | None = None) -> Path:
        """Writes `name-version.dist-info`, with METADATA and the given files; returns the directory."""
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        self.write(info, {"METADATA": metadata, **(files or {})})
        return info

    def package(self, name: str, files: Mapping[str, str | bytes]) -> Path:
        """Writes a package (an `__init__.py` is added); returns its directory."""
        self.write(self.path / name, {"__init__.py": "", **files})
        return self.path / name

    def plugin(
        self,
        name: str,
        manifest: str | bytes | None = None,
        *,
        version: str = "1.0",
        package: str | None = None,
        files: Mapping[str, str | bytes] | None = None,
    ) -> Path:
        """Writes a distribution with one plugin entry point and its package; returns the package's directory.

        Without a manifest, one is written that offers nothing; `{head}` in a manifest stands for schema, name and API
        range. `files` are modules of the package.
        """
        package = package or name.replace("-", "_").replace(".", "_")
        entry_points = f"[automodels.plugins]\n{name} = {package}:automodels.toml\n"
        self.distribution(name, version, files={"entry_points.txt": entry_points})
        head = f'schema = 1\nname = "{name}"\napi = ">=1.0,<2"\n'
        if manifest is None:
            manifest = head
        elif isinstance(manifest, str):
            manifest = textwrap.dedent(manifest).replace("{head}", head)
        return self.package(package, {"automodels.toml": manifest, **(files or {})})

    def toy(
        self,
        name: str,
        *,
        version: str = "1.0",
        head: str = "{head}",
        framework: str = "flax",
        task: str = "base",
        requires: str = "[]",
        files: Mapping[str, str | bytes] | None = None,
    ) -> Path:
        """Writes a plugin that offers the model type `toy`, with classes that work; returns the package's directory.

        `head` is the top of the manifest, `files` replace or add modules of the package.
        """
        package = name.replace("-", "_").replace(".", "_")
        table = model_table(package, framework=framework, task=task, requires=requires)
        modules = {"config.py": TOY_CONFIG, "modeling.py": TOY_MODELING, **(files or {})}
        return self.plugin(name, head + table, version=version, files=modules)

    @staticmethod
    def write(directory: Path, files: Mapping[str, str | bytes]) -> None:
        """Writes text or bytes below a directory; text is dedented."""
        for name, content in files.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())


def model_table(
    package: str,
    *,
    model_type: str = "toy",
    framework: str = "flax",
    task: str = "base",
    requires: str = "[]",
) -> str:
    """The TOML of a `[[model]]` table whose classes are `package.modeling:ToyModel` and `package.config:ToyConfig`."""
    return (
        f'\n[[model]]\nmodel_type = "{model_type}"\nframework = "{framework}"\nconfig = "{package}.config:ToyConfig"\n'
        f'requires = {requires}\n[model.tasks]\n{task} = "{package}.modeling:ToyModel"\n'
    )
