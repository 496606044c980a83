"""Interference over whole evaluation sets: what a perturbation costs, on how many questions, and what helps."""
