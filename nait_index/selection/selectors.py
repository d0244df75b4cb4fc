"""Which of the best rows of one capability are taken: a choice of its own beside the method, which scores them.

Of k rows, a selector sees the 4·k that score highest, so what it takes is never far below the best.

``top``          the best scores
``round-robin``  the examples take turns, each with the row nearest to it that is not taken yet
``coverage``     the row that activates most neurons that none of those taken activates (MADS inside the best)
``gip``          the row that explains most of what the rows taken so far leave unexplained of the examples

``round-robin`` and ``gip`` compare unit vectors of neurons, or of words in an index without. ``gip`` is a greedy
projection (GIP, arXiv 2603.13790; orthogonal matching pursuit with many targets): with R the examples less their
projection on the span of the rows taken, and p⊥ a row less its own,

    gain(p) = ‖R p⊥‖² / ‖p⊥‖²

Once nearly all of the examples is explained, another round begins with none of it explained.
"""

from collections.abc import Sequence

import numpy as np

from nait_index.config import Selector
from nait_index.errors import StoreError
from nait_index.methods.base import Examples
from nait_index.methods.rds import nearest_in_turn
from nait_index.search.rows import IndexRows
from nait_index.selection.blocks import Division, cover_rows
from nait_index.selection.neuron_sets import NeuronSets
from nait_index.selection.ranking import Ranked
from nait_index.signatures.views import SCANNED, dense_column

POOL = 4
"""Rows that a selector sees, as a multiple of those it takes."""

_EXPLAINED = 0.95  # share of the examples after which a round ends
_DEPENDENT = 1e-2  # share of a row's length² below which it adds only noise to the span


def select(selector: Selector, rows: IndexRows, examples: Examples, best: Ranked, k: int) -> Ranked:
    """Take ``k`` of the best rows, in the order of choice, with the scores that the method gave them.

    :param best: more rows than ``k``, best first.
    """
    if selector is Selector.TOP or k >= len(best.ids):
        places: Sequence[int] = range(min(k, len(best.ids)))
    elif selector is Selector.COVERAGE:
        places = _coverage(rows, best, k)
    else:
        stored, targets = _unit_vectors(rows, examples, best)
        in_turn = selector is Selector.ROUND_ROBIN
        places = nearest_in_turn(targets, stored, np.array(best.ids), k) if in_turn else project(stored, targets, k)
    return Ranked(
        tuple(best.ids[place] for place in places),
        tuple(best.scores[place] for place in places),
        tuple(best.ordinals[place] for place in places),
    )


def _unit_vectors(rows: IndexRows, examples: Examples, best: Ranked) -> tuple[np.ndarray, np.ndarray]:
    feature = next(filter(rows.holds, SCANNED), None)
    if feature is None:
        raise StoreError("this selector needs the view pca or words, which the index was built without")
    column = dense_column(feature)
    stored = rows.vectors(rows.signatures(np.array(best.ordinals), column), feature)
    return stored, rows.vectors(examples.signatures[column], feature)


def _coverage(rows: IndexRows, best: Ranked, k: int) -> list[int]:
    neurons, ordinals = NeuronSets(rows.widths, rows.topk), np.array(best.ordinals)

    def read(places: np.ndarray) -> tuple[np.ndarray, list[str]]:
        in_order = [f"{place:09}" for place in places]  # of equal gains, the better row
        return neurons.sets(rows.table, ordinals[places]), in_order

    division = Division.of(len(ordinals), neurons.width)
    chosen = cover_rows(read, np.arange(len(ordinals)), k, division, np.ones(neurons.neurons))
    places: list[int] = chosen.ordinals.tolist()
    return places


def project(stored: np.ndarray, targets: np.ndarray, k: int) -> list[int]:
    """Take rows whose span holds as much as possible of the targets (E, d): positions of ``k`` rows of (m, d)."""
    lengths = np.einsum("md,md->m", stored, stored)
    left = lengths > 0
    taken: list[int] = []
    while len(taken) < k:
        products, lengths_left = stored @ targets.T, lengths.copy()  # of p⊥ and R; and ‖p⊥‖²
        residual, basis = targets.astype(np.float64), np.zeros((0, stored.shape[1]), np.float32)
        energy, before = float((residual**2).sum()), len(taken)
        while len(taken) < k:
            usable = left & (lengths_left > _DEPENDENT * lengths)
            gains = np.where(usable, np.einsum("me,me->m", products, products), 0)
            gains[usable] /= lengths_left[usable]
            place = int(np.argmax(gains))
            if gains[place] <= 0:
                break
            direction = stored[place] - basis.T @ (basis @ stored[place])
            direction /= np.linalg.norm(direction)
            along, of_targets = stored @ direction, residual @ direction
            products -= np.outer(along, of_targets).astype(np.float32)
            lengths_left -= along**2
            residual -= np.outer(of_targets, direction)
            basis = np.vstack([basis, direction])
            left[place] = False
            taken.append(place)
            if float((residual**2).sum()) < (1 - _EXPLAINED) * energy:
                break
        if len(taken) == before:  # what is left has nothing in common with the examples
            rest = np.setdiff1d(np.arange(len(stored)), taken)
            return [*taken, *rest[: k - len(taken)].tolist()]
    return taken
