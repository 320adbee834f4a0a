"""The lock file: which class every model type gets, and which bytes a checkpoint has, written down and compared."""
