"""Our worker for backends of Flax: attention functions, models, what the device can do, and equivalence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from inputs import inputs_of, prompts_of
from protocol import seconds_of, serve, versions
from with_core import Repeated, admitted, asking, cell_arrays, loss_weights, outcomes

from automodels.backends import BackendReport
from automodels.errors import BackendUnavailableError, InputError
from automodels.families.opt import OPTConfig
from automodels.testing.attention import AttentionCase, AttentionInputs
from flax_runtime.attend import Attend
from flax_runtime.attention import xla_attention
from flax_runtime.devices import backend_here, device_kind

held: dict[str, Any] = {}
"""`models` by backend; the `cell` that is measured, its `arrays`, and by backend its `calls` and their `programs`."""


def device() -> dict[str, Any]:
    first = jax.devices()[0]
    return {"kind": device_kind(first), "name": first.device_kind, **versions()}


def backends(dtype: str, size: int) -> dict[str, Any]:
    """Who may compute attention with heads of a size."""
    return admitted(functools.partial(_report, dtype=dtype, size=size))


def attention(backend: str, **cell: Any) -> dict[str, float]:
    """One attention function alone, compiled; a cell is `dtype`, `seen` and the sizes."""
    if held.get("cell") != cell:
        held.update(cell=cell, calls={}, programs={}, found={}, arrays=_arrays(**cell))
    if backend not in held["calls"]:
        attend = _attend(backend, cell["dtype"], cell["size"])
        function = jax.jit(functools.partial(_attended, attend, causal=cell["seen"] == "causal"))
        held["programs"][backend] = function.lower(*held["arrays"]).as_text()
        held["calls"][backend] = _repeated(function, *held["arrays"])
    program = held["programs"][backend]
    first = next(name for name, other in held["programs"].items() if other == program)
    if backend == first:  # one program is measured once a round, however many backends it has
        held["found"][program] = held["calls"][backend].seconds()
    return {"seconds": held["found"][program]}


def make(family: str, dtype: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A model with random parameters; who may compute its attention."""
    from flax_bert import BertConfig, FlaxBertModel
    from flax_opt import FlaxOPTForCausalLM
    from flax_opt import OPTConfig as Config

    held["models"] = {}
    types = {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype(dtype)}
    if family == "opt":
        model: Any = FlaxOPTForCausalLM(Config(**fields), **types)
    else:
        model = FlaxBertModel(BertConfig(**fields), **types)
    held["models"]["auto"] = model
    return admitted(lambda asked: backend_here(asked, model.dtype, model.config.attention_needs))


def forward(backend: str, batch: int, tokens: int, *, padded: bool) -> dict[str, float]:
    model = _model(backend)
    ids, mask = inputs_of(batch, tokens, model.config.vocab_size)
    return {"seconds": _timed(lambda: model(ids, *([mask] if padded else [])))}


def generate(backend: str, batch: int, tokens: int, new: int) -> dict[str, float]:
    model = _model(backend)
    prompts = prompts_of(batch, tokens, model.config.vocab_size)
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
    return {"seconds": _timed(lambda: model.generate(prompts, **options).sequences)}


def difference(backend: str, *, padded: bool) -> dict[str, float]:
    """Of what a model computes with a backend from what it computes with auto, by root mean squares."""
    ids, mask = inputs_of(2, 24, _model("auto").config.vocab_size)
    one, other = (_numbers(_model(name)(ids, *([mask] if padded else []))) for name in (backend, "auto"))
    return {"difference": float(jnp.linalg.norm(one - other) / jnp.linalg.norm(other))}


def multiply(size: int, dtype: str) -> dict[str, float]:
    """The product of two square matrices."""
    return _limit("multiply", jnp.matmul, *[((size, size), dtype)] * 2)


def copy(mib: int) -> dict[str, float]:
    """An array read, and another one written."""
    return _limit("copy", lambda array: array + 1, ((mib * 2**18,), "float32"))


def read(mib: int) -> dict[str, float]:
    """An array read."""
    return _limit("read", jnp.max, ((mib * 2**18,), "float32"))


def forget() -> dict[str, Any]:
    """Frees the memory of everything that is held."""
    held.clear()
    jax.clear_caches()
    return {}


def conforms(backend: str, dtype: str, every: int, seconds: float) -> dict[str, Any]:
    """How the cases of the conformance suite come out."""
    from flax_runtime.testing.attention_tests import GRADIENT_ROUNDING, attended

    def attend_for(case: AttentionCase) -> Attend:
        return _attend(backend, dtype, case.head_size)

    def arrays_of(inputs: AttentionInputs, kind: str) -> list[jax.Array]:
        # Rounded to the type in question before anything else.
        return [jnp.asarray(array, dtype).astype(kind) for array in (inputs.q, inputs.k, inputs.v)]

    def forward(case: AttentionCase, inputs: AttentionInputs) -> Any:
        function = jax.jit(functools.partial(attended, attend_for(case), case, inputs))
        found = function(*arrays_of(inputs, dtype))
        assert found.dtype == dtype, f"{case} in {dtype}: the result is in {found.dtype}"
        return np.asarray(found.astype(jnp.float32))

    def gradients(case: AttentionCase, inputs: AttentionInputs, *, is_plain: bool) -> Any:
        attend = Attend(xla_attention, "plain", frozenset({"mask", "bias"})) if is_plain else attend_for(case)
        weights = jnp.asarray(loss_weights(inputs.q.shape, asking(case, inputs)))

        def loss(*arrays: jax.Array) -> jax.Array:
            result = attended(attend, case, inputs, *arrays).astype(jnp.float32)
            return jnp.where(weights != 0, result * weights, 0).sum()

        found = jax.jit(jax.grad(loss, (0, 1, 2)))(*arrays_of(inputs, "float32" if is_plain else dtype))
        return [np.asarray(array.astype(jnp.float32)) for array in found]

    with jax.default_matmul_precision("float32"):
        return outcomes(dtype, forward, gradients, rounding=GRADIENT_ROUNDING[dtype], every=every, seconds=seconds)


def _report(asked: str, *, dtype: str, size: int) -> BackendReport:
    needs = OPTConfig(hidden_size=size, num_attention_heads=1).attention_needs
    return backend_here(asked, jnp.dtype(dtype), needs)


def _attend(backend: str, dtype: str, size: int) -> Attend:
    try:
        return Attend.of(_report(backend, dtype=dtype, size=size))
    except BackendUnavailableError as error:  # for heads of this size
        raise InputError(str(error)) from error


def _attended(attend: Attend, q: jax.Array, k: jax.Array, v: jax.Array, mask: Any, *, causal: bool) -> jax.Array:
    """Keys and values lie by head, [B, N, S, H], as a cache has them and as products are best made."""
    return attend(q, k.swapaxes(1, 2), v.swapaxes(1, 2), mask=mask, causal=causal)


def _arrays(dtype: str, **cell: Any) -> list[jax.Array | None]:
    q, k, v, mask = cell_arrays(**cell)
    by_head = [np.asarray(array).swapaxes(1, 2) for array in (k, v)]
    return [*(jnp.asarray(array, dtype) for array in (q, *by_head)), None if mask is None else jnp.asarray(mask)]


def _model(backend: str) -> Any:
    models = held["models"]
    if backend not in models:
        models[backend] = models["auto"].with_backend(backend)
    return models[backend]


def _numbers(output: Any) -> jax.Array:
    found = output.logits if "logits" in output else output.last_hidden_state
    return jnp.asarray(found[0], jnp.float32)  # the text without padding


def _limit(name: str, function: Callable[..., Any], *arrays: tuple[tuple[int, ...], str]) -> dict[str, float]:
    if name not in held:
        keys = jax.random.split(jax.random.key(0), len(arrays))
        made = [jax.random.normal(key, shape, dtype) for key, (shape, dtype) in zip(keys, arrays, strict=True)]
        held[name] = _repeated(jax.jit(function), *made)
    return {"seconds": held[name].seconds()}


def _timed(function: Callable[[], Any]) -> float:
    """Seconds until the result is there."""
    return seconds_of(lambda: jax.block_until_ready(function()))


def _repeated(function: Callable[..., Any], *arguments: Any) -> Repeated:
    """On a CPU every call is waited for: JAX would compute several at the same time."""
    if jax.devices()[0].platform == "cpu":
        return Repeated(lambda: jax.block_until_ready(function(*arguments)), jax.block_until_ready)
    return Repeated(lambda: function(*arguments), jax.block_until_ready)


if __name__ == "__main__":
    commands = (
        device,
        backends,
        attention,
        make,
        forward,
        generate,
        difference,
        multiply,
        copy,
        read,
        forget,
        conforms,
    )
    serve({command.__name__: command for command in commands})
