"""Calls: what they return, in training, with a cache, with each attention backend, compiled, and in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from automodels.errors import BackendUnavailableError
from automodels.plugins.catalog import load_catalog
from automodels.plugins.tables import ATTENTION
from automodels.testing.conformance.comparing import assert_array_close, assert_close
from torch_runtime.testing.subject import TorchSubject

PROMPT = 3  # tokens that a cache gets at once
SAME = 1e-9  # in float64: the same sums in another order


class CallTests(TorchSubject):
    """What torch adds to a call."""

    def test_outputs_are_reached_by_attribute_key_and_position(self, model: Any, inputs: Any) -> None:
        output = self.call(model, inputs)
        as_tuple = self.call(model, inputs, return_dict=False)

        assert isinstance(as_tuple, tuple), f"return_dict=False gives a {type(as_tuple).__name__}"
        assert len(as_tuple) == len(output), f"{len(as_tuple)} in the tuple, {len(output)} in the output"
        for position, name in enumerate(output.keys()):
            assert output[name] is getattr(output, name) is output[position], f"{name} is not output[{position}]"
            if isinstance(output[name], torch.Tensor):
                assert torch.equal(as_tuple[position], output[name]), f"the tuple has another {name}"

    def test_dropout_is_for_training_and_follows_torchs_random_numbers(
        self, config: Any, inputs: Any, outputs: Any
    ) -> None:
        if not self.dropout:
            pytest.skip("declared: dropout = False")
        model = self.distinct(config).train()

        first, again, other = (self.drawn(model, inputs, seed) for seed in (0, 0, 1))

        assert_close(again, first, 0, "the same seed")
        for name in sorted(first.keys() - set(self.index_outputs)):
            assert not np.array_equal(first[name], other[name]), f"another seed gives the same {name}"
            assert not np.array_equal(first[name], outputs[name]), f"training gives the same {name} as evaluation"
        assert_close(self.drawn(model.eval(), inputs, 1), outputs, 0, "in evaluation mode again")

    def test_a_cache_gives_what_the_whole_text_gives(self, model: Any, inputs: Any, outputs: Any) -> None:
        if not self.cache:
            pytest.skip("declared: cache = False")
        ids = inputs["input_ids"]
        own = ("input_ids", "token_type_ids", "position_ids")  # of the tokens of a call; a mask has past ones too
        name, length = next(iter(outputs)), ids.shape[1]
        mask = inputs.get("attention_mask", np.ones_like(ids))

        cache = None
        starts = [0, *range(PROMPT, length)]
        for start, end in zip(starts, [*starts[1:], length], strict=True):
            part = {key: value[:, start:end] if key in own else value for key, value in inputs.items()}
            part["attention_mask"] = mask[:, :end]
            output = self.call(model, part, past_key_values=cache, use_cache=True)
            cache = output.past_key_values

            expected = outputs[name][:, start:end]
            what = f"tokens {start} to {end} with a cache: {name}"
            assert_array_close(output[name].numpy(), expected, self.tolerances["float32"], what)

    def test_a_mask_for_each_token_says_what_it_sees(self, model: Any, inputs: Any, outputs: Any) -> None:
        """Beam search needs it: the beams of a prompt stand side by side in its cache, each with its own past."""
        if not self.cache:
            pytest.skip("declared: cache = False")
        batch, tokens = inputs["input_ids"].shape
        name = next(iter(outputs))
        causal = np.broadcast_to(np.tril(np.ones((tokens, tokens), np.int64)), (batch, tokens, tokens))
        fewer = causal.copy()
        fewer[:, -1, -2] = 0

        same, other = (self.driver.run(model, {**inputs, "attention_mask": mask})[name] for mask in (causal, fewer))

        assert_array_close(same, outputs[name], self.tolerances["float32"], f"masked as causality does: {name}")
        assert_array_close(other[:, :-1], outputs[name][:, :-1], self.tolerances["float32"], f"other tokens: {name}")
        assert not np.allclose(other[:, -1], outputs[name][:, -1]), f"the last token still sees the one before: {name}"

    def test_every_attention_backend_gives_what_eager_gives(self, config: Any, inputs: Any) -> None:
        model = self.distinct(config)
        mask = np.ones_like(inputs["input_ids"])
        mask[0, ..., -1] = 0  # one token: more may be all that a window sees, and what comes of nothing is free
        padded = {**inputs, "attention_mask": mask}
        tables = [table for _, table in load_catalog().backends(self.driver.framework)]
        declared = {table.name for table in tables if table.kind == ATTENTION}

        model.set_attn_implementation("eager")
        expected = self.driver.run(model, padded)
        ran = {"eager"}
        for name in sorted(declared):
            try:
                model.set_attn_implementation(name)
            except BackendUnavailableError:  # why, another test asks
                continue
            assert_close(self.driver.run(model, padded), expected, self.tolerances["float32"], f"backend {name}")
            ran.add(name)

        assert len(ran) > 1, f"of {sorted(declared)} only eager runs here"

    def test_the_model_is_one_graph_for_the_compiler(self, model: Any, inputs: Any, outputs: Any) -> None:
        if not self.compiles:
            pytest.skip("declared: compiles = False")
        torch.compiler.reset()  # what other models have compiled counts towards the limit of this one's code

        try:
            found = self.driver.run(torch.compile(model, backend="aot_eager", fullgraph=True), inputs)
        finally:
            torch.compiler.reset()

        assert_close(found, outputs, self.tolerances["float32"], "compiled")

    def test_a_model_computes_in_float64(self, config: Any, inputs: Any, outputs: Any) -> None:
        model = self.distinct(config).to(torch.float64)
        wanted = {"output_attentions": self.attentions, "output_hidden_states": self.hidden_states}

        found = self.driver.run(model, inputs)
        with_more = self.driver.run(model, inputs, **{name: True for name, there in wanted.items() if there})

        assert_close(found, outputs, self.tolerances["float32"], "in float64")
        for name in sorted(found.keys() - {*self.float32_outputs, *self.index_outputs}):
            assert found[name].dtype.name == "float64", f"in float64, {name} is {found[name].dtype.name}"
            # Weights that are returned are computed by another function than those that are not.
            assert_array_close(with_more[name], found[name], SAME, f"in float64, with {', '.join(wanted)}: {name}")

    def drawn(self, model: Any, inputs: Any, seed: int) -> dict[str, Any]:
        """What a model returns with torch's random numbers from a seed."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.driver.run(model, inputs)
