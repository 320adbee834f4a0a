"""What huggingface_hub raises, as our errors: each says what it means and what to do.

Nothing that the client or the server said is repeated: it is kept as the cause. Codes are looked for first, kinds of
network failures second, because the client wraps one in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from automodels.errors import (
    AutomodelsError,
    CheckpointFormatError,
    CheckpointNotFoundError,
    HubAccessError,
    HubError,
    HubOfflineError,
    HubRateLimitError,
    HubUnavailableError,
    InputError,
)

_NETWORK = ("httpx", "httpcore", "requests", "urllib3", "ssl", "socket", "json")  # a page that is no JSON, too
_LOG_IN = "Log in with: hf auth login, or set HF_TOKEN, or pass token=…"


@contextmanager
def hub_errors(asked: str, *, page: str) -> Iterator[None]:
    """Inside, failures of the client become HubError, CheckpointNotFoundError, CheckpointFormatError or InputError.

    `asked` is what was asked for; `page` is the address of the model.
    """
    try:
        yield
    except AutomodelsError:
        raise
    except Exception as failure:
        translated = _by_answer(failure, asked, page) or _by_kind(failure, asked, page)
        if translated is None:
            raise
        raise translated from failure


def _causes(failure: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = failure
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__


def _by_answer(failure: Exception, asked: str, page: str) -> AutomodelsError | None:
    """The error for what the Hub answered, if it answered."""
    from huggingface_hub import errors as client

    for cause in _causes(failure):
        response = getattr(cause, "response", None)
        if isinstance(cause, client.GatedRepoError):
            return _gated(asked, page)
        if isinstance(cause, client.RepositoryNotFoundError):
            return CheckpointNotFoundError(
                f"There is no directory {asked}, and no model on the Hub at {page} that may be seen from here.",
                hints=["Check the name.", f"If the model is private: {_LOG_IN[0].lower()}{_LOG_IN[1:]}"],
            )
        if isinstance(cause, client.RevisionNotFoundError):
            return CheckpointNotFoundError(
                f"The Hub does not have {asked}.", hints=[f"Branches and tags are listed at {page}/tree/main"]
            )
        if response is not None and isinstance(getattr(response, "status_code", None), int):
            return _by_status(response.status_code, response.headers, asked, page)
    return None


def _gated(asked: str, page: str) -> AutomodelsError:
    return HubAccessError(
        f"{asked} is given only to people who accepted its terms.",
        hints=[f"Accept them at {page} (some are granted by hand, which takes a while).", _LOG_IN],
    )


def _by_status(status: int, headers: object, asked: str, page: str) -> AutomodelsError:
    if status == 401:
        return HubAccessError(f"The Hub refused the token for {asked} (status 401).", hints=[_LOG_IN])
    if status == 403:
        return HubAccessError(
            f"The token gives no access to {asked} (status 403).",
            hints=[f"Ask for access at {page}, or take a token with the right permissions.", _LOG_IN],
        )
    if status == 404:
        return CheckpointNotFoundError(f"The Hub does not have {asked} (status 404).", hints=["Check the name."])
    if status == 429:
        return HubRateLimitError(
            f"The Hub received too many requests and refused {asked} (status 429).",
            hints=[_when(headers), "With a token the limits are higher."],
        )
    if status >= 500 or status == 408:
        return HubUnavailableError(
            f"The Hub failed at {asked} (status {status}).",
            hints=["Try again later; what is in the cache loads with local_files_only=True."],
        )
    return HubError(f"The Hub refused {asked} (status {status}).", hints=[f"Look at {page}"])


def _when(headers: object) -> str:
    get = getattr(headers, "get", lambda name: None)
    said = str(get("Retry-After") or "")
    return f"Try again in {said} seconds." if said.isdigit() else "Try again in some minutes."


def _by_kind(failure: Exception, asked: str, page: str) -> AutomodelsError | None:
    """The error for how asking failed, if it is one of the known ways."""
    from huggingface_hub import errors as client

    for cause in _causes(failure):
        if isinstance(cause, client.OfflineModeIsEnabled):
            return HubOfflineError(
                f"{asked} is not in the cache, and downloads are switched off.",
                hints=["Run it once with downloads switched on."],
            )
        if isinstance(cause, client.HFValidationError):
            return InputError(f"{asked} cannot be the name of a model on the Hub.")
        if "Consistency check failed" in str(cause):
            return CheckpointFormatError(
                f"{asked} ended early or late: it has another size than the Hub says.", hints=["Load again."]
            )
        root = type(cause).__module__.partition(".")[0]
        if isinstance(cause, ConnectionError | TimeoutError) or root.startswith(_NETWORK):
            return HubUnavailableError(
                f"{page} could not be reached or broke off ({type(cause).__name__}) when asked for {asked}.",
                hints=[
                    "Check the network, the proxy and HF_ENDPOINT.",
                    "What is in the cache loads with local_files_only=True.",
                ],
            )
        if isinstance(cause, OSError) and cause.errno is not None:
            return HubError(
                f"{asked} could not be put into the cache: {cause.strerror}.",
                hints=["Make room, or choose another place with cache_dir= or HF_HOME."],
            )
    return None
