"""OPT's own in PyTorch: tensor names of its checkpoints, counted positions, skipped layers, shapes of configs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from automodels import AutoModelForCausalLM  # noqa: E402
from automodels.checkpoint.reader import Checkpoint  # noqa: E402
from automodels.checkpoint.writer import save_tensors  # noqa: E402
from automodels.errors import InputError, UnsupportedConfigError  # noqa: E402
from torch_heads import OPTConfig, OPTForCausalLM, OPTModel  # noqa: E402
from torch_runtime.cache import KVCache  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden" / "opt_gptneo"
TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, ffn_dim=20, max_position_embeddings=16,
    dropout=0.0, pad_token_id=None,
)  # fmt: skip
IDS = torch.tensor([[2, 5, 7, 11, 3], [2, 9, 4, 1, 6]])


def made(kind=OPTForCausalLM, **changes):
    torch.manual_seed(1)
    return kind(OPTConfig(**{**TINY, "init_std": 0.3, **changes})).eval()


@pytest.fixture(scope="module")
def model():
    return made()


def variant(case, directory, rename):
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


SPELLINGS = {
    "without the prefix": without_prefix,
    "with the tied head": with_tied_head,
    "with the tied head in place of the embeddings": with_head_alone,
    "without the prefix, with the tied head": lambda tensors: without_prefix(with_tied_head(tensors)),
    "with fairseq's version": lambda tensors: {**tensors, "model.decoder.version": np.array([3.0], np.float32)},
}


def same_parameters(found, expected):
    named = dict(expected.named_parameters())
    assert [name for name, _ in found.named_parameters()] == list(named)
    return all(torch.equal(parameter, named[name]) for name, parameter in found.named_parameters())


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_checkpoints_of_every_spelling_load_without_a_flag(spelling, tmp_path):
    expected = OPTForCausalLM.from_pretrained(GOLDEN / "opt")

    model = AutoModelForCausalLM.from_pretrained(
        variant("opt", tmp_path / "it", SPELLINGS[spelling]), framework="torch"
    )

    assert isinstance(model, OPTForCausalLM)
    assert (model.load_report.missing, model.load_report.unexpected) == ((), ())
    assert same_parameters(model, expected)


@pytest.mark.parametrize("spelling", ["with the tied head", "without the prefix, with the tied head"])
def test_the_backbone_of_a_causal_language_model_loads_alone(spelling, tmp_path):
    model = OPTModel.from_pretrained(variant("opt", tmp_path / "it", SPELLINGS[spelling]))

    assert same_parameters(model, OPTForCausalLM.from_pretrained(GOLDEN / "opt").model)


def test_fresh_tables_have_a_padding_row_of_zeros_whether_their_head_is_tied_or_not():
    for tied in (True, False):
        model = made(pad_token_id=3, tie_word_embeddings=tied)

        assert not model.model.decoder.embed_tokens.weight[3].any()
        assert model.model.decoder.embed_tokens.weight[4].all()
        assert model.lm_head.weight[3].any() != tied


def test_padding_on_either_side_changes_nothing_although_no_positions_are_given(model):
    alone = model(IDS[:1, :3]).logits
    first = IDS[0, :3].tolist()
    ids = torch.tensor([[0, 0, *first], [*first, 0, 0]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])

    padded = model(ids, attention_mask=mask).logits

    torch.testing.assert_close(padded[:1, 2:], alone)
    torch.testing.assert_close(padded[1:, :3], alone)


def test_a_mask_that_hides_nothing_is_not_computed_with():
    model, seen = made(), []

    def watched(*arguments, **named):
        seen.append((named["mask"], named["is_causal"]))
        return attend(*arguments, **named)

    attend = model.attend
    for layer in model.model.decoder.layers:
        layer.self_attn.attend = watched

    plain = model(IDS).logits
    masked = model(IDS, attention_mask=torch.ones_like(IDS)).logits

    assert set(seen) == {(None, True)}
    assert torch.equal(masked, plain)


def test_with_a_cache_positions_are_counted_over_the_mask_of_all_of_it(model):
    alone = model(IDS[:1]).logits
    ids, mask = torch.cat([torch.tensor([[0, 0]]), IDS[:1]], dim=1), torch.tensor([[0, 0, 1, 1, 1, 1, 1]])
    cache, found = KVCache(max_length=10), []

    with torch.no_grad():
        for start, end in [(0, 4), (4, 5), (5, 7)]:
            found.append(model(ids[:, start:end], attention_mask=mask[:, :end], past_key_values=cache).logits)

    torch.testing.assert_close(torch.cat(found, dim=1)[:, 2:], alone)
    assert len(cache) == 2
    assert cache.get_seq_length() == 7


def test_positions_start_at_the_third_row_of_their_table(model):
    table = model.model.decoder.embed_positions.weight
    expected = model(IDS).logits
    before = table.detach().clone()
    try:
        with torch.no_grad():
            table[:2] = 100.0
            table[7:] = 100.0
        found = model(IDS).logits
    finally:
        table.data = before

    assert table.shape == (TINY["max_position_embeddings"] + 2, TINY["hidden_size"])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"position_ids": IDS + 14}, "position_ids has the value 25; the model's table has rows -1 to 15"),
        ({"position_ids": IDS - 4}, "position_ids has the value -3"),
        ({"past_key_values": ()}, "past_key_values is a tuple, not a cache"),
        ({"past_key_values": KVCache(max_length=4)}, "holds 0 of 4 tokens; 5 more do not fit"),
        ({"attention_mask": torch.ones(2, 6)}, r"attention_mask has shape \[2, 6\]; it needs \[2, 5\]"),
        ({"head_mask": torch.ones(4)}, r"head_mask has shape \[4\]; it needs \[3\] or \[2, 3\]"),
        ({"inputs_embeds": torch.ones(2, 5, 12)}, "exactly one of them"),
        ({"logits_to_keep": -1}, "logits_to_keep is -1"),
        ({"labels": IDS[:, 1:]}, r"labels has shape \[2, 4\]; it needs \[2, 5\]"),
        ({"attention_mask": [[1] * 5] * 2}, "attention_mask is a list, not a tensor"),
    ],
)
def test_wrong_inputs_are_refused(model, given, said):
    with pytest.raises(InputError, match=said):
        model(IDS, **given)


def test_what_is_no_tensor_is_refused(model):
    for ids, said in (
        (IDS.numpy(), "ndarray.*\n.*torch.as_tensor"),
        ([[3, 4]], "list"),
        ("A text", "str.*\n.*tokenizer"),
    ):
        with pytest.raises(InputError, match=f"input_ids is a {said}"):
            model(ids)


def test_more_tokens_than_positions_are_refused_also_behind_a_cache(model):
    with pytest.raises(InputError, match="input_ids has 17 tokens; the model has positions for 16"):
        model(torch.ones(1, 17, dtype=torch.long))
    cache = model(torch.ones(1, 16, dtype=torch.long), use_cache=True).past_key_values
    with pytest.raises(InputError, match="position_ids has the value 16"):
        model(torch.ones(1, 1, dtype=torch.long), past_key_values=cache)


def test_cross_attention_and_pruned_heads_are_refused():
    with pytest.raises(UnsupportedConfigError, match="add_cross_attention"):
        OPTModel(OPTConfig(**TINY, add_cross_attention=True))
    with pytest.raises(UnsupportedConfigError, match="pruned_heads"):
        OPTModel(OPTConfig(**TINY, pruned_heads={0: [1]}))


def test_a_head_mask_scales_what_heads_give_and_their_weights(model):
    scale = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.5, 1.0]])

    plain, masked = (model(IDS, output_attentions=True, head_mask=mask) for mask in (torch.ones(3), scale))
    silent = model(IDS, head_mask=scale)

    torch.testing.assert_close(plain.logits, model(IDS).logits)
    torch.testing.assert_close(masked.attentions[0], plain.attentions[0] * scale[0, :, None, None])
    torch.testing.assert_close(masked.logits, silent.logits)
    assert not torch.allclose(masked.logits, plain.logits)
    block = model.model.decoder.layers[0].self_attn
    weight, head = block.out_proj.weight, slice(0, 4)
    before = weight.detach().clone()
    with torch.no_grad():
        weight[:, head] = 0  # the head whose scale is 0 is as if it were not there
        without = model(IDS, head_mask=torch.stack([torch.ones(3), scale[1]])).logits
        weight.copy_(before)
    torch.testing.assert_close(without, masked.logits)


def test_layerdrop_skips_layers_one_by_one_and_in_training_only():
    model = made(OPTModel, num_hidden_layers=10, layerdrop=0.5, remove_final_layer_norm=True)

    def skipped():
        states = model(IDS, output_hidden_states=True).hidden_states
        return [torch.equal(before, after) for before, after in itertools.pairwise(states)]

    assert not any(skipped())
    model.train()
    found = np.array([skipped() for _ in range(60)])

    assert 0.4 < found.mean() < 0.6
    assert (np.abs(found.mean(0) - 0.5) < 0.3).all(), "each layer is skipped about half of the time"
    agreement = [(found[:, a] == found[:, b]).mean() for a in range(10) for b in range(a)]
    assert max(agreement) < 0.9, "layers are skipped independently"


@pytest.mark.parametrize("field", ["dropout", "attention_dropout", "layerdrop"])
def test_each_kind_of_dropout_acts_in_training_alone_and_follows_the_seed(field):
    model = made(OPTModel, **{field: 0.5})
    plain = model(IDS).last_hidden_state

    def trained(seed):
        torch.manual_seed(seed)
        return model.train()(IDS).last_hidden_state

    first, again, other = trained(0), trained(0), trained(3)

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.allclose(first, plain)


def test_in_training_there_is_no_cache_unless_one_is_given(model):
    training = made().train()

    assert training(IDS).past_key_values is None
    assert training(IDS, use_cache=True).past_key_values is None
    assert len(made()(IDS).past_key_values) == 2
    assert made(use_cache=False)(IDS).past_key_values is None


@pytest.mark.parametrize(
    ("fields", "around"),
    [
        ({}, {"final_layer_norm.weight"}),
        ({"remove_final_layer_norm": True}, set()),
        ({"do_layer_norm_before": False}, set()),
        ({"word_embed_proj_dim": 7}, {"final_layer_norm.weight", "project_in.weight", "project_out.weight"}),
        ({"enable_bias": False, "layer_norm_elementwise_affine": False}, set()),
    ],
)
def test_what_stands_around_the_layers_follows_from_the_config(fields, around):
    names = {name.removeprefix("decoder.") for name, _ in made(OPTModel, **fields).named_parameters()}

    found = {name for name in names if "layers" not in name and "embed" not in name and not name.endswith("bias")}
    assert found == around
    assert any(name.endswith("bias") for name in names) == fields.get("enable_bias", True)


def test_logits_of_fewer_tokens_are_those_of_all(model):
    everything = model(IDS).logits

    torch.testing.assert_close(model(IDS, logits_to_keep=2).logits, everything[:, -2:])
    torch.testing.assert_close(model(IDS, logits_to_keep=torch.tensor([0, 3])).logits, everything[:, [0, 3]])


def test_a_tuple_has_what_the_object_has_in_the_order_of_transformers(model):
    whole = model(IDS, labels=IDS, output_hidden_states=True, output_attentions=True)

    loss, logits, cache, states, attentions = model(
        IDS, labels=IDS, output_hidden_states=True, output_attentions=True, return_dict=False
    )

    assert whole.keys() == ("loss", "logits", "past_key_values", "hidden_states", "attentions")
    assert torch.equal(loss, whole.loss)
    assert torch.equal(logits, whole.logits)
    assert isinstance(cache, KVCache)
    assert len(states) == 3
    assert len(attentions) == 2
