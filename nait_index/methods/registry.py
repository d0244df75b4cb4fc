"""All methods by name."""

from collections.abc import Mapping

from nait_index.methods.base import Method
from nait_index.methods.bm25 import Bm25
from nait_index.methods.contrast import Contrast
from nait_index.methods.dsir import Dsir, DsirMean
from nait_index.methods.embedding import Embedding
from nait_index.methods.length import Length
from nait_index.methods.less import Less
from nait_index.methods.mona import Mona
from nait_index.methods.nag import Nag
from nait_index.methods.nait import Nait, NaitDrift
from nait_index.methods.names import MethodName
from nait_index.methods.nas import Nas
from nait_index.methods.probe import Probe
from nait_index.methods.random_order import RandomOrder
from nait_index.methods.rds import Rds, RdsMax

METHODS: Mapping[MethodName, Method] = {
    MethodName.PROBE: Probe(),
    MethodName.CONTRAST: Contrast(),
    MethodName.NAIT: Nait(),
    MethodName.NAIT_DRIFT: NaitDrift(),
    MethodName.NAS: Nas(),
    MethodName.MONA: Mona(),
    MethodName.NAG: Nag(),
    MethodName.RDS: Rds(),
    MethodName.RDS_MAX: RdsMax(),
    MethodName.LESS: Less(),
    MethodName.EMBEDDING: Embedding(),
    MethodName.BM25: Bm25(),
    MethodName.DSIR: Dsir(),
    MethodName.DSIR_MEAN: DsirMean(),
    MethodName.LENGTH: Length(),
    MethodName.RANDOM: RandomOrder(),
}
