"""How much of the ranking by whole activations each kind of signature keeps, by its bytes a row."""
