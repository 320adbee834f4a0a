"""Memory that modules' calls add, as they write it down."""

from __future__ import annotations

import mmap
import sys

import pytest
from tiny_models import IDS, made

from automodels.errors import MissingDependencyError
from torch_heads import BertModel


def test_memory_hooks_count_what_calls_add():
    psutil = pytest.importorskip("psutil")
    model = made(BertModel)
    large = []

    def take(*_):
        large.append(mmap.mmap(-1, 32 << 20))  # from the system: an allocator may have as much left over
        large[0].write(b"1" * (32 << 20))

    model.encoder.layer[0].register_forward_hook(take)
    model.add_memory_hooks()
    model.add_memory_hooks()

    model(IDS)

    assert model.mem_rss_pre_forward > 1_000_000
    assert model.mem_rss_post_forward <= psutil.Process().memory_info().rss * 2
    assert model.mem_rss_diff > 16_000_000
    assert model.mem_rss_diff == model.mem_rss_post_forward - model.mem_rss_pre_forward

    model.reset_memory_hooks_state()

    assert {part.mem_rss_diff for part in model.modules()} == {0}


def test_without_psutil_memory_hooks_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)

    with pytest.raises(MissingDependencyError, match="pip install psutil"):
        made(BertModel).add_memory_hooks()
