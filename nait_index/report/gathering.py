"""Gathering what a report says from an index."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from nait_index.corpus import read_rejected
from nait_index.errors import NaitError
from nait_index.index import NaitIndex
from nait_index.insight.compare import Comparison
from nait_index.report.agreement import SHOWN, find_core
from nait_index.report.asked import Asked, Steps
from nait_index.report.facts import Bars, CapabilityFacts, Corpus, Facts, Histogram, Layers
from nait_index.report.ground import Choice, Ground, lay_ground
from nait_index.report.groups import Grouped, by_fields, by_languages
from nait_index.report.mapping import draw_map
from nait_index.report.projection import require_sklearn
from nait_index.report.reading import Grouping, by_column, by_length, clean, require_langid
from nait_index.report.showing import Shower

TOP, BORDER, BOTTOM = 8, 5, 4  # rows that are shown to be read
_BINS = 60
_SOURCES = 14


def gather(index: NaitIndex, asked: Asked) -> Facts:
    """Gather all of it.

    :raises NaitError: of the kind that says what is wrong; a package is missing, a name unknown, a filter unusable.
    """
    require_sklearn()
    require_langid()
    begin = Steps()
    begin("scoring every row")
    ground = lay_ground(index, asked)
    if not ground.choices:
        ground.note("No capability is stored yet, so this page shows the corpus alone: see nait-index capability add.")
    begin("reading fields of the rows")
    groups = by_fields(ground)
    begin("telling languages")
    groups.insert(2, by_languages(ground))
    shown = max(1, len(ground.choices)) * (TOP + 2 * BORDER + BOTTOM) + SHOWN
    shower = Shower(index, groups[0].grouping, asked.limits.room, shown)
    begin("taking the capabilities apart")
    capabilities = tuple(_describe(ground, choice, groups, shower) for choice in ground.choices)
    begin("comparing them")
    between = _compare(ground)
    begin(
        f"finding the core, with {asked.bootstrap} redraws of the examples" if asked.bootstrap else "finding the core"
    )
    core = find_core(ground, shower)
    begin("drawing the map")
    drawn = draw_map(ground, groups[0].grouping.field)
    return Facts(
        asked=asked,
        info=index.info(),
        available=len(ground.available),
        budget=ground.choices[0].k if ground.choices else 0,
        corpus=_corpus(ground, groups[0]),
        capabilities=capabilities,
        between=between,
        core=core,
        map=drawn,
        notes=tuple(ground.notes),
    )


def _corpus(ground: Ground, sources: Grouped) -> Corpus:
    everything = np.arange(len(ground.tokens))
    lengths = by_length(everything, ground.tokens)
    bands = lengths.counts(everything)
    last = int(np.flatnonzero(bands)[-1]) + 1
    low, middle, high = (int(own) for own in np.quantile(ground.tokens, (0.05, 0.5, 0.95)))
    reasons = _reasons(ground.index)
    info = ground.index.info()
    return Corpus(
        rows=len(ground.tokens),
        tokens=int(ground.tokens.sum()),
        truncated=info["truncated"],
        rejected=sum(reasons.counts),
        source_field=sources.grouping.field,
        sources=_bars(sources.grouping, sources.drawn.evenly),
        sources_read=len(sources.drawn.evenly),
        lengths=Bars(lengths.names[:last], tuple(int(own) for own in bands[:last])),
        quantiles=(low, middle, high),
        formats=_bars(by_column(ground.index, "format", everything), everything),
        reasons=reasons,
    )


def _reasons(index: NaitIndex) -> Bars:
    """Count why rows were rejected; numbers and quoted parts, which differ from row to row, aside."""
    path = index.layout.rejected  # it was fetched and checked when the index was described
    counted = Counter(_kind(own.reason) for own in read_rejected(path)).most_common() if path.is_file() else []
    return Bars(tuple(name for name, _ in counted), tuple(count for _, count in counted))


def _kind(reason: str) -> str:
    general = re.sub(r"'[^']*'", lambda own: own[0] if len(own[0]) <= 20 else "'…'", clean(reason))
    return re.sub(r"\d[\d,.]*", "#", general)[:200]


def _describe(ground: Ground, choice: Choice, groups: Sequence[Grouped], shower: Shower) -> CapabilityFacts:
    k, every = choice.k, len(choice.order)
    top, after = min(TOP, k), min(k + BORDER, every)
    return CapabilityFacts(
        name=choice.name,
        examples=len(ground.index.capability(choice.name)),
        chosen=k,
        cut=choice.cut,
        scores=_histogram(choice),
        # A field that is the same throughout has nothing to say, and says it last.
        groups=tuple(sorted((own.represent(ground, choice) for own in groups), key=lambda own: len(own.groups) < 2)),
        layers=_layers(ground, choice.name),
        top=shower.ranks(choice, 0, top),
        just_in=shower.ranks(choice, max(top, k - BORDER), k),
        just_out=shower.ranks(choice, k, after),
        bottom=shower.ranks(choice, max(after, every - BOTTOM), every),
    )


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


def _layers(ground: Ground, name: str) -> Layers | None:
    asked = ground.asked
    try:
        own = ground.index.layer_shares(name, method=asked.method, top=asked.top, where=asked.where)
    except NaitError as error:
        ground.note(f"Layers are left out: {error}.")
        return None
    names = list(dict.fromkeys(part.layer for part in own.parts))
    shares: dict[str, list[float]] = {}
    for part, share in zip(own.parts, own.shares, strict=True):
        shares.setdefault(part.pooling or "", [0.0] * len(names))[names.index(part.layer)] += share
    said = tuple("all" if layer is None else str(layer) for layer in names)
    return Layers(said, {pooling: tuple(values) for pooling, values in shares.items()})


def _compare(ground: Ground) -> Comparison | None:
    if len(ground.choices) < 2:
        return None
    asked = ground.asked
    return ground.index.compare(ground.names, top=asked.top, method=asked.method, where=asked.where)


def _bars(grouping: Grouping, of: np.ndarray) -> Bars:
    """Count groups, the largest first, the rest as one."""
    counts = grouping.counts(of)
    order = [at for at in np.argsort(-counts, kind="stable").tolist() if counts[at]]
    kept = order if len(order) <= _SOURCES else order[: _SOURCES - 1]
    names = [grouping.names[at] for at in kept]
    numbers = [int(counts[at]) for at in kept]
    if len(kept) < len(order):
        names.append(f"{len(order) - len(kept)} more")
        numbers.append(int(counts[order[len(kept) :]].sum()))
    return Bars(tuple(names), tuple(numbers))
