"""`registry new NAME`: a plugin to begin with, complete, with a small model that works."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from automodels_cli.exit_codes import FINE
from automodels_cli.output import Output
from automodels_cli.scaffold.licences import licence
from automodels_cli.scaffold.names import plugin_names
from automodels_cli.scaffold.writing import scaffolded, write_all


def run(arguments: Namespace, output: Output) -> int:
    """Writes the files and says what to do next."""
    names = plugin_names(arguments.name, arguments.framework, arguments.model_type, arguments.class_name)
    license_id = licence(arguments.license)
    directory = Path(arguments.directory or names.name)
    files = scaffolded(names, license_id)
    write_all(directory, files)
    steps = (
        f"cd {_quoted(str(directory))}",
        'python -m pip install -e ".[test]"',
        "python -m pytest",
        "registry check . --imports --run",
    )
    if output.as_json:
        content = {"name": names.name, "package": names.package, "model_type": names.model_type}
        described = {**content, "class_name": names.type, "framework": names.framework, "license": license_id}
        output.document("new", {**described, "directory": str(directory), "files": sorted(files), "next": list(steps)})
        return FINE
    output.line(
        f"Wrote {names.name} into {directory}: {names.type} in {names.framework}, model type {names.model_type}."
    )
    output.fields([(name, "") if not about else (name, about) for name, about in _described(files, names.package)])
    if "LICENSE" not in files:
        output.line(f"The text of {license_id} is not among them: put it into {directory / 'LICENSE'}.")
    output.line()
    output.line("Next:")
    for step in steps:
        output.line(f"  {step}")
    return FINE


_ABOUT = {
    "automodels.toml": "the manifest: what the plugin offers",
    "config.py": "the fields of config.json",
    "keymap.py": "how tensors are called in checkpoints",
    "modeling.py": "the model; put your architecture here",
    "test_conformance.py": "what every model is expected to do",
    "test_package.py": "the package can be published",
}


def _described(files: dict[str, str], package: str) -> list[tuple[str, str]]:
    order = list(_ABOUT)
    known = [name for name in files if name.rpartition("/")[2] in _ABOUT]
    known.sort(key=lambda name: order.index(name.rpartition("/")[2]))
    return [(name, _ABOUT[name.rpartition("/")[2]]) for name in known]


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
