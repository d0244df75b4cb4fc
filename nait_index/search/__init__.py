"""Signatures to the best rows: the FAISS engine."""
