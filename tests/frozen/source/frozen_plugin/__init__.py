"""A plugin as it was written against plugin API 1.0. It is frozen: do not edit, do not rebuild."""
