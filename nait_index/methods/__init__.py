"""How a capability's examples become a query: one file a method, each reading like its paper.

To add a method: write its file, add its name to :class:`MethodName` and one line to ``METHODS`` in ``registry.py``.
"""
