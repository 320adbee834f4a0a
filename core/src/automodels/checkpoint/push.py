"""A saved directory as one commit on the Hub, with a model card.

Weight files of the same kind that the new save does not have are removed in the same commit: shards of two saves would
be a mixture. A card that exists keeps its text, its licence and everything else; missing tags are added.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automodels.checkpoint.hub_client import hub_client, page_of
from automodels.checkpoint.hub_errors import hub_errors
from automodels.checkpoint.hub_options import HubOptions, is_hub_name
from automodels.checkpoint.journal import RECORD
from automodels.checkpoint.staging import staging
from automodels.errors import CheckpointNotFoundError, CheckpointSecurityError, InputError
from automodels.plugins.package_files import contained
from automodels.plugins.scan import shown

CARD = "README.md"
LIBRARY = "automodels"
MESSAGE = "Upload model with automodels"
_WEIGHTS = re.compile(
    r"(?P<stem>[\w-]+?)(?P<variant>\.[\w]+?)?(?:-\d{5}-of-\d{5})?(?P<suffix>\.safetensors|\.msgpack|\.bin)"
    r"(?:\.index(?P<late_variant>\.\w+)?\.json)?",
    re.ASCII,
)
_NEW = """# {name}

```python
from automodels import AutoModel

model = AutoModel.from_pretrained("{name}")
```
"""
_FRONT_MATTER = re.compile(
    r"\ufeff?---[ \t]*\r?\n(?P<front>.*?)^---[ \t]*(?:\r?\n(?P<body>.*))?", re.DOTALL | re.MULTILINE
)
_TAG = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push did."""

    url: str
    """The page of the commit, or of the pull request."""

    commit: str
    files: tuple[str, ...]
    removed: tuple[str, ...]
    """Weight files of an earlier save."""


def push_to_hub(
    directory: str | os.PathLike[str],
    repo_id: str,
    *,
    commit_message: str = MESSAGE,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    tags: Sequence[str] = (),
    create_pr: bool = False,
    card: str | None = None,
) -> Pushed:
    """Uploads the files of a saved directory as one commit; the repository is made if need be.

    `private` is for a repository that is made; `revision` is a branch, made if need be; `card` is the text of the
    model card, in place of the one in the directory or on the Hub. Raises HubError, CheckpointNotFoundError for a
    missing directory, CheckpointSecurityError when a link leads out of it, InputError, MissingDependencyError.
    """
    if not is_hub_name(repo_id):
        raise InputError(f"{shown(repo_id)} cannot be the name of a model on the Hub: organisation/model, or model.")
    if not commit_message.strip():
        raise InputError("commit_message is empty.")
    tags = _checked_tags(tags)
    options = HubOptions(revision=revision, token=token)
    _complete(Path(directory))
    files = _files(Path(directory))
    client = hub_client(repo_id, options)
    with hub_errors(repo_id, page=page_of(repo_id)):
        repo_id = client.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not create_pr:
            client.create_branch(repo_id, branch=revision, exist_ok=True)
        there = client.list_repo_files(repo_id, revision=revision)
        if card is None and CARD in files:
            card = files[CARD].read_text(encoding="utf-8")
        elif card is None and CARD in there:
            card = Path(client.hf_hub_download(repo_id, CARD, revision=revision)).read_text(encoding="utf-8")
        stale = tuple(sorted(_stale(there, files)))
        operations = _operations(files, card_with(card, tags, name=repo_id), stale)
        done = client.create_commit(
            repo_id, operations, commit_message=commit_message, revision=revision, create_pr=create_pr
        )
    names = tuple(sorted({CARD, *files}))
    return Pushed(url=done.pr_url or done.commit_url, commit=done.oid, files=names, removed=stale)


def _operations(files: Mapping[str, Path], card: str, stale: Iterable[str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    return [
        CommitOperationAdd(CARD, card.encode()),
        *(CommitOperationAdd(name, str(path)) for name, path in files.items() if name != CARD),
        *(CommitOperationDelete(name) for name in stale),
    ]


def card_with(text: str | None, tags: Iterable[str], *, name: str) -> str:
    """A model card with our name and the tags in its front matter; what is there already stays.

    Raises InputError when there is a front matter that is not a YAML mapping.
    """
    import yaml  # huggingface_hub requires it

    front, body = _parted(text or _NEW.format(name=name))
    try:
        data = yaml.safe_load(front) if front else {}
    except yaml.YAMLError as failure:
        raise InputError(f"The front matter of {CARD} is not YAML.", hints=["Mend it, or pass card=…"]) from failure
    if not isinstance(data, dict):
        raise InputError(f"The front matter of {CARD} is not a YAML mapping.", hints=["Mend it, or pass card=…"])
    present = data.get("tags") or []
    present = present if isinstance(present, list) else [present]
    wanted = list(dict.fromkeys([*present, *tags]))
    data = {**data, "library_name": data.get("library_name") or LIBRARY, **({"tags": wanted} if wanted else {})}
    dumped = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return f"---\n{dumped}---\n{body}"


def _parted(text: str) -> tuple[str, str]:
    """(YAML front matter, the rest) of a model card."""
    found = _FRONT_MATTER.fullmatch(text)
    return (found["front"], found["body"] or "") if found else ("", f"\n{text}")


def _complete(directory: Path) -> None:
    """Completes a save that was interrupted after its decision; otherwise parts of two checkpoints were uploaded."""
    if os.path.lexists(directory / RECORD):
        with staging(directory):
            pass


def _files(directory: Path) -> dict[str, Path]:
    """Every file to upload by its name with slashes; hidden files, which may be of an unfinished save, are left out."""
    if not directory.is_dir():
        raise CheckpointNotFoundError(f"There is no directory {directory}.", hints=["Save the model first."])
    found = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if any(part.startswith(".") for part in name.split("/")) or not path.is_file():
            continue
        if contained(str(directory), name) is None:
            raise CheckpointSecurityError(
                f"{name} is a link out of {directory}; it is not uploaded.",
                hints=["Copy the file, or remove the link."],
            )
        found[name] = path
    if not found:
        raise CheckpointNotFoundError(f"{directory} has no files to upload.", hints=["Save the model first."])
    return found


def _stale(there: Iterable[str], files: Iterable[str]) -> set[str]:
    """Weight files and indexes on the Hub that stand beside new ones of the same kind and are none of them."""
    files = set(files)
    kinds = {kind for name in files if (kind := _kind(name)) is not None}
    return {name for name in there if name not in files and _kind(name) in kinds}


def _kind(name: str) -> tuple[str | None, ...] | None:
    """Stem, variant and format of a weight file or of its index; None for any other file."""
    folder, _, last = name.rpartition("/")
    found = _WEIGHTS.fullmatch(last)
    return (folder, found["stem"], found["variant"] or found["late_variant"], found["suffix"]) if found else None


def _checked_tags(tags: object) -> tuple[str, ...]:
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in tags):
        raise InputError(f"tags is {shown(tags)}, not a list of short texts.")
    return tuple(tags)
