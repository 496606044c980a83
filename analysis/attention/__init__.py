"""Attention: where an answer looks, layer by layer, and what changes when it may look elsewhere."""
