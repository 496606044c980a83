"""Decoding: strategies side by side, each step as a game of picture and question, and what they invent."""
