"""Names of the methods, apart from their code so that the command line can list them without importing it."""

from enum import StrEnum


class MethodName(StrEnum):
    """What ``--method`` takes."""

    PROBE = "probe"
    CONTRAST = "contrast"
    NAIT = "nait"
    NAIT_DRIFT = "nait-drift"
    NAS = "nas"
    MONA = "mona"
    NAG = "nag"
    RDS = "rds"
    RDS_MAX = "rds-max"
    LESS = "less"
    EMBEDDING = "embedding"
    BM25 = "bm25"
    DSIR = "dsir"
    DSIR_MEAN = "dsir-mean"
    LENGTH = "length"
    RANDOM = "random"


DEFAULT_METHOD = MethodName.PROBE
"""The one that finds the right rows most often; ``benchmarks/README.md`` has the figures."""
