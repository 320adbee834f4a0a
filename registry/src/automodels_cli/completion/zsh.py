"""Completion for zsh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from automodels_cli.completion.routes import BOTH, FILES, NAMES, Option, Route

_HEAD = """\
#compdef registry
# zsh completion of the command registry, made by: registry completion zsh
_registry_names() {
    local -a found
    found=(${(f)"$(registry list --names 2>/dev/null)"})
    compadd -a found
}
_registry() {
    local previous=${words[CURRENT-1]} route=registry word
    local -a found
    for word in ${words[2,CURRENT-1]}; do
        case "$route $word" in
            (ROUTES) route="$route $word" ;;
        esac
    done
    case "$route $previous" in"""
_TAIL = """\
    esac
}
if [[ "${funcstack[1]}" = _registry ]]; then _registry "$@"; else compdef _registry registry; fi"""


def script(routes: Sequence[Route]) -> Iterator[str]:
    """The lines of the script."""
    inner = "|".join(f'"{route.text}"' for route in routes if len(route.words) > 1)
    yield from _HEAD.replace("ROUTES", inner).splitlines()
    for route in routes:
        for option in route.options:
            if option.takes_value:
                spelled = "|".join(f'"{route.text} {spelling}"' for spelling in option.spellings)
                yield f"        ({spelled}) {_value(option)}; return ;;"
    yield "    esac"
    yield '    case "$route${words[CURRENT][1]}" in'
    for route in routes:
        pairs = [(spelling, option.help) for option in route.options for spelling in option.spellings]
        yield f'        ("{route.text}-") {_described("option", pairs)} ;;'
        yield f'        ("{route.text}"|"{route.text}"?) {_rest(route)} ;;'
    yield from _TAIL.splitlines()


def _described(tag: str, pairs: Sequence[tuple[str, str]]) -> str:
    options = "-o " if tag == "option" else ""
    return f"found=({' '.join(_quoted(*pair) for pair in pairs)}); _describe {options}{tag} found"


def _quoted(name: str, text: str) -> str:
    escaped = f"{name.replace(':', chr(92) + ':')}:{text}".replace("'", "'\\''")
    return f"'{escaped}'"


def _value(option: Option) -> str:
    return f"compadd -- {' '.join(option.choices)}" if option.choices else _of_kind(option.kind)


def _rest(route: Route) -> str:
    if route.commands:
        return _described("command", route.commands)
    return f"compadd -- {' '.join(route.choices)}" if route.choices else _of_kind(route.kind)


def _of_kind(kind: str | None) -> str:
    return {NAMES: "_registry_names", FILES: "_files", BOTH: "_registry_names; _files"}.get(kind or "", ":")
