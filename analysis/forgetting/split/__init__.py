"""Superficial or essential: whether a lost answer's knowledge is gone, or only the asked form (SEFE)."""
