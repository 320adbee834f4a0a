"""Asking the Hub what there is: the commit that a revision means, and its files with their sizes and hashes."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from automodels.checkpoint.hub_errors import hub_errors
from automodels.checkpoint.hub_options import COMMIT, HubOptions
from automodels.errors import HubUnavailableError, MissingDependencyError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger("automodels")

WAITS = (0.5, 1.0)  # seconds before asking again for a listing when the Hub fails; files are the client's own matter


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """What the Hub says about a file."""

    size: int | None
    sha256: str | None
    """Of a file in large file storage."""

    blob: str | None
    """Git's hash of any other file."""


def ask_listing(
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
    if not isinstance(found.sha, str) or COMMIT.fullmatch(found.sha) is None:
        raise HubUnavailableError(f"{page_of(name)} does not answer as the Hub does: it names no commit for {asked}.")
    listing = {file.rfilename: _remote(file) for file in found.siblings or () if _is_plain(file.rfilename)}
    return found.sha, listing


def hub_client(name: str, options: HubOptions) -> HfApi:
    """The client, for a model; raises MissingDependencyError without huggingface_hub."""
    constants = client_constants(name)
    from huggingface_hub import HfApi

    return HfApi(endpoint=constants.ENDPOINT, token=options.token, library_name="automodels")


def client_constants(name: str) -> Any:
    """The settings of huggingface_hub; raises MissingDependencyError without it."""
    try:
        from huggingface_hub import constants
    except ImportError as missing:
        raise MissingDependencyError(
            f"There is no directory {name}, and a model on the Hub needs huggingface_hub.",
            hints=['Run: pip install "automodels[hub]"', "Or pass a directory."],
        ) from missing
    return constants


def page_of(name: str) -> str:
    """The address of a model's page, without a password that HF_ENDPOINT may hold."""
    from huggingface_hub import constants

    return re.sub(r"//[^/@]*@", "//", f"{constants.ENDPOINT}/{name}")


def _remote(file: Any) -> RemoteFile:
    large = file.lfs
    return RemoteFile(
        size=file.size if large is None else large.size,
        sha256=None if large is None else large.sha256,
        blob=file.blob_id,
    )


def _is_plain(name: object) -> bool:
    """Whether a name in a listing stays inside the folder that it is relative to."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and not any(character in name for character in "\\:")
        and not {"", ".", ".."} & set(name.split("/"))
    )
