"""The map: some rows in two dimensions, similar rows near one another."""

import numpy as np

from nait_index.config import View
from nait_index.report.context import CapabilityChoice, ReportContext, random_subset
from nait_index.report.facts import RowMap
from nait_index.report.groups import by_column_or_field
from nait_index.report.rows import cut_to_bytes, printable, read_texts

SCANNED = 512
"""Dimensions of a signature that are read."""

WIDTH = 50
"""Principal components of these that t-SNE is given."""

_PERPLEXITY = 30
_ITERATIONS = 500
_MIN_ROWS = 12
_MAX_TEXT_BYTES = 800


def draw_map(context: ReportContext, source_field: str) -> RowMap | None:
    """Lay out some rows; return ``None`` and leave a note where that is not possible."""
    index, choices = context.index, context.choices
    if View.PCA not in index.manifest.fingerprint.signatures.views:
        context.note("The map is left out: the index has no dense signatures; build it with the view pca to have them.")
        return None
    positions, added = _sample(context)
    layout = lay_out(index.columns.coordinates(positions, SCANNED))
    if layout is None:
        context.note("The map is left out: there are too few different rows.")
        return None
    columns = index.columns.take(positions, ["id", "n_tokens"])
    coordinates, method = layout
    text_bytes = min(_MAX_TEXT_BYTES, context.request.limits.text_bytes // len(positions))
    sources = by_column_or_field(index, source_field, positions)
    shape = (len(choices), len(positions))
    return RowMap(
        coordinates=coordinates,
        method=method,
        evenly=len(positions) - added,
        added=added,
        ids=tuple(printable(sample_id) for sample_id in columns["id"]),
        tokens=tuple(columns["n_tokens"]),
        sources=sources.codes,
        source_names=sources.names,
        chosen=tuple(_best_first(choice, positions) for choice in choices),
        percentiles=np.array([_percentiles(choice, positions) for choice in choices], int).reshape(shape),
        texts=tuple(_beginning(row.text, text_bytes) for row in read_texts(index, positions)),
    )


def lay_out(signatures: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Lay rows out by t-SNE with a fixed seed; return ``None`` if there are too few different ones.

    :param signatures: (m, d). :returns: (m, 2) float coordinates between -1 and 1, and the method in words.
    """
    if len(signatures) < _MIN_ROWS:
        return None
    from sklearn.manifold import TSNE

    leading = _leading_components(signatures.astype(np.float32))
    width = leading.shape[1]
    if not leading.std(axis=0).any():
        return None
    perplexity = min(_PERPLEXITY, (len(leading) - 1) / 3)
    tsne = TSNE(init="pca" if width > 1 else "random", perplexity=perplexity, max_iter=_ITERATIONS, random_state=0)
    coordinates = tsne.fit_transform(leading).astype(np.float64)
    coordinates -= (coordinates.max(axis=0) + coordinates.min(axis=0)) / 2
    coordinates /= max(np.abs(coordinates).max(), 1e-12)
    return coordinates, f"t-SNE (perplexity {perplexity:.0f}) of the {width} leading components"


def _leading_components(signatures: np.ndarray) -> np.ndarray:
    """Project signatures (m, d) on their leading principal components: (m, at most ``WIDTH``)."""
    centred = signatures - signatures.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred.astype(np.float64))
    order = np.argsort(-values)[:WIDTH]
    return np.asarray(centred @ vectors[:, order], np.float32)


def _sample(context: ReportContext) -> tuple[np.ndarray, int]:
    """Draw rows: first those drawn uniformly, then those added from the choices; return how many were added."""
    limits = context.request.limits
    evenly = np.sort(random_subset(context.available, limits.points))
    per_choice = limits.chosen_points // max(1, len(context.choices))
    more = np.concatenate([evenly[:0], *(random_subset(choice.chosen, per_choice) for choice in context.choices)])
    added = np.setdiff1d(more, evenly)
    return np.concatenate([evenly, added]), len(added)


def _beginning(text: str, most: int) -> str:
    start = cut_to_bytes(text, most)
    return start if len(start) == len(text) else start + "…"


def _best_first(choice: CapabilityChoice, positions: np.ndarray) -> np.ndarray:
    """Return the numbers of the rows that are chosen, in the order of the choice."""
    number_of = {int(position): number for number, position in enumerate(positions)}
    return np.array([number_of[int(row)] for row in choice.chosen if int(row) in number_of], dtype=np.int64)


def _percentiles(choice: CapabilityChoice, positions: np.ndarray) -> np.ndarray:
    """Return the share of all rows with a lower score than each of some, in per cent rounded down."""
    ascending = choice.scores[choice.order][::-1]
    return np.asarray(100 * np.searchsorted(ascending, choice.scores[positions]) // len(ascending))
