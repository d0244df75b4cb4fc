"""Measurements on real data. Each writes JSON into ``results/``; ``tables.py`` makes the README's tables of it."""
