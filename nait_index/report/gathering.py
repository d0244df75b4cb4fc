"""Gathering what a report says from an index."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nait_index.config import View
from nait_index.corpus import read_rejected
from nait_index.errors import NaitError
from nait_index.index import NaitIndex
from nait_index.report.asked import Asked, Limits, ReportProgress, Steps
from nait_index.report.facts import (
    Bars,
    CapabilityFacts,
    Core,
    Corpus,
    Facts,
    Histogram,
    Layers,
    Map,
    Shown,
    StableRow,
)
from nait_index.report.projection import SCANNED, lay_out, require_sklearn
from nait_index.report.reading import (
    Grouping,
    RowReader,
    Words,
    by_column,
    by_language,
    by_length,
    clean,
    require_langid,
    words_of,
)
from nait_index.report.representation import Representation, represent
from nait_index.selection.budget import Budget
from nait_index.selection.core import chance_size

TOP, BORDER, BOTTOM, CORE = 10, 5, 5, 12  # rows that are shown to be read
_BINS = 60
_SOURCES = 14
_ENOUGH = 10  # rows, that make a core worth listing
_LONGEST = 20_000  # characters of one row
_HOVER = 700


def gather(index: NaitIndex, asked: Asked, progress: ReportProgress | None = None) -> Facts:
    """Gather all of it.

    :raises NaitError: of the kind that says what is wrong; a package is missing, a name unknown, a filter unusable.
    """
    require_sklearn()
    require_langid()
    return _Gatherer(index, asked, Steps(progress)).run()


@dataclass(frozen=True, slots=True)
class Choice:
    """What one capability chooses.

    :param scores: (n,) of all rows, NaN where a row cannot be chosen. :param order: (available,) places, best first.
    :param k: how many are chosen.
    """

    name: str
    scores: np.ndarray
    order: np.ndarray
    k: int

    @property
    def chosen(self) -> np.ndarray:
        """Places of the chosen rows (k,), best first."""
        return self.order[: self.k]

    @property
    def cut(self) -> float:
        """The lowest score that is chosen."""
        return float(self.scores[self.order[self.k - 1]])


class _Gatherer:
    def __init__(self, index: NaitIndex, asked: Asked, steps: Steps) -> None:
        self._index = index
        self._asked = asked
        self._limits: Limits = asked.limits
        self._begin = steps
        self._rng = np.random.default_rng(index.manifest.fingerprint.seed)
        self._notes: list[str] = []

    def run(self) -> Facts:
        names = self._names()
        budget = Budget.parse(self._asked.top)
        self._index.check_method(self._asked.method)
        self._begin("reading the corpus")
        plain = self._index.columns(["n_tokens", "truncated"])
        self._tokens = plain["n_tokens"].to_numpy()
        allowed = self._index.allowed(self._asked.where)
        self._available = np.arange(len(self._tokens)) if allowed is None else np.flatnonzero(allowed)
        k = budget.resolve(len(self._available))
        self._begin("scoring every row")
        self._choices = self._choose(names, k)
        self._begin("reading fields of the rows")
        self._groupings = self._group()
        self._begin("comparing the capabilities")
        between = self._compare(names)
        own = tuple(self._describe(choice) for choice in self._choices)
        self._begin("finding the core")
        core = self._core(names, k)
        self._begin("drawing the map")
        drawn = self._map()
        info = self._index.info()
        return Facts(
            asked=self._asked,
            info=info,
            available=len(self._available),
            budget=k,
            corpus=self._corpus(int(plain["truncated"].to_numpy(zero_copy_only=False).sum())),
            capabilities=own,
            between=between,
            core=core,
            map=drawn,
            notes=tuple(self._notes),
        )

    def _names(self) -> tuple[str, ...]:
        """Give the capabilities that are asked for; all of them unless some are named."""
        stored = tuple(own["name"] for own in self._index.capabilities())
        names = stored if self._asked.names is None else tuple(dict.fromkeys(self._asked.names))
        for name in names:
            self._index.capability(name)
        if not names:
            self._notes.append(
                "No capability is stored yet, so this page shows the corpus alone: nait-index capability add"
            )
        return names

    # ---- choosing -------------------------------------------------------------------------------------------------

    def _choose(self, names: Sequence[str], k: int) -> list[Choice]:
        if not names:
            return []
        scores = self._index.all_scores(names, method=self._asked.method, where=self._asked.where)
        return [Choice(name, own, self._order(own, k), k) for name, own in zip(names, scores, strict=True)]

    def _order(self, scores: np.ndarray, k: int) -> np.ndarray:
        """Order the rows that can be chosen, best first; those that tie at the cut by their ids, as a query does."""
        order = self._available[np.argsort(-scores[self._available], kind="stable")]
        tied = np.flatnonzero(scores[order] == scores[order[k - 1]])
        ids = self._index.take(order[tied], ["id"])["id"] if len(tied) > 1 else []
        if ids:
            order[tied] = order[tied][sorted(range(len(ids)), key=ids.__getitem__)]
        return order

    # ---- groups ---------------------------------------------------------------------------------------------------

    def _sample(self, rows: int, chosen: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Draw rows evenly, and more of each selection; all of them where they are not too many.

        :returns: places drawn evenly, places of all that are to be read, both ascending; whether that is all there is.
        """
        if len(self._available) <= rows:
            return self._available, self._available, True
        evenly = np.sort(self._rng.choice(self._available, rows, replace=False))
        more = [self._some(own.chosen, chosen) for own in self._choices]
        return evenly, np.unique(np.concatenate([evenly, *more])), False

    def _some(self, of: np.ndarray, most: int) -> np.ndarray:
        """Draw some of a selection, always the same ones."""
        return np.random.default_rng(len(of)).choice(of, min(most, len(of)), replace=False)

    def _group(self) -> list[tuple[Grouping, np.ndarray, int]]:
        """Group rows by every field, with the rows that stand for the corpus, and how many stand for a selection."""
        limits, every = self._limits, len(self._tokens)
        evenly, places, is_whole = self._sample(limits.rows, limits.chosen)
        reader = RowReader(self._index, places, is_whole=is_whole)
        columns = set(self._index.column_names())
        found: list[tuple[Grouping, np.ndarray, int]] = []
        source = reader.source_field()
        for name in dict.fromkeys((source or "file", *self._asked.by)):
            if name in columns and name != source:
                found.append((by_column(self._index, name, self._available), self._available, every))
            else:
                found.append((reader.by_field(name), evenly, limits.chosen))
        found.insert(1, (by_length(self._available, self._tokens[self._available]), self._available, every))
        self._begin("telling languages")
        evenly, places, is_whole = self._sample(limits.languages, limits.chosen_languages)
        languages = by_language(self._index, places, is_whole=is_whole)
        found.insert(2, (languages, evenly, limits.chosen_languages))
        return found

    def _represent(self, choice: Choice) -> tuple[Representation, ...]:
        highest = len(self._available) / choice.k
        found = []
        for grouping, evenly, most in self._groupings:
            read = choice.chosen if grouping.is_whole else self._some(choice.chosen, most)
            own = represent(
                grouping.field,
                grouping.names,
                grouping.counts(read),
                grouping.counts(evenly),
                is_whole=grouping.is_whole,
                highest=highest,
                most=self._limits.groups,
            )
            found.append(own)
        return tuple(found)

    # ---- the corpus -----------------------------------------------------------------------------------------------

    def _corpus(self, truncated: int) -> Corpus:
        sources, evenly, _ = self._groupings[0]
        lengths = self._groupings[1][0]
        everything = np.arange(len(self._tokens))
        bands = by_length(everything, self._tokens).counts(everything)
        last = int(np.flatnonzero(bands)[-1]) + 1
        low, middle, high = (int(own) for own in np.quantile(self._tokens, (0.05, 0.5, 0.95)))
        reasons = self._reasons()
        return Corpus(
            rows=len(self._tokens),
            tokens=int(self._tokens.sum()),
            truncated=truncated,
            rejected=sum(reasons.counts),
            source_field=sources.field,
            sources=_bars(sources, evenly),
            sources_read=len(evenly),
            lengths=Bars(lengths.names[:last], tuple(int(own) for own in bands[:last])),
            quantiles=(low, middle, high),
            formats=_bars(by_column(self._index, "format", everything), everything),
            reasons=reasons,
        )

    def _reasons(self) -> Bars:
        """Count why rows were rejected; numbers and quoted parts, which differ from row to row, aside."""
        layout = self._index.layout
        self._index.info()  # fetches and checks the list
        if not layout.rejected.is_file():
            return Bars((), ())
        counted = Counter(_kind(own.reason) for own in read_rejected(layout.rejected)).most_common()
        return Bars(tuple(name for name, _ in counted), tuple(count for _, count in counted))

    # ---- capabilities ---------------------------------------------------------------------------------------------

    def _describe(self, choice: Choice) -> CapabilityFacts:
        order, k = choice.order, choice.k
        left = len(order) - k
        return CapabilityFacts(
            name=choice.name,
            examples=len(self._index.capability(choice.name)),
            chosen=k,
            cut=choice.cut,
            scores=_histogram(choice),
            groups=self._represent(choice),
            layers=self._layers(choice.name),
            top=self._show(choice, range(min(TOP, k))),
            just_in=self._show(choice, range(max(min(TOP, k), k - BORDER), k)),
            just_out=self._show(choice, range(k, k + min(BORDER, left))),
            bottom=self._show(choice, range(max(k + min(BORDER, left), len(order) - BOTTOM), len(order))),
        )

    def _show(self, choice: Choice, ranks: range) -> tuple[Shown, ...]:
        places = choice.order[ranks.start : ranks.stop]
        return tuple(
            self._read(place, rank + 1, choice.scores[place]) for rank, place in zip(ranks, places, strict=True)
        )

    def _read(self, place: int, rank: int, score: float) -> Shown:
        taken = self._index.take([place], ["id", "file", "file_row", "n_tokens"])
        shown = max(1, len(self._choices)) * (TOP + 2 * BORDER + BOTTOM) + CORE
        words, is_cut = _cut(words_of(self._index, [place])[0], min(_LONGEST, self._limits.characters // shown))
        return Shown(
            id=clean(taken["id"][0]),
            rank=rank,
            score=float(score),
            source=self._groupings[0][0].name_of(place),
            tokens=taken["n_tokens"][0],
            place=clean(f"{taken['file'][0]}, row {taken['file_row'][0]:,}"),
            words=words,
            is_cut=is_cut,
        )

    def _layers(self, name: str) -> Layers | None:
        try:
            own = self._index.layer_shares(name, method=self._asked.method)
        except NaitError as error:
            self._note(f"Layers are left out: {error}")
            return None
        return Layers(tuple(str(one) for one in own.names), tuple(float(one) for one in own.shares))

    def _compare(self, names: Sequence[str]) -> "Comparison | None":
        if len(names) < 2:
            return None
        asked = self._asked
        return self._index.compare(list(names), top=asked.top, method=asked.method, where=asked.where)

    # ---- the core -------------------------------------------------------------------------------------------------

    def _core(self, names: Sequence[str], k: int) -> Core | None:
        if len(names) < 2:
            return None
        votes = np.bincount(np.concatenate([own.chosen for own in self._choices]), minlength=len(self._tokens))
        levels = range(1, len(names) + 1)
        found = tuple(int((votes >= level).sum()) for level in levels)
        chance = tuple(chance_size([k] * len(names), len(self._available), level) for level in levels)
        wanted = max((level for level in levels if level >= 2 and found[level - 1] >= _ENOUGH), default=2)
        own, redraws, why = None, self._asked.bootstrap, ""
        if not found[wanted - 1]:
            redraws, why = 0, "no row is chosen by two of them"
        elif not redraws:
            why = "no redraws were asked for"
        try:
            own = self._select_core(names, wanted, redraws)
        except NaitError as error:
            redraws, why = 0, f"its examples could not be encoded again: {error}"
            own = self._select_core(names, wanted, 0)
        stability = tuple(float(one) for one in own.details.get("stability", ()))
        shown = [
            StableRow(own.details["votes"][at], stability[at] if stability else None, self._read(place, at + 1, score))
            for at, (place, score) in enumerate(zip(own.ordinals[:CORE], own.scores[:CORE], strict=True))
        ]
        return Core(found, chance, wanted, len(own), tuple(shown), stability, redraws, why)

    def _select_core(self, names: Sequence[str], votes: int, redraws: int) -> "Selection":
        asked = self._asked
        return self._index.core(
            list(names), top=asked.top, votes=votes, method=asked.method, where=asked.where, bootstrap=redraws
        )

    # ---- the map --------------------------------------------------------------------------------------------------

    def _map(self) -> Map | None:
        if View.PCA not in self._index.manifest.fingerprint.views:
            self._note("The map is left out: the index has no dense signatures (build it with the view pca)")
            return None
        limits = self._limits
        evenly = np.sort(self._rng.choice(self._available, min(limits.points, len(self._available)), replace=False))
        each = limits.chosen_points // max(1, len(self._choices))
        more = [self._some(own.chosen, each) for own in self._choices]
        added = np.setdiff1d(np.concatenate([np.zeros(0, np.int64), *more]).astype(np.int64), evenly)
        places = np.concatenate([evenly, added])
        layout = lay_out(self._index.signatures(places, SCANNED))
        if layout is None:
            self._note("The map is left out: there are too few different rows to lay out")
            return None
        taken = self._index.take(places, ["id", "n_tokens"])
        longest = min(_HOVER, limits.characters // len(places))
        sources = self._sources_of(places)
        return Map(
            places=layout.places,
            method=layout.method,
            evenly=len(evenly),
            added=len(added),
            ids=tuple(clean(own) for own in taken["id"]),
            tokens=tuple(taken["n_tokens"]),
            sources=sources.codes,
            source_names=sources.names,
            chosen=np.array([np.isin(places, own.chosen) for own in self._choices]).reshape(-1, len(places)),
            percentiles=np.array([_percentiles(own, places) for own in self._choices]).reshape(-1, len(places)),
            texts=tuple(own.text[:longest] for own in words_of(self._index, places)),
        )

    def _sources_of(self, places: np.ndarray) -> Grouping:
        """Give the sources of some rows; :class:`Grouping` wants them ascending, the map does not."""
        known = self._groupings[0][0]
        if known.field in self._index.column_names():
            own = by_column(self._index, known.field, places)
        else:
            own = RowReader(self._index, places, is_whole=False).by_field(known.field)
        return own

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _bars(grouping: Grouping, of: np.ndarray) -> Bars:
    counts = grouping.counts(of)
    order = [at for at in np.argsort(-counts, kind="stable") if counts[at]]
    kept = order if len(order) <= _SOURCES else order[: _SOURCES - 1]
    names = [grouping.names[at] for at in kept]
    numbers = [int(counts[at]) for at in kept]
    if len(kept) < len(order):
        names.append(f"{len(order) - len(kept)} more")
        numbers.append(int(counts[order[len(kept) :]].sum()))
    return Bars(tuple(names), tuple(numbers))


def _histogram(choice: Choice) -> Histogram:
    """Count scores in bins; the few that lie far out go into the outermost."""
    scores = choice.scores[choice.order]
    low, high = (float(own) for own in np.quantile(scores, (0.0005, 0.9995)))
    low, high = min(low, choice.cut), max(high, choice.cut)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    chosen, others = (
        np.histogram(np.clip(own, low, high), edges)[0] for own in (scores[: choice.k], scores[choice.k :])
    )
    return Histogram(edges, chosen, others)


def _percentiles(choice: Choice, places: np.ndarray) -> np.ndarray:
    """Give the share of the rows, in per cent, that score lower than each of some."""
    ascending = choice.scores[choice.order][::-1]
    below = np.searchsorted(ascending, choice.scores[places])
    return np.asarray(np.round(100 * below / len(ascending)), np.int64)


def _cut(words: Words, longest: int) -> tuple[Words, bool]:
    """Keep so many characters of what a row says."""
    kept: list[tuple[str, str]] = []
    room = longest
    for role, text in words.parts:
        if room > 0:
            kept.append((role, text[:room]))
        room -= len(text)
    return Words(tuple(kept)), room < 0


def _kind(reason: str) -> str:
    general = re.sub(r"'[^']*'|\"[^\"]*\"", lambda own: own[0] if len(own[0]) <= 20 else "'…'", clean(reason))
    return re.sub(r"\d[\d,.]*", "#", general)[:200]
