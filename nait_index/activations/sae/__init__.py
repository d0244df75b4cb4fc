"""Sparse autoencoders: their files, their codes of a sample, and their training where none exists for a model."""
