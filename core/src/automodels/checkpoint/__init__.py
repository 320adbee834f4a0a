"""Checkpoints: located, verified, planned and read."""
