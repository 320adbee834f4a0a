"""What every Flax plugin stands on."""
