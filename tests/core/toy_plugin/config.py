"""The toy's config."""

from typing import ClassVar

from automodels.config import LayerCount, PretrainedConfig, Size


class ToyConfig(PretrainedConfig):
    model_type: ClassVar[str] = "np-toy"
    vocab_size: Size = 17
    hidden_size: Size = 6
    num_hidden_layers: LayerCount = 2
    num_attention_heads: Size = 2
    max_position_embeddings: Size = 12
