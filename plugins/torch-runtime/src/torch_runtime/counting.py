"""How large a model is, and how much it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from automodels.errors import InputError
from torch_runtime.quantization import is_quantized


class CountMethods:
    """Counts of parameters, bytes and operations."""

    main_input_name: ClassVar[str] = "input_ids"
    """Input whose elements are the tokens of a batch."""

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Count of single numbers in all parameters, tied ones once.

        Only those that ask for gradients, or without tables of embeddings, where that is asked for.
        """
        assert isinstance(self, nn.Module)
        tables = {id(part.weight) for part in self.modules() if isinstance(part, nn.Embedding)}
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if (parameter.requires_grad or not only_trainable) and not (exclude_embeddings and id(parameter) in tables)
        )

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Tokens in the inputs of a call, padding included. Raises InputError when it has no `main_input_name`."""
        given = input_dict.get(self.main_input_name)
        if given is None:
            raise InputError(f"The inputs have no {self.main_input_name}, so their tokens cannot be counted.")
        return int(given.numel())

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """Operations of a step forward and backward, about: 6 for each token and parameter.

        That leaves out attention's own, which count for texts longer than the network is wide (Kaplan et al. 2020,
        https://arxiv.org/abs/2001.08361, section 2.1).
        """
        return 6 * self.estimate_tokens(input_dict) * self.num_parameters(exclude_embeddings=exclude_embeddings)

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes that parameters take, wherever they are, and with `return_buffers` the buffers too."""
        assert isinstance(self, nn.Module)
        counted = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(map(stored_bytes, counted))


def stored_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's values; of a quantised one, those of the tensors that it is made of."""
    if not is_quantized(tensor):
        return tensor.nelement() * tensor.element_size()
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]  # torch's way of looking into such tensors
    return sum(stored_bytes(getattr(tensor, name)) for name in names)
