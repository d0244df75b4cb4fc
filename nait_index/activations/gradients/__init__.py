"""Texts to projected gradients of the loss with respect to low-rank adapters."""
