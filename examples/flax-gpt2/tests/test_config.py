"""What published `config.json` files say is understood, and written as other libraries read it."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from automodels.errors import ConfigValueError, UnsupportedConfigError

from flax_gpt2 import FlaxGPT2Model, GPT2Config


def test_fields_are_written_by_their_published_names() -> None:
    config = GPT2Config(hidden_size=24, num_attention_heads=3, intermediate_size=40, attention_dropout=0.2)

    assert config.to_diff_dict() == {
        "model_type": "gpt2", "n_embd": 24, "n_head": 3, "n_inner": 40, "attn_pdrop": 0.2,
    }  # fmt: skip
    assert config.n_embd == config.hidden_size == 24


def test_n_inner_follows_from_n_embd_unless_given() -> None:
    config = GPT2Config(n_embd=24, n_inner=None)

    assert config.intermediate_size == 96
    assert config.to_diff_dict()["n_inner"] is None


def test_keys_of_published_files_are_kept_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    raw = json.loads((Path(__file__).parent / "golden" / "old" / "config.json").read_text())

    config = GPT2Config.from_dict(raw)

    assert not caplog.records
    assert {"n_ctx", "output_past", "summary_type"} <= set(config.unknown_keys)
    assert config.to_diff_dict() == raw


def test_sizes_that_do_not_fit_are_refused_by_their_published_names() -> None:
    with pytest.raises(ConfigValueError, match="n_embd 30 is not a multiple of n_head 4"):
        GPT2Config(n_embd=30, n_head=4)


def test_a_decoder_of_an_encoder_is_refused() -> None:
    sizes = {"vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}

    with pytest.raises(UnsupportedConfigError, match="add_cross_attention"):
        FlaxGPT2Model(GPT2Config(**sizes, add_cross_attention=True))


def test_fresh_weights_that_write_to_the_residual_stream_are_smaller() -> None:
    config = GPT2Config(vocab_size=9, n_embd=64, n_layer=8, n_head=2, n_positions=8, initializer_range=0.1)
    params = FlaxGPT2Model(config).params

    blocks = jax.device_get(params["h"])
    inner, outer = (
        np.std([block[part][name]["kernel"] for block in blocks.values()])
        for part, name in (("mlp", "c_fc"), ("mlp", "c_proj"))
    )
    np.testing.assert_allclose([inner, outer], [0.1, 0.025], rtol=0.02)
    assert not any(block["attn"]["c_proj"]["bias"].any() for block in blocks.values())
