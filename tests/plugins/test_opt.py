"""OPT's own: tensor names of its checkpoints, counted positions, skipped layers, the shapes of its configs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels import AutoModelForCausalLM
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from automodels.errors import InputError, UnknownArgumentError, UnsupportedConfigError
from flax_opt import FlaxOPTForCausalLM, FlaxOPTModel, OPTConfig
from flax_runtime.tables import FEW, scores

GOLDEN = Path(__file__).parents[1] / "golden" / "opt_gptneo"
TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, ffn_dim=20, max_position_embeddings=16,
    dropout=0.0,
)  # fmt: skip
IDS = np.array([[2, 5, 7, 11, 3], [2, 9, 4, 1, 6]])


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly():
    """What is compared here does not depend on it; the conformance suite and golden files compile as users do."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def model():
    return FlaxOPTForCausalLM(OPTConfig(**TINY, init_std=0.3), seed=1)


def variant(case: str, directory: Path, rename: Any) -> Path:
    """A golden checkpoint with other tensors: `rename` takes them by name, and returns them so."""
    tensors = {name: np.array(view.numpy()) for name, view in Checkpoint.open(GOLDEN / case).items()}
    save_tensors(directory, rename(tensors), files={"config.json": (GOLDEN / case / "config.json").read_bytes()})
    return directory


def without_prefix(tensors):
    return {name.removeprefix("model."): value for name, value in tensors.items()}


def with_tied_head(tensors):
    return {**tensors, "lm_head.weight": tensors["model.decoder.embed_tokens.weight"]}


def with_head_alone(tensors):
    return {
        "lm_head.weight" if name == "model.decoder.embed_tokens.weight" else name: value
        for name, value in tensors.items()
    }


def with_version(tensors):
    return {**tensors, "model.decoder.version": np.array([3.0], np.float32)}


SPELLINGS = {
    "without the prefix": without_prefix,
    "with the tied head": with_tied_head,
    "with the tied head in place of the embeddings": with_head_alone,
    "without the prefix, with the tied head": lambda tensors: without_prefix(with_tied_head(tensors)),
    "with fairseq's version": with_version,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_checkpoints_of_every_spelling_load_without_a_flag(spelling, tmp_path):
    expected = AutoModelForCausalLM.from_pretrained(GOLDEN / "opt").params

    model = AutoModelForCausalLM.from_pretrained(variant("opt", tmp_path / "it", SPELLINGS[spelling]))

    assert isinstance(model, FlaxOPTForCausalLM)
    assert (model.load_report.missing, model.load_report.unexpected) == ((), ())
    jax.tree.map(np.testing.assert_array_equal, model.params, expected)


@pytest.mark.parametrize("spelling", ["with the tied head", "without the prefix, with the tied head"])
def test_the_backbone_of_a_causal_language_model_loads_alone(spelling, tmp_path):
    expected = AutoModelForCausalLM.from_pretrained(GOLDEN / "opt").params["model"]

    model = FlaxOPTModel.from_pretrained(variant("opt", tmp_path / "it", SPELLINGS[spelling]))

    jax.tree.map(np.testing.assert_array_equal, model.params, expected)


def test_an_untied_head_is_kept_apart_from_the_embeddings():
    tensors = Checkpoint.open(GOLDEN / "opt_untied")

    params = AutoModelForCausalLM.from_pretrained(GOLDEN / "opt_untied").params

    np.testing.assert_array_equal(params["lm_head"]["kernel"], tensors["lm_head.weight"].numpy().T)
    assert not np.array_equal(params["lm_head"]["kernel"].T, params["model"]["decoder"]["embed_tokens"]["embedding"])


def test_padding_on_either_side_changes_nothing_although_no_positions_are_given(model):
    alone = model(IDS[:1, :3]).logits
    ids = np.array([[0, 0, *IDS[0, :3]], [*IDS[0, :3], 0, 0]])
    mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])

    padded = model(ids, attention_mask=mask).logits

    np.testing.assert_allclose(padded[:1, 2:], alone, atol=1e-5)
    np.testing.assert_allclose(padded[1:, :3], alone, atol=1e-5)


def test_with_a_cache_positions_are_counted_over_the_mask_of_all_of_it(model):
    alone = model(IDS[:1]).logits
    ids = np.array([[0, 0, *IDS[0]]])
    mask = np.array([[0, 0, *[1] * 8]])
    cache = model.init_cache(1, 10)

    found = []
    for start, end in [(0, 4), (4, 5), (5, 7)]:
        output = model(ids[:, start:end], attention_mask=mask, past_key_values=cache)
        found.append(output.logits)
        cache = output.past_key_values

    np.testing.assert_allclose(np.concatenate(found, axis=1)[:, 2:], alone, atol=1e-5)


def test_with_a_cache_and_no_mask_positions_go_on_behind_what_it_holds(model):
    first = model(IDS[:, :3], past_key_values=model.init_cache(2, 5))

    second = model(IDS[:, 3:], past_key_values=first.past_key_values)

    np.testing.assert_allclose(second.logits, model(IDS).logits[:, 3:], atol=1e-5)


def test_positions_start_at_the_third_row_of_their_table(model):
    params = jax.tree.map(lambda leaf: leaf, model.params)
    table = params["model"]["decoder"]["embed_positions"]["embedding"]
    params["model"]["decoder"]["embed_positions"]["embedding"] = table.at[:2].set(100.0).at[7:].set(100.0)

    found = model(IDS, params=params).logits

    assert table.shape == (TINY["max_position_embeddings"] + 2, TINY["hidden_size"])
    np.testing.assert_allclose(found, model(IDS).logits, atol=1e-6)


def test_inside_jit_a_position_outside_the_table_and_a_full_cache_give_nan(model):
    call = jax.jit(lambda **given: model(**given).logits)
    cache = model(IDS, past_key_values=model.init_cache(2, 6)).past_key_values

    beyond = call(input_ids=jnp.asarray(IDS), position_ids=jnp.full(IDS.shape, 16))
    full = call(input_ids=jnp.asarray(IDS[:, :2]), past_key_values=cache)

    assert np.isnan(beyond).all()
    assert np.isnan(full).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"position_ids": IDS + 14}, "position_ids has the value 25; the model's table has rows -1 to 15"),
        ({"position_ids": IDS - 4}, "position_ids has the value -3"),
        ({"past_key_values": ()}, "past_key_values is a tuple, not a cache"),
        ({"attention_mask": np.ones((2, 6))}, "attention_mask holds float64, not whole numbers"),
        ({"attention_mask": np.ones((2, 6), int)}, r"attention_mask has shape \[2, 6\], input_ids \[2, 5\]"),
    ],
)
def test_wrong_inputs_are_refused(model, given, said):
    with pytest.raises(InputError, match=said):
        model(IDS, **given)


def test_a_mask_of_the_new_tokens_alone_is_refused_with_a_cache(model):
    with pytest.raises(InputError, match=r"it covers the whole cache: \[2, 8\]"):
        model(IDS, attention_mask=np.ones_like(IDS), past_key_values=model.init_cache(2, 8))


def test_more_tokens_than_the_cache_has_room_for_are_refused(model):
    with pytest.raises(InputError, match="holds 0 of 4 tokens; 5 more do not fit"):
        model(IDS, past_key_values=model.init_cache(2, 4))


def test_labels_and_misspelt_arguments_are_refused(model):
    with pytest.raises(UnknownArgumentError, match="'labels': Flax models return logits"):
        model(IDS, labels=IDS)
    with pytest.raises(UnknownArgumentError, match="attention_mask"):
        model(IDS, atention_mask=np.ones_like(IDS))


def test_cross_attention_is_refused():
    with pytest.raises(UnsupportedConfigError, match="add_cross_attention"):
        FlaxOPTModel(OPTConfig(**TINY, add_cross_attention=True))


def trained(config: OPTConfig, seed: int, **flags: Any) -> Any:
    model = FlaxOPTModel(config, seed=1)
    return model(IDS, train=True, dropout_rng=jax.random.key(seed), **flags)


def test_layerdrop_skips_layers_one_by_one_by_the_key_and_in_training_only():
    config = OPTConfig(**{**TINY, "num_hidden_layers": 10}, init_std=0.3, layerdrop=0.5, remove_final_layer_norm=True)
    model = FlaxOPTModel(config, seed=1)

    @jax.jit
    def skipped(key):
        states = model(IDS, train=True, dropout_rng=key, output_hidden_states=True).hidden_states
        return jnp.stack([(before == after).all() for before, after in itertools.pairwise(states)])

    found = np.array([skipped(jax.random.key(seed)) for seed in range(40)])
    plain = model(IDS, output_hidden_states=True).hidden_states

    np.testing.assert_array_equal(found[0], skipped(jax.random.key(0)))
    assert not any(np.array_equal(before, after) for before, after in itertools.pairwise(plain))
    assert 0.4 < found.mean() < 0.6
    assert (np.abs(found.mean(0) - 0.5) < 0.35).all(), "each layer is skipped about half of the time"
    agreement = [(found[:, a] == found[:, b]).mean() for a in range(10) for b in range(a)]
    assert max(agreement) < 0.9, "layers are skipped independently"


def test_with_a_layerdrop_of_one_nothing_but_embeddings_is_left():
    config = OPTConfig(**TINY, layerdrop=1.0, remove_final_layer_norm=True)

    output = trained(config, 0, output_hidden_states=True)

    np.testing.assert_array_equal(output.last_hidden_state, output.hidden_states[0])


@pytest.mark.parametrize("field", ["dropout", "attention_dropout", "layerdrop"])
def test_each_kind_of_dropout_acts_in_training_and_follows_the_key(field):
    config = OPTConfig(**{**TINY, field: 0.5})
    plain = FlaxOPTModel(config, seed=1)(IDS).last_hidden_state

    first, again, other = (trained(config, seed).last_hidden_state for seed in (0, 0, 3))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.allclose(first, plain)


def test_without_dropout_training_computes_the_same():
    config = OPTConfig(**TINY)

    np.testing.assert_array_equal(
        trained(config, 0).last_hidden_state, FlaxOPTModel(config, seed=1)(IDS).last_hidden_state
    )


def test_deterministic_is_the_other_spelling_of_train():
    model = FlaxOPTModel(OPTConfig(**{**TINY, "dropout": 0.5}))
    key = jax.random.key(2)

    found = model(IDS, deterministic=False, dropout_rng=key).last_hidden_state

    np.testing.assert_array_equal(found, model(IDS, train=True, dropout_rng=key).last_hidden_state)
    with pytest.raises(InputError, match="dropout_rng"):
        model(IDS, deterministic=False)


@pytest.mark.parametrize(
    ("fields", "shapes"),
    [
        ({}, {"decoder.final_layer_norm.scale"}),
        ({"remove_final_layer_norm": True}, set()),
        ({"do_layer_norm_before": False}, set()),
        (
            {"word_embed_proj_dim": 7},
            {"decoder.final_layer_norm.scale", "decoder.project_in.kernel", "decoder.project_out.kernel"},
        ),
        ({"enable_bias": False, "layer_norm_elementwise_affine": False}, set()),
    ],
)  # fmt: skip
def test_what_stands_around_the_layers_follows_from_the_config(fields, shapes):
    model = FlaxOPTModel(OPTConfig(**TINY, **fields), _do_init=False)

    found = {".".join(path) for path in model.required_params}
    around = {path for path in found if "layers" not in path and "embed" not in path}
    assert {path for path in around if not path.endswith("bias")} == shapes
    assert any(path.endswith("bias") for path in found) == fields.get("enable_bias", True)


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        ({}, 125_239_296),  # 125m
        (
            dict(hidden_size=1024, ffn_dim=4096, num_hidden_layers=24, num_attention_heads=16, word_embed_proj_dim=512,
                 do_layer_norm_before=False),
            331_196_416,  # 350m
        ),
        (dict(hidden_size=2048, ffn_dim=8192, num_hidden_layers=24, num_attention_heads=32), 1_315_758_080),  # 1.3b
    ],
)  # fmt: skip
def test_published_sizes_have_as_many_parameters_as_in_the_reference(fields, parameters):
    assert FlaxOPTForCausalLM(OPTConfig(**fields), _do_init=False).num_parameters() == parameters


@pytest.mark.parametrize("fields", [{}, {"tie_word_embeddings": False}, {"word_embed_proj_dim": 7}])
@pytest.mark.parametrize("size", [40, 20])
def test_a_vocabulary_of_another_size_keeps_the_scores_of_the_tokens_that_stay(fields, size):
    model = FlaxOPTForCausalLM(OPTConfig(**TINY, **fields), seed=1)
    ids = IDS % 20
    before = model(ids).logits

    model.resize_token_embeddings(size)

    after = model(ids).logits
    assert after.shape == (2, 5, size)
    np.testing.assert_allclose(after[..., :20], before[..., :20], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_few_states_have_the_scores_that_many_have(model, dtype):
    table = FlaxOPTForCausalLM(model.config, dtype=jnp.dtype(dtype)).module.model.decoder.embed_tokens
    x = jax.random.normal(jax.random.key(0), (1, FEW + 1, TINY["hidden_size"]), jnp.dtype(dtype))

    many, few = scores(table, x), scores(table, x[:, :FEW])

    assert many.dtype == few.dtype == jnp.dtype(dtype)
    np.testing.assert_allclose(
        np.asarray(few, np.float32), np.asarray(many[:, :FEW], np.float32), rtol=2e-2 if dtype == "bfloat16" else 1e-5,
        atol=1e-5,
    )  # fmt: skip


def test_the_last_logits_alone_are_the_last_of_all():
    model = FlaxOPTForCausalLM(OPTConfig(**TINY), seed=1)

    last = model.module(jnp.asarray(IDS), last_logits_only=True).logits

    assert last.shape == (2, 1, 31)
    np.testing.assert_allclose(last[:, 0], model(IDS).logits[:, -1], atol=1e-6)
