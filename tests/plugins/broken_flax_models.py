"""BERTs each of which has one thing wrong that only Flax's half of the conformance suite looks at.

`catches` names the tests that must fail; tests/plugins/test_conformance_flax.py runs just these, and compares.
"""

# ruff: noqa: N801  # `model_class` and `config_class` are declarations that happen to be classes

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from flax_bert import FlaxBertForCausalLM, FlaxBertModel
from flax_runtime.testing import FlaxModelConformance

jax.config.update("jax_disable_most_optimizations", True)


class BertConformance(FlaxModelConformance):
    fields: ClassVar = dict(
        vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=16,
    )  # fmt: skip
    in_manifest = False
    catches: ClassVar[tuple[str, ...]] = ()


class TestAbstractTreeThatLacksALeaf(BertConformance):
    class model_class(FlaxBertModel):
        @property
        def params_shape_tree(self):
            return {name: branch for name, branch in super().params_shape_tree.items() if name != "pooler"}

    catches = ("test_the_abstract_build_equals_the_real_one",)


class TestParametersThatAreNotChecked(BertConformance):
    class model_class(FlaxBertModel):
        @property
        def params(self):
            return self._params

        @params.setter
        def params(self, params):
            self._params = params

    catches = ("test_parameters_that_do_not_fit_are_refused_by_name",)


class TestCallThatIgnoresParams(BertConformance):
    class model_class(FlaxBertModel):
        def apply(self, inputs, *, params=None, **options):
            return super().apply(inputs, **options)

    catches = ("test_parameters_of_a_call_take_the_place_of_the_models", "test_gradients_reach_the_parameters")


class TestLoadingWithoutInitThatRounds(BertConformance):
    class model_class(FlaxBertModel):
        @classmethod
        def from_pretrained(cls, name, *, _do_init=True, **options):
            found = super().from_pretrained(name, _do_init=_do_init, **options)
            return found if _do_init else (found[0], found[0].to_fp32(found[0].to_bf16(found[1])))

    catches = ("test_loading_without_init_gives_the_same_parameters",)


class TestModelThatHasParametersWithoutInit(BertConformance):
    class model_class(FlaxBertModel):
        @property
        def params(self):
            return self._params

        @params.setter
        def params(self, params):
            self._params = self._checked(params)

    catches = ("test_loading_without_init_gives_the_same_parameters",)


class TestInitWeightsThatDrawsEverything(BertConformance):
    class model_class(FlaxBertModel):
        def init_weights(self, rng, input_shape=(1, 1), params=None):
            return super().init_weights(rng, input_shape)

    catches = ("test_init_weights_fills_only_what_is_missing",)


class TestCastThatDoesNothing(BertConformance):
    class model_class(FlaxBertModel):
        def to_bf16(self, params, mask=None):
            return params

    catches = ("test_parameters_in_bfloat16_are_cast_back_and_forth",)


class TestJitThatChangesTheResult(BertConformance):
    class model_class(FlaxBertModel):
        def apply(self, inputs, **options):
            output = super().apply(inputs, **options)
            return jax.tree.map(lambda leaf: leaf * 1.01, output) if jax.config.jax_disable_jit else output

    catches = ("test_a_call_without_jit_gives_the_same",)


class TestModelThatNeedsConcreteInputs(BertConformance):
    class model_class(FlaxBertModel):
        def __call__(self, input_ids, *inputs, **options):
            return super().__call__(np.asarray(input_ids), *inputs, **options)

    catches = ("test_a_call_inside_jit_gives_the_same", "test_a_call_inside_vmap_gives_the_same_for_each")


class TestModuleThatIsAnother(BertConformance):
    class model_class(FlaxBertModel):
        @property
        def module(self):
            return FlaxBertModel(self.config, seed=7).module

    catches = ("test_the_module_computes_the_same",)


class TestTupleThatIsAList(BertConformance):
    class model_class(FlaxBertModel):
        def __call__(self, *inputs, return_dict=None, **options):
            output = super().__call__(*inputs, **options)
            return output if return_dict is None else list(output.to_tuple())

    catches = ("test_outputs_are_reached_by_attribute_key_and_position",)


class TestModelThatIsCompiledAtEveryCall(BertConformance):
    class model_class(FlaxBertModel):
        def apply(self, inputs, **options):
            self._compile()
            return super().apply(inputs, **options)

    catches = ("test_calls_of_one_shape_compile_once",)


class TestDropoutThatIgnoresItsKey(BertConformance):
    class model_class(FlaxBertModel):
        def apply(self, inputs, *, dropout_rng=None, **options):
            return super().apply(inputs, dropout_rng=jax.random.key(0), **options)

    catches = ("test_dropout_follows_its_key",)


class TestDropoutWithoutTraining(BertConformance):
    class model_class(FlaxBertModel):
        def apply(self, inputs, *, dropout_rng=None, train=False, **options):
            return super().apply(inputs, dropout_rng=dropout_rng, train=dropout_rng is not None, **options)

    catches = ("test_dropout_follows_its_key",)


class TestCacheWhosePositionsStandStill(BertConformance):
    class model_class(FlaxBertForCausalLM):
        def update_inputs_for_generation(self, model_outputs, model_kwargs):
            updated = super().update_inputs_for_generation(model_outputs, model_kwargs)
            return {**updated, "position_ids": jnp.zeros_like(updated["position_ids"])}

    fields: ClassVar = {**BertConformance.fields, "is_decoder": True}
    cache = True
    catches = ("test_a_cache_gives_what_the_whole_text_gives",)


class TestDecoderThatIsCausalWhateverTheMask(BertConformance):
    class model_class(FlaxBertForCausalLM):
        def apply(self, inputs, **options):
            mask = inputs["attention_mask"]
            return super().apply({**inputs, "attention_mask": mask[:, -1] if mask.ndim == 3 else mask}, **options)

    fields: ClassVar = {**BertConformance.fields, "is_decoder": True}
    cache = True
    catches = ("test_a_mask_for_each_token_says_what_it_sees",)


class TestGradientOfOneArrayThatIsStopped(BertConformance):
    class model_class(FlaxBertModel):
        def apply(self, inputs, *, params=None, **options):
            params = self.params if params is None else params
            params = {**params, "pooler": jax.lax.stop_gradient(params["pooler"])}
            return super().apply(inputs, params=params, **options)

    catches = ("test_gradients_are_finite_and_equal_to_numeric_ones",)


class TestGradientThatIsNotFinite(BertConformance):
    class model_class(FlaxBertModel):
        def apply(self, inputs, **options):
            output = super().apply(inputs, **options)
            zero = output.last_hidden_state * 0
            return dataclasses.replace(output, last_hidden_state=output.last_hidden_state + jnp.sqrt(zero**2))

    catches = ("test_gradients_are_finite_and_equal_to_numeric_ones",)


class TestGradientCheckpointingThatDoesNothing(BertConformance):
    class model_class(FlaxBertModel):
        def enable_gradient_checkpointing(self): ...

    catches = ("test_gradient_checkpointing_changes_no_gradient",)


class TestGradientCheckpointingThatChangesTheGradient(BertConformance):
    class model_class(FlaxBertModel):
        def apply(self, inputs, **options):
            output = super().apply(inputs, **options)
            factor = 1.01 if self.is_gradient_checkpointing else 1.0
            return jax.tree.map(lambda leaf: leaf * factor, output)

    catches = ("test_gradient_checkpointing_changes_no_gradient",)
