"""Completion for shells: scripts made from the parser of the command line."""
