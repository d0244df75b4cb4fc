"""What a choice is made of: how capabilities relate, which layers and neurons put a row where it is, and its words."""
