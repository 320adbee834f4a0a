"""A model on the Hub as a directory: one commit, and of its files only those that are asked for.

revision → commit and listing (names, sizes, hashes) → files into the cache → each held against the listing

Everything goes through huggingface_hub, so that its variables (HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE, …), its
cache, progress bars, retries and resuming are in force. What is in the cache is not asked for again, and nothing is
written then.
"""

from __future__ import annotations

from pathlib import Path

from automodels.checkpoint.hub_client import WAITS, ask_listing, client_constants
from automodels.checkpoint.hub_options import COMMIT, HubOptions, is_hub_name
from automodels.checkpoint.snapshot import Snapshot, content_of, warn_of_cache
from automodels.errors import HubOfflineError, HubRateLimitError, HubUnavailableError, InputError
from automodels.plugins.scan import shown


def open_snapshot(name: str, options: HubOptions) -> Snapshot:
    """The commit that a revision of a model means now, and what the cache has of it.

    When the Hub does not answer, the commit that the revision meant last time is taken, with a warning. Raises
    HubError, CheckpointNotFoundError when the Hub has no such model or revision, MissingDependencyError without
    huggingface_hub.
    """
    constants = client_constants(name)
    if not is_hub_name(name):
        raise InputError(f"{shown(name)} cannot be the name of a model on the Hub.")
    folder = _cache_folder(name, options)
    revision = options.revision or "main"
    known = revision if COMMIT.fullmatch(revision) else _commit_of(folder / "refs" / revision)
    if options.local_files_only or constants.HF_HUB_OFFLINE:
        return _cached_snapshot(name, options, folder, known)
    if known == revision:
        return Snapshot(name=name, commit=known, directory=folder / "snapshots" / known, options=options, offline=False)
    cached = known is not None and (folder / "snapshots" / known).is_dir()
    try:
        commit, listing = ask_listing(name, options.revision, options, waits=() if cached else WAITS)
    except (HubUnavailableError, HubRateLimitError) as failure:
        if not cached or options.force_download:
            raise
        snapshot = _cached_snapshot(name, options, folder, known)
        warn_of_cache(snapshot, failure)
        return snapshot
    directory = folder / "snapshots" / commit
    return Snapshot(name=name, commit=commit, directory=directory, options=options, offline=False, listing=listing)


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


def _cache_folder(name: str, options: HubOptions) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cache = constants.HF_HUB_CACHE if options.cache_dir is None else options.cache_dir
    return Path(cache).expanduser().resolve() / repo_folder_name(repo_id=name, repo_type="model")


def _commit_of(reference: Path) -> str | None:
    found = content_of(reference)
    return found if found is not None and COMMIT.fullmatch(found) else None
