"""GPT-Neo in Flax. Nothing yet: the manifest offers nothing."""
