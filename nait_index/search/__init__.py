"""Signatures to the best rows: an exact scan of all, or an approximate search for few."""
