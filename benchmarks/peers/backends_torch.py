"""Our worker for backends of PyTorch: attention functions, models, what the device can do, and equivalence."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import torch
from inputs import inputs_of, prompts_of
from on_torch import DEVICE, device, sync, timed
from protocol import serve
from with_core import Repeated, admitted, asking, cell_arrays, loss_weights, outcomes

from automodels.backends import BackendReport
from automodels.errors import BackendUnavailableError, InputError
from automodels.families.opt import OPTConfig
from automodels.testing.attention import AttentionCase, AttentionInputs
from torch_runtime.attend import Attend
from torch_runtime.devices import backend_here

held: dict[str, Any] = {}
"""`models` by backend; the `cell` that is measured, its `arrays`, and what is timed of it by backend in `calls`."""


def backends(dtype: str, size: int) -> dict[str, Any]:
    """Who may compute attention with heads of a size."""
    return admitted(functools.partial(_report, dtype=dtype, size=size))


def attention(backend: str, **cell: Any) -> dict[str, float]:
    """One attention function alone; a cell is `dtype`, `seen` and the sizes."""
    if held.get("cell") != cell:
        held.update(cell=cell, calls={}, arrays=_arrays(**cell))
    if backend not in held["calls"]:
        function = _attend(backend, cell["dtype"], cell["size"])
        *arrays, mask = held["arrays"]
        is_causal = cell["seen"] == "causal"
        with torch.inference_mode():
            held["calls"][backend] = Repeated(lambda: function(*arrays, mask=mask, is_causal=is_causal), sync)
    with torch.inference_mode():
        return {"seconds": held["calls"][backend].seconds()}


def make(family: str, dtype: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A model with random parameters; who may compute its attention."""
    from torch_heads import BertConfig, BertModel, OPTForCausalLM

    held["models"] = {}
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(DEVICE):
            model: Any = OPTForCausalLM(OPTConfig(**fields)) if family == "opt" else BertModel(BertConfig(**fields))
    finally:
        torch.set_default_dtype(torch.float32)
    held["models"]["auto"] = model.eval()
    return admitted(lambda asked: backend_here(asked, model.config, model.dtype, model.device))


def forward(backend: str, batch: int, tokens: int, *, padded: bool) -> dict[str, float]:
    model = _model(backend)
    inputs = _inputs(batch, tokens, padded=padded)
    with torch.inference_mode():
        return {"seconds": timed(lambda: model(**inputs))}


def generate(backend: str, batch: int, tokens: int, new: int, *, compiled: bool = False) -> dict[str, float]:
    """With `compiled`, by `generate(compile=True)`."""
    model = _model(backend)
    prompts = torch.from_numpy(prompts_of(batch, tokens, model.config.vocab_size)).long().to(DEVICE)
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "compile": compiled}
    return {"seconds": timed(lambda: model.generate(prompts, **options))}


def difference(backend: str, *, padded: bool) -> dict[str, float]:
    """Of what a model computes with a backend from what it computes with auto, by root mean squares."""
    with torch.inference_mode():
        one, other = (_numbers(_model(name)(**_inputs(2, 24, padded=padded))) for name in (backend, "auto"))
        return {"difference": float((one - other).norm() / other.norm())}


def multiply(size: int, dtype: str) -> dict[str, float]:
    """The product of two square matrices."""
    return _limit("multiply", torch.matmul, *[((size, size), dtype)] * 2)


def copy(mib: int) -> dict[str, float]:
    """An array read, and another one written."""
    return _limit("copy", torch.Tensor.copy_, *[((mib * 2**18,), "float32")] * 2)


def read(mib: int) -> dict[str, float]:
    """An array read."""
    return _limit("read", torch.max, ((mib * 2**18,), "float32"))


def forget() -> dict[str, Any]:
    """Frees the memory of everything that is held."""
    held.clear()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    return {}


def conforms(backend: str, dtype: str, every: int, seconds: float) -> dict[str, Any]:
    """How the cases of the conformance suite come out."""
    from torch_runtime.testing.attention_tests import GRADIENT_ROUNDING, PLAIN, attended

    def arrays_of(inputs: AttentionInputs, kind: str) -> list[torch.Tensor]:
        # Rounded to the type in question before anything else.
        arrays = (torch.from_numpy(array).to(DEVICE, getattr(torch, dtype)) for array in (inputs.q, inputs.k, inputs.v))
        return [array.to(getattr(torch, kind)).transpose(1, 2) for array in arrays]

    def forward(case: AttentionCase, inputs: AttentionInputs) -> Any:
        with torch.inference_mode():
            found = attended(_attend(backend, dtype, case.head_size), case, inputs, *arrays_of(inputs, dtype))
        assert found.dtype == getattr(torch, dtype), f"{case} in {dtype}: the result is in {found.dtype}"
        return found.transpose(1, 2).float().cpu().numpy()

    def gradients(case: AttentionCase, inputs: AttentionInputs, *, is_plain: bool) -> Any:
        attend = PLAIN if is_plain else _attend(backend, dtype, case.head_size)
        weights = torch.from_numpy(loss_weights(inputs.q.shape, asking(case, inputs))).to(DEVICE)
        arrays = [array.requires_grad_() for array in arrays_of(inputs, "float32" if is_plain else dtype)]
        result = attended(attend, case, inputs, *arrays).transpose(1, 2).float()
        loss = torch.where(weights != 0, result * weights, 0).sum()
        return [array.float().cpu().numpy() for array in torch.autograd.grad(loss, arrays)]

    return outcomes(dtype, forward, gradients, rounding=GRADIENT_ROUNDING[dtype], every=every, seconds=seconds)


def _report(asked: str, *, dtype: str, size: int) -> BackendReport:
    config = OPTConfig(hidden_size=size, num_attention_heads=1)
    return backend_here(asked, config, getattr(torch, dtype), torch.device(DEVICE))


def _attend(backend: str, dtype: str, size: int) -> Attend:
    try:
        return Attend.of(_report(backend, dtype=dtype, size=size))
    except BackendUnavailableError as error:  # for heads of this size
        raise InputError(str(error)) from error


def _arrays(dtype: str, **cell: Any) -> list[torch.Tensor | None]:
    """Queries as models have them, split from a product; of a step of decoding, keys and values as in a cache."""
    *arrays, mask = cell_arrays(**cell)
    found = [torch.from_numpy(array).to(DEVICE, getattr(torch, dtype)).transpose(1, 2) for array in arrays]
    if cell["queries"] == 1:
        found = [array.contiguous() for array in found]
    return [*found, None if mask is None else torch.from_numpy(mask).to(DEVICE)]


def _model(backend: str) -> Any:
    models = held["models"]
    if backend not in models:
        models[backend] = models["auto"].with_backend(backend)
    return models[backend]


def _inputs(batch: int, tokens: int, *, padded: bool) -> dict[str, torch.Tensor]:
    ids, mask = (
        torch.from_numpy(array).long().to(DEVICE)
        for array in inputs_of(batch, tokens, _model("auto").config.vocab_size)
    )
    return {"input_ids": ids, "attention_mask": mask} if padded else {"input_ids": ids}


def _limit(name: str, function: Callable[..., Any], *arrays: tuple[tuple[int, ...], str]) -> dict[str, float]:
    with torch.inference_mode():
        if name not in held:
            made = [torch.randn(shape, dtype=getattr(torch, dtype), device=DEVICE) for shape, dtype in arrays]
            held[name] = Repeated(lambda: function(*made), sync)
        return {"seconds": held[name].seconds()}


def _numbers(output: Any) -> torch.Tensor:
    found: torch.Tensor = output.logits if "logits" in output else output.last_hidden_state
    return found[0].float()  # the text without padding


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    commands: tuple[Callable[..., Any], ...] = (
        device, backends, attention, make, forward, generate, difference, multiply, copy, read, forget, conforms,
    )  # fmt: skip
    serve({command.__name__: command for command in commands})
