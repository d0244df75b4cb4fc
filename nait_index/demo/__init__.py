"""A small corpus of twelve skills and a small model, to try the tool offline."""
