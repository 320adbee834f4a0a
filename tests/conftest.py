"""No test asks the real Hub: what a test needs of it, the fixture `fake_hub` has."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads it once
