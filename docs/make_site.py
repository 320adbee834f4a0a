"""Makes the site: `python docs/make_site.py DIRECTORY`, in the environment of `tox run -e docs`.

The pages are those of this folder, which can be read as they are; what the site has beyond them is added to copies:
the navigation, the reference, links to pages that lie elsewhere in the repository, and glossary entries.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

ELSEWHERE = {"registry/README.md": "command.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
"""Page of the repository → its name on the site."""

NAVIGATION = {
    "Start": ["tour", "tutorial", "migration"],
    "How to": ["plugins", "testing", "backends", "checkpoints", "locking", "training", "generation", "text", "pytorch"],
    "Reference": [
        "The command registry <command>",
        "reference/command",
        "manifest",
        "plugin-api",
        "configs",
        "errors",
        "reference/automodels",
        "reference/configs",
        "reference/errors",
        "reference/checkpoints",
        "reference/plugins",
        "reference/flax_runtime",
        "reference/torch_runtime",
        "reference/testing",
    ],
    "Explanation": ["design", "resolution", "threat-model", "glossary"],
    "Project": ["contributing", "changes"],
}
NOT_YET = {"tutorial", "locking"}  # are taken up once they are there

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])+)\]\(([^)\s:#]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def make_site(target: Path) -> int:
    """Writes the site into a directory; the exit code of Sphinx, for which warnings are errors."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        stage(source)
        options = ["-n", "-W", "--keep-going", "-q", "-E", "-c", str(DOCS), "-d", str(Path(scratch, "doctrees"))]
        return build_main([*options, str(source), str(target)])


def stage(source: Path) -> None:
    """Writes the pages as Sphinx reads them."""
    from command_page import write_command
    from reference_pages import write_reference

    pages = {page.relative_to(ROOT).as_posix(): page.name for page in DOCS.glob("*.md")} | ELSEWHERE
    source.mkdir(parents=True)
    (source / "reference").mkdir()
    for path, name in pages.items():
        text = with_links((ROOT / path).read_text(encoding="utf-8"), Path(path), pages)
        (source / name).write_text(text, encoding="utf-8")
    write_command(source / "reference" / "command.md")
    write_reference(source / "reference")
    glossary = source / "glossary.md"
    glossary.write_text(as_glossary(glossary.read_text(encoding="utf-8")), encoding="utf-8")
    with (source / "index.md").open("a", encoding="utf-8") as index:
        index.write(toctrees(source))


def with_links(text: str, page: Path, pages: dict[str, str]) -> str:
    """The page with links as the site needs them: to pages by their names there, to other files not at all."""

    def link(match: re.Match[str]) -> str:
        shown, target, anchor = match[1], match[2], match[3] or ""
        if not target:
            return match[0]
        path = (ROOT / page.parent / target).resolve().relative_to(ROOT.resolve()).as_posix()
        if path == "docs/glossary.md" and anchor:
            return f"{{term}}`{shown} <{anchor.removeprefix('#').replace('-', ' ')}>`"
        if path == "README.md":
            path = "docs/index.md"
        if shown.endswith(".md"):  # on GitHub a name of a file, on the site the title of the page
            shown = ""
        return f"[{shown}]({pages[path]}{anchor})" if path in pages else shown

    kept: list[str] = []
    place = 0
    for fence in _FENCE.finditer(text):  # what is shown as code stays as it is
        kept += [_LINK.sub(link, text[place : fence.start()]), fence[0]]
        place = fence.end()
    return "".join([*kept, _LINK.sub(link, text[place:])])


def as_glossary(text: str) -> str:
    """The table of words as entries that can be linked."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE)[1:]
    entries = "\n\n".join(f"{word}\n  {meaning}" for word, meaning in rows if set(word) - set("-| "))
    before = text[: text.index("| word |")]
    after = re.split(r"^\|.*\|$", text, flags=re.MULTILINE)[-1]
    return f"{before}:::{{glossary}}\n{entries}\n:::\n{after}"


def toctrees(source: Path) -> str:
    """The navigation; raises ValueError when a page is not in it."""
    there = {path.relative_to(source).with_suffix("").as_posix() for path in source.rglob("*.*")} - {"index"}
    named = [name_of(page) for group in NAVIGATION.values() for page in group]
    if missing := sorted(there - set(named)) + sorted(set(named) - there - NOT_YET):
        raise ValueError(f"NAVIGATION of docs/make_site.py and the pages differ in {', '.join(missing)}")
    groups = {caption: [page for page in group if name_of(page) in there] for caption, group in NAVIGATION.items()}
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:titlesonly:\n:caption: {caption}\n\n" + "\n".join(group) + "\n```\n"
        for caption, group in groups.items()
    )


def name_of(entry: str) -> str:
    """The page of an entry of the navigation, which may have a title before it."""
    return entry.partition("<")[2].rstrip(">") or entry


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/make_site.py DIRECTORY")
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    sys.exit(make_site(Path(sys.argv[1])))
