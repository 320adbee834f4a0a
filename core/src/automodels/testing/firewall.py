"""The import firewall: whether modules can be imported where there is no framework, tried in a fresh interpreter.

Also as a command: `python -m automodels.testing.firewall flax_nano.config flax_nano.keymap`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass

FRAMEWORKS = frozenset({"jax", "jaxlib", "flax", "torch", "transformers", "tensorflow"})
TIMEOUT = 120  # seconds; an import that takes longer hangs

_PROGRAM = """
import importlib, json, sys, traceback

modules, forbidden, path = json.loads(sys.argv[1])
sys.path[:] = path
attempts = {}

class Wall:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in forbidden:
            return None
        stack = [(frame.filename, frame.name, frame.lineno) for frame in traceback.extract_stack()[:-1]]
        place = max(at for at, (file, _, _) in enumerate(stack) if not file.startswith("<frozen"))
        if any("importlib.util" in file and called == "find_spec" for file, called, _ in stack[place:]):
            return None  # somebody asks whether it is there, which is no import
        attempts.setdefault(name.partition(".")[0], f"{stack[place][0]}:{stack[place][2]}")
        raise ModuleNotFoundError(f"No module named {name!r} behind the firewall", name=name)

sys.meta_path.insert(0, Wall)
failures = {}
for module in modules:
    try:
        importlib.import_module(module)
    except BaseException as error:
        failures[module] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps([attempts, failures]))
"""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What happened behind the firewall."""

    attempts: dict[str, str]
    """Framework → `file:line` of the first import of it, whether or not the failure was caught there."""

    failures: dict[str, str]
    """Module that could not be imported → the error."""

    @property
    def passed(self) -> bool:
        return not self.attempts and not self.failures

    def __str__(self) -> str:
        lines = [f"{framework} is imported at {place}" for framework, place in self.attempts.items()]
        lines += [f"{module} cannot be imported: {error}" for module, error in self.failures.items()]
        return "\n".join(lines) or "no framework is imported"


def import_without(*modules: str, forbidden: Collection[str] = FRAMEWORKS) -> ImportReport:
    """Imports modules, with the current `sys.path`, in an interpreter in which none of `forbidden` can be imported.

    An import inside `try` counts as well: what is optional in a config is a framework all the same where there is one.
    Raises RuntimeError when the interpreter dies or hangs.
    """
    order = json.dumps([list(modules), sorted(forbidden), sys.path])
    command = [sys.executable, "-c", _PROGRAM, order]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"Importing {', '.join(modules)} takes more than {TIMEOUT} s.") from error
    if done.returncode != 0:
        raise RuntimeError(f"Importing {', '.join(modules)} ended the interpreter:\n{done.stderr}")
    attempts, failures = json.loads(done.stdout.splitlines()[-1])
    return ImportReport(attempts=attempts, failures=failures)


if __name__ == "__main__":
    report = import_without(*sys.argv[1:])
    print(report)
    sys.exit(0 if report.passed else 1)
