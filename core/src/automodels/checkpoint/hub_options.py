"""What a model on the Hub is asked for by: its name and how to get at it, checked before anything is sent."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from automodels.errors import InputError
from automodels.plugins.scan import shown

COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w.+@#=-]*(/[A-Za-z0-9][\w.+@#=-]*)*", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,512}")


@dataclass(frozen=True, kw_only=True)
class HubOptions:
    """How to get at a model on the Hub."""

    revision: str | None = None
    """Branch, tag or commit; None for the default branch."""

    cache_dir: str | os.PathLike[str] | None = None
    """In place of huggingface_hub's cache."""

    force_download: bool = False
    """Whether files are downloaded although they are in the cache."""

    local_files_only: bool = False
    """Whether only the cache is looked at."""

    token: str | bool | None = field(default=None, repr=False)
    """A token; None for the one of the environment or of the last log-in, False for none."""

    def __post_init__(self) -> None:
        revision = self.revision
        if revision is not None and not _is_revision(revision):
            raise InputError(f"{shown(revision)} cannot be a revision; it is a branch, a tag or a commit.")
        for name in ("force_download", "local_files_only"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is {shown(getattr(self, name))}, not True or False.")
        if self.force_download and self.local_files_only:
            raise InputError("force_download=True and local_files_only=True contradict each other.")
        if not (self.token is None or isinstance(self.token, bool)) and not _is_token(self.token):
            raise InputError("token is not printable text without spaces.")  # it is not shown


def is_hub_name(text: object) -> bool:
    """Whether a text has the form of `model` or `organisation/model`."""
    if not isinstance(text, str):
        return False
    return _NAME.fullmatch(text) is not None and ".." not in text and "--" not in text


def _is_revision(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 200 and _REVISION.fullmatch(value) is not None and ".." not in value


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None
