"""Names of the methods, apart from their code so that the command line can list them without importing it."""

from enum import StrEnum


class MethodName(StrEnum):
    """What ``--method`` takes."""

    CONTRAST = "contrast"
    NAIT = "nait"
    NAIT_DRIFT = "nait-drift"


DEFAULT_METHOD = MethodName.CONTRAST
"""Measured better than NAIT as published on every model tried; the README's table has the figures."""
