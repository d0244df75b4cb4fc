"""Chosen rows -> what a trainer reads: converted, written by the suffix, with the trainer's own configuration."""
