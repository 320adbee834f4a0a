"""The tree of errors.

Every error that automodels raises on purpose stands here, with a code that does not change between versions::

    AutomodelsError                    AM000
    ├── ResolutionError                AM100   no class could be chosen
    │   ├── UnknownModelTypeError      AM101   no installed plugin offers this model type
    │   ├── AmbiguousModelError        AM102   several plugins offer the same thing
    │   ├── UnknownTaskError           AM103   the model type is known, the task is not offered for it
    │   ├── NoUsablePluginError        AM104   plugins offer it, none of them can be used here
    │   ├── UnknownPluginError         AM105   a plugin asked for by name is not a candidate
    │   ├── StrictModeError            AM106   strict mode found something that is otherwise skipped
    │   └── LockError                  AM107   what would be loaded is not what the lock file says
    ├── PluginError                    AM200   a chosen plugin failed
    │   ├── PluginImportError          AM201   its module could not be imported
    │   ├── PluginReferenceError       AM202   its module lacks the object that the manifest names
    │   ├── PluginHookError            AM203   its hooks could not be registered, or one of them failed
    │   └── RegistrationError          AM204   a class cannot be registered at run time
    ├── ConfigError (ValueError)       AM300   a config is unusable
    │   ├── ConfigFileError            AM301   a JSON file is not what it should be
    │   ├── ConfigValueError           AM302   a value is impossible
    │   ├── UnsupportedConfigError     AM303   a value asks for something that is not implemented
    │   └── MissingModelTypeError      AM304   config.json names no model type
    ├── CheckpointError                AM400   a checkpoint is unusable
    │   ├── CheckpointNotFoundError    AM401   nothing is there (also a FileNotFoundError)
    │   ├── CheckpointFormatError      AM402   a weight file is not what it claims to be
    │   ├── CheckpointSecurityError    AM403   a checkpoint points outside itself
    │   ├── CheckpointMismatchError    AM404   tensors and parameters do not fit each other (also a ValueError)
    │   ├── CheckpointWriteError       AM405   a checkpoint could not be written; the old one stays (also an OSError)
    │   ├── CheckpointChangedError     AM406   a checkpoint was saved anew while it was being loaded
    │   └── HubError                   AM410   the Hub did not give or take what was asked for
    │       ├── HubAccessError         AM411   not logged in, or no access (also a PermissionError)
    │       ├── HubRateLimitError      AM412   too many requests
    │       ├── HubUnavailableError    AM413   no answer, or a failing one (also a ConnectionError)
    │       └── HubOfflineError        AM414   not in the cache, and no downloads (also a FileNotFoundError)
    ├── BackendUnavailableError        AM501   the backend asked for cannot run here
    ├── MissingDependencyError         AM601   an optional library is needed (also an ImportError)
    └── InputError (ValueError)        AM701   an argument has an impossible value
        └── UnknownArgumentError       AM702   no such argument (also a TypeError)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MESSAGE_LINES = 12  # what still fits on a small terminal together with the prompt


class AutomodelsError(Exception):
    """Root of all errors.

    `message` says what is wrong and what it means, `hints` what to do next; `trace` holds the full story, line by
    line, for `--json` and for bug reports. The printed text has at most 12 lines.
    """

    code = "AM000"

    def __init__(self, message: str, *, hints: Sequence[str] = (), trace: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hints)
        self.trace = tuple(trace)

    def __str__(self) -> str:
        return f"[{self.code}] {self.text()}"

    def text(self) -> str:
        """Message and hints without the code, at most 12 lines; hints are never cut."""
        body = self.message.splitlines()
        room = max(MESSAGE_LINES - len(self.hints), 2)
        if len(body) > room:
            body = [*body[: room - 1], f"    … and {len(body) - room + 1} more lines; the trace has them"]
        return "\n".join([*body, *self.hints])

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.message, self.hints, self.trace)


def _restore(
    kind: type[AutomodelsError], message: str, hints: tuple[str, ...], trace: tuple[str, ...]
) -> AutomodelsError:
    return kind(message, hints=hints, trace=trace)


class ResolutionError(AutomodelsError):
    """No class could be chosen."""

    code = "AM100"


class UnknownModelTypeError(ResolutionError):
    """No installed plugin offers this model type."""

    code = "AM101"


class AmbiguousModelError(ResolutionError):
    """Several plugins offer the same model type, task and framework, and nothing says which one to take."""

    code = "AM102"


class UnknownTaskError(ResolutionError):
    """The model type is known, but no plugin offers this task for it."""

    code = "AM103"


class NoUsablePluginError(ResolutionError):
    """Plugins offer the model, but each of them was rejected; the message has one reason for each."""

    code = "AM104"


class UnknownPluginError(ResolutionError):
    """A plugin was asked for by name that does not offer what is needed."""

    code = "AM105"


class StrictModeError(ResolutionError):
    """Strict mode: something is wrong that is otherwise skipped with a warning."""

    code = "AM106"


class LockError(ResolutionError):
    """What would be loaded is not what the lock file in force says: another class, plugin, or file."""

    code = "AM107"


class PluginError(AutomodelsError):
    """A plugin that was chosen failed."""

    code = "AM200"


class PluginImportError(PluginError):
    """A module of the plugin could not be imported: it raised, or tried to end the process."""

    code = "AM201"


class PluginReferenceError(PluginError):
    """The manifest names an object that its module does not have, or that is not of the right kind."""

    code = "AM202"


class PluginHookError(PluginError):
    """The plugin's hooks could not be registered, or one of them failed."""

    code = "AM203"


class RegistrationError(PluginError):
    """A class cannot be registered at run time."""

    code = "AM204"


class ConfigError(AutomodelsError, ValueError):
    """A config is unusable."""

    code = "AM300"


class ConfigFileError(ConfigError):
    """A JSON file is not strict JSON, too large, too deep, or not an object."""

    code = "AM301"


class ConfigValueError(ConfigError):
    """A config field has an impossible value."""

    code = "AM302"


class UnsupportedConfigError(ConfigError):
    """A config asks for a network, or a way of generating, that is not implemented."""

    code = "AM303"


class MissingModelTypeError(ConfigError):
    """`config.json` does not say which model type it describes."""

    code = "AM304"


class CheckpointError(AutomodelsError):
    """A checkpoint is unusable."""

    code = "AM400"


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint here, or one of its files is missing."""

    code = "AM401"


class CheckpointFormatError(CheckpointError):
    """A weight file is not what it claims to be."""

    code = "AM402"


class CheckpointSecurityError(CheckpointError):
    """A checkpoint points outside its own directory."""

    code = "AM403"


class CheckpointMismatchError(CheckpointError, ValueError):
    """Tensors and parameters do not fit each other."""

    code = "AM404"


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint could not be written; unless the message says otherwise, what was there before is untouched."""

    code = "AM405"


class CheckpointChangedError(CheckpointError):
    """A checkpoint was saved anew while it was being loaded; what was read of it does not belong together."""

    code = "AM406"


class HubError(CheckpointError):
    """The Hub did not give or take what was asked for; nothing found is a CheckpointNotFoundError instead."""

    code = "AM410"


class HubAccessError(HubError, PermissionError):
    """The Hub knows the model but refuses access: no token, a wrong one, or terms that were not accepted."""

    code = "AM411"


class HubRateLimitError(HubError):
    """The Hub received too many requests; the message says how long to wait."""

    code = "AM412"


class HubUnavailableError(HubError, ConnectionError):
    """The Hub could not be reached, broke off, or answered with a failure of its own."""

    code = "AM413"


class HubOfflineError(HubError, FileNotFoundError):
    """A file is not in the cache, and downloads are switched off."""

    code = "AM414"


class BackendUnavailableError(AutomodelsError):
    """The backend asked for by name cannot run here; the message has the reasons."""

    code = "AM501"


class MissingDependencyError(AutomodelsError, ImportError):
    """An optional library is needed for this."""

    code = "AM601"


class InputError(AutomodelsError, ValueError):
    """An argument has an impossible value."""

    code = "AM701"


class UnknownArgumentError(InputError, TypeError):
    """No such argument; the message names the nearest one."""

    code = "AM702"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is most likely a misspelling of."""
    import difflib  # only needed once something went wrong

    found = difflib.get_close_matches(name, list(known), n=1)
    return found[0] if found else None


def listed(names: Iterable[str], *, limit: int = 8) -> str:
    """Names separated by commas, the tail counted instead of spelled out."""
    names = list(names)
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"
