"""`from automodels import AutoModel` as a whole process: over an empty interpreter, and against transformers."""

from __future__ import annotations

import importlib.util
import sys

from measure import medians, record, seconds_of_commands


def main() -> None:
    ours = "from automodels import AutoModel"
    commands = {"empty": [sys.executable, "-c", ""], "automodels": [sys.executable, "-c", ours]}
    found = medians(seconds_of_commands(commands, runs=21))
    added = found["automodels"] - found["empty"]
    figures = {"empty interpreter, ms": found["empty"] * 1e3, "automodels over it, ms (limit 60)": added * 1e3}
    if importlib.util.find_spec("transformers"):
        commands["transformers"] = [sys.executable, "-c", "from transformers import AutoModel"]
        found = medians(seconds_of_commands(commands, runs=5))
        peer = found["transformers"] - found["empty"]
        figures["transformers over it, ms"] = peer * 1e3
        figures["transformers / automodels (goal 30)"] = peer / added
    record("import_time", figures)


if __name__ == "__main__":
    main()
