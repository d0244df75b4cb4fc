"""Text to pooled activations: load a model, find its neurons, run it once, pool each sample.

This is the only package that imports torch and transformers, and it does so when a model is loaded, not before.
"""
