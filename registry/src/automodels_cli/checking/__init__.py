"""What `registry check` knows: a plugin as it would be installed, and what is wrong with it."""
