"""Does a choice teach? Fine-tunes copies of a model on chosen rows, and measures them on held-out examples."""
