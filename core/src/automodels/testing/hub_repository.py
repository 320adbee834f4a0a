"""What a fake Hub keeps: repositories with commits, and who may see them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LARGE = (".safetensors", ".bin", ".msgpack", ".h5")  # kept in large file storage, as on the Hub


@dataclass(kw_only=True)
class FakeRepository:
    """A model: commits, each a mapping from file names to bytes, and names for them."""

    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def commit(
        self,
        files: Mapping[str, bytes | str],
        *,
        delete: Iterable[str] = (),
        ref: str = "main",
        message: str = "",
    ) -> str:
        """Adds a commit on top of a branch, which is made if need be; returns its hash."""
        tree = dict(self.tree(ref) or {})
        for name in delete:
            tree.pop(name)
        tree |= {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
        sha = hashlib.sha1(repr((len(self.commits), self.name, sorted(tree.items()))).encode()).hexdigest()  # noqa: S324  # git's names
        self.commits[sha] = tree
        self.messages[sha] = message
        self.refs[ref] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a hash means."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)

    def tree(self, revision: str) -> dict[str, bytes] | None:
        """The files of a revision."""
        sha = self.resolve(revision)
        return None if sha is None else self.commits[sha]


def is_large(name: str) -> bool:
    """Whether a file is kept in large file storage."""
    return name.endswith(LARGE)


def sha256(data: bytes) -> str:
    """The hash by which large files are known."""
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    """The hash by which git knows other files."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324  # git's names


def etag(name: str, data: bytes) -> str:
    """What the Hub sends as the file's tag."""
    return sha256(data) if is_large(name) else git_blob(data)


def described(name: str, data: bytes) -> dict[str, object]:
    """A file as it stands in the answer to `/api/models/…?blobs=true`."""
    entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": git_blob(data)}
    if is_large(name):
        entry["lfs"] = {"size": len(data), "sha256": sha256(data), "pointerSize": 134}
    return entry
