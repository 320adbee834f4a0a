"""One module a command; each has `run(arguments, output)`, and is imported when it is chosen."""
