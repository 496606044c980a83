"""Where a visitor begins: what there is to see, a card a room."""
