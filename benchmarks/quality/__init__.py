"""Measurements of how good selections are, on real data."""
