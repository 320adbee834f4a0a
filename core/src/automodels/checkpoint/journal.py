"""The commit record of a save, and which file of a directory counts while it is there.

A save writes everything under temporary names, then publishes `.automodels-commit.json` by one atomic rename. From
that moment the checkpoint is the new one, although its files still bear other names: whoever reads asks `current_path`.
The writer renames, removes what is stale, and removes the record; if it is killed before, the next save does it.

A record cannot point anywhere: names of temporary files follow from names of files, which are plain; only files that
bear the name of a weight file or an index are ever removed. A record that is not exactly like this is refused, not
ignored, since ignoring a true one would give a mixture of two checkpoints.
"""

from __future__ import annotations

import functools
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from automodels.errors import CheckpointFormatError, CheckpointSecurityError
from automodels.json_files import parse_json_object
from automodels.plugins.scan import printable, shown

RECORD = ".automodels-commit.json"
OURS = ".automodels-"
"""What names of temporary files, of the record and of the lock start with; nothing else may."""

RECORD_BYTES = 8 << 20  # 50,000 shards
SCHEMA = 1
NAME_LENGTH = 200  # room for what stands before a temporary name

_IDENTITY = re.compile(r"[0-9a-f]{16}")
_WEIGHTS = re.compile(
    r"(model|flax_model|pytorch_model)(\.[\w-]+)*(-\d{5,}-of-\d{5,})?"
    r"\.(safetensors|msgpack|bin)(\.index(\.[\w-]+)*\.json)?",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a save that has been decided still has to do."""

    identity: str
    """16 hexadecimal digits, chosen by the save."""

    publish: tuple[str, ...]
    """Files to rename from their temporary names, in this order."""

    remove: tuple[str, ...]
    """Files of the checkpoint before, to be removed."""

    def temporary(self, name: str) -> str:
        """The temporary name of a file."""
        return temporary_name(self.identity, name)

    def to_json(self) -> bytes:
        """The record as it stands in its file."""
        values = {"schema": SCHEMA, "id": self.identity, "publish": self.publish, "remove": self.remove}
        return json.dumps(values, indent=1).encode()


def temporary_name(identity: str, name: str) -> str:
    """The name under which a save writes a file that will be called `name`."""
    return f"{OURS}{identity}-{name}"


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a visible file in the directory itself, on every system."""
    return (
        name.isprintable()
        and 0 < len(name.encode("utf-8", "replace")) <= NAME_LENGTH
        and not name.startswith(".")
        and not any(character in name for character in '/\\:*?"<>|')
    )


def is_weight_file(name: str) -> bool:
    """Whether a name is that of a weight file or an index, in any format and variant."""
    return _WEIGHTS.fullmatch(name) is not None


def current_path(directory: str | os.PathLike[str], name: str) -> Path:
    """The path of the file that `name` means in a checkpoint directory; nothing is written, and nothing need be there.

    That is `directory/name`, unless a save was decided and not completed: then its temporary file, or, for a file that
    the save does away with, a path where there is nothing.
    Raises CheckpointFormatError for a record that is malformed, CheckpointSecurityError for one that leads elsewhere.
    """
    folder = Path(directory)
    record = read_record(folder)
    if record is None:
        return folder / name
    if name in record.remove:
        return folder / f"{OURS}removed-{name}"
    if name in record.publish and is_there(folder / record.temporary(name)):
        return folder / record.temporary(name)
    return folder / name


def is_there(path: Path) -> bool:
    """Whether a temporary file waits to be renamed; raises CheckpointSecurityError when it is no regular file."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    if not stat.S_ISREG(mode):
        raise CheckpointSecurityError(
            f"{printable(str(path))} stands for a file of the checkpoint and is no regular file.",
            hints=[f"Remove {RECORD} if no save was interrupted here."],
        )
    return True


def read_record(directory: Path) -> Record | None:
    """The record of a save that was decided and not completed; None in the usual case that there is none.

    Raises CheckpointFormatError when it is malformed, CheckpointSecurityError when it is no regular file.
    """
    path = directory / RECORD
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    what = printable(str(path))
    if not stat.S_ISREG(mode):
        raise CheckpointSecurityError(f"{what} is no regular file.", hints=["Remove it."])
    try:
        with open(path, "rb") as stream:
            content = stream.read(RECORD_BYTES + 1)
    except FileNotFoundError:  # the save has been completed in between
        return None
    except OSError as error:
        raise CheckpointFormatError(f"{what} cannot be read: {error.strerror}.") from error
    return _parsed(content, what)


@functools.lru_cache(maxsize=4)  # it is asked for once for each shard
def _parsed(content: bytes, what: str) -> Record:
    if len(content) > RECORD_BYTES:
        raise _refused(what, f"has more than {RECORD_BYTES} bytes")
    values = parse_json_object(content, what=what, error=CheckpointFormatError, depth=2)
    if values.get("schema") != SCHEMA:
        raise _refused(what, f"has schema {shown(values.get('schema'))}; this version knows {SCHEMA}")
    identity, publish, remove = (values.get(key) for key in ("id", "publish", "remove"))
    if not isinstance(identity, str) or not _IDENTITY.fullmatch(identity):
        raise _refused(what, f"has the id {shown(identity)}")
    if not _names(publish) or not _names(remove) or set(publish) & set(remove):
        raise _refused(what, "does not say which files to rename and which to remove")
    for name in (*publish, *remove):
        if not is_plain_name(name):
            raise _refused(what, f"names {shown(name)}, which is no plain file name")
    for name in remove:
        if not is_weight_file(name):
            raise _refused(what, f"would remove {shown(name)}, which is no weight file")
    return Record(identity=identity, publish=tuple(publish), remove=tuple(remove))


def _names(values: object) -> TypeGuard[list[str]]:
    return (
        isinstance(values, list) and all(isinstance(value, str) for value in values) and len(set(values)) == len(values)
    )


def _refused(what: str, reason: str) -> CheckpointFormatError:
    return CheckpointFormatError(
        f"{what} {reason}; it cannot be the record of an interrupted save of this version.",
        hints=["Save the checkpoint again into an empty directory, or remove the record if no save was interrupted."],
    )
