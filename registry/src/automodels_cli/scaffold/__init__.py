"""What `registry new` writes: names, and files from templates."""
