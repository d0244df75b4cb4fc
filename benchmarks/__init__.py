"""Measurements on real data. Each writes JSON into ``results/``, from which ``tables.py`` makes the README's tables."""

import os

# Processes that are measured find their modules compiled, as a user's do.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
