"""Which methods can be taken apart, and how."""

from nait_index.errors import SelectionError
from nait_index.insight.parts.base import Parts
from nait_index.insight.parts.dense import DenseParts
from nait_index.insight.parts.sparse import MonaParts, NagParts
from nait_index.methods.base import Examples, Scanned
from nait_index.methods.mona import Mona
from nait_index.methods.nag import Nag
from nait_index.methods.names import MethodName
from nait_index.methods.registry import METHODS
from nait_index.search.rows import IndexRows


def explainable() -> list[str]:
    """Name the methods whose scores are sums over neurons or features."""
    return [str(name) for name, method in METHODS.items() if isinstance(method, Scanned | Nag | Mona)]


def parts_of(method: MethodName, examples: Examples, rows: IndexRows, layers: tuple[int, ...]) -> Parts:
    """Make what takes a capability's scores apart.

    :param layers: numbers of the captured layers.
    :raises SelectionError: the method's score is no sum over neurons.
    """
    own = METHODS[method]
    if isinstance(own, Scanned):
        return DenseParts(own, examples, rows, layers)
    if isinstance(own, Nag):
        return NagParts(examples, rows, layers)
    if isinstance(own, Mona):
        return MonaParts(examples, rows)
    raise SelectionError(
        f"a score of {method} is no sum over neurons, so there is nothing to take apart; explain with --method "
        + ", ".join(explainable())
    )
