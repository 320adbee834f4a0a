"""Flash attention alone: torch's kernel of that name (Dao 2023, https://arxiv.org/abs/2307.08691), or a refusal.

`sdpa` takes this kernel too where it can, and another one where it cannot; this backend is for those who would rather
know. The kernel takes no mask, except that later tokens are hidden.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from automodels.errors import InputError

HEAD_SIZE = 256  # the largest that the kernel has


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """As `AttentionFunction`; raises InputError for a mask, a bias, and heads larger than 256."""
    if mask is not None or bias is not None:
        raise InputError(
            f"The flash kernel takes no {'mask' if bias is None else 'bias'}.",
            hints=['Use backend="sdpa", which has kernels for it, or leave out an attention_mask that is all ones.'],
        )
    if q.shape[-1] > HEAD_SIZE:
        raise InputError(
            f"The flash kernel takes heads of up to {HEAD_SIZE}; these are of {q.shape[-1]}.",
            hints=['Use backend="sdpa".'],
        )
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=is_causal, scale=scale)
