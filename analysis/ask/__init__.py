"""Ask: the answer as it is made, what else it could have been, and what every checkpoint says."""
