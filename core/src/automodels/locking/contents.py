"""What a lock file says, as values; `lock_file` reads and writes them. The reference is docs/locking.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ANY = "any"
"""The choice where no framework was asked for."""


@dataclass(frozen=True, kw_only=True)
class LockedPlugin:
    """A plugin that could be used when the lock was written."""

    distribution: str
    version: str
    manifest: str
    """SHA-256 of its manifest."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one request got: a class of a plugin, or an error."""

    plugin: str = ""
    model: str = ""
    """Reference of the model class."""

    config: str = ""
    """Reference of the config class."""

    error: str = ""
    """Code of the error where nothing could be chosen; the others are empty then."""

    def __str__(self) -> str:
        return f"nothing ({self.error})" if self.error else f"{self.plugin} ({self.model})"

    def beside(self, other: Choice | None) -> str:
        """The choice in words that tell it from another one."""
        same = other is not None and (self.plugin, self.model) == (other.plugin, other.model)
        return f"{self} with {self.config}" if same and not self.error else str(self)


NOTHING = Choice(error="not offered")
"""What a request gets for which there is no entry."""

Choices = Mapping[str, Choice]
"""Framework asked for, or `any` → choice. A framework that nobody offers is left out."""


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """A file of a checkpoint."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class LockedCheckpoint:
    """One checkpoint that was named when the lock was written."""

    source: str
    """`directory`, `package` or `hub`."""

    model_type: str
    files: Mapping[str, LockedFile]
    """By name, with slashes; of a model on the Hub those that loading needs."""

    commit: str | None = None
    """For a model on the Hub."""

    decisions: Mapping[str, Choices] = field(default_factory=dict)
    """Task → choices, where they differ from those of the model type: the plugin that saved it is preferred."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Everything that is locked."""

    plugin_api: str
    plugins: Mapping[str, LockedPlugin]
    decisions: Mapping[str, Mapping[str, Choices]]
    """Model type → task → choices."""

    checkpoints: Mapping[str, LockedCheckpoint] = field(default_factory=dict)
    """By name: a path from the lock file's directory, `pkg:distribution/path`, or a name on the Hub."""
