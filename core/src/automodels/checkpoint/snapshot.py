"""Snapshot: one commit of a model on the Hub; the cache has some of its files and gets others as they are asked for."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from automodels.checkpoint.hub_client import RemoteFile, ask_listing, page_of
from automodels.checkpoint.hub_errors import hub_errors
from automodels.checkpoint.hub_options import COMMIT, HubOptions
from automodels.errors import CheckpointFormatError, HubError, HubRateLimitError, HubUnavailableError
from automodels.plugins.scan import printable

logger = logging.getLogger("automodels")

PARALLEL = 4  # files at a time


@dataclass(kw_only=True, repr=False)
class Snapshot:
    """One commit of a model on the Hub, as far as it is in the cache."""

    name: str
    commit: str
    directory: Path
    """The cache's folder of the commit; made by the first download."""

    options: HubOptions
    offline: bool
    listing: Mapping[str, RemoteFile] | None = None
    """Every file of the commit; None as long as nobody asked for it, and when offline."""

    fetched: set[str] = field(default_factory=set)
    """Files that were downloaded or found to be right; they are not looked at again."""

    def __str__(self) -> str:
        return f"{self.name} (commit {self.commit[:8]})"

    def __repr__(self) -> str:
        return f"<Snapshot {self}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "options": replace(self.options, token=None)}  # what is pickled gets around

    def names(self) -> tuple[str, ...]:
        """Every file of the commit, with slashes; offline those that are in the cache."""
        if not self.offline and self.listing is None:
            self._list()
        if self.listing is not None:
            return tuple(self.listing)
        found = (path for path in self.directory.rglob("*") if path.is_file())
        return tuple(sorted(path.relative_to(self.directory).as_posix() for path in found))

    def fetch(self, names: Iterable[str]) -> None:
        """Downloads those of some files that the commit has and the cache lacks.

        Raises HubError, and CheckpointFormatError when a file is not the one that the Hub lists.
        """
        new = [name for name in dict.fromkeys(names) if name not in self.fetched]
        if self.offline or all(self._is_cached(name) for name in new):
            return
        there = [name for name in self.names() if name in new]
        wanted = [name for name in there if not self._is_cached(name)]
        if len(wanted) == 1:
            self._download(wanted[0])
        elif wanted:
            with ThreadPoolExecutor(min(PARALLEL, len(wanted))) as pool:
                try:
                    list(pool.map(self._download, wanted))
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        self.fetched.update(there)
        self._remember_revision()

    def _is_cached(self, name: str) -> bool:
        if self.options.force_download:
            return name in self.fetched
        try:
            size = os.stat(self.directory / name).st_size
        except OSError:
            return False
        remote = self.listing.get(name) if self.listing else None
        return remote is None or remote.size in (None, size)

    def _list(self) -> None:
        """Asks for the listing of a commit that was named by its hash; without an answer the cache has to do."""
        try:
            self.listing = ask_listing(self.name, self.commit, self.options)[1]
        except (HubUnavailableError, HubRateLimitError) as failure:
            if not self.directory.is_dir():
                raise
            warn_of_cache(self, failure)
            self.offline = True

    def _download(self, name: str) -> None:
        import huggingface_hub

        assert self.listing is not None
        # A file of another size than the listing's is no good either.
        again = self.options.force_download or os.path.lexists(self.directory / name)
        with hub_errors(f"{name} of {self}", page=page_of(self.name)):
            path = huggingface_hub.hf_hub_download(
                self.name,
                name,
                revision=self.commit,
                cache_dir=str(self.directory.parents[2]),
                force_download=again,
                token=self.options.token,
                endpoint=huggingface_hub.constants.ENDPOINT,
                library_name="automodels",
            )
        if os.path.normpath(path) != os.path.normpath(self.directory / name):
            raise CheckpointFormatError(f"{name} of {self} came from another commit; nothing of it is used.")
        _verify(self, name, self.listing[name])

    def _remember_revision(self) -> None:
        """Writes which commit a branch or tag means, for times without a network; as huggingface_hub does."""
        revision = self.options.revision or "main"
        reference = self.directory.parents[1] / "refs" / revision
        if COMMIT.fullmatch(revision) or content_of(reference) == self.commit or not self.directory.is_dir():
            return
        temporary = reference.with_name(f".{reference.name}.{os.getpid()}")
        with suppress(OSError):  # a cache that cannot be written is still good for reading
            reference.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(self.commit)
            os.replace(temporary, reference)


def warn_of_cache(snapshot: Snapshot, failure: HubError) -> None:
    """Says that the cache is taken because the Hub failed."""
    logger.warning("%s Taken from the cache: %s.", failure.message, snapshot)


def content_of(reference: Path) -> str | None:
    """What stands in a file of the cache that names a commit."""
    try:
        return reference.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _verify(snapshot: Snapshot, name: str, remote: RemoteFile) -> None:
    """Holds a downloaded file against the listing; one that is wrong is removed from the cache."""
    path = snapshot.directory / name
    if remote.sha256:
        expected, found = remote.sha256, _digest(path, hashlib.sha256())
    elif remote.blob:
        header = b"blob %d\0" % os.stat(path).st_size
        expected, found = remote.blob, _digest(path, hashlib.sha1(header, usedforsecurity=False))
    else:
        return
    if found == expected:
        return
    blob = path.parent / os.readlink(path) if path.is_symlink() else path
    if os.path.realpath(blob.parent) == os.path.realpath(snapshot.directory.parents[1] / "blobs"):
        blob.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise CheckpointFormatError(
        f"{name} of {snapshot} is not what the Hub lists: it has the hash {found[:12]}…, "
        f"not {printable(expected)[:12]}….",
        hints=["It was removed from the cache; load with force_download=True to download it again."],
    )


def _digest(path: Path, digest: Any) -> str:
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    text: str = digest.hexdigest()
    return text
