"""The skills of the demo corpus by name."""

from collections.abc import Callable
from random import Random

from nait_index.demo.skills import (
    arithmetic,
    classification,
    code,
    dialogue,
    extraction,
    facts,
    logic,
    rewriting,
    summarisation,
    tables,
    tool_calls,
    translation,
)
from nait_index.demo.skills._row import Row

__all__ = ["SKILLS", "Row"]

SKILLS: dict[str, Callable[[Random], Row]] = {
    "arithmetic": arithmetic.generate,
    "classification": classification.generate,
    "code": code.generate,
    "dialogue": dialogue.generate,
    "extraction": extraction.generate,
    "facts": facts.generate,
    "logic": logic.generate,
    "rewriting": rewriting.generate,
    "summarisation": summarisation.generate,
    "tables": tables.generate,
    "tool_calls": tool_calls.generate,
    "translation": translation.generate,
}
