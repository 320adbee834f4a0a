"""Completion for fish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from automodels_cli.completion.routes import BOTH, FILES, NAMES, Option, Route

_HEAD = """\
# fish completion of the command registry, made by: registry completion fish
function __registry_at
    set -l route registry
    for word in (commandline -opc)[2..-1]
        switch "$route $word"
            case ROUTES
                set route "$route $word"
        end
    end
    test "$route" = "$argv"
end
function __registry_names
    registry list --names 2>/dev/null
end
complete -c registry -f"""


def script(routes: Sequence[Route]) -> Iterator[str]:
    """The lines of the script."""
    inner = " ".join(f"'{route.text}'" for route in routes if len(route.words) > 1)
    yield from _HEAD.replace("ROUTES", inner).splitlines()
    for route in routes:
        start = f"complete -c registry -n '__registry_at {route.text}'"
        for name, text in route.commands:
            yield f"{start} -a {name} -d {_quoted(text)}"
        if route.choices:
            yield f"{start} -a {_quoted(' '.join(route.choices))}"
        elif route.kind in (NAMES, BOTH):
            yield f"{start} -a '(__registry_names)'"
        if route.kind in (FILES, BOTH):
            yield f"{start} -F"
        for option in route.options:
            yield f"{start} {_option(option)}"


def _option(option: Option) -> str:
    names = " ".join(f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in option.spellings)
    text = f"{names} -d {_quoted(option.help)}"
    if not option.takes_value:
        return text
    if option.choices:
        return f"{text} -x -a {_quoted(' '.join(option.choices))}"
    if option.kind is None:
        return f"{text} -x"
    if option.kind == FILES:
        return f"{text} -r -F"
    return f"{text} -x -a '(__registry_names)'"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
