"""What every PyTorch plugin stands on. Nothing yet: the manifest offers nothing."""
