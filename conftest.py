"""The documentation, executed: `python -m pytest README.md docs core plugins`.

Blocks of Markdown, by their language; all blocks of a page share one namespace and one temporary working directory:

python     run; a block that begins with `>>>` is a doctest, where `...` stands for anything
console    lines that begin with `$ ` are run by a shell, with those below that begin with `> ` as their continuation,
           and what they print is compared: runs of spaces count as two,
           `...` stands for anything, stderr comes where a terminal would show it; a command that fails must be followed
           by `$ echo $?`
toml       a manifest (it has `schema`) or a project file; it must be free of problems

Everything else (`text`, `json`, `sh`) is only shown. A page may put plugins into the directory `site`, which is on the
path of Python and of commands. Sources are searched for doctests in docstrings.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from sybil import Sybil
    from sybil.document import PythonDocStringDocument
    from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
    from sybil.parsers.rest import DocTestParser
except ImportError:  # only the environment `docs` has sybil; the tests need none of this
    Sybil = None

TIMEOUT = 300  # seconds for one block; loading and compiling a model takes two
_MARK = "\x1e"  # between the outputs of two commands


def visit(namespace: dict[str, Any]) -> None:
    """A page is read in a directory of its own, by somebody who has set nothing."""
    here = tempfile.mkdtemp()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMODELS_")}
    environment |= {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(Path(here, "site")),
        "PYTHONUNBUFFERED": "1",  # otherwise stderr would come before stdout
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
        "HF_HUB_OFFLINE": "1",  # no page asks the real Hub
    }
    environment.pop("COLUMNS", None)
    namespace["_page"] = here, os.getcwd(), dict(os.environ), list(sys.path), environment
    os.chdir(here)
    os.mkdir("site")  # Python remembers that a directory on its path was not there
    for name in [name for name in os.environ if name.startswith("AUTOMODELS_")]:
        del os.environ[name]
    sys.path.insert(0, environment["PYTHONPATH"])


def leave(namespace: dict[str, Any]) -> None:
    """Nothing of a page is left for the next one."""
    from automodels.plugins.registration import forget_registrations

    here, directory, variables, path, _ = namespace["_page"]
    forget_registrations()
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(here):
            del sys.modules[name]
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(directory)
    shutil.rmtree(here)


def run_console(example: Any) -> str | None:
    """Runs the commands of a block in one shell; what is wrong with what they printed, or None."""
    commands = _commands(example.parsed)
    after = f"status=$?; printf '{_MARK}%s{_MARK}' $status; (exit $status)"
    script = "\n".join(f"{command}\n{after}" for command, _ in commands)
    *_, environment = example.namespace["_page"]
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    printed = done.stdout.split(_MARK)
    for number, (command, expected) in enumerate(commands):
        got, status = printed[2 * number : 2 * number + 2]
        told = [text for text, _ in commands[number + 1 : number + 2] if text.strip() == "echo $?"]
        if status != "0" and not told:
            return f"$ {command}\n{got}\nended with exit code {status}, which the page does not say"
        if not _agree(expected, got):
            return f"$ {command}\n\nexpected:\n{expected}\nprinted:\n{got}"
    return None


def _commands(source: str) -> list[tuple[str, str]]:
    """Commands, with the lines that a backslash or `> ` continues, and the output that is shown for each."""
    found = re.split(r"^\$ ", source, flags=re.MULTILINE)
    if found[0].strip():
        raise ValueError(f"a console block begins with a command, not with {found[0]!r}")
    matches = [re.fullmatch(r"((?:.*\\\n)*.*(?:\n>(?: .*|(?=\n|$)))*)\n?((?s:.*))", part) for part in found[1:]]
    return [(re.sub(r"^> ?", "", match[1], flags=re.MULTILINE), match[2]) for match in matches if match]


def _agree(expected: str, got: str) -> bool:
    """Columns may be narrower on a page than in a terminal with longer paths."""
    wanted, printed = (re.sub(r" {2,}", "  ", re.sub(r"\s+$", "", text)) + "\n" for text in (expected, got))
    return doctest.OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS)


def check_toml(example: Any) -> str | None:
    """What is wrong with a manifest or a project file, or None."""
    import tomllib

    from automodels.plugins.manifest import parse_manifest
    from automodels.plugins.settings import current_settings

    if "schema" in tomllib.loads(example.parsed):
        _, problems = parse_manifest(tomllib.loads(example.parsed))
        return "\n".join(map(str, problems)) or None
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "automodels.toml").write_text(example.parsed, encoding="utf-8")
        current_settings(environ={}, directory=directory)
    return None


if Sybil is not None:
    _pages = Sybil(
        [
            PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS),
            CodeBlockParser("console", run_console),
            CodeBlockParser("toml", check_toml),
        ],
        patterns=["README.md", "CONTRIBUTING.md", "docs/*.md"],
        # The first shows the paths of a usual installation; the other installs, so tests/kit runs it.
        excludes=["registry/README.md", "docs/tutorial.md"],
        setup=visit,
        teardown=leave,
    )
    _docstrings = Sybil(
        [DocTestParser(optionflags=doctest.ELLIPSIS)],
        patterns=["*/src/*/*.py", "*/src/*/*/*.py"],
        document_types={".py": PythonDocStringDocument},
        setup=visit,
        teardown=leave,
    )
    pytest_collect_file = (_pages + _docstrings).pytest()
