"""What every framework's runtime stands on: the steps of loading and saving a model that need no framework.

classes.py, loading.py and saving.py are used by `flax_runtime` and `torch_runtime`, so that both refuse, warn and
record alike.
"""
