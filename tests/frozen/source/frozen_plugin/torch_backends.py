"""Attention and execution in PyTorch."""

from __future__ import annotations

import torch
from torch.nn import functional

calls = []


def attention(q, k, v, *, mask=None, bias=None, is_causal=False, scale=None, dropout=0.0):
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    if is_causal:
        causal = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        mask = causal if mask is None else mask & causal
    if mask is not None:
        scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    return functional.dropout(functional.softmax(scores, -1), dropout, training=dropout > 0) @ v


def counted(model):
    model._compiled_call_impl = None
    model.register_forward_pre_hook(lambda module, _: calls.append(type(module).__name__))
