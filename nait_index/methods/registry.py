"""All methods by name."""

from collections.abc import Mapping

from nait_index.methods.base import Method
from nait_index.methods.contrast import Contrast
from nait_index.methods.nait import Nait, NaitDrift
from nait_index.methods.names import MethodName

METHODS: Mapping[MethodName, Method] = {
    MethodName.CONTRAST: Contrast(),
    MethodName.NAIT: Nait(),
    MethodName.NAIT_DRIFT: NaitDrift(),
}
