"""Scores to chosen rows: budgets, selections, unions, cores."""
