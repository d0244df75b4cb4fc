"""Measurements of what a selection is worth, on real data."""
