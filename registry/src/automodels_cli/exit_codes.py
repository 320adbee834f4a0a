"""Exit codes, and which error ends in which one."""

from __future__ import annotations

from automodels.errors import (
    AutomodelsError,
    BackendUnavailableError,
    CheckpointError,
    CheckpointNotFoundError,
    ConfigError,
    InputError,
    MissingDependencyError,
    PluginError,
    ResolutionError,
    UnknownModelTypeError,
    UnknownTaskError,
)

FINE = 0
ATTENTION = 1
USAGE = 2
NOT_FOUND = 3
UNDECIDED = 4
BAD_CHECKPOINT = 5
CANNOT_RUN = 6
INTERNAL = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

# The nearest ancestor of an error decides.
_OF_ERROR: dict[type[BaseException], int] = {
    InputError: USAGE,
    UnknownModelTypeError: NOT_FOUND,
    UnknownTaskError: NOT_FOUND,
    CheckpointNotFoundError: NOT_FOUND,
    ResolutionError: UNDECIDED,
    ConfigError: BAD_CHECKPOINT,
    CheckpointError: BAD_CHECKPOINT,
    PluginError: CANNOT_RUN,
    BackendUnavailableError: CANNOT_RUN,
    MissingDependencyError: CANNOT_RUN,
    AutomodelsError: INTERNAL,
}


def exit_code(error: BaseException) -> int:
    """The exit code for an error; whatever is not one of ours is a bug."""
    return next((_OF_ERROR[kind] for kind in type(error).__mro__ if kind in _OF_ERROR), INTERNAL)
