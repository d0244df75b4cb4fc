"""How a capability's examples become a score of every row: one file per paper, each reading like it.

To add a method: write its file, and add its name and its class to ``registry.py``.
"""
