"""Keeping an index: describe and verify it, name and restore versions, remove rows, merge files, rebuild it."""
