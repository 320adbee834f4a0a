"""OPT and GPT-Neo in PyTorch against transformers: golden files made by tests/golden/make_opt_gptneo.py."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import automodels  # noqa: E402
from automodels.checkpoint.reader import Checkpoint  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden" / "opt_gptneo"
CASES = sorted(path.name for path in GOLDEN.iterdir())
WANTED = {"output_hidden_states": True, "output_attentions": True}


@dataclasses.dataclass(frozen=True)
class Case:
    """One checkpoint with what the reference computes from it."""

    name: str
    backend: str = "sdpa"

    @property
    def directory(self) -> Path:
        return GOLDEN / self.name

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        with np.load(self.directory / "golden.npz") as data:
            return {name.removeprefix(f"{group}_"): data[name] for name in data.files if name.startswith(f"{group}_")}

    def inputs(self) -> dict[str, torch.Tensor]:
        return tensors(self.arrays("in"))

    def load(self, **options: Any) -> Any:
        auto = automodels.AutoModel if "base" in self.name else automodels.AutoModelForCausalLM
        return auto.from_pretrained(self.directory, framework="torch", strict=True, backend=self.backend, **options)

    @functools.cache  # noqa: B019  # one model for all tests of a case that leave it as it is
    def model(self) -> Any:
        return self.load()

    def gradients(self) -> dict[str, np.ndarray]:
        return {name: view.numpy() for name, view in Checkpoint.open(self.directory / "gradients").items()}


@pytest.fixture(params=[(name, backend) for name in CASES for backend in ("eager", "sdpa")], ids="-".join)
def case(request):
    return Case(*request.param)


def test_a_checkpoint_of_each_task_is_loaded_by_its_class():
    found = {type(Case(name).load()).__name__ for name in CASES}

    assert found == {"OPTModel", "OPTForCausalLM", "GPTNeoModel", "GPTNeoForCausalLM"}


def test_every_output_equals_the_reference_implementation(case):
    model, inputs, expected = case.model(), case.inputs(), case.arrays("out")
    real = case.arrays("in")["attention_mask"].astype(bool)

    output = model(**inputs, **WANTED)
    silent = model(**inputs)

    assert model.backend_report.chosen.table.name == case.backend
    *states, last = (state.detach().numpy() for state in output.hidden_states)
    wanted = expected["logits" if "logits" in expected else "last_hidden_state"]
    assert_close(output[0], wanted, real)
    assert_close(silent[0], wanted, real)  # attention as the backend computes it, without its weights
    assert_close(np.stack(states, axis=2), np.moveaxis(expected["hidden_states"], 0, 2), real)
    assert_close(last, expected["last_state"], real)
    weights = np.stack([weights.detach().numpy() for weights in output.attentions])
    assert_close(by_query(weights), by_query(expected["attentions"]), real)


def test_ids_alone_mean_no_padding_and_counted_positions(case):
    model, ids, expected = case.model(), case.inputs()["input_ids"], case.arrays("plain")

    output = model(ids)

    assert_close(output[0], expected["result"], np.ones(ids.shape, bool))


def test_a_mask_that_hides_no_more_than_causality_changes_nothing(case):
    model, ids, expected = case.model(), case.inputs()["input_ids"], case.arrays("plain")

    flat = model(ids, attention_mask=torch.ones_like(ids))
    for_each_query = model(ids, attention_mask=torch.ones(*ids.shape, ids.shape[1]).tril())

    assert_close(flat[0], expected["result"], np.ones(ids.shape, bool))
    assert_close(for_each_query[0], expected["result"], np.ones(ids.shape, bool))


def test_positions_that_are_given_stand_in_for_counted_ones(case):
    model, ids, expected = case.model(), case.inputs()["input_ids"], case.arrays("placed")

    output = model(ids, position_ids=torch.from_numpy(expected["positions"]))

    assert_close(output[0], expected["result"], np.ones(ids.shape, bool))


def test_embeddings_that_are_given_stand_in_for_ids(case):
    model, ids, expected = case.model(), case.inputs()["input_ids"], case.arrays("plain")
    table = next(module for module in model.modules() if isinstance(module, torch.nn.Embedding))

    output = model(inputs_embeds=table(ids))

    assert_close(output[0], expected["result"], np.ones(ids.shape, bool))


def test_the_loss_and_its_gradient_for_every_parameter_equal_the_reference_implementation(case):
    check_gradients(case, case.load())


@pytest.mark.parametrize("name", ["opt", "opt_post", "neo"])
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_layers_computed_again_in_the_backward_pass_give_the_same_gradients(name, use_reentrant):
    model = Case(name, "eager").load(dropout=0.0) if name != "neo" else Case(name, "eager").load()
    calls = []
    layer = next(module for module in model.modules() if type(module).__name__ in {"OPTDecoderLayer", "GPTNeoBlock"})
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})

    check_gradients(Case(name), model)

    assert len(calls) == 2


def test_a_cache_gives_what_the_reference_decodes_token_by_token(case):
    model, inputs, expected = case.model(), case.inputs(), case.arrays("step")["result"]
    mask = inputs["attention_mask"]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache, found = None, []

    for start, stop in [(0, 3), *((at, at + 1) for at in range(3, mask.shape[1]))]:
        # OPT counts its positions over the mask, unless they are given.
        given = {} if case.name.startswith("opt") else {"position_ids": positions[:, start:stop]}
        with torch.no_grad():
            output = model(
                inputs["input_ids"][:, start:stop], attention_mask=mask[:, :stop], past_key_values=cache,
                use_cache=True, **given,
            )  # fmt: skip
        cache = output.past_key_values
        found.append(output[0])

    assert cache.get_seq_length() == mask.shape[1]
    assert_close(torch.cat(found, dim=1), expected, mask.numpy().astype(bool))


def test_a_cache_without_padding_gives_what_one_call_gives(case):
    model, ids, expected = case.model(), case.inputs()["input_ids"], case.arrays("plain")["result"]
    cache, found = None, []

    for start, stop in [(0, 2), (2, 3), (3, 4), (4, 6), (6, 7)]:
        with torch.no_grad():
            output = model(ids[:, start:stop], past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        found.append(output[0])

    assert_close(torch.cat(found, dim=1), expected, np.ones(ids.shape, bool))


def test_tied_heads_are_one_parameter_and_untied_ones_are_not():
    for name, is_tied in [("opt", True), ("neo", True), ("opt_untied", False), ("neo_untied", False)]:
        model = Case(name).load()
        table = next(module for module in model.modules() if isinstance(module, torch.nn.Embedding))

        assert (model.lm_head.weight is table.weight) == is_tied


def check_gradients(case: Case, model: Any) -> None:
    labels, expected = case.arrays("label"), case.gradients()

    if "labels" in labels:
        loss = model(**case.inputs(), labels=torch.from_numpy(labels["labels"])).loss
    else:
        loss = (model(**case.inputs())[0] * torch.from_numpy(labels["last_hidden_state"])).sum()
    loss.backward()

    np.testing.assert_allclose(loss.item(), case.arrays("out")["loss"], rtol=1e-5)
    found = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    assert found.keys() == expected.keys()
    largest = max(float(np.abs(gradient).max()) for gradient in expected.values())
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-6 * largest, err_msg=name)


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def assert_close(found: Any, expected: np.ndarray, counted: np.ndarray) -> None:
    """Equal to 1e-5 where `counted` [B, T] is true: padding sees no token, and what is computed there means nothing."""
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else found
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[counted], expected[counted], atol=1e-5, rtol=1e-5)


def by_query(attentions: np.ndarray) -> np.ndarray:
    """Attention weights [L, B, N, T, S] as [B, T, L, N, S]."""
    return np.moveaxis(attentions, (0, 3), (2, 1))
