"""Continual-learning methods side by side: what each keeps, what it costs, and how much seeds and orders matter."""
