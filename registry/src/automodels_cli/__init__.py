"""The `registry` command: what is installed, what would be loaded, and why."""
