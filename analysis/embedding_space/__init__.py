"""Embedding space: how the space of a dual encoder turns, and what breaks, as it is trained in phases."""
