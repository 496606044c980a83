"""The rooms of Crosstalk: each measures one thing about a model, draws it and explains it."""
