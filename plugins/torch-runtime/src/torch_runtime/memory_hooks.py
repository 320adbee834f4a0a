"""How much main memory each module's forward pass adds."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from torch_runtime.optional_libraries import needed


class MemoryHooks:
    """Modules that write down the process's memory before and after each of their calls."""

    _hooked: frozenset[nn.Module] = frozenset()

    def add_memory_hooks(self) -> None:
        """From now on every module counts the main memory of its calls, in bytes.

        `mem_rss_pre_forward` and `mem_rss_post_forward` are what the process held before and after its last call,
        `mem_rss_diff` is the sum of what its calls added. A second call changes nothing. Raises MissingDependencyError
        without psutil.
        """
        with needed("psutil", "Counting memory"):
            import psutil
        assert isinstance(self, nn.Module)
        process = psutil.Process(os.getpid())

        def before(module: Any, _inputs: Any) -> None:
            module.mem_rss_pre_forward = process.memory_info().rss

        def after(module: Any, _inputs: Any, _output: Any) -> None:
            module.mem_rss_post_forward = process.memory_info().rss
            module.mem_rss_diff += module.mem_rss_post_forward - module.mem_rss_pre_forward

        for module in self.modules():
            if module not in self._hooked:
                module.register_forward_pre_hook(before)
                module.register_forward_hook(after)
        self._hooked = frozenset(self.modules())
        self.reset_memory_hooks_state()

    def reset_memory_hooks_state(self) -> None:
        """Sets the counts of every module to 0."""
        assert isinstance(self, nn.Module)
        for module in self.modules():
            counts: Any = module
            counts.mem_rss_diff = counts.mem_rss_pre_forward = counts.mem_rss_post_forward = 0
