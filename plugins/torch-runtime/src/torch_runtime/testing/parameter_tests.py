"""Parameters: known before there is memory for them, used as they lie in the files, tied, cast and resized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from automodels.testing.conformance.comparing import assert_array_close, assert_close, assert_same_parameters, flat
from torch_runtime.parameters import held
from torch_runtime.testing.mapped import is_mapped, mapped_ranges
from torch_runtime.testing.subject import TorchSubject
from torch_runtime.vocabulary import ties

MORE = 3  # tokens that are added to a vocabulary


class ParameterTests(TorchSubject):
    """Building without memory, loading, `state_dict`, ties, types, `resize_token_embeddings`."""

    def test_the_outline_without_memory_equals_the_real_build(self, config: Any) -> None:
        model = self.driver.build(self.tested, config)

        with torch.device("meta"):
            outline = self.tested(config)

        found, real = described(outline), described(model)
        odd = sorted(name for name in found.keys() | real.keys() if found.get(name) != real.get(name))
        assert not odd, "\n".join(f"{name}: outline {found.get(name)}, real {real.get(name)}" for name in odd)
        assert ties(outline) == ties(model), f"tied in the outline: {ties(outline)}, in the model: {ties(model)}"
        taking = [name for name, tensor in named_tensors(outline).items() if not tensor.is_meta]
        assert not taking, f"these take memory on the meta device: {taking}"
        assert model.num_parameters() == sum(parameter.numel() for parameter in model.parameters())

    def test_loading_a_complete_checkpoint_draws_no_random_number(self, saved: Path) -> None:
        before = torch.get_rng_state()

        self.driver.load(self.tested, saved)

        assert torch.equal(torch.get_rng_state(), before), "torch's random numbers are others after loading"

    def test_loaded_parameters_lie_in_the_files_and_are_not_copied(self, saved: Path) -> None:
        loaded = self.driver.load(self.tested, saved)

        ranges = mapped_ranges(saved)
        if ranges is None:
            pytest.skip("this system does not say what is mapped")
        copied = [name for name, one in held(loaded).items() if not is_mapped(one.tensor, ranges)]
        assert not copied, f"these lie in memory of their own: {copied}"

    def test_loading_leaves_evaluation_mode(self, saved: Path) -> None:
        loaded = self.driver.load(self.tested, saved)

        training = [path or "the model itself" for path, part in loaded.named_modules() if part.training]
        assert not training, f"in training mode after loading: {training}"

    def test_a_state_dict_goes_from_one_model_into_another(
        self, model: Any, config: Any, inputs: Any, outputs: Any
    ) -> None:
        other = self.driver.build(self.tested, config, seed=5)

        other.load_state_dict(model.state_dict())

        expected = self.driver.parameters(model)
        assert_same_parameters(self.driver.parameters(other), expected, "another model's state_dict, loaded")
        assert ties(other) == ties(model), f"tied after load_state_dict: {ties(other)}, before: {ties(model)}"
        assert_close(self.driver.run(other, inputs), outputs, 0, "with another model's state_dict")

    def test_tied_parameters_are_one(self, model: Any, config: Any, saved: Path) -> None:
        head = model.get_output_embeddings() if self.vocabulary else None
        groups = ties(model)
        if head is None and not groups:
            pytest.skip("the model predicts no tokens, and nothing in it is tied")
        if head is not None:
            is_one = head.weight is model.get_input_embeddings().weight
            what = f"tie_word_embeddings={config.tie_word_embeddings}, and the head's matrix is the table: {is_one}"
            assert is_one == config.tie_word_embeddings, what

        loaded = self.driver.load(self.tested, saved)
        parted = self.driver.build(self.tested, config).to(torch.float64)
        assert ties(loaded) == groups, f"tied after loading: {ties(loaded)}, before: {groups}"
        assert ties(parted) == groups, f"tied after a cast: {ties(parted)}, before: {groups}"

        for _, *others in groups:
            for name in others:
                place, _, attribute = name.rpartition(".")
                setattr(
                    parted.get_submodule(place), attribute, nn.Parameter(torch.zeros_like(parted.get_parameter(name)))
                )
        parted.tie_weights()
        assert ties(parted) == groups, f"tied after tie_weights(): {ties(parted)}, before: {groups}"

    def test_loading_in_bfloat16_equals_casting(self, config: Any, saved: Path, inputs: Any) -> None:
        cast = self.distinct(config).to(torch.bfloat16)

        loaded = self.driver.load(self.tested, saved, dtype="bfloat16")

        expected = self.driver.parameters(cast)
        assert_same_parameters(self.driver.parameters(loaded), expected, "loaded with dtype=bfloat16")
        if "bfloat16" in self.tolerances:
            found = self.driver.run(loaded, inputs)
            assert_close(found, self.driver.run(cast, inputs), 0, "loaded with dtype=bfloat16, against a cast model")

    def test_a_vocabulary_of_another_size_changes_nothing_for_its_old_tokens(
        self, config: Any, inputs: Any, outputs: Any
    ) -> None:
        if not self.vocabulary:
            pytest.skip("declared: vocabulary = False")
        model = self.distinct(config)
        before, groups = self.driver.parameters(model), ties(model)
        size: int = config.vocab_size

        with torch.random.fork_rng():
            table = model.resize_token_embeddings(size + MORE)

        sizes = {"the table": table.num_embeddings, "the config": model.config.vocab_size}
        wrong = {what: number for what, number in sizes.items() if number != size + MORE}
        assert not wrong, f"resized to {size + MORE} tokens, but: {wrong}"
        assert ties(model) == groups, f"tied after resizing: {ties(model)}, before: {groups}"
        found = flat(self.driver.run(model, inputs))
        for name, expected in flat(outputs).items():
            old = found[name][..., : expected.shape[-1]]
            assert_array_close(old, expected, self.tolerances["float32"], f"with {MORE} tokens more: {name}")
        new = {**inputs, "input_ids": np.full_like(inputs["input_ids"], size + MORE - 1)}
        for name, array in flat(self.driver.run(model, new)).items():
            assert np.isfinite(array).all(), f"of a new token, {name} is not finite"

        model.resize_token_embeddings(size)
        assert_same_parameters(self.driver.parameters(model), before, "larger, and then as before")


def described(model: nn.Module) -> dict[str, tuple[list[int], torch.dtype]]:
    """Name → (shape, type) of everything that a model holds; tied parameters under each of their names."""
    return {name: (list(tensor.shape), tensor.dtype) for name, tensor in named_tensors(model).items()}


def named_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Name → parameter or buffer; tied ones under each of their names."""
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
