"""From a name to a directory. The network is reached from `hub` and its neighbours and `push` only.

directory                       a checkpoint on this machine; one that exists wins over a name on the Hub
pkg:distribution/path           data of an installed distribution, found in its record; nothing of it is imported
scheme://…                      whatever the one plugin makes of it that declares the scheme
model, organisation/model       a model on the Hub: one commit, files only as they are asked for
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automodels.checkpoint.config_file import CONFIG_NAME, read_config
from automodels.errors import (
    CheckpointNotFoundError,
    CheckpointSecurityError,
    HubOfflineError,
    InputError,
    listed,
    nearest,
)
from automodels.plugins.package_files import contained, package_directory
from automodels.plugins.scan import normalized, scan, shown

if TYPE_CHECKING:
    from automodels.checkpoint.snapshot import Snapshot

OPTIONS = ("subfolder", "revision", "cache_dir", "force_download", "local_files_only", "token")
_DISTRIBUTION_NAME = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://.*", re.DOTALL)
_WEB_PAGE = re.compile(r"https?://[^/]+/([\w.-]+/[\w.-]+)(/tree/.*|/)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a checkpoint lies."""

    name: str
    """As it was asked for."""

    directory: Path
    """Every file of the checkpoint, or for a model on the Hub those that were fetched."""

    commit: str | None = None
    """For a model on the Hub the commit that every file comes from."""

    source: str = "directory"
    """`directory`, `package`, `hub`, or the scheme that a plugin answered for."""

    subfolder: str = ""
    snapshot: Snapshot | None = field(default=None, repr=False, compare=False)

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The content of `config.json`, read once: all that happens in one load goes by the same.

        Raises CheckpointNotFoundError, HubError, ConfigFileError, MissingModelTypeError.
        """
        self.need(CONFIG_NAME)
        return read_config(self.directory)

    def names(self) -> tuple[str, ...]:
        """Names of the files at the top of the checkpoint, fetched or not."""
        if self.snapshot is None:
            return tuple(sorted(entry.name for entry in os.scandir(self.directory) if entry.is_file()))
        prefix = f"{self.subfolder}/" if self.subfolder else ""
        below = (name.removeprefix(prefix) for name in self.snapshot.names() if name.startswith(prefix))
        return tuple(name for name in below if "/" not in name)

    def fetch(self, *names: str) -> None:
        """Sees to it that those of some files are in `directory` that the checkpoint has; names may have slashes.

        Does nothing but for a model on the Hub. Raises HubError, CheckpointFormatError.
        """
        if self.snapshot is not None:
            self.snapshot.fetch(self._inside(name) for name in names)

    def need(self, *names: str) -> None:
        """Like `fetch`, for files without which nothing works; raises CheckpointNotFoundError if the Hub lacks one.

        For a directory the one who reads a file says that it is missing.
        """
        if self.snapshot is None:
            return
        self.fetch(*names)
        missing = [name for name in names if not os.path.exists(self.directory / name)]
        if not missing:
            return
        what = missing[0] if len(names) == 1 else f"{len(missing)} of {len(names)} files: {listed(missing, limit=4)}"
        if self.snapshot.offline:
            raise HubOfflineError(
                f"The cache lacks {what} of {self.snapshot}, and nothing could be downloaded.",
                hints=["Run it once with downloads switched on."],
            )
        raise CheckpointNotFoundError(f"{self.snapshot} on the Hub lacks {what}.", hints=["Check name and revision."])

    def _inside(self, name: str) -> str:
        return f"{self.subfolder}/{name}" if self.subfolder else name


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(options of `locate`, the rest)."""
    here = {key: value for key, value in options.items() if key in OPTIONS}
    return here, {key: value for key, value in options.items() if key not in OPTIONS}


def locate(
    name: str | os.PathLike[str] | Location,
    *,
    subfolder: str = "",
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Location:
    """Where a checkpoint lies; of a model on the Hub nothing but a list of files is fetched yet.

    All options but `subfolder` are for the Hub, and for plugins' schemes: `revision` is a branch, tag or commit,
    `cache_dir` replaces huggingface_hub's cache, `local_files_only` switches downloads off. Raises
    CheckpointNotFoundError when nothing is there, CheckpointSecurityError when `subfolder` or a `pkg:` path leaves its
    root, InputError when the name or an option has an impossible form, HubError when the Hub does not answer or
    refuses, MissingDependencyError when a name on the Hub needs huggingface_hub.
    """
    if isinstance(name, Location):
        return name
    text = _checked(os.fspath(name) if isinstance(name, os.PathLike) else name, "the name of a checkpoint")
    subfolder = _checked(subfolder, "a subfolder") if subfolder else ""
    options = {
        "revision": revision,
        "cache_dir": cache_dir,
        "force_download": force_download,
        "local_files_only": local_files_only,
        "token": token,
    }
    if isinstance(name, os.PathLike):
        return _local(text, _directory(text), "directory", subfolder)
    if text.startswith("pkg:"):
        return _local(text, _package_data(text), "package", subfolder)
    if (scheme := _SCHEME.fullmatch(text)) is not None:
        return _local(text, _from_plugin(text, scheme[1].lower(), options), scheme[1].lower(), subfolder)
    if not os.path.lexists(os.path.expanduser(text)) and _may_be_on_the_hub(text):
        return _on_the_hub(text, subfolder, options)
    return _local(text, _directory(text), "directory", subfolder)


def _checked(value: object, what: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InputError(f"{shown(value)} cannot be {what}.")
    return value


def _local(text: str, root: Path, source: str, subfolder: str) -> Location:
    inside = _inside(str(root), subfolder)
    if inside is None:
        raise _leaves(text, subfolder)
    if not os.path.isdir(inside):
        raise _no_subfolder(text, subfolder)
    return Location(name=text, directory=Path(inside), source=source)


def _leaves(text: str, subfolder: str) -> CheckpointSecurityError:
    return CheckpointSecurityError(f"subfolder {shown(subfolder)} leaves the checkpoint {text}.")


def _no_subfolder(text: str, subfolder: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(f"{text} has no subfolder {shown(subfolder)}.")


def _inside(root: str, relative: str) -> str | None:
    """`root/relative` if it stays inside `root`, or is `root` itself; else None."""
    return root if os.path.normpath(relative) == "." else contained(root, relative)


def _directory(text: str) -> Path:
    path = Path(os.path.expanduser(text))
    if os.path.isdir(path):
        return path
    if os.path.isfile(path):
        raise CheckpointNotFoundError(
            f"{text} is a file; a checkpoint is a directory with config.json and weight files.",
            hints=[f"Pass the directory: {path.parent}"],
        )
    raise CheckpointNotFoundError(
        f"There is no directory {text}.",
        hints=["Pass a directory, a name on the Hub, or pkg:DISTRIBUTION/PATH for data of an installed package."],
    )


def _may_be_on_the_hub(text: str) -> bool:
    from automodels.checkpoint.hub_options import is_hub_name

    return is_hub_name(text)


def _on_the_hub(text: str, subfolder: str, options: Mapping[str, Any]) -> Location:
    from automodels.checkpoint.hub import open_snapshot
    from automodels.checkpoint.hub_options import HubOptions

    folder = os.path.normpath(subfolder).replace(os.sep, "/") if subfolder else "."
    if folder.startswith(("/", "..")) or "\\" in folder or ":" in folder:
        raise _leaves(text, subfolder)
    folder = "" if folder == "." else folder
    snapshot = open_snapshot(text, HubOptions(**options))
    if folder and not any(name.startswith(f"{folder}/") for name in snapshot.names()):
        raise _no_subfolder(text, subfolder)
    return Location(
        name=text,
        directory=snapshot.directory / folder,
        commit=snapshot.commit,
        source="hub",
        subfolder=folder,
        snapshot=snapshot,
    )


def _from_plugin(text: str, scheme: str, options: Mapping[str, Any]) -> Path:
    from automodels.plugins.catalog import load_catalog
    from automodels.plugins.sources import find_checkpoint

    directory = find_checkpoint(load_catalog(), scheme, text, options)
    if directory is None:
        page = _WEB_PAGE.fullmatch(text)
        hints = [f"Names on the Hub are written without an address: {page[1]}"] if page else []
        raise CheckpointNotFoundError(f"There is no checkpoint at {text}.", hints=hints)
    return directory


def _package_data(text: str) -> Path:
    distribution_name, _, path = text.removeprefix("pkg:").partition("/")
    installed = scan().distributions
    distribution = installed.get(normalized(distribution_name))
    if distribution is None:
        guess = nearest(normalized(distribution_name), installed)
        raise CheckpointNotFoundError(
            f"{text}: the distribution {shown(distribution_name)} is not installed"
            + (f"; did you mean {guess}?" if guess else "."),
            hints=[f"Run: pip install {distribution_name}"] if _DISTRIBUTION_NAME.fullmatch(distribution_name) else [],
        )
    package, _, inside = path.partition("/")
    root = package_directory(distribution, package) if package.isidentifier() else None
    if root is None:
        raise CheckpointNotFoundError(
            f"{text}: {distribution.name} {distribution.version} has no folder {shown(package)}."
        )
    directory = _inside(root, inside)
    if directory is None:
        raise CheckpointSecurityError(f"{text}: the path leaves the package {package}.")
    if not os.path.isdir(directory):
        raise CheckpointNotFoundError(f"{text}: {distribution.name} has no folder {shown(path)}.")
    return Path(directory)
