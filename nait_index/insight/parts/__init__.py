"""A score taken apart, for each kind of method: what an average row scores, and what every neuron adds to it."""

from nait_index.insight.parts.base import Block, Parts, Strongest
from nait_index.insight.parts.registry import explainable, parts_of

__all__ = ["Block", "Parts", "Strongest", "explainable", "parts_of"]
