"""Measurements on real data. Each writes JSON into ``results/``, from which ``tables.py`` makes the README's tables."""
