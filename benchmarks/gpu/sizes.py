"""What is measured on a GPU, and with --tiny; how much has to be computed and moved for it.

Shapes: B batch, T tokens, D hidden size, F feed-forward, L layers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured; the defaults are for a GPU."""

    model: Mapping[str, int]
    """Fields of an OPT's config."""

    prefill: tuple[int, int] = (8, 2048)
    prompt: int = 128
    new: int = 64
    product: int = 8192
    """Rows and columns of the matrices that are multiplied."""

    mib: int = 2048
    """Of the array that is copied, or read."""

    tokens: tuple[int, ...] = (512, 1024, 2048, 4096, 8192)
    together: int = 16384
    """Tokens in a batch of prompts."""

    width: int = 2048
    """Numbers in all heads together."""

    head_sizes: tuple[int, ...] = (64, 128)
    every: int = 1
    """Of the cases of the conformance suite, which are tried."""

    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")

    @property
    def matrices(self) -> int:
        """Numbers in the matrices of an OPT that a token is multiplied by: L·(4·D² + 2·D·F) + D·V."""
        width = self.model["hidden_size"]
        layer = 4 * width**2 + 2 * width * self.model["ffn_dim"]
        return self.model["num_hidden_layers"] * layer + width * self.model["vocab_size"]

    @property
    def prefill_operations(self) -> int:
        """Multiplications and additions that logits of B·T tokens need.

        Two for each token and each number of the matrices; and of attention, the products of queries and keys and of
        weights and values, 2·2·T²·D for each text and layer, of which causality hides half. Normalisation, softmax and
        adding are not counted.
        """
        batch, tokens = self.prefill
        attention = 2 * tokens**2 * self.model["hidden_size"] * batch * self.model["num_hidden_layers"]
        return 2 * self.matrices * batch * tokens + attention

    @property
    def product_operations(self) -> int:
        """As many multiplications as additions, one for each row, column, and number in them."""
        return 2 * self.product**3

    @property
    def decode_bytes(self) -> float:
        """What a step of one text reads, two bytes a number.

        That is every matrix and, of the cache, keys and values of the tokens so far: the prompt, and on average half
        of the new ones.
        """
        cache = 2 * self.model["num_hidden_layers"] * self.model["hidden_size"] * (self.prompt + self.new / 2)
        return 2 * (self.matrices + cache)

    def moved(self, what: str) -> int:
        """Bytes that `copy` or `read` moves; copying reads and writes."""
        return self.mib * 2**20 * (2 if what == "copy" else 1)


OPT_1_3B = {
    "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32, "ffn_dim": 8192,
    "word_embed_proj_dim": 2048, "vocab_size": 50272, "max_position_embeddings": 2048,
}  # fmt: skip
SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 128,
    "word_embed_proj_dim": 64, "vocab_size": 256, "max_position_embeddings": 64,
}  # fmt: skip
FULL = Sizes(model=OPT_1_3B)
TINY = Sizes(
    model=SMALL, prefill=(2, 32), prompt=8, new=8, product=128, mib=4, tokens=(32, 64), together=64, width=64,
    head_sizes=(32,), every=9, dtypes=("float32", "bfloat16"),
)  # fmt: skip
