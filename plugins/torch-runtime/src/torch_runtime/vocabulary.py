"""The vocabulary of a model: tables of its tokens at both ends, tied or not, and of which size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from automodels.config import PretrainedConfig
from automodels.errors import InputError, PluginError, listed
from automodels.runtime.numbers import positive
from torch_runtime.initialising import fresh_value
from torch_runtime.parameters import Held, as_module, held
from torch_runtime.resizing import hang, note_size, resized, vocabulary_axes


class WithVocabulary(Protocol):
    """A config whose network has a vocabulary."""

    vocab_size: int


class VocabularyMethods:
    """Input and output embeddings of a model, whose class says where they are."""

    config: PretrainedConfig
    base_model_prefix: ClassVar[str]
    input_embeddings: ClassVar[str] = ""
    """Path of the table of tokens, below the backbone."""

    output_embeddings: ClassVar[str] = ""
    """Path of the layer that predicts tokens, in those of the family's models that have it."""

    _ties: tuple[tuple[str, ...], ...] = ()
    """Names of parameters that are one, the first of them that of checkpoints."""

    def get_input_embeddings(self) -> nn.Module:
        """The table of tokens. Raises PluginError when the class does not say where it is."""
        return as_module(self).get_submodule(self._input_path())

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Puts another table in its place; what was tied to the old one keeps that until `tie_weights()`."""
        _set(as_module(self), self._input_path(), value)

    def get_output_embeddings(self) -> nn.Module | None:
        """The layer that predicts tokens; None for a model that has none."""
        model, path = as_module(self), self.output_embeddings
        return model.get_submodule(path) if path and _has(model, path) else None

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Puts another layer in its place; `tie_weights()` ties it as the old one was.

        Raises InputError when the model has none.
        """
        if self.get_output_embeddings() is None:
            raise InputError(f"{type(self).__name__} predicts no tokens: it has no output embeddings.")
        _set(as_module(self), self.output_embeddings, new_embeddings)

    def tie_weights(self) -> None:
        """Makes parameters one again that were one when the model was made: those that an assignment has parted.

        The one that stays is the first, such as the table of tokens. A bias beside a weight with more rows gets zeros.
        Raises InputError when what shall be one has other widths; then nothing is changed.
        """
        model = as_module(self)
        groups = [[_place(model, name) for name in group] for group in self._ties]
        for names, places in zip(self._ties, groups, strict=True):
            first, *others = (getattr(part, name) for part, name in places)
            wrong = [name for name, one in zip(names[1:], others, strict=True) if one.shape[1:] != first.shape[1:]]
            if wrong:
                raise InputError(f"{names[0]} has rows of {list(first.shape[1:])}; {wrong[0]} has others.")
        for places in groups:
            (part, name), *others = places
            one = getattr(part, name)
            for module, attribute in others:
                setattr(module, attribute, one)
                note_size(module, attribute)
                _fit_bias(model, module)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """Gives the vocabulary another size, in the config and in every parameter that follows it, biases too.

        Returns the table of tokens. `pad_to_multiple_of` rounds the size up, the present one where none is given. Rows
        are cut off at the end, or appended there: drawn from the distribution of the old ones (see
        `torch_runtime.resizing`), or with `mean_resizing=False` initialised as in a new model. What was tied stays
        tied. Raises InputError or ConfigError, and then the model is as it was.
        """
        if new_num_tokens is None and pad_to_multiple_of is None:
            return self.get_input_embeddings()
        self._refuse_far_parameters("resized")
        before: int = self.config.vocab_size
        size = before if new_num_tokens is None else positive("new_num_tokens", new_num_tokens)
        if pad_to_multiple_of is not None:
            multiple = positive("pad_to_multiple_of", pad_to_multiple_of)
            size = -(-size // multiple) * multiple
        if size == before:
            return self.get_input_embeddings()
        model = as_module(self)
        config = self.config.copy_with(vocab_size=size)
        own = held(model)
        axes = vocabulary_axes(own, held(self._outline_of(config)), before, size)
        fresh = (
            {} if mean_resizing or size < before else {name: self._fresh(own[name], axes[name], size) for name in axes}
        )
        with torch.no_grad():
            new = {name: resized(own[name].tensor, axis, size, fresh.get(name)) for name, axis in axes.items()}
        for name, tensor in new.items():
            hang(own[name], tensor)
        self._set_configs(vocab_size=size)
        return self.get_input_embeddings()

    def _input_path(self) -> str:
        if not self.input_embeddings:
            raise PluginError(f"{type(self).__name__} does not say where its table of tokens is (input_embeddings).")
        prefix = self.base_model_prefix
        return f"{prefix}.{self.input_embeddings}" if prefix else self.input_embeddings

    def _fresh(self, found: Held, axis: int, size: int) -> Tensor:
        shape = [size if number == axis else length for number, length in enumerate(found.tensor.shape)]
        return fresh_value(self, found, torch.Size(shape))

    def _set_configs(self, **changes: Any) -> None:
        """Changes fields of the config, in the models inside as well."""
        for part in as_module(self).modules():
            if isinstance(part, VocabularyMethods):
                part.config = part.config.copy_with(**changes)

    def _refuse_far_parameters(self, what: str) -> None:
        far = [name for name, found in held(as_module(self)).items() if found.tensor.is_meta]
        if far:
            raise InputError(
                f"{type(self).__name__} cannot be {what}: {listed(far, limit=2)} is on disk.",
                hints=["Load it without device_map, change it, and save it."],
            )

    def _outline_of(self, config: PretrainedConfig) -> nn.Module:
        """The same model with another config, without memory."""
        raise NotImplementedError("TorchPreTrainedModel has it")


def ties(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Names of parameters that are one object, in groups of at least two."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return tuple(tuple(group) for group in names.values() if len(group) > 1)


def _has(model: nn.Module, path: str) -> bool:
    part: Any = model
    for name in path.split("."):
        part = getattr(part, name, None)
    return isinstance(part, nn.Module)


def _place(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, name = path.rpartition(".")
    return model.get_submodule(parent), name


def _set(model: nn.Module, path: str, value: nn.Module) -> None:
    parent, name = _place(model, path)
    setattr(parent, name, value)


def _fit_bias(model: nn.Module, module: nn.Module) -> None:
    """Zeros behind a linear layer's bias, or less of it, when its weight has become another size."""
    bias = getattr(module, "bias", None)
    if not isinstance(module, nn.Linear) or bias is None or bias.shape[0] == module.out_features:
        return
    new = bias.detach().new_zeros(module.out_features)
    kept = min(len(bias), len(new))
    new[:kept] = bias.detach()[:kept]
    found: Mapping[int, Held] = {id(one.tensor): one for one in held(model).values()}
    found[id(bias)].put(new)
