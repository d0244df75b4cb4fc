"""Builds on a Ray cluster: readers and encoders as Ray Data runs them, one committer."""
