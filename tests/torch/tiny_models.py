"""Models small enough for a test, with values that are not the initial ones, so that each of them counts."""

from __future__ import annotations

from typing import Any

import torch

from torch_heads import BertConfig, GPTNeoConfig, OPTConfig

BERT: dict[str, Any] = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
OPT: dict[str, Any] = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, ffn_dim=20, max_position_embeddings=16,
    word_embed_proj_dim=12,
)  # fmt: skip
NEO: dict[str, Any] = dict(
    vocab_size=31, hidden_size=12, num_layers=2, num_heads=3, intermediate_size=20, max_position_embeddings=16,
    attention_types=[(["global", "local"], 1)], window_size=4, bos_token_id=1, eos_token_id=1,
)  # fmt: skip
IDS = torch.tensor([[1, 5, 7, 2, 3], [1, 9, 2, 8, 4]])


def made(model_class: Any, **fields: Any) -> Any:
    """A model of the class in evaluation mode; `fields` are of the config, or options of the class."""
    config_class = model_class.config_class
    sizes = {BertConfig: BERT, OPTConfig: OPT, GPTNeoConfig: NEO}[config_class]
    options = {name: fields.pop(name) for name in ("add_pooling_layer", "backend") if name in fields}
    torch.manual_seed(0)
    model = model_class(config_class(**{**sizes, **fields}), **options).eval()
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=numbers)
    return model


def copied(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Its parameters as they are now."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_unchanged(model: Any, before: dict[str, torch.Tensor], config: str) -> None:
    """The same parameters by name, shape and bit, and the same config."""
    now = dict(model.named_parameters())
    assert list(now) == list(before)
    for name, tensor in before.items():
        assert torch.equal(now[name], tensor), name
    assert model.config.to_json_string() == config
