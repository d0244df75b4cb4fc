"""Scores of quality without a target: one file a paper, and the journal that outlives an interruption."""
