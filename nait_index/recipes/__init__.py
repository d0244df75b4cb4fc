"""Recipes: the whole way from a corpus to files for a trainer in one file, which can be replayed."""
