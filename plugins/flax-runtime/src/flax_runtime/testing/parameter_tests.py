"""The tree of parameters: known before it is built, checked when it is set, cast, and absent with `_do_init=False`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.errors import CheckpointMismatchError, InputError
from automodels.testing.conformance.comparing import assert_array_close, assert_close, assert_same_parameters
from flax_runtime.parameters import flatten, unflatten
from flax_runtime.testing.subject import EXTRA, FlaxSubject


class ParameterTests(FlaxSubject):
    """`params`, `params_shape_tree`, `required_params`, `init_weights`, casts."""

    def test_the_abstract_build_equals_the_real_one(self, config: Any) -> None:
        model = self.driver.build(self.tested, config)

        abstract = {path: (leaf.shape, leaf.dtype) for path, leaf in flatten(model.params_shape_tree).items()}

        real = {path: (leaf.shape, leaf.dtype) for path, leaf in flatten(model.params).items()}
        odd = sorted(path for path in abstract.keys() | real.keys() if abstract.get(path) != real.get(path))
        assert not odd, "\n".join(f"{path}: abstract {abstract.get(path)}, real {real.get(path)}" for path in odd)
        assert {".".join(path) for path in model.required_params} == real.keys()
        assert model.num_parameters() == sum(leaf.size for leaf in jax.tree.leaves(model.params))

    @pytest.mark.parametrize("wrong", ["missing", "extra", "shape"])
    def test_parameters_that_do_not_fit_are_refused_by_name(self, wrong: str, model: Any, inputs: Any) -> None:
        flat = flatten(model.params)
        path = sorted(flat)[-1]
        changed = {
            "missing": {other: leaf for other, leaf in flat.items() if other != path},
            "extra": {**flat, f"{EXTRA}.kernel": jnp.zeros(3)},
            "shape": {**flat, path: jnp.zeros((*flat[path].shape, 2))},
        }[wrong]
        culprit = EXTRA if wrong == "extra" else path

        with pytest.raises(CheckpointMismatchError) as set_to:
            model.params = unflatten(changed)
        with pytest.raises(CheckpointMismatchError) as called_with:
            model(**inputs, params=unflatten(changed))

        for error in (set_to.value, called_with.value):
            assert culprit in str(error), f"the error does not name {culprit}: {error}"
        assert_same_parameters(
            self.driver.parameters(model), {path: np.asarray(leaf) for path, leaf in flat.items()}, ""
        )

    def test_parameters_of_a_call_take_the_place_of_the_models(self, model: Any, inputs: Any, outputs: Any) -> None:
        zeros = jax.tree.map(jnp.zeros_like, model.params)

        found = self.driver.run(model, {**inputs, "params": zeros})

        same = [name for name, value in outputs.items() if np.array_equal(found[name], value)]
        assert not same, f"with other params, {', '.join(same)} stays the same"
        assert_close(self.driver.run(model, inputs), outputs, 0, "after a call with other params")

    def test_loading_without_init_gives_the_same_parameters(
        self, model: Any, saved: Path, inputs: Any, outputs: Any
    ) -> None:
        bare, params = self.driver.load(self.tested, saved, _do_init=False)

        found = {path: np.asarray(leaf) for path, leaf in flatten(params).items()}
        assert_same_parameters(found, self.driver.parameters(model), "with _do_init=False")
        assert_close(self.driver.run(bare, {**inputs, "params": params}), outputs, 0, "with _do_init=False")
        with pytest.raises(InputError, match="init_weights"):
            _ = bare.params

    def test_init_weights_fills_only_what_is_missing(self, model: Any) -> None:
        flat = flatten(model.params)
        left_out = {min(flat), max(flat, key=lambda path: flat[path].size)}
        given = {path: leaf for path, leaf in flat.items() if path not in left_out}

        filled = flatten(model.init_weights(jax.random.key(3), (1, 1), params=unflatten(given)))
        whole = flatten(model.init_weights(jax.random.key(3), (1, 1)))

        kept = {path: np.asarray(filled[path]) for path in given}
        assert_same_parameters(kept, {path: np.asarray(leaf) for path, leaf in given.items()}, "init_weights")
        assert filled.keys() == flat.keys(), f"init_weights lacks {sorted(flat.keys() - filled.keys())}"
        for path in left_out:  # one program draws all of them, another one some: the last digit may differ
            found, expected = np.asarray(filled[path]), np.asarray(whole[path])
            assert_array_close(found, expected, 1e-6, f"init_weights draws {path} otherwise for a part than for all")

    def test_parameters_in_bfloat16_are_cast_back_and_forth(
        self, model: Any, saved: Path, inputs: Any, outputs: Any
    ) -> None:
        half = model.to_bf16(model.params)

        types = {leaf.dtype.name for leaf in jax.tree.leaves(half)}
        assert types == {"bfloat16"}, f"to_bf16 gives {sorted(types)}"
        assert {leaf.dtype.name for leaf in jax.tree.leaves(model.to_fp32(half))} == {"float32"}
        loaded = self.driver.load(self.tested, saved, param_dtype=jnp.bfloat16)
        cast = {path: np.asarray(leaf) for path, leaf in flatten(half).items()}
        assert_same_parameters(self.driver.parameters(loaded), cast, "loaded with param_dtype=bfloat16")
        if "bfloat16" in self.tolerances:
            found = self.driver.run(loaded, inputs)
            assert_close(found, outputs, self.tolerances["bfloat16"], "with parameters in bfloat16")
