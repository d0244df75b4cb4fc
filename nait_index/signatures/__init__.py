"""Pooled activations to signatures: what is kept of every sample."""
