"""Codes of what `registry check` finds, and what they mean.

C1xx the distribution, C2xx its sources, C3xx imports, C4xx running models. Those about the manifest are
the codes of `automodels.plugins.problems`.
"""

from __future__ import annotations

from automodels_cli.findings import Finding

MEANINGS = {
    "C101": "the wheel's hashes or names do not agree with its content",
    "C102": "the metadata lacks something, says something impossible, or still what `registry new` wrote",
    "C103": "the distribution declares no plugin",
    "C104": "the distribution does not require the framework of its models",
    "C105": "something is installed that is not the plugin's",
    "C106": "a name belongs to another distribution",
    "C107": "a file that a package should have is not there",
    "C108": "the range of plugin API versions has no end",
    "C109": "a requirement is malformed, or does not hold here",
    "C110": "the manifest has no example of a model",
    "C201": "a module that the manifest names is not there",
    "C202": "a name that the manifest names is not defined",
    "C203": "a source file cannot be parsed",
    "C204": "what has to be readable without a framework imports one",
    "C205": "a field of a config says nothing about itself",
    "C301": "an import fails",
    "C302": "what is found is of another kind than the manifest says",
    "C303": "the process of a check ended early, or took too long",
    "C401": "a model cannot be built, saved, found, loaded or called",
    "C402": "a model computes something else after loading, or with another backend",
    "C403": "a part of a check was left out",
}


def problem(code: str, subject: str, message: str) -> Finding:
    """Something that has to be put right."""
    assert code in MEANINGS, code
    return Finding(problem=True, subject=subject, message=message, code=code)


def note(code: str, subject: str, message: str) -> Finding:
    """Something that is worth a thought."""
    assert code in MEANINGS, code
    return Finding(problem=False, subject=subject, message=message, code=code)
