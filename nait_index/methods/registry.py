"""The names of all methods, and where each one's class is; light, so that the command line can list them."""

from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nait_index.methods.base import Method
    from nait_index.search.rows import IndexRows
    from nait_index.signatures.features import Feature


class MethodName(StrEnum):
    """What ``--method`` takes."""

    path: str
    """Module and class of the method, below ``nait_index.methods``."""

    def __new__(cls, value: str, path: str = "") -> "MethodName":
        """Make a member whose value is its name alone."""
        member = str.__new__(cls, value)
        member._value_, member.path = value, path
        return member

    PROBE = "probe", "probe.Probe"
    PROBE_NEURONS = "probe-neurons", "probe.ProbeNeurons"
    PROBE_WORDS = "probe-words", "probe.ProbeWords"
    PROBE_HIDDEN = "probe-hidden", "probe.ProbeHidden"
    CONTRAST = "contrast", "contrast.Contrast"
    NAIT = "nait", "nait.Nait"
    NAIT_DRIFT = "nait-drift", "nait.NaitDrift"
    NAS = "nas", "nas.Nas"
    MONA = "mona", "mona.Mona"
    NAG = "nag", "nag.Nag"
    RDS = "rds", "rds.Rds"
    RDS_MAX = "rds-max", "rds.RdsMax"
    LESS = "less", "less.Less"
    LESS_MAX = "less-max", "less.LessMax"
    INFLUENCE = "influence", "influence.Influence"
    EMBEDDING = "embedding", "embedding.Embedding"
    BM25 = "bm25", "bm25.Bm25"
    DSIR = "dsir", "dsir.Dsir"
    DSIR_MEAN = "dsir-mean", "dsir.DsirMean"
    LENGTH = "length", "baselines.Length"
    RANDOM = "random", "baselines.RandomOrder"


DEFAULT_METHOD = MethodName.PROBE
"""The best at finding the right rows with few examples, and as good as any with many; see ``benchmarks/README.md``."""


def approximated(rows: "IndexRows") -> set[tuple["Feature", ...]]:
    """Return the features of an index that are searched together by approximation: those of the classifiers."""
    methods = map(method_of, (MethodName.PROBE, MethodName.PROBE_NEURONS))
    return {features for method in methods if (features := method.features(rows))}


@cache
def method_of(name: MethodName) -> "Method":
    """Return a method, importing its module when it is first needed."""
    module, _, class_name = name.path.partition(".")
    method: Method = getattr(import_module(f"nait_index.methods.{module}"), class_name)()
    return method
