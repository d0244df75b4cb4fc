"""Faults of every kind, tried many times and counted."""
