"""One question through time: what every checkpoint of a set answers to the visitor's own picture and question."""
