"""BERTs each of which has one thing wrong that only PyTorch's half of the conformance suite looks at.

`catches` names the tests that must fail; tests/torch/test_conformance_torch.py runs just these, and compares.
"""

# ruff: noqa: N801  # `model_class` and `config_class` are declarations that happen to be classes

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from torch_heads import BertForMaskedLM, BertLMHeadModel, BertModel
from torch_runtime.sdpa import sdpa_attention
from torch_runtime.testing import TorchModelConformance


class BertConformance(TorchModelConformance):
    fields: ClassVar = dict(
        vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=16,
    )  # fmt: skip
    in_manifest = False
    catches: ClassVar[tuple[str, ...]] = ()


class TestOutlineThatLacksAParameter(BertConformance):
    class model_class(BertModel):
        def __init__(self, config, **making):
            super().__init__(config, add_pooling_layer=torch.get_default_device().type != "meta", **making)

    catches = ("test_the_outline_without_memory_equals_the_real_build",)


class TestOutlineThatTakesMemory(BertConformance):
    class model_class(BertModel):
        def __init__(self, config, **making):
            super().__init__(config, **making)
            self.scale = nn.Parameter(torch.zeros(3, device="cpu"))

    catches = ("test_the_outline_without_memory_equals_the_real_build",)


class TestOutlineThatTiesNothing(BertConformance):
    class model_class(BertForMaskedLM):
        def __init__(self, config, **making):
            super().__init__(config, **making)
            if torch.get_default_device().type == "meta":
                self.cls.predictions.decoder.weight = nn.Parameter(self.cls.predictions.decoder.weight.clone())

    catches = ("test_the_outline_without_memory_equals_the_real_build",)


class TestLoadingThatDraws(BertConformance):
    class model_class(BertModel):
        @classmethod
        def from_pretrained(cls, name, **options):
            torch.rand(1)
            return super().from_pretrained(name, **options)

    catches = ("test_loading_a_complete_checkpoint_draws_no_random_number",)


class TestLoadingThatCopies(BertConformance):
    class model_class(BertModel):
        @classmethod
        def from_pretrained(cls, name, **options):
            model = super().from_pretrained(name, **options)
            model.pooler.dense.bias = nn.Parameter(model.pooler.dense.bias.detach().clone())
            return model

    catches = ("test_loaded_parameters_lie_in_the_files_and_are_not_copied",)


class TestLoadingThatLeavesALayerInTraining(BertConformance):
    class model_class(BertModel):
        @classmethod
        def from_pretrained(cls, name, **options):
            model = super().from_pretrained(name, **options)
            model.encoder.layer[0].train()
            return model

    catches = ("test_loading_leaves_evaluation_mode",)


class TestStateDictThatIsNotRead(BertConformance):
    class model_class(BertModel):
        def load_state_dict(self, state_dict, **options):
            return super().load_state_dict({**state_dict, "pooler.dense.bias": self.pooler.dense.bias}, **options)

    catches = ("test_a_state_dict_goes_from_one_model_into_another",)


class TestStateDictThatPartsWhatIsTied(BertConformance):
    class model_class(BertForMaskedLM):
        def load_state_dict(self, state_dict, **options):
            decoder = self.cls.predictions.decoder
            decoder.weight = nn.Parameter(decoder.weight.detach().clone())
            return super().load_state_dict(state_dict, **options)

    catches = ("test_a_state_dict_goes_from_one_model_into_another",)


class TestHeadThatIsNotTied(BertConformance):
    class model_class(BertForMaskedLM):
        def get_output_embeddings(self):
            return self.cls.predictions.transform.dense

    catches = ("test_tied_parameters_are_one",)


class TestLoadingThatPartsWhatIsTied(BertConformance):
    class model_class(BertForMaskedLM):
        @classmethod
        def from_pretrained(cls, name, **options):
            model = super().from_pretrained(name, **options)
            model.cls.predictions.decoder.weight = nn.Parameter(model.cls.predictions.decoder.weight.detach())
            return model

    catches = ("test_tied_parameters_are_one",)


class TestTieWeightsThatDoesNothing(BertConformance):
    class model_class(BertForMaskedLM):
        def tie_weights(self): ...

    catches = ("test_tied_parameters_are_one",)


class TestLoadingThatRoundsTwice(BertConformance):
    class model_class(BertModel):
        @classmethod
        def from_pretrained(cls, name, *, dtype="float32", **options):
            if dtype == "bfloat16":
                return super().from_pretrained(name, dtype="float16", **options).to(torch.bfloat16)
            return super().from_pretrained(name, dtype=dtype, **options)

    catches = ("test_loading_in_bfloat16_equals_casting",)


class TestResizingThatDrawsOldTokensToo(BertConformance):
    class model_class(BertModel):
        def resize_token_embeddings(self, new_num_tokens):
            table = super().resize_token_embeddings(new_num_tokens)
            nn.init.normal_(table.weight)
            return table

    catches = ("test_a_vocabulary_of_another_size_changes_nothing_for_its_old_tokens",)


class TestResizingThatTheConfigDoesNotKnow(BertConformance):
    class model_class(BertModel):
        def resize_token_embeddings(self, new_num_tokens):
            config = self.config
            table = super().resize_token_embeddings(new_num_tokens)
            self.config = config
            return table

    catches = ("test_a_vocabulary_of_another_size_changes_nothing_for_its_old_tokens",)


class TestTupleThatIsAList(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, return_dict=None, **options):
            output = super().forward(*inputs, **options)
            return output if return_dict is None else list(output.to_tuple())

    catches = ("test_outputs_are_reached_by_attribute_key_and_position",)


class TestDropoutWithNumbersOfItsOwn(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, **options):
            if self.training:
                torch.manual_seed(0)
            return super().forward(*inputs, **options)

    catches = ("test_dropout_is_for_training_and_follows_torchs_random_numbers",)


class TestDropoutWithoutTraining(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, **options):
            output = super().forward(*inputs, **options)
            return dataclasses.replace(output, pooler_output=functional.dropout(output.pooler_output, training=True))

    catches = ("test_dropout_is_for_training_and_follows_torchs_random_numbers",)


class TestTrainingWithoutDropout(BertConformance):
    class model_class(BertModel):
        def train(self, mode=True):
            return super().train(False)

    catches = ("test_dropout_is_for_training_and_follows_torchs_random_numbers",)


class TestCacheWhosePositionsStandStill(BertConformance):
    class model_class(BertLMHeadModel):
        def forward(self, input_ids, *inputs, past_key_values=None, **options):
            if past_key_values is not None:
                options["position_ids"] = torch.zeros_like(input_ids)
            return super().forward(input_ids, *inputs, past_key_values=past_key_values, **options)

    fields: ClassVar = {**BertConformance.fields, "is_decoder": True}
    cache = True
    catches = ("test_a_cache_gives_what_the_whole_text_gives",)


class TestDecoderThatIsCausalWhateverTheMask(BertConformance):
    class model_class(BertLMHeadModel):
        def forward(self, input_ids, attention_mask=None, **options):
            mask = attention_mask[:, -1] if attention_mask is not None and attention_mask.dim() == 3 else attention_mask
            return super().forward(input_ids, mask, **options)

    fields: ClassVar = {**BertConformance.fields, "is_decoder": True}
    cache = True
    catches = ("test_a_mask_for_each_token_says_what_it_sees",)


def unmasked(q, k, v, *, mask=None, **options):
    return sdpa_attention(q, k, v, **options)


class TestBackendThatSeesPadding(BertConformance):
    class model_class(BertModel):
        def set_attn_implementation(self, attn_implementation):
            super().set_attn_implementation(attn_implementation)
            if attn_implementation == "sdpa":
                self.encoder.layer[0].attention.self.attend = unmasked

    catches = ("test_every_attention_backend_gives_what_eager_gives",)


class TestModelThatLooksAtItsNumbers(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, **options):
            output = super().forward(*inputs, **options)
            return output if float(output.pooler_output.sum()) < 1e9 else None

    catches = ("test_the_model_is_one_graph_for_the_compiler",)


class TestModelThatComputesSomethingElseWhenCompiled(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, **options):
            output = super().forward(*inputs, **options)
            factor = 1.01 if torch.compiler.is_compiling() else 1.0
            return dataclasses.replace(output, pooler_output=output.pooler_output * factor)

    catches = ("test_the_model_is_one_graph_for_the_compiler",)


class TestModelThatIsFloat32InFloat64(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, **options):
            output = super().forward(*inputs, **options)
            return dataclasses.replace(output, pooler_output=output.pooler_output.float())

    catches = ("test_a_model_computes_in_float64",)


class TestAttentionsThatAreRounded(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, output_attentions=None, **options):
            output = super().forward(*inputs, output_attentions=output_attentions, **options)
            if not output_attentions:
                return output
            return dataclasses.replace(output, pooler_output=output.pooler_output.float().to(self.dtype))

    catches = ("test_a_model_computes_in_float64",)


class TestGradientOfOneParameterThatIsStopped(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, **options):
            output = super().forward(*inputs, **options)
            dense = self.pooler.dense
            pooled = functional.linear(output.last_hidden_state[:, 0], dense.weight, dense.bias.detach())
            return dataclasses.replace(output, pooler_output=torch.tanh(pooled))

    catches = ("test_gradients_are_finite_and_equal_to_numeric_ones",)


class TestGradientThatIsNotFinite(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, **options):
            output = super().forward(*inputs, **options)
            nothing = (output.last_hidden_state * 0) ** 2
            return dataclasses.replace(output, last_hidden_state=output.last_hidden_state + nothing.sqrt())

    catches = ("test_gradients_are_finite_and_equal_to_numeric_ones",)


class TestGradientsThatStopAtThePooler(BertConformance):
    class model_class(BertModel):
        def forward(self, *inputs, **options):
            output = super().forward(*inputs, **options)
            states = output.last_hidden_state.detach()
            return dataclasses.replace(output, last_hidden_state=states, pooler_output=self.pooler(states))

    catches = ("test_gradients_reach_the_parameters",)


class TestGradientCheckpointingThatDoesNothing(BertConformance):
    class model_class(BertModel):
        def gradient_checkpointing_enable(self): ...

    catches = ("test_gradient_checkpointing_changes_no_gradient",)


class TestGradientCheckpointingOfOneLayer(BertConformance):
    class model_class(BertModel):
        def run_layer(self, layer, *inputs):
            is_first = layer is self.encoder.layer[0]
            return super().run_layer(layer, *inputs) if is_first else layer(*inputs)

    fields: ClassVar = {**BertConformance.fields, "num_hidden_layers": 2}
    catches = ("test_gradient_checkpointing_changes_no_gradient",)


class TestGradientCheckpointingThatDrawsAnew(BertConformance):
    class model_class(BertModel):
        def gradient_checkpointing_enable(self):
            super().gradient_checkpointing_enable({"preserve_rng_state": False})

    catches = ("test_gradient_checkpointing_changes_no_gradient",)
