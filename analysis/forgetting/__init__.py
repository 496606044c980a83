"""Forgetting: what each task taught, and what it cost the tasks before it."""
