"""The conformance suite, applied to the toy, and to toys each of which has one thing wrong.

`catches` names the tests that must fail; tests/core/test_conformance.py runs this file and compares.
"""

# ruff: noqa: N801  # `model_class` and `config_class` are declarations that happen to be classes

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np
from np_toy.config import ToyConfig
from np_toy.modeling import Toy, ToyForCausalLM, ToyForLabels

import automodels.checkpoint.keymap as keymaps
from automodels.errors import BackendUnavailableError, CheckpointMismatchError
from automodels.plugins.catalog import load_catalog
from automodels.testing.conformance import Driver, ModelConformance


class ToyDriver(Driver):
    framework = "torch"
    formats: ClassVar = {"safetensors": {}, "msgpack": {"format": "msgpack"}}

    def build(self, model_class, config, *, seed=0, dtype="float32"):
        return model_class(config, seed=seed, dtype=dtype)

    def run(self, model, inputs, **flags):
        return model(**inputs, **flags)

    def generate(self, model, ids, **options):
        return model.generate(ids, **options)

    def parameters(self, model):
        return dict(model.params)

    def set_parameters(self, model, parameters):
        model.params = dict(parameters)


class ToyConformance(ModelConformance):
    driver = ToyDriver()
    fields: ClassVar = {"vocab_size": 13, "hidden_size": 8, "num_labels": 3}
    padding = ("right", "left")
    in_manifest = False
    catches: ClassVar[tuple[str, ...]] = ()


class TestToy(ToyConformance):
    model_class = Toy
    in_manifest = True


class TestToyForLabels(ToyConformance):
    model_type = "np-toy"
    task = "token-classification"
    in_manifest = True


class TestToyForCausalLM(ToyConformance):
    model_class = ToyForCausalLM
    in_manifest = True


class TestToyOfTheExample(ToyConformance):
    """Without fields: those of the manifest."""

    model_class = Toy
    in_manifest = True
    fields: ClassVar = {}


class TestTextOfUnlikelyTokens(ToyConformance):
    class model_class(ToyForCausalLM):
        def choose(self, logits):
            return logits.argmin(-1)

    catches = ("test_generated_tokens_are_the_most_probable_ones",)


class TestTextThatLosesItsPrompt(ToyConformance):
    class model_class(ToyForCausalLM):
        def generate(self, ids, **options):
            return super().generate(ids, **options)[:, ::-1]

    catches = ("test_generated_tokens_are_the_most_probable_ones",)


class TestTextThatNeverEnds(ToyConformance):
    class model_class(ToyForCausalLM):
        def generate(self, ids, *, eos_token_id=None, **options):
            return super().generate(ids, **options)

    catches = ("test_a_text_ends_with_the_token_that_ends_it",)


class TestCheckpointThatNamesNobody(ToyConformance):
    class model_class(Toy):
        def written(self):
            return {**super().written(), "automodels": {"version": "0"}}

    in_manifest = True
    catches = ("test_a_saved_checkpoint_names_its_plugin",)


class TestClassThatNoAutoClassReaches(ToyConformance):
    class model_class(Toy): ...

    in_manifest = True
    catches = ("test_an_auto_class_loads_what_was_saved",)


class NoExample(ToyConfig):
    @classmethod
    def field_names(cls):
        return super().field_names() - {"vocab_size"}


class TestExampleThatIsNoConfig(ToyConformance):
    """The config has other fields than the manifest's example."""

    class model_class(Toy):
        config_class = NoExample

    entry = property(lambda self: next(entry for entry in load_catalog().entries if entry.model_type == "np-toy"))
    catches = ("test_the_example_of_the_manifest_is_a_config",)


class TestModelThatTakesAnyBackend(ToyConformance):
    class model_class(Toy):
        def __init__(self, config, *, backend="auto", **options):
            super().__init__(config, **options)

    catches = ("test_a_backend_that_nobody_declares_is_refused_by_name",)


class TestNotInAManifest(ToyConformance):
    """A class that no manifest names."""

    class model_class(Toy): ...

    in_manifest = True
    catches = ("test_the_manifest_leads_to_the_class", "test_a_saved_checkpoint_names_its_plugin")


class DropsAKey(ToyConfig):
    def to_dict(self):
        return {key: value for key, value in super().to_dict().items() if key != "hidden_size"}


class TestConfigThatDropsAKey(ToyConformance):
    class model_class(Toy):
        config_class = DropsAKey

    catches = ("test_a_config_survives_dict_and_json", "test_a_config_keeps_every_value_that_was_given")


class WritesHalf(ToyConfig):
    def to_json_string(self, use_diff=True):
        text = super().to_json_string(use_diff)
        return text.replace('"hidden_size": 8', '"hidden_size": 6') if use_diff else text


class TestConfigWhoseFileIsWrong(ToyConformance):
    class model_class(Toy):
        config_class = WritesHalf

    catches = ("test_a_config_survives_a_file",)


class Forgets(ToyConfig):
    def __init__(self, /, **values):
        super().__init__(**{key: value for key, value in values.items() if not key.startswith("conformance")})


class TestConfigThatForgetsUnknownKeys(ToyConformance):
    class model_class(Toy):
        config_class = Forgets

    catches = ("test_a_config_keeps_keys_that_it_does_not_know",)


class TestConfigThatChangesWhenPickled(ToyConformance):
    class model_class(Toy):
        class config_class(ToyConfig):
            def __setstate__(self, state):
                super().__setstate__(state)
                object.__setattr__(self, "__dict__", {**self.__dict__, "hidden_size": 2})

    catches = ("test_a_config_survives_another_process",)


class TestModelThatSharesItsConfig(ToyConformance):
    class model_class(Toy):
        def __init__(self, config, **options):
            super().__init__(config, **options)
            self.config = config

    catches = ("test_a_model_has_a_config_of_its_own",)


class TestConfigWhoseModuleImportsAFramework(ToyConformance):
    @property
    def tested(self):
        from np_rogue import RogueToy  # not above: the configs of this file shall import no framework

        return RogueToy

    catches = ("test_manifest_config_and_key_map_import_no_framework",)


class LastOnes(keymaps.KeyMap):
    """Confuses what a tensor fills with another parameter."""

    def parameter(self, tensor):
        found = super().parameter(tensor)
        return ("positions.table", found[1]) if found and found[0] == "words.table" else found


class TestKeyMapThatIsNoBijection(ToyConformance):
    class model_class(Toy):
        keymap = LastOnes(
            ("words.weight", "words.table", keymaps.SAME),
            ("positions.weight", "positions.table", keymaps.SAME),
            ("layer.{i}.dense.weight", "layer.{i}.dense.kernel", keymaps.TRANSPOSED),
            ("layer.{i}.dense.bias", "layer.{i}.dense.bias", keymaps.SAME),
        )

    catches = ("test_the_key_map_is_a_bijection_over_all_parameters",)


class TestSaveInAnotherLayout(ToyConformance):
    """What is square is saved without being transposed, and read so: nobody else can read it."""

    class model_class(Toy):
        def tensor(self, path, value):
            name, _ = super().tensor(path, value)
            return name, value

        @classmethod
        def from_pretrained(cls, name, **options):
            model = super().from_pretrained(name, **options)
            model.params = {path: value.T if path.endswith("kernel") else value for path, value in model.params.items()}
            return model

    catches = ("test_saved_tensors_have_the_names_and_layouts_of_the_key_map",)


class TestBackendThatComputesSomethingElse(ToyConformance):
    class model_class(Toy):
        def __init__(self, config, *, backend="auto", **options):
            super().__init__(config, backend=backend, **options)
            self.factor = 2 if backend == "numpy" else 1

        def outputs(self, x, mask):
            return {"last_hidden_state": x * self.factor}

    catches = ("test_every_declared_backend_loads_or_explains_itself",)


class TestBackendThatIsRefusedWithoutAReason(ToyConformance):
    class model_class(Toy):
        def __init__(self, config, *, backend="auto", **options):
            if backend not in ("auto", "numpy"):
                raise BackendUnavailableError("no")
            super().__init__(config, backend=backend, **options)

    catches = ("test_every_declared_backend_loads_or_explains_itself",)


class TestSaveThatLosesATensor(ToyConformance):
    class model_class(Toy):
        may_be_fresh = ("layer.1.dense.bias",)

        def save_pretrained(self, directory, **options):
            whole, self.params = (
                self.params,
                {path: value for path, value in self.params.items() if path not in self.may_be_fresh},
            )
            super().save_pretrained(directory, **options)
            self.params = whole

    catches = ("test_what_is_saved_loads_bit_by_bit_in_every_format", "test_shards_hold_the_same_as_one_file")


class TestSaveOfOneFormatRounds(ToyConformance):
    class model_class(Toy):
        def save_pretrained(self, directory, *, format="safetensors", **options):  # noqa: A002  # as the writer calls it
            whole = self.params
            if format == "msgpack":
                self.params = {path: value.astype(np.float16).astype(np.float32) for path, value in whole.items()}
            super().save_pretrained(directory, format=format, **options)
            self.params = whole

    catches = ("test_what_is_saved_loads_bit_by_bit_in_every_format",)


class TestLoadedModelComputesSomethingElse(ToyConformance):
    class model_class(Toy):
        def outputs(self, x, mask):
            return {"last_hidden_state": x * (1 if self.load_report is None else 1 + 1e-6)}

    catches = ("test_a_loaded_model_computes_the_same",)


class TestSaveThatForgetsTheConfig(ToyConformance):
    class model_class(Toy):
        def save_pretrained(self, directory, **options):
            config, self.config = self.config, self.config.copy_with(num_labels=2)
            super().save_pretrained(directory, **options)
            self.config = config

    catches = ("test_the_saved_config_is_the_models",)


class TestShardsThatAreNone(ToyConformance):
    class model_class(Toy):
        def save_pretrained(self, directory, *, max_shard_size="5GB", **options):
            super().save_pretrained(directory, **options)

    catches = ("test_shards_hold_the_same_as_one_file",)


class TestLoadingWithoutAReport(ToyConformance):
    class model_class(Toy):
        @classmethod
        def from_pretrained(cls, name, **options):
            model = super().from_pretrained(name, **options)
            model.load_report = None
            return model

    catches = ("test_loading_reports_what_it_did",)


class Forgiving(Toy):
    """Loads whatever there is."""

    @classmethod
    def from_pretrained(cls, name, **options):
        try:
            return super().from_pretrained(name, **options)
        except CheckpointMismatchError:
            return cls(cls.config_class.from_pretrained(name))


class TestLoadingThatForgivesEverything(ToyConformance):
    model_class = Forgiving
    catches = (
        "test_a_missing_tensor_is_an_error_that_names_it",
        "test_a_tensor_too_many_is_reported_and_refused_when_strict",
        "test_a_wrong_shape_is_refused_or_starts_afresh_when_asked",
        "test_a_type_that_is_no_number_type_of_parameters_is_refused",
    )


class TestLoadingThatCastsWrongly(ToyConformance):
    class model_class(Toy):
        @classmethod
        def from_pretrained(cls, name, **options):
            model = super().from_pretrained(name, **options)
            for path in model.load_report.cast:
                model.params[path] = model.params[path] * 0
            return model

    catches = ("test_tensors_of_another_floating_type_are_cast_and_reported",)


class TestHeadThatIsFreshInSilence(ToyConformance):
    class model_class(ToyForLabels):
        @classmethod
        def warn(cls, fresh): ...

    catches = ("test_a_checkpoint_of_the_backbone_alone_leaves_the_head_fresh",)


class TestLoadingThatSwallowsOptions(ToyConformance):
    class model_class(Toy):
        @classmethod
        def check_options(cls, options):
            options.pop("ignore_missmatched_sizes", None)

    catches = ("test_a_misspelt_option_of_loading_is_refused_by_name",)


class TestModelThatIsNeverTheSame(ToyConformance):
    class model_class(Toy):
        calls = 0

        def outputs(self, x, mask):
            self.calls += 1
            return {"last_hidden_state": x + self.calls * 1e-9}

        def rounded(self, array):
            return array.astype(np.float64) if self.dtype == np.float32 else super().rounded(array)

        def typed(self, outputs):
            return outputs if self.dtype == np.float32 else super().typed(outputs)

    catches = ("test_the_same_call_gives_the_same_result",)


class TestModelThatIgnoresTheSeed(ToyConformance):
    class model_class(Toy):
        def __init__(self, config, *, seed=0, **options):
            super().__init__(config, seed=0, **options)

    catches = ("test_the_seed_decides_fresh_parameters",)


class TestModelThatNormalisesOverTheBatch(ToyConformance):
    class model_class(Toy):
        def outputs(self, x, mask):
            return {"last_hidden_state": x - x.mean(0, keepdims=True)}

    catches = ("test_a_row_alone_gives_what_it_gives_in_a_batch",)


class TestModelThatAttendsToPadding(ToyConformance):
    class model_class(Toy):
        def attend(self, split, mask):
            return super().attend(split, np.ones_like(mask))

    catches = ("test_padding_changes_nothing",)


class TestModelThatIgnoresPositions(ToyConformance):
    """Padding on the left shifts the text."""

    class model_class(Toy):
        def backbone(self, ids, mask, positions):
            return super().backbone(ids, mask, np.arange(ids.shape[1])[None])

    catches = ("test_padding_changes_nothing[left]",)


class TestAttentionsThatAreScores(ToyConformance):
    class model_class(Toy):
        def typed(self, outputs):
            if "attentions" in outputs:
                outputs["attentions"] = tuple(np.log(weights + 1) for weights in outputs["attentions"])
            return super().typed(outputs)

    catches = ("test_attentions_are_weights_of_every_layer",)


class TestHiddenStatesWithoutTheFirst(ToyConformance):
    class model_class(Toy):
        def typed(self, outputs):
            if "hidden_states" in outputs:
                outputs["hidden_states"] = outputs["hidden_states"][1:]
            return super().typed(outputs)

    catches = ("test_hidden_states_are_those_of_every_layer",)


class TestFlagThatChangesTheResult(ToyConformance):
    class model_class(Toy):
        def typed(self, outputs):
            if "attentions" in outputs:
                outputs["last_hidden_state"] = outputs["last_hidden_state"] * 1.01
                outputs["hidden_states"] = (*outputs["hidden_states"][:-1], outputs["last_hidden_state"])
            return super().typed(outputs)

    catches = ("test_asking_for_more_outputs_changes_no_other",)


class TestModelThatComputesInFloat32Only(ToyConformance):
    class model_class(Toy):
        def typed(self, outputs):
            return outputs

    catches = ("test_every_type_computes_close_to_float32",)


class TestModelWhoseHalfTypesAreFarOff(ToyConformance):
    class model_class(Toy):
        def rounded(self, array):
            return np.round(super().rounded(array)) if self.dtype != np.float32 else array

    catches = (
        "test_every_type_computes_close_to_float32[bfloat16]",
        "test_every_type_computes_close_to_float32[float16]",
    )


class TestModelThatDependsOnItsProcess(ToyConformance):
    class model_class(Toy):
        def __init__(self, config, **options):
            super().__init__(config, **options)
            self.process = os.getpid()

        def outputs(self, x, mask):
            return {"last_hidden_state": x * (1 if os.getpid() == self.process else 2)}

    catches = ("test_a_model_survives_another_process",)


class TestModelThatTakesAnyInput(ToyConformance):
    class model_class(Toy):
        def check_inputs(self, ids, mask): ...

    catches = ("test_wrong_inputs_are_refused",)


class TestModelThatTakesAnyArgument(ToyConformance):
    class model_class(Toy):
        def __call__(self, *, input_idz=None, **arguments):
            return super().__call__(**arguments)

    catches = ("test_a_misspelt_argument_of_a_call_is_refused_by_name",)


class TestExpectedFailures(ToyConformance):
    """Says why a test fails; the suite then passes."""

    class model_class(Toy):
        def __init__(self, config, *, seed=0, **options):
            super().__init__(config, seed=0, **options)

    expected_failures: ClassVar = {"test_the_seed_decides_fresh_parameters": "the seed is not implemented"}


class TestExpectedFailureThatPasses(ToyConformance):
    model_class = Toy
    expected_failures: ClassVar = {"test_the_seed_decides_fresh_parameters": "long since repaired"}
    catches = ("test_the_seed_decides_fresh_parameters",)
