"""GPT-Neo's own in PyTorch: local blocks and their window, scores that are not scaled, tensor names of checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from automodels import AutoModelForCausalLM  # noqa: E402
from automodels.checkpoint.reader import Checkpoint  # noqa: E402
from automodels.checkpoint.writer import save_tensors  # noqa: E402
from automodels.errors import InputError  # noqa: E402
from torch_heads import GPTNeoConfig, GPTNeoForCausalLM, GPTNeoModel  # noqa: E402
from torch_runtime.cache import KVCache  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden" / "opt_gptneo"
TINY = dict(
    vocab_size=31, hidden_size=12, num_layers=2, num_heads=3, intermediate_size=20, max_position_embeddings=16,
    attention_types=[(["global", "local"], 1)], initializer_range=0.3,
)  # fmt: skip
TOKENS = 9
IDS = torch.from_numpy(np.random.default_rng(0).integers(0, 31, (2, TOKENS)))


def made(window, kind=GPTNeoModel, backend="sdpa", **fields):
    torch.manual_seed(1)
    return kind(GPTNeoConfig(**{**TINY, **fields}, window_size=window), backend=backend).eval()


def sees(kind, window):
    """[T, S]: whether a token sees another, by the definition."""
    far = TOKENS if kind == "global" else window
    return torch.tensor([[0 <= query - key < far for key in range(TOKENS)] for query in range(TOKENS)])


@pytest.mark.parametrize("window", [1, 3, 9, 12])
def test_a_local_block_sees_the_last_tokens_and_a_global_one_all(window):
    attentions = made(window)(IDS, output_attentions=True).attentions

    for kind, weights in zip(("global", "local"), attentions, strict=True):
        seen = sees(kind, window).expand_as(weights)
        assert (weights[seen] > 0).all()
        assert (weights[~seen] == 0).all()


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("window", [1, 3, 9, 12])
@pytest.mark.parametrize("prompt", [1, 5])
def test_the_window_holds_for_decoding_with_a_cache(window, prompt, backend):
    model = made(window, backend=backend)
    whole = model(IDS, output_attentions=True)
    shown, silent = KVCache(), KVCache(max_length=TOKENS)

    for start, end in [(0, prompt), *((at, at + 1) for at in range(prompt, TOKENS))]:
        with torch.no_grad():
            output = model(IDS[:, start:end], past_key_values=shown, output_attentions=True)
            quick = model(IDS[:, start:end], past_key_values=silent)

        torch.testing.assert_close(output.last_hidden_state, whole.last_hidden_state[:, start:end])
        torch.testing.assert_close(quick.last_hidden_state, whole.last_hidden_state[:, start:end])
        for kind, weights in zip(("global", "local"), output.attentions, strict=True):
            seen = sees(kind, window)[start:end, :end].expand_as(weights)
            assert (weights[seen] > 0).all()
            assert (weights[~seen] == 0).all()


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_padding_on_the_left_shortens_no_window_whether_there_is_a_cache_or_not(backend):
    model = made(3, backend=backend)
    ids, mask = torch.nn.functional.pad(IDS, (4, 0)), torch.nn.functional.pad(torch.ones_like(IDS), (4, 0))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = model(IDS).last_hidden_state

    padded = model(ids, attention_mask=mask, position_ids=positions).last_hidden_state
    cache, found = KVCache(), []
    for start, end in [(0, 6), *((at, at + 1) for at in range(6, TOKENS + 4))]:
        with torch.no_grad():
            output = model(
                ids[:, start:end], attention_mask=mask[:, :end], position_ids=positions[:, start:end],
                past_key_values=cache,
            )  # fmt: skip
        found.append(output.last_hidden_state)

    torch.testing.assert_close(padded[:, 4:], expected)
    torch.testing.assert_close(torch.cat(found, dim=1)[:, 4:], expected)


@pytest.mark.parametrize(
    ("types", "kinds"),
    [
        ([(["global"], 2)], ["global", "global"]),
        ([(["local"], 1), (["global"], 1)], ["local", "global"]),
        ([(["local", "global"], 1)], ["local", "global"]),
    ],
)
def test_attention_types_say_which_blocks_are_local(types, kinds):
    attentions = made(2, attention_types=types)(IDS, output_attentions=True).attentions

    assert ["local" if weights[0, 0, -1, 0] == 0 else "global" for weights in attentions] == kinds


def test_scores_are_not_divided_by_the_root_of_the_head_size():
    model = made(20, num_layers=1, attention_types=[(["global"], 1)])

    output = model(IDS, output_attentions=True, output_hidden_states=True)

    block = model.h[0]
    x = block.ln_1(output.hidden_states[0])
    q, k = (
        project(x).reshape(2, TOKENS, 3, 4) for project in (block.attn.attention.q_proj, block.attn.attention.k_proj)
    )
    scores = torch.einsum("btnh,bsnh->bnts", q, k).masked_fill(~sees("global", 0), -torch.inf)
    torch.testing.assert_close(output.attentions[0], scores.softmax(-1))


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_scores_beyond_the_range_of_float16_are_computed_in_float32(backend):
    exact = made(3, backend=backend)
    with torch.no_grad():
        for block in exact.h:
            for projection in (block.attn.attention.q_proj, block.attn.attention.k_proj):
                projection.weight.copy_(30 * projection.weight.sign())
    expected = exact(IDS, output_attentions=True).attentions[0]

    half = exact.half()
    found = half(IDS, output_attentions=True)

    assert torch.isfinite(found.last_hidden_state).all()
    torch.testing.assert_close(half(IDS).last_hidden_state, found.last_hidden_state, rtol=0.05, atol=0.05)
    assert (found.attentions[0].argmax(-1) == expected.argmax(-1)).float().mean() > 0.95


def test_kinds_of_tokens_add_their_embeddings():
    model = made(3)
    kinds = IDS.flip(1)

    found = model(IDS, token_type_ids=kinds).last_hidden_state

    expected = model(inputs_embeds=model.wte(IDS) + model.wte(kinds)).last_hidden_state
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("field", ["embed_dropout", "resid_dropout", "attention_dropout"])
def test_each_kind_of_dropout_acts_in_training_alone_and_follows_the_seed(field):
    model = made(3, **{field: 0.5})
    plain = model(IDS).last_hidden_state

    def trained(seed):
        torch.manual_seed(seed)
        return model.train()(IDS).last_hidden_state

    first, again, other = trained(0), trained(0), trained(3)

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.allclose(first, plain)


def variant(directory, change):
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
    expected = dict(GPTNeoForCausalLM.from_pretrained(GOLDEN / "neo").named_parameters())

    model = AutoModelForCausalLM.from_pretrained(variant(tmp_path / "it", SPELLINGS[spelling]), framework="torch")

    assert isinstance(model, GPTNeoForCausalLM)
    assert (model.load_report.missing, model.load_report.unexpected) == ((), ())
    assert [name for name, _ in model.named_parameters()] == list(expected)
    assert all(torch.equal(parameter, expected[name]) for name, parameter in model.named_parameters())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"position_ids": torch.full_like(IDS, 16)},
            "position_ids has the value 16; .* rows 0 to 15",
        ),
        ({"position_ids": torch.full_like(IDS, -1)}, "position_ids has the value -1"),
        ({"token_type_ids": torch.full_like(IDS, 31)}, "token_type_ids has the value 31"),
        ({"past_key_values": {}}, "past_key_values is a dict, not a cache"),
        ({"past_key_values": KVCache(max_length=3)}, "holds 0 of 3 tokens; 9 more do not fit"),
    ],
)
def test_wrong_inputs_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        made(3)(IDS, **given)


def test_a_cache_of_another_batch_is_refused():
    model = made(3)
    cache = model(IDS, use_cache=True).past_key_values

    with pytest.raises(InputError, match="past_key_values holds 2 sequences; input_ids has 1"):
        model(IDS[:1], past_key_values=cache)
