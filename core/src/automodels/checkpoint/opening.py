"""Opening the weights of a checkpoint for a load: of the same save as the config that was read before."""

from __future__ import annotations

from typing import Any

from automodels.checkpoint.config_file import CONFIG_NAME, read_config
from automodels.checkpoint.locate import Location
from automodels.checkpoint.needed import fetch_weights
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.stability import while_unchanged
from automodels.errors import CheckpointChangedError
from automodels.plugins.scan import printable


def open_checkpoint(location: Location, *, variant: str | None = None, **choice: Any) -> Checkpoint:
    """The weights in a place, fetched if need be; options and errors are those of `Checkpoint.open`.

    Raises CheckpointChangedError when a save has replaced the config since `location` read it, since its weights are
    others than those that belong to that config.
    """
    fetch_weights(location, variant=variant, **choice)
    if "config" not in vars(location):  # nobody has read it, so nothing goes by it
        return Checkpoint.open(location.directory, variant=variant, **choice)

    def opened() -> tuple[Checkpoint, dict[str, Any]]:
        return Checkpoint.open(location.directory, variant=variant, **choice), read_config(location.directory)

    checkpoint, config = while_unchanged(location.directory, [CONFIG_NAME], opened)
    if config != location.config:
        raise CheckpointChangedError(
            f"{printable(location.name)} was saved anew after its config was read.", hints=["Load it again."]
        )
    return checkpoint
