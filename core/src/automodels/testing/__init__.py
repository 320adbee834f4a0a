"""What plugin authors and our own tests share; install it with `automodels[testing]`."""
