"""Keeps a damaged installation of something else from stopping pydantic, and with it every config.

When the first model class of a process is made, pydantic asks `importlib.metadata.entry_points()` for plugins of its
own. That raises for everybody when one `entry_points.txt` anywhere on the path is malformed. No class could be made
then, so nothing is lost by leaving such plugins out.
"""

from __future__ import annotations

import logging
import os

from pydantic import BaseModel

logger = logging.getLogger("automodels")

SWITCH = "PYDANTIC_DISABLE_PLUGINS"


def survive_damage() -> None:
    """Switches pydantic's plugins off where looking for them fails; call it before the first class is made."""
    try:
        type("_Probe", (BaseModel,), {"__module__": __name__})
    except Exception as error:  # whatever importlib.metadata raises for what it finds
        if os.environ.get(SWITCH):
            raise
        os.environ[SWITCH] = "__all__"
        logger.warning(
            "Plugins of pydantic are not used, since looking for them failed with %s: some installed distribution is "
            "damaged. Run: registry doctor",
            type(error).__name__,
        )
