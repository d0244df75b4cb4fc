"""The figures, as Plotly's JSON."""

from nait_index.report.figures.base import Figure
from nait_index.report.figures.points import map_data
from nait_index.report.figures.several import core_sizes, correlation, overlap, stability
from nait_index.report.figures.single import bars, columns, layers, representation, scores

__all__ = [
    "Figure",
    "bars",
    "columns",
    "core_sizes",
    "correlation",
    "layers",
    "map_data",
    "overlap",
    "representation",
    "scores",
    "stability",
]
