"""GPT-Neo's own: local blocks and their window, scores that are not scaled, tensor names of its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels import AutoModelForCausalLM
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from automodels.errors import InputError, UnknownArgumentError
from flax_gptneo import FlaxGPTNeoForCausalLM, FlaxGPTNeoModel, GPTNeoConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "opt_gptneo"
TINY = dict(
    vocab_size=31, hidden_size=12, num_layers=2, num_heads=3, intermediate_size=20, max_position_embeddings=16,
    attention_types=[(["global", "local"], 1)],
)  # fmt: skip
TOKENS = 9
IDS = np.random.default_rng(0).integers(0, 31, (2, TOKENS))


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly():
    """What is compared here does not depend on it; the conformance suite and golden files compile as users do."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def tiny(window: int, **fields: Any) -> GPTNeoConfig:
    return GPTNeoConfig(**{**TINY, "initializer_range": 0.3, **fields}, window_size=window)


def sees(kind: str, window: int) -> np.ndarray:
    """[T, S]: whether a token sees another, by the definition."""
    far = TOKENS if kind == "global" else window
    return np.array([[0 <= query - key < far for key in range(TOKENS)] for query in range(TOKENS)])


@pytest.mark.parametrize("window", [1, 3, 9, 12])
def test_a_local_block_sees_the_last_tokens_and_a_global_one_all(window):
    model = FlaxGPTNeoModel(tiny(window), seed=1)

    attentions = model(IDS, output_attentions=True).attentions

    for kind, weights in zip(("global", "local"), attentions, strict=True):
        seen = np.broadcast_to(sees(kind, window), weights.shape)
        assert (weights[seen] > 0).all()
        assert (weights[~seen] == 0).all()


@pytest.mark.parametrize("window", [1, 3, 9, 12])
@pytest.mark.parametrize("prompt", [1, 5])
def test_the_window_holds_for_decoding_with_a_cache(window, prompt):
    model = FlaxGPTNeoModel(tiny(window), seed=1)
    whole = model(IDS, output_attentions=True)
    cache = model.init_cache(2, TOKENS + 2)

    for start, end in [(0, prompt), *((at, at + 1) for at in range(prompt, TOKENS))]:
        output = model(IDS[:, start:end], past_key_values=cache, output_attentions=True)
        cache = output.past_key_values

        np.testing.assert_allclose(output.last_hidden_state, whole.last_hidden_state[:, start:end], atol=1e-5)
        for kind, weights in zip(("global", "local"), output.attentions, strict=True):
            seen = np.broadcast_to(np.pad(sees(kind, window), ((0, 0), (0, 2)))[start:end], weights.shape)
            assert (weights[seen] > 0).all()
            assert (weights[~seen] == 0).all()


def test_padding_on_the_left_shortens_no_window():
    model = FlaxGPTNeoModel(tiny(3), seed=1)
    ids = np.pad(IDS, ((0, 0), (4, 0)))
    mask = np.pad(np.ones_like(IDS), ((0, 0), (4, 0)))

    arguments = model.prepare_inputs_for_generation(ids, 14, attention_mask=mask)
    padded = model(ids, **arguments).last_hidden_state

    np.testing.assert_allclose(padded[:, 4:], model(IDS).last_hidden_state, atol=1e-5)


@pytest.mark.parametrize(
    ("types", "kinds"),
    [
        ([(["global"], 2)], ["global", "global"]),
        ([(["local"], 1), (["global"], 1)], ["local", "global"]),
        ([(["local", "global"], 1)], ["local", "global"]),
    ],
)
def test_attention_types_say_which_blocks_are_local(types, kinds):
    model = FlaxGPTNeoModel(tiny(2, attention_types=types), seed=1)

    attentions = model(IDS, output_attentions=True).attentions

    found = ["local" if weights[0, 0, -1, 0] == 0 else "global" for weights in attentions]
    assert found == kinds


def products(model: Any) -> np.ndarray:
    """[B, N, T, S]: queries times keys of the first block."""
    block = model.module.h[0]
    x = block.ln_1(model(IDS, output_hidden_states=True).hidden_states[0])
    attention = block.attn.attention
    q, k = (np.asarray(project(x)).reshape(2, TOKENS, 3, 4) for project in (attention.q_proj, attention.k_proj))
    return np.einsum("btnh,bsnh->bnts", q, k)


def test_scores_are_not_divided_by_the_root_of_the_head_size():
    model = FlaxGPTNeoModel(tiny(20, num_layers=1, attention_types=[(["global"], 1)]), seed=1)

    found = model(IDS, output_attentions=True).attentions[0]

    scores = np.where(sees("global", 0), products(model), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(found, weights / weights.sum(-1, keepdims=True), atol=1e-5)


def test_scores_beyond_the_range_of_float16_are_computed_in_float32():
    exact = FlaxGPTNeoModel(tiny(3), seed=1)
    params = exact.params
    for block in params["h"].values():
        for projection in (block["attn"]["attention"]["q_proj"], block["attn"]["attention"]["k_proj"]):
            projection["kernel"] = 300 * jnp.sign(projection["kernel"])
    exact.params = params
    half = FlaxGPTNeoModel(exact.config, dtype=jnp.float16, _do_init=False)

    found = half(IDS, params=params, output_attentions=True)

    assert np.abs(products(exact)).max() > 65504  # the largest number of float16
    assert np.isfinite(np.asarray(found.last_hidden_state)).all()
    expected = exact(IDS, output_attentions=True).attentions[0]
    assert (np.asarray(found.attentions[0]).argmax(-1) == np.asarray(expected).argmax(-1)).mean() > 0.95


@pytest.mark.parametrize("field", ["embed_dropout", "resid_dropout", "attention_dropout"])
def test_each_kind_of_dropout_acts_in_training_and_follows_the_key(field):
    model = FlaxGPTNeoModel(tiny(3, **{field: 0.5}), seed=1)

    first, again, other = (
        model(IDS, train=True, dropout_rng=jax.random.key(seed)).last_hidden_state for seed in (0, 0, 3)
    )

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.allclose(first, model(IDS).last_hidden_state)


def test_without_dropout_training_computes_the_same():
    model = FlaxGPTNeoModel(tiny(3), seed=1)

    trained = model(IDS, train=True, dropout_rng=jax.random.key(0)).last_hidden_state

    np.testing.assert_array_equal(trained, model(IDS).last_hidden_state)


def variant(directory: Path, change: Any) -> Path:
    """The golden checkpoint with other tensors: `change` takes them by name, and returns them so."""
    tensors = {name: np.array(view.numpy()) for name, view in Checkpoint.open(GOLDEN / "neo").items()}
    save_tensors(directory, change(tensors), files={"config.json": (GOLDEN / "neo" / "config.json").read_bytes()})
    return directory


def without_prefix(tensors):
    return {name.removeprefix("transformer."): value for name, value in tensors.items()}


def with_tied_head(tensors):
    return {**tensors, "lm_head.weight": tensors["transformer.wte.weight"]}


def with_masks(tensors):
    masks = {f"transformer.h.{i}.attn.attention.bias": np.ones((1, 1, 13, 13), np.uint8) for i in range(2)}
    values = {f"transformer.h.{i}.attn.attention.masked_bias": np.array(-1e9, np.float32) for i in range(2)}
    return {**tensors, **masks, **values}


SPELLINGS = {
    "without the prefix": without_prefix,
    "with the tied head": with_tied_head,
    "with masks": with_masks,
    "all of it": lambda tensors: without_prefix(with_masks(with_tied_head(tensors))),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_checkpoints_of_every_spelling_load_without_a_flag(spelling, tmp_path):
    expected = AutoModelForCausalLM.from_pretrained(GOLDEN / "neo").params

    model = AutoModelForCausalLM.from_pretrained(variant(tmp_path / "it", SPELLINGS[spelling]))

    assert isinstance(model, FlaxGPTNeoForCausalLM)
    assert (model.load_report.missing, model.load_report.unexpected) == ((), ())
    jax.tree.map(np.testing.assert_array_equal, model.params, expected)


def test_only_the_named_buffers_are_passed_over(tmp_path):
    def with_more(tensors):
        return {**with_masks(tensors), "transformer.h.0.attn.attention.mask": np.ones(3, np.float32)}

    report = AutoModelForCausalLM.from_pretrained(variant(tmp_path / "it", with_more)).load_report

    assert report.unexpected == ("transformer.h.0.attn.attention.mask",)
    kinds = ("bias", "masked_bias")
    assert set(report.buffers) == {f"transformer.h.{i}.attn.attention.{kind}" for i in range(2) for kind in kinds}


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        (dict(hidden_size=768, num_layers=12, num_heads=12, attention_types=[(["global", "local"], 6)]), 125_198_592),
        ({}, 1_315_575_808),  # 1.3B
        (
            dict(hidden_size=2560, num_layers=32, num_heads=20, attention_types=[(["global", "local"], 16)]),
            2_651_307_520,
        ),
    ],
)
def test_published_sizes_have_as_many_parameters_as_in_the_reference(fields, parameters):
    assert FlaxGPTNeoForCausalLM(GPTNeoConfig(**fields), _do_init=False).num_parameters() == parameters


def test_an_untied_head_is_kept_apart_from_the_embeddings():
    tensors = Checkpoint.open(GOLDEN / "neo_untied")

    params = AutoModelForCausalLM.from_pretrained(GOLDEN / "neo_untied").params

    np.testing.assert_array_equal(params["lm_head"]["kernel"], tensors["lm_head.weight"].numpy().T)
    assert not np.array_equal(params["lm_head"]["kernel"].T, params["transformer"]["wte"]["embedding"])


def test_inside_jit_a_position_outside_the_table_and_a_full_cache_give_nan():
    model = FlaxGPTNeoForCausalLM(tiny(3))
    call = jax.jit(lambda **given: model(**given).logits)

    beyond = call(input_ids=jnp.asarray(IDS), position_ids=jnp.full(IDS.shape, 16))
    cache = model(IDS, past_key_values=model.init_cache(2, TOKENS + 1)).past_key_values
    full = call(input_ids=jnp.asarray(IDS[:, :2]), past_key_values=cache)

    assert np.isnan(beyond).all()
    assert np.isnan(full).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"position_ids": np.full_like(IDS, 16)}, "position_ids has the value 16; the model's table has rows 0 to 15"),
        ({"position_ids": np.full_like(IDS, -1)}, "position_ids has the value -1"),
        ({"position_ids": IDS[:1]}, r"position_ids has shape \[1, 9\], input_ids \[2, 9\]"),
        ({"past_key_values": {}}, "past_key_values is a dict, not a cache"),
    ],
)
def test_wrong_inputs_are_refused(given, said):
    model = FlaxGPTNeoModel(tiny(3), _do_init=False)

    with pytest.raises(InputError, match=said):
        model(IDS, **given)


def test_a_cache_of_another_models_shape_is_refused():
    model = FlaxGPTNeoModel(tiny(3), _do_init=False)
    other = FlaxGPTNeoModel(tiny(3, num_heads=4), _do_init=False)

    with pytest.raises(InputError, match=r"past_key_values has 2 layers of shape \[2, 12, 4, 3\]; the call needs 2"):
        model(IDS, past_key_values=other.init_cache(2, 12))


def test_labels_are_refused():
    with pytest.raises(UnknownArgumentError, match="'labels': Flax models return logits"):
        FlaxGPTNeoForCausalLM(tiny(3), _do_init=False)(IDS, labels=IDS)


@pytest.mark.parametrize("tied", [True, False])
def test_a_vocabulary_of_another_size_keeps_the_scores_of_the_tokens_that_stay(tied):
    model = FlaxGPTNeoForCausalLM(tiny(3, tie_word_embeddings=tied), seed=1)
    before = model(IDS).logits

    model.resize_token_embeddings(40)

    after = model(IDS).logits
    assert after.shape == (2, TOKENS, 40)
    np.testing.assert_allclose(after[..., :31], before, atol=1e-5)


def test_the_last_logits_alone_are_the_last_of_all():
    model = FlaxGPTNeoForCausalLM(tiny(3), seed=1)

    last = model.module(jnp.asarray(IDS), last_logits_only=True).logits

    assert last.shape == (2, 1, 31)
    np.testing.assert_allclose(last[:, 0], model(IDS).logits[:, -1], atol=1e-6)
