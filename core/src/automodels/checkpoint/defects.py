"""What verify found: defects, files, and the report of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from automodels.errors import AutomodelsError, CheckpointSecurityError


@dataclass(frozen=True, kw_only=True)
class Defect:
    """What is wrong with which file, and with which tensors in it."""

    file: str
    """Its name; empty when it is about the directory."""

    kind: str
    """`missing`, `config`, `index`, `format`, `security`, `record`, `values`, `checksum`, `pointer`: these break the
    checkpoint. `unlisted`, `stray`, `pending`: notes."""

    message: str
    tensors: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    breaks: bool = True
    """Whether the checkpoint cannot be used, or not be trusted, because of it."""

    @classmethod
    def of(cls, error: AutomodelsError, file: str, kind: str, tensors: Sequence[str] = ()) -> Defect:
        """The error as a defect of a file."""
        if isinstance(error, CheckpointSecurityError):
            kind = "security"
        return cls(file=file, kind=kind, message=error.message, hints=error.hints, tensors=tuple(tensors))

    def __str__(self) -> str:
        return f"{self.file}: {self.message}" if self.file and self.file not in self.message else self.message


@dataclass(frozen=True, kw_only=True)
class VerifiedFile:
    """A file of the checkpoint."""

    name: str
    size: int
    """Bytes."""

    tensors: int = 0
    sha256: str | None = None
    """64 hexadecimal digits, if they were asked for."""


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was found."""

    directory: Path
    defects: tuple[Defect, ...]
    """Those that break it first."""

    files: tuple[VerifiedFile, ...]
    """What a reader opens: weight files that could be read, the index, the config."""

    format: str | None = None
    """`safetensors`, `msgpack` or `torch`; None when there are no weights."""

    naming: str | None = None
    """`hub` or `flax`; None when the checkpoint cannot be opened."""

    variant: str | None = None
    tensors: int = 0
    nbytes: int = 0
    """Of the tensors."""

    finite: bool = False
    """Whether the values were looked at."""

    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the checkpoint can be used; there may be notes all the same."""
        return not any(defect.breaks for defect in self.defects)
