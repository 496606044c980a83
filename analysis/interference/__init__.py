"""Interference: what a sentence, a picture or a crafted noise that should not matter does to an answer."""
