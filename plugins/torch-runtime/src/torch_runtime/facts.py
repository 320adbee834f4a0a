"""What a model tells of itself: where it is, in which type, what its backbone is, and what its card says."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from automodels.errors import InputError
from torch_runtime.tensors import default_device, first_dtype

logger = logging.getLogger("automodels")

DUMMY_INPUTS = ((7, 6, 0, 0, 1), (1, 2, 3, 0, 0), (0, 0, 0, 4, 5))


class ModelFacts:
    """Properties of a model, and a warning about inputs that it may misread."""

    config: Any
    base_model_prefix: ClassVar[str]
    model_tags: tuple[str, ...] = ()
    """Tags that `push_to_hub` puts into the model card."""

    device_map: dict[str, Any] | None
    _has_warned_of_padding: bool = False

    @property
    def device(self) -> torch.device:
        """Where its inputs belong: the device of its first parameter, or where calls begin if that is on disk."""
        assert isinstance(self, nn.Module)
        first = next(self.parameters(), None)
        if first is None:
            return default_device()
        if first.is_meta and self.device_map:
            return next(
                (torch.device(place) for place in self.device_map.values() if place != "disk"), torch.device("cpu")
            )
        return first.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of its first floating-point parameter."""
        assert isinstance(self, nn.Module)
        return first_dtype(self.parameters())

    @property
    def name_or_path(self) -> str:
        """Name of the checkpoint that its config was read from; empty where there is none."""
        name: str = self.config.name_or_path
        return name

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """A batch that any model with a vocabulary of 8 tokens can take: `input_ids` [3, 5]."""
        return {"input_ids": torch.tensor(DUMMY_INPUTS, device=self.device)}

    @property
    def base_model(self) -> Any:
        """The backbone; the model itself where it is one."""
        return getattr(self, self.base_model_prefix, self) if self.base_model_prefix else self

    def add_model_tags(self, tags: list[str] | str) -> None:
        """Adds tags for the model card that `push_to_hub` writes; those that are there already stay once."""
        new: list[Any] = [tags] if isinstance(tags, str) else list(tags)
        wrong = [tag for tag in new if not (isinstance(tag, str) and tag.strip())]
        if wrong:
            raise InputError(f"tags has {wrong[0]!r}, which is no tag.")
        self.model_tags = tuple(dict.fromkeys([*self.model_tags, *new]))

    def warn_if_padding_and_no_attention_mask(self, input_ids: Tensor | None, attention_mask: Tensor | None) -> None:
        """Warns, once a model, when ids seem to be padded and no mask says so: padding then counts as text.

        Looks where that is free of waiting: on a CPU, not while torch.compile is looking, at first and last tokens.
        """
        pad = getattr(self.config, "pad_token_id", None)
        if self._has_warned_of_padding or attention_mask is not None or input_ids is None or pad is None:
            return
        if torch.compiler.is_compiling() or input_ids.device.type != "cpu":
            return
        if not bool((input_ids[:, :: max(input_ids.shape[1] - 1, 1)] == pad).any()):
            return
        self._has_warned_of_padding = True
        twins = [name for name in ("bos", "eos", "sep") if getattr(self.config, f"{name}_token_id", None) == pad]
        note = f" {pad} is also its {twins[0]} token, so this may be intended." if twins else ""
        logger.warning(
            "%s got input_ids that begin or end with the padding token %d, and no attention_mask: "
            "padding is read as text.%s",
            type(self).__name__,
            pad,
            note,
        )
