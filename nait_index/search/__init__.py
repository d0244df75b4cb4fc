"""From signatures to the best rows: an exact scan of all rows, or an approximate search for few."""
