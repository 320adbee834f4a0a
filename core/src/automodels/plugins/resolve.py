"""Resolution: which entry answers for (model type, task), with a reason for every one that does not.

The order is fixed and documented in docs/resolution.md: not disabled, plugin API, requirements, framework asked for,
plugin asked for, pins; then, if several frameworks are left, the preferred one; several plugins left are an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from automodels.errors import (
    AmbiguousModelError,
    InputError,
    NoUsablePluginError,
    ResolutionError,
    StrictModeError,
    UnknownModelTypeError,
    UnknownPluginError,
    UnknownTaskError,
    listed,
    nearest,
)
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Entry, Plugin
from automodels.plugins.judge import PLUGIN_API
from automodels.plugins.manifest import FRAMEWORKS
from automodels.plugins.recorded import Recorded
from automodels.plugins.scan import printable, shown
from automodels.plugins.settings import variable_part

KNOWN_PLUGINS = {  # what to install; knowing a name gives it no privilege
    "bert": ("flax-bert", "torch-heads"),
    "opt": ("flax-opt", "torch-heads"),
    "gpt_neo": ("flax-gptneo", "torch-heads"),
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An entry for the model type and task, and the reason why it was rejected, if it was."""

    entry: Entry
    rejection: str | None = None

    def __str__(self) -> str:
        verdict = f"rejected: {self.rejection}" if self.rejection else "accepted"
        return f"{self.entry.plugin.name} {self.entry.plugin.version} ({self.entry.framework}): {verdict}"


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The entry that was chosen, why, and what else was considered."""

    entry: Entry
    reason: str
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()
    """What the user should know about the choice, one line each."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is needed, and what the caller said about how."""

    model_type: str
    task: str = "base"
    framework: str | None = None
    plugin: str | None = None
    recorded: Recorded | None = None
    """The plugin that the checkpoint was saved with, by its own account."""

    source: str = ""
    """What asks for it, for messages."""

    repository_code: bool = False
    """Whether the checkpoint names Python code of its own (`auto_map`)."""


def resolve_entry(catalog: Catalog, request: Request) -> Resolution:
    """The one entry for the request. Imports nothing and changes nothing.

    Raises UnknownModelTypeError, UnknownTaskError, NoUsablePluginError, UnknownPluginError, AmbiguousModelError, or
    StrictModeError; each carries the trace of every candidate.
    """
    return _Decision(catalog, request).result()


@dataclass
class _Decision:
    """One walk through the rules; `left` shrinks, `rejections` grows."""

    catalog: Catalog
    request: Request
    left: list[Entry] = field(default_factory=list)
    considered: tuple[Entry, ...] = ()
    rejections: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reason: str = "the only candidate"

    def result(self) -> Resolution:
        self.check_request()
        self.start()
        self.reject(lambda entry: self.unusable(entry, ("disabled",)))
        self.reject(lambda entry: self.unusable(entry, ("incompatible",)))
        self.reject(lambda entry: self.unusable(entry, ("broken",)))
        self.reject(lambda entry: self.catalog.unmet(entry.requires))
        if self.request.framework is not None:
            self.reject(self.other_framework)
        if not self.left:
            raise self.nothing_usable()
        self.choose_plugin()
        self.prefer_framework()
        if len(self.left) > 1:
            raise self.ambiguous()
        notes = (*self.notes, *self.age())
        return Resolution(entry=self.left[0], reason=self.reason, candidates=self.candidates(), notes=notes)

    def check_request(self) -> None:
        for what in ("model_type", "task", "plugin"):
            value: object = getattr(self.request, what)
            if not isinstance(value, str) and not (what == "plugin" and value is None):
                raise InputError(f"{what} is {shown(value)}, not a string.")
        framework = self.request.framework
        if framework is not None and framework not in FRAMEWORKS:
            raise InputError(f"framework is {shown(framework)}, not one of {', '.join(FRAMEWORKS)}.")
        if self.catalog.settings.strict:
            bad = [f"{plugin}: {plugin.fatal}" for plugin in self.catalog.plugins if plugin.state == "broken"]
            bad += [str(problem) for problem in self.catalog.warnings]
            if bad:
                raise StrictModeError(
                    "Strict mode, and not everything is in order:\n" + "\n".join(f"    {line}" for line in bad),
                    hints=["Run: registry doctor"],
                    trace=bad,
                )

    def start(self) -> None:
        of_type = self.catalog.entries_of(self.request.model_type)
        if not of_type:
            raise self.unknown_type()
        self.considered = tuple(entry for entry in of_type if entry.task == self.request.task)
        if not self.considered:
            raise self.unknown_task(of_type)
        self.left = list(self.considered)

    def reject(self, why: Callable[[Entry], str | None]) -> None:
        for entry in self.left:
            if reason := why(entry):
                self.rejections[id(entry)] = reason
        self.left = [entry for entry in self.left if id(entry) not in self.rejections]

    @staticmethod
    def unusable(entry: Entry, states: tuple[str, ...]) -> str | None:
        plugin = entry.plugin
        return plugin.fatal.message if plugin.state in states and plugin.fatal else None

    def other_framework(self, entry: Entry) -> str | None:
        asked = self.request.framework
        return None if entry.framework == asked else f"is for {entry.framework}; {asked} was asked for"

    def choose_plugin(self) -> None:
        """Argument, then pins, then what the checkpoint recorded; the last one is a wish, the others are orders."""
        request, pin = self.request, self.catalog.settings.pin(self.request.model_type)
        if request.plugin is not None:
            self.insist(request.plugin, f"plugin={request.plugin!r}")
        elif pin is not None:
            self.insist(pin.plugin, pin.source)
        elif request.recorded is not None:
            self.wish(request.recorded)

    def wish(self, recorded: Recorded) -> None:
        """Takes the plugin that the checkpoint was saved with, if it is among those that are left."""
        if any(entry.plugin.name == recorded.plugin for entry in self.left):
            self.insist(recorded.plugin, "the checkpoint was saved with it")
            return
        why = "is not installed" if self.absent() else "cannot be used here"
        self.notes.append(f"The checkpoint was saved with {recorded}, which {why}.")

    def absent(self) -> Recorded | None:
        """What the checkpoint says of its plugin when nothing here bears that name."""
        recorded, catalog = self.request.recorded, self.catalog
        if recorded is None or catalog.plugin(recorded.plugin) is not None:
            return None
        return None if any(entry.plugin.name == recorded.plugin for entry in catalog.registered) else recorded

    def age(self) -> list[str]:
        """How the chosen plugin is older than the one that saved the checkpoint."""
        recorded, plugin = self.request.recorded, self.left[0].plugin
        return recorded.notes(plugin, PLUGIN_API) if recorded and plugin.name == recorded.plugin else []

    def insist(self, name: str, source: str) -> None:
        usable = list(self.left)
        self.reject(lambda entry: None if entry.plugin.name == name else f"{source} chooses {name}")
        if self.left:
            self.reason = source
            return
        offered = ", ".join(sorted({entry.plugin.name for entry in usable}))
        rejected = next((self.rejections[id(e)] for e in self.considered if e.plugin.name == name), None)
        installed = self.catalog.plugin(name)
        if rejected is not None:
            why = f"it cannot be used: {rejected}"
        elif installed is not None and installed.fatal is not None:
            why = f"it cannot be used: {installed.fatal}"
        elif installed is not None:
            why = "it does not offer that"
        else:
            guess = nearest(name, [plugin.name for plugin in self.catalog.plugins])
            why = "it is not installed" + (f" (did you mean {guess!r}?)" if guess else "")
        raise UnknownPluginError(
            f"{self.what()} was asked of the plugin {shown(name)} ({source}), but {why}.",
            hints=[f"Offered by: {offered}"],
            trace=self.trace(),
        )

    def prefer_framework(self) -> None:
        frameworks = [name for name in FRAMEWORKS if any(entry.framework == name for entry in self.left)]
        if len(frameworks) < 2:
            return
        preferred = self.catalog.settings.framework
        chosen = preferred if preferred in frameworks else frameworks[0]
        others = ", ".join(name for name in frameworks if name != chosen)
        order = "it is the preferred framework" if chosen == preferred else f"the order is {', '.join(FRAMEWORKS)}"
        self.reject(lambda entry: None if entry.framework == chosen else f"{chosen} was taken: {order}")
        if self.reason == "the only candidate":
            self.reason = order
        self.notes.append(f"{self.what()} is offered for {chosen} and {others}; {chosen} was taken: {order}.")

    def what(self) -> str:
        return f"{self.request.task} for {shown(self.request.model_type)}"

    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(Candidate(entry=entry, rejection=self.rejections.get(id(entry))) for entry in self.considered)

    def trace(self) -> list[str]:
        lines = [str(candidate) for candidate in self.candidates()]
        return lines + [f"skipped: {plugin}: {plugin.fatal}" for plugin in self.silent_plugins()]

    def silent_plugins(self) -> list[Plugin]:
        """Plugins that might have answered, but what they offer could not be read."""
        return [plugin for plugin in self.catalog.plugins if plugin.manifest is None]

    def skipped_lines(self) -> list[str]:
        skipped = self.silent_plugins()
        lines = [f"    {plugin.name} {plugin.version}: {_shortened(str(plugin.fatal))}" for plugin in skipped[:3]]
        if len(skipped) > 3:
            lines.append(f"    and {len(skipped) - 3} more")
        return ["Plugins that could not be read and might offer it:", *lines] if lines else []

    def unknown_type(self) -> ResolutionError:
        catalog, model_type = self.catalog, self.request.model_type
        source = f", which {printable(self.request.source)} asks for" if self.request.source else ""
        lines = [f"No installed plugin offers the model type {shown(model_type)}{source}.", *self.checkpoint_lines()]
        if catalog.model_types:
            lines.append(f"Offered here: {listed(catalog.model_types)}.")
        if guess := nearest(model_type[:64], catalog.model_types):  # names are no longer than that
            lines.append(f"The nearest name is {guess!r}.")
        lines += self.skipped_lines()
        return UnknownModelTypeError(
            "\n".join(lines), hints=[*self.checkpoint_hints(), self.install_hint()], trace=self.trace()
        )

    def checkpoint_lines(self) -> list[str]:
        """What the checkpoint itself says of the code that it needs."""
        absent = self.absent()
        lines = absent.sentences() if absent else []
        if self.request.repository_code:
            lines.append("The checkpoint brings Python code of its own; code from checkpoints is never run.")
        return lines

    def checkpoint_hints(self) -> list[str]:
        absent = self.absent()
        return absent.hints() if absent else []

    def install_hint(self) -> str:
        known = KNOWN_PLUGINS.get(self.request.model_type, ())
        absent = [name for name in known if self.catalog.plugin(name) is None]
        if absent:
            return f"Run: pip install {' or '.join(absent)}"
        if known:
            return f"{' and '.join(known)} are installed and do not offer it yet; a newer version may."
        return "Install a plugin that offers it, or run: registry doctor"

    def unknown_task(self, of_type: Sequence[Entry]) -> ResolutionError:
        tasks = sorted({entry.task for entry in of_type})
        plugins = sorted({entry.plugin.name for entry in of_type})
        lines = [
            f"No installed plugin offers {self.what()}.",
            f"{listed(plugins)} {'offers' if len(plugins) == 1 else 'offer'}: {listed(tasks)}.",
            *self.checkpoint_lines(),
            *self.skipped_lines(),
        ]
        guess = nearest(self.request.task, tasks)
        hints = [f"Did you mean {guess!r}?"] if guess else []
        return UnknownTaskError(
            "\n".join(lines),
            hints=[*hints, *self.checkpoint_hints(), f"Run: registry show {self.request.model_type}"],
            trace=self.trace(),
        )

    def nothing_usable(self) -> ResolutionError:
        lines = [f"No plugin that offers {self.what()} can be used here:"]
        candidates = self.candidates()
        lines += [f"    {_shortened(str(candidate))}" for candidate in candidates[:4]]  # there is room for the skipped
        if len(candidates) > 4:
            lines.append(f"    and {len(candidates) - 4} more")
        lines += [*self.checkpoint_lines(), *self.skipped_lines()]
        hints = [*self.checkpoint_hints(), "Run: registry doctor"]
        return NoUsablePluginError("\n".join(lines), hints=hints, trace=self.trace())

    def ambiguous(self) -> ResolutionError:
        width = max(len(entry.plugin.name) for entry in self.left)
        digits = max(len(entry.plugin.version) for entry in self.left)
        rivals = [
            f"    {entry.plugin.name:<{width}}  {entry.plugin.version:<{digits}}  "
            f"{'editable, ' if entry.plugin.editable else ''}{entry.plugin.location}"
            for entry in self.left
        ]
        first, model_type = self.left[0], self.request.model_type
        choice = (
            f'Choose one: plugin="{first.plugin.name}", or with automodels.pin("{model_type}", "{first.plugin.name}"), '
            f"or AUTOMODELS_PIN_{variable_part(model_type)}={first.plugin.name}"
        )
        head = f"{self.what()} is provided by {len(rivals)} {first.framework} plugins:"
        return AmbiguousModelError("\n".join([head, *rivals]), hints=[choice], trace=self.trace())


def _shortened(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "..."
