"""Completion for bash."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from automodels_cli.completion.routes import BOTH, FILES, NAMES, Option, Route

# `compgen -W` expands its argument once, so that names come from a variable in single quotes and are not run.
_HEAD = """\
# bash completion of the command registry, made by: registry completion bash
_registry() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} route=registry index found names
    for ((index = 1; index < COMP_CWORD; index++)); do
        case "$route ${COMP_WORDS[index]}" in
            ROUTES) route="$route ${COMP_WORDS[index]}" ;;
        esac
    done
    _registry_names() { names=$(registry list --names 2>/dev/null); found=$(compgen -W '$names' -- "$current"); }
    case "$route $previous" in"""
_TAIL = """\
    esac
    local IFS=$'\\n'
    set -f  # names of files are no patterns
    COMPREPLY=($found)
    set +f
}
complete -o filenames -F _registry registry"""


def script(routes: Sequence[Route]) -> Iterator[str]:
    """The lines of the script."""
    inner = "|".join(f'"{route.text}"' for route in routes if len(route.words) > 1)
    yield from _HEAD.replace("ROUTES", inner).splitlines()
    for route in routes:
        for option in route.options:
            if option.takes_value:
                spelled = "|".join(f'"{route.text} {spelling}"' for spelling in option.spellings)
                yield f"        {spelled}) {_value(option)} ;;"
    yield "        *)"
    yield '            case "$route${current:0:1}" in'
    for route in routes:
        options = [spelling for option in route.options for spelling in option.spellings]
        yield f'                "{route.text}-") {_words(options)} ;;'
        yield f'                "{route.text}"|"{route.text}"?) {_rest(route)} ;;'
    yield "            esac ;;"
    yield from _TAIL.splitlines()


def _words(words: Sequence[str]) -> str:
    return f'found=$(compgen -W {shlex.quote(" ".join(words))} -- "$current")'


def _value(option: Option) -> str:
    return _words(option.choices) if option.choices else _of_kind(option.kind)


def _rest(route: Route) -> str:
    if route.commands:
        return _words([name for name, _ in route.commands])
    return _words(route.choices) if route.choices else _of_kind(route.kind)


def _of_kind(kind: str | None) -> str:
    files = "found+=$'\\n'$(compgen -f -- \"$current\")"
    return {NAMES: "_registry_names", FILES: files, BOTH: f"_registry_names; {files}"}.get(kind or "", "found=")
