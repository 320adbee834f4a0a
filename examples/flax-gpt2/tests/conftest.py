"""Most of the time of these tests is spent compiling: programs that run once need no optimising."""

import os

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
