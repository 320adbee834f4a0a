"""A model without a framework: it counts words and weighs them."""

from __future__ import annotations

import numpy as np

from automodels.arguments import refuse_unknown
from automodels.checkpoint.locate import Location, locate, split_options
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from automodels.errors import CheckpointMismatchError, InputError
from frozen_plugin.config import TallyConfig


class Tally:
    """How often each word is in a text, times its weight."""

    framework = "flax"
    config_class = TallyConfig

    def __init__(self, config, *, scale=1.0):
        self.config = config.copy_with()
        self.scale = scale
        self.weights = np.ones(len(config.words), np.float32)

    @classmethod
    def from_pretrained(cls, name, *, config=None, resolution=None, **options):
        where, options = split_options(options)
        refuse_unknown(cls.__name__, options, ("scale",))
        location = name if isinstance(name, Location) else locate(name, **where)
        config = config or cls.config_class.from_pretrained(name, **where)
        model = cls(config, **options)
        weights = Checkpoint.open(location.directory)["weights"].numpy()
        if weights.shape != model.weights.shape:
            raise CheckpointMismatchError(f"{len(config.words)} words and {len(weights)} weights.")
        model.weights = np.array(weights)
        model.resolution = resolution
        return model

    def save_pretrained(self, directory):
        files = {"config.json": self.config.to_json_string().encode()}
        return save_tensors(directory, {"weights": self.weights}, files=files)

    def __call__(self, text):
        if not isinstance(text, str):
            raise InputError(f"text is a {type(text).__name__}, not a string.")
        words = (text.lower() if self.config.lowercase else text).split()
        return self.scale * self.weights * [words.count(word) for word in self.config.words]
