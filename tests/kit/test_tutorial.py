"""docs/tutorial.md, from its first command to its last, in an environment of its own."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

REPOSITORY = Path(__file__).parents[2]
MARKDOWN = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def load_documents():
    """The reader of console blocks that all pages share."""
    spec = importlib.util.spec_from_file_location("documents", REPOSITORY / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tutorial_does_what_it_says(environment, tmp_path, monkeypatch):
    documents = load_documents()
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")

    blocks = MARKDOWN.findall(text)
    variables = {**environment.variables, "COLUMNS": "120"}

    assert len(blocks) >= 10
    for block in blocks:
        example = SimpleNamespace(parsed=block, namespace={"_page": (str(tmp_path), "", {}, [], variables)})
        wrong = documents.run_console(example)
        assert wrong is None, wrong


def test_what_the_tutorial_shows_as_python_can_be_parsed():
    text = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```text\n(# tests/.*?)^```$", text, re.MULTILINE | re.DOTALL)

    assert len(shown) == 2
    for source in shown:
        compile(source, "tutorial", "exec")


def test_pip_is_the_one_of_the_environment(environment):
    done = subprocess.run(
        [environment.bin / "python", "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == str(environment.bin.parent)
