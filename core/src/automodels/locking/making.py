"""Making a lock of what is installed here and of the checkpoints that are named."""

from __future__ import annotations

from collections.abc import Mapping

from automodels.locking.contents import Lock, LockedCheckpoint
from automodels.locking.decisions import all_decisions, locked_plugins
from automodels.plugins.catalog import Catalog
from automodels.plugins.judge import PLUGIN_API


def make_lock(catalog: Catalog, checkpoints: Mapping[str, LockedCheckpoint]) -> Lock:
    """The lock of a catalog under its settings. Imports nothing; raises StrictModeError."""
    return Lock(
        plugin_api=PLUGIN_API,
        plugins=locked_plugins(catalog),
        decisions=all_decisions(catalog),
        checkpoints=dict(checkpoints),
    )
