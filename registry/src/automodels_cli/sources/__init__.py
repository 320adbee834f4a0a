"""What the source text of plugins tells without being run: fields of configs, and key maps."""
