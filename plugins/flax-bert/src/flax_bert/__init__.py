"""BERT in Flax."""
