"""verify: everything that is wrong with a checkpoint, as values, instead of the first thing as an error.

record of a save → config → index → every shard by itself → what the reader says → values and checksums, if asked for
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from automodels.checkpoint.config_file import CONFIG_NAME, read_config
from automodels.checkpoint.defects import Defect, VerifiedFile, VerifyReport
from automodels.checkpoint.file_contents import Progress, not_finite, wrong_checksum
from automodels.checkpoint.formats import FORMATS, MSGPACK, Format, checked_variant, wanted
from automodels.checkpoint.index import contained_paths, read_index
from automodels.checkpoint.journal import current_path, read_record
from automodels.checkpoint.missing import no_weights
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.stability import while_unchanged
from automodels.checkpoint.strays import strays
from automodels.checkpoint.tensors import Contents
from automodels.errors import AutomodelsError, CheckpointNotFoundError, listed
from automodels.plugins.scan import printable


def verify(
    directory: str | os.PathLike[str],
    *,
    variant: str | None = None,
    finite: bool = False,
    sha256: bool = False,
    progress: Progress | None = None,
) -> VerifyReport:
    """Checks the weights that `Checkpoint.open` would choose, each file by itself, and what lies beside them.

    Without `finite` and `sha256`, no tensor data is read. `finite` looks for NaN and infinities, one tensor at a time;
    `sha256` reads every file, and compares it with the name that it has in a Hub cache, if it is a link into one.
    `progress` is called with the bytes done and the bytes in all. Nothing is ever written. Raises
    CheckpointNotFoundError when there is no directory, InputError for an impossible variant; all else is a defect.
    """
    began = time.monotonic()
    variant = checked_variant(variant)
    folder = Path(directory)
    if not os.path.isdir(folder):
        raise CheckpointNotFoundError(f"There is no directory {printable(str(folder))}.")
    names = [name for form in FORMATS for name in (form.single(variant), *form.indexes(variant))]
    survey = while_unchanged(folder, names, lambda: _surveyed(folder, variant))
    files, found = _read(survey, finite=finite, sha256=sha256, progress=progress)
    defects = sorted([*survey.defects, *found], key=lambda defect: not defect.breaks)
    views = list(survey.checkpoint.values()) if survey.checkpoint else []
    return VerifyReport(
        directory=folder,
        defects=tuple(defects),
        files=files,
        format=survey.form.name if survey.form else None,
        naming=str(survey.checkpoint.naming) if survey.checkpoint else None,
        variant=variant,
        tensors=len(views),
        nbytes=sum(view.nbytes for view in views),
        finite=finite,
        seconds=time.monotonic() - began,
    )


@dataclass(kw_only=True)
class _Survey:
    """What names, headers and the index say."""

    folder: Path
    variant: str | None
    defects: list[Defect] = field(default_factory=list)
    form: Format | None = None
    held: dict[str, Contents] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    """Files that can be read."""

    tried: set[str] = field(default_factory=set)
    """Files that a reader opens, broken ones included."""

    checkpoint: Checkpoint | None = None

    @contextlib.contextmanager
    def reporting(self, file: str, kind: str, tensors: Sequence[str] = ()) -> Iterator[None]:
        """Turns an error into a defect of a file."""
        try:
            yield
        except AutomodelsError as error:
            self.defects.append(Defect.of(error, file, kind, tensors))


def _surveyed(folder: Path, variant: str | None) -> _Survey:
    survey = _Survey(folder=folder, variant=variant)
    with survey.reporting("", "record"):
        read_record(folder)
    if survey.defects:  # nobody can say which files count
        return survey
    survey.tried.add(CONFIG_NAME)
    with survey.reporting(CONFIG_NAME, "config"):
        read_config(folder)
        survey.paths[CONFIG_NAME] = current_path(folder, CONFIG_NAME)
    name = _choose(survey)
    if survey.form is None:
        survey.defects.append(Defect.of(no_weights(folder, wanted(), variant, ()), "", "missing"))
    elif name.endswith(".json"):
        _survey_shards(survey, survey.form, name)
    else:
        _survey_file(survey, survey.form, name)
    survey.defects += strays(folder, variant, survey.tried)
    if survey.form and not any(defect.kind in ("format", "security", "missing", "index") for defect in survey.defects):
        with survey.reporting(name, "format"):
            survey.checkpoint = Checkpoint.open(folder, variant=variant)
    return survey


def _choose(survey: _Survey) -> str:
    """The name of the single file or index that a reader would open, and its format."""
    for form in FORMATS:
        for name in (form.single(survey.variant), *form.indexes(survey.variant)):
            if os.path.lexists(current_path(survey.folder, name)):
                survey.form = form
                return name
    return ""


def _survey_file(survey: _Survey, form: Format, file: str, tensors: Sequence[str] = ()) -> None:
    if not os.path.lexists(current_path(survey.folder, file)):
        message = f"The shard is missing; the index has {len(tensors)} tensors in it ({listed(tensors, limit=3)})."
        hints = ("Download the missing file.",)
        survey.defects.append(Defect(file=file, kind="missing", message=message, hints=hints, tensors=tuple(tensors)))
        return
    survey.tried.add(file)
    with survey.reporting(file, "format"):
        path = contained_paths(survey.folder, [file])[file]
        survey.held[file] = form.read(path)
        survey.paths[file] = path


def _survey_shards(survey: _Survey, form: Format, index: str) -> None:
    weight_map: dict[str, str] = {}
    survey.tried.add(index)
    with survey.reporting(index, "index"):
        path = contained_paths(survey.folder, [index])[index]
        weight_map = read_index(path, form.suffix)
        if form is MSGPACK:  # transformers writes paths with slashes
            weight_map = {name.replace("/", "."): file for name, file in weight_map.items()}
        survey.paths[index] = path
    listed_in: dict[str, list[str]] = {}
    for tensor, file in weight_map.items():
        listed_in.setdefault(file, []).append(tensor)
    for file, tensors in sorted(listed_in.items()):
        _survey_file(survey, form, file, tensors)
    for file, contents in survey.held.items():
        survey.defects += _contradictions(index, file, contents, listed_in[file], weight_map)


def _contradictions(
    index: str, file: str, contents: Contents, listed_here: Sequence[str], weight_map: Mapping[str, str]
) -> Iterator[Defect]:
    """Where the index and one shard say different things."""
    absent = tuple(name for name in listed_here if name not in contents.tensors)
    if absent:
        message = f"{index} puts {len(absent)} tensors into it that it does not hold: {listed(absent, limit=3)}."
        yield Defect(file=file, kind="index", message=message, tensors=absent)
    twice = tuple(name for name in contents.tensors if name in weight_map and weight_map[name] != file)
    if twice:
        where = listed((f"{name} in {weight_map[name]}" for name in twice), limit=3)
        yield Defect(
            file=file, kind="index", message=f"Tensors stand in another shard as well: {where}.", tensors=twice
        )
    unlisted = tuple(name for name in contents.tensors if name not in weight_map)
    if unlisted:
        message = f"{len(unlisted)} tensors are not listed by {index}, and are not read: {listed(unlisted, limit=3)}."
        yield Defect(file=file, kind="unlisted", message=message, tensors=unlisted, breaks=False)


def _read(
    survey: _Survey, *, finite: bool, sha256: bool, progress: Progress | None
) -> tuple[tuple[VerifiedFile, ...], list[Defect]]:
    """What only the data can tell, file by file and tensor by tensor; the files with their checksums."""
    sizes = {name: os.stat(path).st_size for name, path in survey.paths.items()}
    total = sum(sizes.values()) if sha256 else 0
    if finite:
        total += sum(view.nbytes for contents in survey.held.values() for view in contents.tensors.values())
    done = 0

    def advance(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress is not None:
            progress(done, total)

    defects: list[Defect] = []
    for file, contents in survey.held.items():
        if finite:
            defects += not_finite(file, contents, advance)
    digests: dict[str, str | None] = {}
    for name, path in survey.paths.items():
        if sha256:
            digests[name], found = wrong_checksum(name, path, advance)
            defects += found
    counts = {name: len(contents.tensors) for name, contents in survey.held.items()}
    files = (
        VerifiedFile(name=name, size=size, tensors=counts.get(name, 0), sha256=digests.get(name))
        for name, size in sizes.items()
    )
    return tuple(files), defects
