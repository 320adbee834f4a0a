"""`registry unpin MODEL_TYPE`: takes back a pin of the project file."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from automodels.errors import nearest
from automodels.plugins.names import check_name
from automodels.plugins.settings import variable_part
from automodels_cli.exit_codes import FINE
from automodels_cli.outcome import outcome
from automodels_cli.output import Output
from automodels_cli.project_edit import edit, project_path

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def run(arguments: Namespace, output: Output) -> int:
    """Edits the project file and says what is chosen now."""
    model_type = arguments.model_type
    check_name("model type", model_type)
    path = project_path(arguments.file)
    before: list[str] = []

    def change(document: TOMLDocument) -> bool:
        pins = document.get("pins", {})
        same = [key for key in pins if variable_part(key) == variable_part(model_type)]
        before.extend(str(pins[key]) for key in same)
        for key in same:
            del pins[key]
        return bool(same)

    changed, project = edit(path, change)
    found = outcome(model_type, path, project)
    if output.as_json:
        content = {"model_type": model_type, "plugin": before[0] if before else None, "file": path, "changed": changed}
        output.document("unpin", {**content, **found.described()})
        return FINE
    guess = nearest(model_type, [name for name, _ in project.pins])
    hint = f"; did you mean {guess!r}?" if guess else "."
    was = (
        f"{model_type} is not pinned any more (it was {before[0]})."
        if changed
        else f"{model_type} was not pinned{hint}"
    )
    output.line(f"{path}: {was}")
    found.print(model_type, output)
    return FINE
