"""A model's `generation_config.json`: read with it, saved with it, and what a call of generate makes of it."""

from __future__ import annotations

import os
from typing import ClassVar

from automodels.checkpoint.journal import current_path
from automodels.checkpoint.locate import Location
from automodels.errors import ConfigError
from automodels.generation import GenerationConfig
from automodels.generation.config import GENERATION_CONFIG_NAME


class WithGenerationConfig:
    """A model that may have options of generation of its own."""

    generates: ClassVar[bool] = False
    """Whether the class predicts the next token and takes `past_key_values`."""

    generation_config: GenerationConfig | None = None
    """Options of the checkpoint's `generation_config.json`; None where it has none. A call's own options win."""

    _unusable: ConfigError | None = None
    """What is wrong with the checkpoint's `generation_config.json`."""

    def _read_generation_config(self, location: Location) -> None:
        """Takes over the checkpoint's `generation_config.json`; one that is unusable matters to generation only."""
        if not self.generates:
            return
        location.fetch(GENERATION_CONFIG_NAME)
        if not os.path.lexists(current_path(location.directory, GENERATION_CONFIG_NAME)):
            return
        try:
            self.generation_config = GenerationConfig.from_pretrained(location)
        except ConfigError as error:
            self._unusable = error

    def _saved_files(self) -> dict[str, bytes]:
        """Files that belong beside the weights, by name."""
        config = self.generation_config
        return {} if config is None else {GENERATION_CONFIG_NAME: config.to_json_string().encode()}
