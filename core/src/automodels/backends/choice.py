"""The choice of a backend: what is declared × this machine × the type × the model × what calls will need."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from automodels.backends.machine import Machine
from automodels.backends.probing import probed, probed_apart
from automodels.backends.report import BackendCandidate, BackendReport
from automodels.backends.situation import Situation
from automodels.errors import BackendUnavailableError, InputError, nearest
from automodels.needs import AttentionNeeds, covers
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.scan import shown
from automodels.plugins.tables import ATTENTION, BACKEND_KINDS, EXECUTION, BackendTable

AUTO = "auto"
UNASKED = "its probe was not asked"


def unavailable(
    plugin: Plugin, table: BackendTable, catalog: Catalog, machine: Machine, capability: int | None = None
) -> str | None:
    """Why a declared backend cannot run on any device of a machine, or None; its probe is not asked.

    `capability` is that of a CUDA device, times ten.
    """
    if plugin.refusal is not None:
        return plugin.refusal
    usable = [kind for kind in table.devices if kind in machine.devices]
    if not usable:
        return _lacking(table, machine)
    return catalog.unmet(table.requires) or (_too_old(table, capability) if usable == ["cuda"] else None)


def choose_backend(
    catalog: Catalog,
    asked: str,
    situation: Situation,
    *,
    machine: Machine | None = None,
    probing: bool = True,
    apart: bool = False,
) -> BackendReport:
    """The backend asked for, or of what is not asked for the one of highest priority that can run in `situation`.

    `asked` is a name, or names joined by `+`: of an attention function, of a way of executing, or of both; `auto`
    stands for the best. One that is asked for by name is never replaced by another one. Where `machine` is given,
    reasons say why a device is missing. With `probing=False`, probes count as passed; with `apart=True`, each is asked
    in a process of its own.
    Raises InputError for names of the same kind, BackendUnavailableError with every reason.
    """
    judged = _Judge(catalog, situation, machine, (probed_apart if apart else probed) if probing else None)
    names = _names(asked, catalog, situation.framework)
    chosen: dict[str, BackendCandidate] = {}
    candidates: list[BackendCandidate] = []
    for kind in BACKEND_KINDS:
        found = judged.candidates(kind, names.get(kind))
        candidates += found
        accepted = [candidate for candidate in found if candidate.rejection is None]
        if accepted:
            chosen[kind] = _only(accepted, found, situation.framework)
        elif kind == ATTENTION or kind in names:
            raise _none_left(situation, names.get(kind, AUTO), kind, found)
    return BackendReport(
        chosen=chosen[ATTENTION],
        execution=chosen.get(EXECUTION),
        candidates=tuple(candidates),
        situation=situation,
        is_named=ATTENTION in names,
    )


class _Judge:
    def __init__(
        self,
        catalog: Catalog,
        situation: Situation,
        machine: Machine | None,
        probe: Callable[[str, Plugin, Situation], str | None] | None,
    ) -> None:
        self.catalog, self.situation, self.machine, self.probe = catalog, situation, machine, probe

    def candidates(self, kind: str, asked: str | None) -> list[BackendCandidate]:
        """Each of a kind with what speaks against it; behind the first that is taken, probes are not asked."""
        taken, found = False, []
        for plugin, table in self.catalog.backends(self.situation.framework):
            if table.kind != kind:
                continue
            reason, notes = self.declared(plugin, table), _notes(table, self.situation.needs, named=asked is not None)
            if reason is None and asked not in (None, table.name):
                reason = f"{asked} was asked for"
            waits = reason is None and table.probe is not None
            if waits and table.probe is not None and self.probe is not None and not taken:
                reason, waits = self.probe(table.probe, plugin, self.situation), False
            taken = taken or reason is None
            note = "; ".join([*notes, *([UNASKED] if waits else [])])
            found.append(BackendCandidate(plugin=plugin, table=table, rejection=reason, note=note, is_unasked=waits))
        return found

    def declared(self, plugin: Plugin, table: BackendTable) -> str | None:
        """Why the manifest says that it cannot be taken, what is cheap to know first."""
        if plugin.refusal is not None:
            return plugin.refusal
        if self.situation.device not in table.devices:
            return self.elsewhere(table)
        return self.catalog.unmet(table.requires) or _misfit(table, self.situation)

    def elsewhere(self, table: BackendTable) -> str:
        if self.machine is not None and not set(table.devices) & set(self.machine.devices):
            return _lacking(table, self.machine)
        return f"runs on {', '.join(table.devices)}; here is {self.situation.device}"


def _misfit(table: BackendTable, here: Situation) -> str | None:
    """Why a model's computation there is none for a backend."""
    if here.device == "cuda" and (reason := _too_old(table, here.capability)):
        return reason
    if here.dtype is not None and table.dtypes and here.dtype not in table.dtypes:
        return f"computes in {', '.join(table.dtypes)}, not in {here.dtype}"
    if here.needs is None or table.kind != ATTENTION:
        return None
    for size in here.needs.head_sizes:
        if table.max_head_size and size > table.max_head_size:
            return f"takes heads of up to {table.max_head_size} numbers; the model's have {size}"
        if size % table.head_size_multiple:
            return f"takes heads of multiples of {table.head_size_multiple} numbers; the model's have {size}"
    missing = [name for name in sorted(here.needs.always) if not covers(table.supports, name)]
    return f"cannot do what the model needs: {', '.join(missing)}" if missing else None


def _too_old(table: BackendTable, capability: int | None) -> str | None:
    if capability is None or capability >= table.min_capability:
        return None
    return f"needs compute capability {table.min_capability / 10}; this device has {capability / 10}"


def _notes(table: BackendTable, needs: AttentionNeeds | None, *, named: bool) -> list[str]:
    """Which calls it does not compute itself."""
    if table.kind != ATTENTION:
        return []
    notes = [f"fewer than {table.min_queries} query tokens: the plain formula"] if table.min_queries > 1 else []
    possible = () if needs is None else sorted(needs.possible)
    missing = [name for name in possible if not covers(table.supports, name)]
    # Weights are shown by the plain formula whatever computes the rest.
    refused = [name for name in missing if named and name != "weights"]
    if plain := [name for name in missing if name not in refused]:
        notes.append(f"calls with {' or '.join(plain)}: the plain formula")
    if refused:
        notes.append(f"calls with {' or '.join(refused)}: refused")
    return notes


def _names(asked: str, catalog: Catalog, framework: str) -> dict[str, str]:
    """Kind → the name that is asked for."""
    if not isinstance(asked, str):
        raise InputError(f"backend is {shown(asked)}, not a backend's name.", hints=["Run: registry backends"])
    declared = catalog.backends(framework)
    names: dict[str, str] = {}
    for name in asked.split("+"):
        if name == AUTO:
            continue
        kind = _kind(name, declared, framework)
        if kind in names:
            raise InputError(
                f"backend={asked!r} names two backends of kind {kind}: {names[kind]} and {name}.",
                hints=["Name one, or one of each kind, such as 'xla+jit'."],
            )
        names[kind] = name
    return names


def _kind(name: str, declared: Sequence[tuple[Plugin, BackendTable]], framework: str) -> str:
    """What a name is the name of; plugins that may not be used have no say where others declare it."""
    found = [(plugin, table) for plugin, table in declared if table.name == name]
    found = [(plugin, table) for plugin, table in found if plugin.state == "ok"] or found
    if not found:
        raise _undeclared(name, framework, [table.name for _, table in declared])
    if len({table.kind for _, table in found}) > 1:
        whose = [f"{table.kind} by {plugin}" for plugin, table in found]
        raise BackendUnavailableError(
            f"The {framework} backend {name!r} is declared as {' and as '.join(whose)}.",
            hints=[f"Disable one of them: AUTOMODELS_DISABLE={found[-1][0].name}"],
            trace=whose,
        )
    return found[0][1].kind


def _only(
    accepted: Sequence[BackendCandidate], candidates: Sequence[BackendCandidate], framework: str
) -> BackendCandidate:
    """The first one, if no other plugin declares the same name; one plugin may, for different devices."""
    first, *others = accepted
    rivals = {found.plugin.name: found.plugin for found in others if found.table.name == first.table.name}
    rivals = {first.plugin.name: first.plugin, **rivals}
    if len(rivals) == 1:
        return first
    raise BackendUnavailableError(
        f"The {framework} backend {first.table.name!r} is declared by several plugins: "
        f"{', '.join(map(str, rivals.values()))}.",
        hints=[f"Disable all but one: AUTOMODELS_DISABLE={list(rivals)[-1]}"],
        trace=[str(candidate) for candidate in candidates],
    )


def _undeclared(name: str, framework: str, declared: Sequence[str]) -> BackendUnavailableError:
    guess = nearest(name, set(declared))
    message = f"No installed plugin declares a {framework} backend {shown(name)}"
    message += f"; did you mean {guess!r}?" if guess else f"; declared: {', '.join(sorted(set(declared))) or 'none'}."
    return BackendUnavailableError(message, hints=["Run: registry backends"])


def _none_left(
    situation: Situation, asked: str, kind: str, candidates: Sequence[BackendCandidate]
) -> BackendUnavailableError:
    relevant = [found for found in candidates if asked in (AUTO, found.table.name)]
    what = f"{situation.framework} backend" if kind == ATTENTION else f"{situation.framework} way of executing"
    lines = [f"No {what} can run here ({asked}, on {situation}):", *(f"    {found}" for found in relevant)]
    return BackendUnavailableError(
        "\n".join(lines if relevant else [f"No installed plugin declares a {what}."]),
        hints=["Run: registry backends"],
        trace=[str(found) for found in candidates],
    )


def _lacking(table: BackendTable, machine: Machine) -> str:
    """Why none of its devices is there; one reason for all of them stands once."""
    reasons = {kind: str(machine.lacks(kind)) for kind in table.devices}
    if len(set(reasons.values())) == 1:
        return reasons[table.devices[0]]
    return "; ".join(f"{kind}: {reason}" for kind, reason in reasons.items())
