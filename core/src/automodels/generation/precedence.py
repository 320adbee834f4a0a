"""Where the options of one call come from.

The strongest first:

1  arguments of the call
2  the GenerationConfig that was passed to it
3  `generation_config.json` of the checkpoint
4  what the model's config says: token ids, and options that old `config.json` have
5  the defaults of GenerationConfig
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automodels.arguments import refuse_unknown
from automodels.config import PretrainedConfig
from automodels.generation.config import GenerationConfig
from automodels.json_config import warn_once

_RIVALS = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}


def resolved(
    arguments: Mapping[str, Any],
    *,
    given: GenerationConfig | None = None,
    saved: GenerationConfig | None = None,
    model: PretrainedConfig | Mapping[str, Any] | None = None,
    caller: str = "generate",
) -> GenerationConfig:
    """The options that one call goes by.

    What is set in a stronger place counts; of `max_length` and `max_new_tokens` the one that is set in the strongest
    place, and within one place `max_new_tokens`; of `min_length` and `min_new_tokens` likewise. Options of the call or
    of the config passed to it that have no effect are reported once by the logger `automodels`. Raises
    UnknownArgumentError, ConfigValueError, UnsupportedConfigError.
    """
    refuse_unknown(caller, arguments, GenerationConfig.field_names())
    asked = {**({} if given is None else given.explicit()), **arguments}
    places = [
        {} if model is None else GenerationConfig.from_model_config(model).explicit(),
        {} if saved is None else _saved_options(saved),
        {} if given is None else given.explicit(),
        dict(arguments),
    ]
    merged: dict[str, Any] = {}
    for place in places:
        merged = {name: merged[name] for name in merged if not _overruled(name, place)} | place
    config = GenerationConfig._from_values(merged)
    for name, reason in config.unused().items():
        if name in asked:
            warn_once(f"{name}={asked[name]!r} has no effect in this generation: {reason}.")
    return config


def _saved_options(saved: GenerationConfig) -> dict[str, Any]:
    """A file that says the default of `max_length` means the default, which does not count the prompt."""
    default = GenerationConfig.model_fields["max_length"].default
    return {name: value for name, value in saved.explicit().items() if name != "max_length" or value != default}


def _overruled(name: str, place: Mapping[str, Any]) -> bool:
    """Whether a stronger place sets the rival of an option."""
    rivals = _RIVALS | {new: total for total, new in _RIVALS.items()}
    return name in rivals and place.get(rivals[name]) is not None
