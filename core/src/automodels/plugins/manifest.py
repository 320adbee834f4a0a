"""The manifest `automodels.toml`: what a plugin offers, as data.

Reading it runs no plugin code. Whatever the file holds, the result is a `Manifest` together with the problems that were
found; sizes, counts and character sets are bounded. The reference is docs/manifest.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, TypeVar

from automodels.errors import nearest
from automodels.plugins.examples import read_example
from automodels.plugins.problems import Problem
from automodels.plugins.scan import printable, read_bounded, shown
from automodels.plugins.tables import (
    ATTENTION,
    BACKEND_KINDS,
    FEATURES,
    BackendTable,
    Manifest,
    ModelTable,
    SourceTable,
    TaskTable,
)

T = TypeVar("T")

SCHEMA = 1
MANIFEST_BYTES = 256 << 10
KEPT = 4096  # manifests that are kept as understood
TABLES = 512  # models, backends, tasks or sources in one manifest
FRAMEWORKS = ("flax", "torch")  # in the order in which they are taken when nothing else decides

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)
REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,31}", re.ASCII)
AUTO_CLASS = re.compile(r"AutoModel(?:For[A-Z]\w{0,60})?", re.ASCII)
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_FRAMEWORK = re.compile("|".join(FRAMEWORKS))
_KIND = re.compile("|".join(BACKEND_KINDS))
_FORMS = {
    NAME: "a name of letters, digits, '.', '_' and '-'",
    SCHEME: "a scheme of 2 to 32 small letters, digits, '+', '.' and '-'",
    AUTO_CLASS: "'AutoModelFor' and a capitalised word",
    REFERENCE: "a reference 'package.module:name'",
    _FRAMEWORK: f"one of {', '.join(FRAMEWORKS)}",
    _KIND: f"one of {', '.join(BACKEND_KINDS)}",
    _MODULE: "the dotted name of a module",
}
# tomllib's time grows with the square of the parts of a dotted key: a quarter of a mebibyte of them takes minutes.
_LONG_KEY = re.compile(rb"""(?<![\w"'.-])(?>[\w"'-]+[ \t]*\.[ \t]*){32}""")
_UNKNOWN_KEYS = 8  # are named one by one
DEPRECATED: dict[tuple[str, str], str] = {}
"""(table, key) → what to write instead, and until when it is read; a key of 1.x goes on working until 2.0."""


def read_manifest(file: str) -> tuple[Manifest | None, tuple[Problem, ...]]:
    """The manifest in `file` and what is wrong with it; None when a problem is fatal."""
    data = read_bounded(file, MANIFEST_BYTES)
    if data is None:
        return None, (_unreadable(file),)
    manifest, problems, error = _understood(data)
    if error is not None:
        return None, (Problem(code="P203", message=f"{printable(file)} is not TOML: {error}"),)
    return manifest, problems


@lru_cache(maxsize=KEPT)
def _understood(data: bytes) -> tuple[Manifest | None, tuple[Problem, ...], str | None]:
    """What a manifest says, its problems, and why it is not TOML.

    Files are read anew for every decision, but the same bytes are understood only once: parsing is what takes long.
    """
    try:
        raw = parse_toml(data)
    except ValueError as error:
        return None, (), str(error)
    manifest, problems = parse_manifest(raw)
    return manifest, problems, None


def parse_toml(data: bytes) -> dict[str, Any]:
    """The content of a TOML file; ValueError with a printable reason when it is none, or nested too deeply."""
    import tomllib

    if _LONG_KEY.search(data):
        raise ValueError("nested too deeply")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:  # also UnicodeDecodeError
        raise ValueError(printable(str(error))[:200]) from error


def parse_manifest(raw: Mapping[str, Any]) -> tuple[Manifest | None, tuple[Problem, ...]]:
    """A manifest from its TOML data; None when a problem is fatal."""
    reader = _Reader()
    if raw.get("schema") != SCHEMA or isinstance(raw["schema"], bool):
        said = f"is {shown(raw['schema'])}" if "schema" in raw else "is missing"
        message = f"schema {said}; this version reads schema {SCHEMA}"
        return None, (Problem(code="P205", message=message),)
    manifest = reader.manifest(raw)
    problems = tuple(reader.problems)
    return (None if any(problem.fatal for problem in problems) else manifest), problems


def _unreadable(file: str) -> Problem:
    import os

    if not os.path.isfile(file):
        return Problem(code="P201", message=f"{printable(file)} is missing")
    size = os.path.getsize(file)
    if size > MANIFEST_BYTES:
        return Problem(code="P202", message=f"{printable(file)} has {size} bytes, more than {MANIFEST_BYTES}")
    return Problem(code="P201", message=f"{printable(file)} cannot be read")


@dataclass
class _Reader:
    """Takes typed values out of TOML tables and notes what does not fit."""

    problems: list[Problem] = field(default_factory=list)

    def manifest(self, raw: Mapping[str, Any]) -> Manifest:
        known = ("schema", "name", "api", "summary", "hooks", "model", "backend", "task", "source")
        self.only_known(raw, "the manifest", known)
        api = self.text(raw, "api", "the manifest")
        self.check_range(api)
        models = self.tables(raw, "model", self.model)
        self.check_offers(models)
        sources = self.tables(raw, "source", self.source)
        self.check_sources(sources, hooks="hooks" in raw)
        return Manifest(
            name=self.name(raw, "name", "the manifest"),
            api=api,
            summary=self.text(raw, "summary", "the manifest", default="", length=200),
            hooks=self.text(raw, "hooks", "the manifest", form=_MODULE) if "hooks" in raw else None,
            models=models,
            backends=self.tables(raw, "backend", self.backend),
            tasks=self.tables(raw, "task", self.task),
            sources=sources,
        )

    def model(self, raw: Mapping[str, Any], where: str) -> ModelTable:
        known = ("model_type", "framework", "config", "requires", "architectures", "keymap", "tasks", "example")
        self.only_known(raw, where, known)
        tasks = raw.get("tasks", {})
        if not isinstance(tasks, dict) or not 0 < len(tasks) <= 64:
            self.wrong(f"tasks of {where} is not a table of 1 to 64 references")
            tasks = {}
        return ModelTable(
            model_type=self.name(raw, "model_type", where),
            framework=self.framework(raw, where),
            config=self.reference(raw, "config", where),
            requires=self.requirements(raw, where),
            architectures=self.names(raw, "architectures", where),
            keymap=self.reference(raw, "keymap", where) if "keymap" in raw else None,
            example=read_example(raw, where, self.wrong),
            tasks={
                task: self.reference(tasks, task, f"tasks of {where}")
                for task in tasks
                if self.checked(task, NAME, f"tasks of {where}")
            },
        )

    def backend(self, raw: Mapping[str, Any], where: str) -> BackendTable:
        self.only_known(raw, where, tuple(key.name for key in fields(BackendTable)))
        if raw.get("name") == "auto":
            self.wrong(f"name of {where} is 'auto', which stands for the best backend")
        return BackendTable(
            name=self.name(raw, "name", where),
            framework=self.framework(raw, where),
            kind=self.text(raw, "kind", where, default=ATTENTION, form=_KIND),
            summary=self.text(raw, "summary", where, default="", length=200),
            implementation=self.reference(raw, "implementation", where),
            devices=self.names(raw, "devices", where) or BackendTable.devices,
            dtypes=self.names(raw, "dtypes", where),
            min_capability=self.number(raw, "min_capability", where, default=0),
            supports=self.features(raw, where),
            max_head_size=self.number(raw, "max_head_size", where, default=0),
            head_size_multiple=self.number(raw, "head_size_multiple", where, default=1, least=1),
            min_queries=self.number(raw, "min_queries", where, default=1, least=1),
            priority=self.number(raw, "priority", where, default=100),
            requires=self.requirements(raw, where),
            probe=self.reference(raw, "probe", where) if "probe" in raw else None,
        )

    def features(self, raw: Mapping[str, Any], where: str) -> tuple[str, ...]:
        if "supports" not in raw:
            return BackendTable.supports
        for value in self.items(raw, "supports", where):
            if value not in FEATURES:
                guess = nearest(value, FEATURES) if isinstance(value, str) else None
                hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(FEATURES)}"
                self.wrong(f"supports of {where} has {shown(value)}; {hint}")
        return tuple(value for value in self.items(raw, "supports", where) if value in FEATURES)

    def task(self, raw: Mapping[str, Any], where: str) -> TaskTable:
        self.only_known(raw, where, ("name", "auto_class", "summary"))
        return TaskTable(
            name=self.name(raw, "name", where),
            auto_class=self.text(raw, "auto_class", where, form=AUTO_CLASS),
            summary=self.text(raw, "summary", where, default="", length=200),
        )

    def source(self, raw: Mapping[str, Any], where: str) -> SourceTable:
        self.only_known(raw, where, ("scheme", "summary"))
        return SourceTable(
            scheme=self.text(raw, "scheme", where, form=SCHEME),
            summary=self.text(raw, "summary", where, default="", length=200),
        )

    def tables(self, raw: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any], str], T]) -> tuple[T, ...]:
        found = raw.get(key, [])
        if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
            self.wrong(f"{key} is not a list of tables; write [[{key}]]")
            return ()
        if len(found) > TABLES:
            self.wrong(f"{len(found)} [[{key}]] tables, more than {TABLES}")
            return ()
        return tuple(read(table, f"[[{key}]] number {number}") for number, table in enumerate(found, start=1))

    def text(
        self,
        raw: Mapping[str, Any],
        key: str,
        where: str,
        *,
        default: str | None = None,
        length: int = 120,
        form: re.Pattern[str] | None = None,
    ) -> str:
        value = raw.get(key, default)
        if value is None:
            self.wrong(f"{key} is missing in {where}")
        elif not isinstance(value, str) or len(value) > length or not value.isprintable():
            self.wrong(f"{key} of {where} is {shown(value)}, not a printable string of at most {length} characters")
        elif form is not None and form.fullmatch(value) is None:
            self.wrong(f"{key} of {where} is {shown(value)}, not {_FORMS[form]}")
        else:
            return value
        return ""

    def name(self, raw: Mapping[str, Any], key: str, where: str) -> str:
        return self.text(raw, key, where, form=NAME)

    def reference(self, raw: Mapping[str, Any], key: str, where: str) -> str:
        return self.text(raw, key, where, length=200, form=REFERENCE)

    def framework(self, raw: Mapping[str, Any], where: str) -> str:
        return self.text(raw, "framework", where, form=_FRAMEWORK)

    def names(self, raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        return tuple(self.checked(value, NAME, f"{key} of {where}") for value in self.items(raw, key, where))

    def requirements(self, raw: Mapping[str, Any], where: str) -> tuple[str, ...]:
        found = self.items(raw, "requires", where)
        for value in found:
            if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 200:
                self.wrong(f"requires of {where} has {shown(value)}, not a requirement")
                return ()
        return tuple(found)

    def items(self, raw: Mapping[str, Any], key: str, where: str) -> list[Any]:
        found = raw.get(key, [])
        if isinstance(found, list) and len(found) <= 64:
            return found
        self.wrong(f"{key} of {where} is not a list of at most 64 entries")
        return []

    def number(self, raw: Mapping[str, Any], key: str, where: str, *, default: int, least: int = 0) -> int:
        value = raw.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= 1_000_000:
            return value
        self.wrong(f"{key} of {where} is {shown(value)}, not a whole number from {least} to 1000000")
        return default

    def checked(self, value: object, form: re.Pattern[str], where: str) -> str:
        if isinstance(value, str) and form.fullmatch(value) is not None:
            return value
        self.wrong(f"{where} has {shown(value)}, not {_FORMS[form]}")
        return ""

    def check_range(self, api: str) -> None:
        from automodels.plugins.requirements import admits

        try:
            admits(api, "1.0")
        except ValueError:
            self.wrong(f"api of the manifest is {shown(api)}, not a version range such as '>=1.0,<2'")

    def check_offers(self, models: tuple[ModelTable, ...]) -> None:
        """One plugin offers an entry once: nothing could choose between two of its own."""
        seen: dict[tuple[str, str, str], int] = {}
        for number, model in enumerate(models, start=1):
            for task in model.tasks:
                first = seen.setdefault((model.model_type, model.framework, task), number)
                if first != number:
                    what = f"{task} for {model.model_type!r} in {model.framework}"
                    self.wrong(f"[[model]] number {number} offers {what}, as number {first} does")

    def check_sources(self, sources: tuple[SourceTable, ...], *, hooks: bool) -> None:
        """A scheme stands there once, and somebody answers for it."""
        if sources and not hooks:
            self.wrong("[[source]] needs hooks: a module with the hook locate_checkpoint")
        twice = {source.scheme for source in sources if [other.scheme for other in sources].count(source.scheme) > 1}
        for scheme in sorted(twice - {""}):
            self.wrong(f"the scheme {scheme!r} stands in several [[source]] tables")

    def only_known(self, raw: Mapping[str, Any], where: str, known: tuple[str, ...]) -> None:
        table = where.partition(" number ")[0]
        for key in known:
            if key in raw and (instead := DEPRECATED.get((table, key))):
                message = f"{key} of {where} is deprecated; {instead}"
                self.problems.append(Problem(code="P210", message=message, fatal=False))
        unknown = [key for key in raw if key not in known]
        for key in unknown[:_UNKNOWN_KEYS]:
            guess = nearest(key, known)
            self.unknown(f"{where} has the unknown key {shown(key)}" + (f"; did you mean {guess!r}?" if guess else ""))
        if len(unknown) > _UNKNOWN_KEYS:
            self.unknown(f"{where} has {len(unknown) - _UNKNOWN_KEYS} more unknown keys")

    def unknown(self, message: str) -> None:
        self.problems.append(Problem(code="P206", message=message, fatal=False))

    def wrong(self, message: str) -> None:
        self.problems.append(Problem(code="P204", message=message))
