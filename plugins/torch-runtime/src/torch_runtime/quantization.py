"""Quantised weights: linear layers in int8 while the computation stays in floating point, by torchao.

Each row of a weight is scaled so that its largest number becomes 127 (see Dettmers et al. 2022,
https://arxiv.org/abs/2208.07339, section 2.1, without its outliers). Heads and tables of embeddings stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from automodels.errors import InputError, nearest
from torch_runtime.optional_libraries import needed

KINDS = ("int8",)


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """What is quantised, and how."""

    kind: str = "int8"
    """`int8`: weights alone, of 8 bits."""

    skip: tuple[str, ...] = ()
    """Paths of modules that stay as they are, with all below them; beside every head."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            guess = nearest(str(self.kind), KINDS)
            raise InputError(
                f"quantization is {self.kind!r}" + (f"; did you mean {guess!r}?" if guess else f"; known: {KINDS[0]}.")
            )


def quantization_asked(asked: str | Quantization | None) -> Quantization | None:
    """The quantisation, by its name or as it is. Raises InputError, MissingDependencyError without torchao."""
    if asked is None:
        return None
    if not isinstance(asked, str | Quantization):
        raise InputError(f"quantization is {asked!r}, neither {KINDS[0]!r} nor a Quantization.")
    found = Quantization(kind=asked) if isinstance(asked, str) else asked
    _torchao(found)
    return found


class QuantizationMethods:
    """A model that may have quantised weights."""

    base_model_prefix: ClassVar[str]
    quantization: str | None = None
    """`int8` where linear layers are quantised."""

    def _quantize(self, wanted: Quantization) -> None:
        assert isinstance(self, nn.Module)
        torchao = _torchao(wanted)
        names = {name for name, _ in self.named_modules()}
        for path in wanted.skip:
            if path not in names:
                guess = nearest(path, names)
                raise InputError(
                    f"quantization skips {path!r}, which is no module"
                    + (f"; did you mean {guess!r}?" if guess else ".")
                )
        heads = self.get_output_embeddings()

        def is_quantized(module: nn.Module, path: str) -> bool:
            inside = path.startswith(f"{self.base_model_prefix}.") if self.base_model_prefix else True
            skipped = any(f"{path}.".startswith(f"{skip}.") for skip in wanted.skip)
            return isinstance(module, nn.Linear) and inside and module is not heads and not skipped

        torchao.quantize_(self, torchao.Int8WeightOnlyConfig(), filter_fn=is_quantized)
        self.quantization = wanted.kind

    def dequantize(self) -> None:
        """Makes quantised weights floating-point numbers again: those that they stand for, not those from before.

        They ask for gradients. A model that is not quantised stays as it is.
        """
        assert isinstance(self, nn.Module)
        if self.quantization is None:
            return
        for module in self.modules():
            weight = module._parameters.get("weight")
            if isinstance(module, nn.Linear) and weight is not None and is_quantized(weight):
                plain = torch.Tensor(weight.dequantize().detach())
                module.weight = nn.Parameter(plain)
        self.quantization = None

    def get_output_embeddings(self) -> nn.Module | None:
        """The layer that predicts tokens."""
        raise NotImplementedError("VocabularyMethods, which comes first, has it")


def is_quantized(tensor: torch.Tensor) -> bool:
    """Whether a parameter is a tensor of torchao's kind."""
    return type(tensor.data).__module__.startswith("torchao.")


def _torchao(wanted: Quantization) -> Any:
    """The library's quantisation; raises MissingDependencyError when it is not installed."""
    with needed("torchao", f"quantization={wanted.kind!r}"):
        import torchao.quantization as library
    return library
