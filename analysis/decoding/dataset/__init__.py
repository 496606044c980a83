"""Strategies on whole sets: object hallucination as POPE and CHAIR count it."""
