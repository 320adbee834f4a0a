"""Plugins: found, read, chosen and activated."""
