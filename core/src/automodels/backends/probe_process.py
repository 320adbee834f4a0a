"""The process in which `probed_apart` calls a probe: the call as JSON on stdin, the reason as JSON on stdout.

It is run as a file: nothing of the package can be imported before the caller's `sys.path` is known.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Answers on the stdout that the process was started with; what the probe prints goes to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)
    call = json.load(sys.stdin)
    sys.path[:] = call["path"]
    from automodels.backends.probing import asked, situation_from_json
    from automodels.plugins.entries import Plugin

    plugin = Plugin(**call["plugin"], manifest=None)
    reason = asked(call["reference"], plugin, situation_from_json(call["situation"]))
    os.write(answer, json.dumps({"reason": reason}).encode())
    os._exit(0)  # threads that a framework has started are not waited for


if __name__ == "__main__":
    main()
