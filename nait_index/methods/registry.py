"""The names of all methods, and where each one's class is; light, so that the command line can list them."""

from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nait_index.methods.base import Method


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
"""The one that most often chooses the right rows; ``benchmarks/README.md`` has the figures."""

_CLASSES = {
    MethodName.PROBE: "probe.Probe",
    MethodName.CONTRAST: "contrast.Contrast",
    MethodName.NAIT: "nait.Nait",
    MethodName.NAIT_DRIFT: "nait.NaitDrift",
    MethodName.NAS: "nas.Nas",
    MethodName.MONA: "mona.Mona",
    MethodName.NAG: "nag.Nag",
    MethodName.RDS: "rds.Rds",
    MethodName.RDS_MAX: "rds.RdsMax",
    MethodName.LESS: "less.Less",
    MethodName.EMBEDDING: "embedding.Embedding",
    MethodName.BM25: "bm25.Bm25",
    MethodName.DSIR: "dsir.Dsir",
    MethodName.DSIR_MEAN: "dsir.DsirMean",
    MethodName.LENGTH: "baselines.Length",
    MethodName.RANDOM: "baselines.RandomOrder",
}


@cache
def method_of(name: MethodName) -> "Method":
    """Return a method, importing its module when it is first needed."""
    module, _, class_name = _CLASSES[name].partition(".")
    method: Method = getattr(import_module(f"nait_index.methods.{module}"), class_name)()
    return method
