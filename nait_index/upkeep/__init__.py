"""A living index: rows leave, versions are named and brought back, files are merged, a stale basis is fitted anew."""
