"""Published model formats: their configs and tensor names, framework-free."""
