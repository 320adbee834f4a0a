"""A model on the Hub as a directory: one commit, and of its files only those that are asked for.

revision → commit and listing (names, sizes, hashes) → files into the cache → each held against the listing

Everything goes through huggingface_hub, so that its variables (HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE, …), its
cache, progress bars, retries and resuming are in force. What is in the cache is not asked for again, and nothing is
written then.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automodels.checkpoint.hub_errors import hub_errors
from automodels.errors import (
    CheckpointFormatError,
    HubError,
    HubOfflineError,
    HubRateLimitError,
    HubUnavailableError,
    InputError,
    MissingDependencyError,
)
from automodels.plugins.scan import printable, shown

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger("automodels")

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
WAITS = (0.5, 1.0)  # seconds before asking again for a listing when the Hub fails; files are the client's own matter
PARALLEL = 4  # files at a time
_REVISION = re.compile(r"[A-Za-z0-9][\w.+@#=-]*(/[A-Za-z0-9][\w.+@#=-]*)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
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


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """What the Hub says about a file."""

    size: int | None
    sha256: str | None
    """Of a file in large file storage."""

    blob: str | None
    """Git's hash of any other file."""


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
        from dataclasses import replace

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
            self.listing = _ask(self.name, self.commit, self.options)[1]
        except (HubUnavailableError, HubRateLimitError) as failure:
            if not self.directory.is_dir():
                raise
            _warn_of_cache(self, failure)
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
        if _COMMIT.fullmatch(revision) or _content(reference) == self.commit or not self.directory.is_dir():
            return
        temporary = reference.with_name(f".{reference.name}.{os.getpid()}")
        with suppress(OSError):  # a cache that cannot be written is still good for reading
            reference.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(self.commit)
            os.replace(temporary, reference)


def open_snapshot(name: str, options: HubOptions) -> Snapshot:
    """The commit that a revision of a model means now, and what the cache has of it.

    When the Hub does not answer, the commit that the revision meant last time is taken, with a warning. Raises
    HubError, CheckpointNotFoundError when the Hub has no such model or revision, MissingDependencyError without
    huggingface_hub.
    """
    constants = _constants(name)
    if not is_hub_name(name):
        raise InputError(f"{shown(name)} cannot be the name of a model on the Hub.")
    folder = _cache_folder(name, options)
    revision = options.revision or "main"
    known = revision if _COMMIT.fullmatch(revision) else _commit_of(folder / "refs" / revision)
    if options.local_files_only or constants.HF_HUB_OFFLINE:
        return _cached_snapshot(name, options, folder, known)
    if known == revision:
        return Snapshot(name=name, commit=known, directory=folder / "snapshots" / known, options=options, offline=False)
    cached = known is not None and (folder / "snapshots" / known).is_dir()
    try:
        commit, listing = _ask(name, options.revision, options, waits=() if cached else WAITS)
    except (HubUnavailableError, HubRateLimitError) as failure:
        if not cached or options.force_download:
            raise
        snapshot = _cached_snapshot(name, options, folder, known)
        _warn_of_cache(snapshot, failure)
        return snapshot
    directory = folder / "snapshots" / commit
    return Snapshot(name=name, commit=commit, directory=directory, options=options, offline=False, listing=listing)


def hub_client(name: str, options: HubOptions) -> HfApi:
    """The client, for a model; raises MissingDependencyError without huggingface_hub."""
    constants = _constants(name)
    from huggingface_hub import HfApi

    return HfApi(endpoint=constants.ENDPOINT, token=options.token, library_name="automodels")


def is_hub_name(text: object) -> bool:
    """Whether a text has the form of `model` or `organisation/model`."""
    if not isinstance(text, str):
        return False
    return HUB_NAME.fullmatch(text) is not None and ".." not in text and "--" not in text


def _constants(name: str) -> Any:
    try:
        from huggingface_hub import constants
    except ImportError as missing:
        raise MissingDependencyError(
            f"There is no directory {name}, and a model on the Hub needs huggingface_hub.",
            hints=['Run: pip install "automodels[hub]"', "Or pass a directory."],
        ) from missing
    return constants


def _cached_snapshot(name: str, options: HubOptions, folder: Path, commit: str | None) -> Snapshot:
    why = "local_files_only=True" if options.local_files_only else "HF_HUB_OFFLINE"
    if options.force_download:
        raise HubOfflineError(f"{name} cannot be downloaded: {why} is set.", hints=["Leave out force_download."])
    if commit is None or not (folder / "snapshots" / commit).is_dir():
        of = f"the revision {options.revision} of {name}" if options.revision else name
        raise HubOfflineError(
            f"There is no directory {name}, the cache has nothing of {of} in {folder.parent}, and downloads are "
            f"switched off ({why}).",
            hints=["Run it once with downloads switched on, or pass the right cache_dir."],
        )
    directory = folder / "snapshots" / commit
    return Snapshot(name=name, commit=commit, directory=directory, options=options, offline=True)


def _warn_of_cache(snapshot: Snapshot, failure: HubError) -> None:
    logger.warning("%s Taken from the cache: %s.", failure.message, snapshot)


def _ask(
    name: str, revision: str | None, options: HubOptions, *, waits: tuple[float, ...] | None = None
) -> tuple[str, dict[str, RemoteFile]]:
    """The commit that a revision means, and its files; asked again when the Hub fails."""
    for wait in WAITS if waits is None else waits:
        try:
            return _ask_once(name, revision, options)
        except HubUnavailableError as failure:
            logger.info("%s Asking again in %g s.", failure.message, wait)
            time.sleep(wait)
    return _ask_once(name, revision, options)


def _ask_once(name: str, revision: str | None, options: HubOptions) -> tuple[str, dict[str, RemoteFile]]:
    from huggingface_hub import constants

    asked = f"the revision {revision} of {name}" if revision else name
    with hub_errors(asked, page=page_of(name)):
        found = hub_client(name, options).model_info(
            name, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    if not isinstance(found.sha, str) or _COMMIT.fullmatch(found.sha) is None:
        raise HubUnavailableError(f"{page_of(name)} does not answer as the Hub does: it names no commit for {asked}.")
    listing = {file.rfilename: _remote(file) for file in found.siblings or () if _is_plain(file.rfilename)}
    return found.sha, listing


def _remote(file: Any) -> RemoteFile:
    large = file.lfs
    return RemoteFile(
        size=file.size if large is None else large.size,
        sha256=None if large is None else large.sha256,
        blob=file.blob_id,
    )


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


def _cache_folder(name: str, options: HubOptions) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cache = constants.HF_HUB_CACHE if options.cache_dir is None else options.cache_dir
    return Path(cache).expanduser().resolve() / repo_folder_name(repo_id=name, repo_type="model")


def page_of(name: str) -> str:
    """The address of a model's page, without a password that HF_ENDPOINT may hold."""
    from huggingface_hub import constants

    return re.sub(r"//[^/@]*@", "//", f"{constants.ENDPOINT}/{name}")


def _commit_of(reference: Path) -> str | None:
    found = _content(reference)
    return found if found is not None and _COMMIT.fullmatch(found) else None


def _content(reference: Path) -> str | None:
    try:
        return reference.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _is_revision(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 200 and _REVISION.fullmatch(value) is not None and ".." not in value


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _is_plain(name: object) -> bool:
    """Whether a name in a listing stays inside the folder that it is relative to."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and not any(character in name for character in "\\:")
        and not {"", ".", ".."} & set(name.split("/"))
    )
