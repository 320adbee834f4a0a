"""Environments to install plugins into: what the tests have is there, and nothing of it changes."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 600  # seconds for one command: installing and compiling, on a slow machine

Process = subprocess.CompletedProcess[str]


class Environment:
    """A virtual environment on top of the one that runs the tests."""

    def __init__(self, directory: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True, timeout=TIMEOUT)
        self.python = directory / "bin" / "python"
        self.bin = directory / "bin"
        site = sysconfig.get_path("purelib", vars={"base": str(directory), "platbase": str(directory)})
        parents = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        lines = [f"import site; site.addsitedir({path!r})" for path in parents]
        Path(site, "parent.pth").write_text("\n".join(lines) + "\n")
        for name, module in (("registry", "automodels_cli"), ("pip", "pip")):
            command = self.bin / name
            command.write_text(f'#!/bin/sh\nexec "{self.python}" -m {module} "$@"\n')
            command.chmod(0o755)

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOMODELS_", "PYTHON"))}
        path = os.pathsep.join([str(self.bin), os.environ["PATH"]])
        return {
            **kept,
            "PATH": path,
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "HF_HUB_OFFLINE": "1",
        }

    def run(self, *command: str | Path, cwd: Path | None = None) -> Process:
        """Runs a command, whatever becomes of it."""
        return subprocess.run(
            [self._found(command[0]), *command[1:]],
            cwd=cwd,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def run_well(self, *command: str | Path, cwd: Path | None = None) -> Process:
        """Runs a command that has to succeed."""
        done = self.run(*command, cwd=cwd)
        assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done

    def _found(self, command: str | Path) -> str:
        own = self.bin / command
        return str(own if own.exists() else command)


def build_wheel(environment: Environment, project: Path, where: Path) -> Path:
    """The wheel of a project; built without isolation, with the hatchling of the tests."""
    environment.run_well("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", where, project)
    (wheel,) = where.glob("*.whl")
    return wheel


def installed(environment: Environment, wheels: Sequence[Path]) -> None:
    environment.run_well("pip", "install", "--quiet", "--no-deps", "--no-index", *wheels)
