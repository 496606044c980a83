"""The path between checkpoints: weights on the straight line between two, and several merged, loaded and asked."""
