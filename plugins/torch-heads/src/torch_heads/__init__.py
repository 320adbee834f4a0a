"""Heads and backbones in PyTorch. Nothing yet: the manifest offers nothing."""
