"""Gathering the facts of a report from an index."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from itertools import count

import numpy as np

from nait_index.corpus import read_rejected
from nait_index.corpus.unread import unread_sentences
from nait_index.errors import NaitError
from nait_index.index import NaitIndex
from nait_index.insight.compare import Comparison
from nait_index.report.context import CapabilityChoice, ReportContext, RowSample, prepare
from nait_index.report.facts import (
    CapabilityFacts,
    CoreFacts,
    CoreRow,
    CorpusFacts,
    Facts,
    GroupCounts,
    LayerFacts,
    ScoreHistogram,
)
from nait_index.report.groups import Grouping, SampledGrouping, by_column, by_fields, by_languages, by_length
from nait_index.report.request import ReportRequest
from nait_index.report.row_map import draw_map
from nait_index.report.rows import RowViewer, printable
from nait_index.selection.core import chance_size
from nait_index.selection.selection import Selection

TOP, BORDER, BOTTOM, CORE = 8, 5, 4, 12
"""How many rows are shown to be read: the best, each side of the cut, the last, and of the core."""

_STEPS = 7
_BINS = 60
_SOURCES = 14
_MIN_CORE = 10  # rows that make a core worth listing

logger = logging.getLogger(__name__)


def gather(index: NaitIndex, request: ReportRequest) -> Facts:
    """Gather all facts, and log each step.

    :raises NaitError: a package is missing, a name is unknown, or the budget, method or filter cannot be used.
    """
    _check_packages()
    steps = count(1)

    def begin(step: str) -> None:
        logger.info("report, %d of %d: %s", next(steps), _STEPS, step)

    begin("scoring every row")
    context = prepare(index, request)
    if not context.choices:
        context.note("No capability is stored yet, so this page shows the corpus alone: see nait-index capability add.")
    begin("reading fields of the rows")
    groups = by_fields(context)
    begin("detecting languages")
    groups.insert(2, by_languages(context))
    sources, sources_sample = groups[0]
    shown = max(1, len(context.choices)) * (TOP + 2 * BORDER + BOTTOM) + CORE
    viewer = RowViewer(index, sources.name_of, request.limits.text_bytes, shown)
    begin("describing the capabilities")
    capabilities = tuple(_describe(context, choice, groups, viewer) for choice in context.choices)
    begin("comparing them")
    comparison = _compare(context)
    resampling = f", with {request.bootstrap} resamples of the examples" if request.bootstrap else ""
    begin(f"computing the core{resampling}")
    core = _core(context, viewer)
    if viewer.problem:
        context.note(printable(f"What the model read of the rows cannot be shown: {viewer.problem}."))
    begin("drawing the map")
    return Facts(
        request=request,
        info=index.info(),
        available=len(context.available),
        budget=context.choices[0].k if context.choices else 0,
        corpus=_corpus(context, sources, sources_sample),
        capabilities=capabilities,
        comparison=comparison,
        core=core,
        map=draw_map(context, sources.field),
        notes=tuple(context.notes),
    )


def _check_packages() -> None:
    for module, package in (("sklearn", "scikit-learn"), ("py3langid", "py3langid")):
        try:
            import_module(module)
        except ImportError:
            raise NaitError(f"a report needs {package}: pip install 'nait-index[report]'") from None


def _corpus(context: ReportContext, sources: Grouping, sample: RowSample) -> CorpusFacts:
    everything = np.arange(len(context.tokens))
    lengths = by_length(everything, context.tokens)
    bands = np.trim_zeros(lengths.counts(everything), "b").tolist()
    low, median, high = (int(value) for value in np.quantile(context.tokens, (0.05, 0.5, 0.95)))
    reasons = _reasons(context.index)
    return CorpusFacts(
        rows=len(context.tokens),
        tokens=int(context.tokens.sum()),
        truncated=context.index.info()["truncated"],
        rejected=sum(rows for _, rows in reasons),
        source_field=sources.field,
        sources=_group_counts(sources, sample.evenly),
        sources_read=len(sample.evenly),
        lengths=tuple(zip(lengths.names, bands, strict=False)),
        quantiles=(low, median, high),
        formats=_group_counts(by_column(context.index, "format", everything), everything),
        reasons=reasons,
        left_out=tuple(context.index.manifest.head.left_out.items()),
        unread=tuple(printable(sentence) for sentence in unread_sentences(context.index.manifest.unread)),
        duplicates=context.index.near_duplicates().sentence,
    )


def _reasons(index: NaitIndex) -> GroupCounts:
    """Count why rows were rejected, ignoring numbers and quoted parts, which differ from row to row."""
    path = index.layout.rejected  # index.info() has fetched and checked it
    rejected = read_rejected(path) if path.is_file() else ()
    return tuple(Counter(_general_reason(row.reason) for row in rejected).most_common())


def _general_reason(reason: str) -> str:
    general = re.sub(r"'[^']*'", lambda quoted: quoted[0] if len(quoted[0]) <= 20 else "'…'", printable(reason))
    return re.sub(r"\d[\d,.]*", "#", general)[:200]


def _group_counts(grouping: Grouping, rows: np.ndarray) -> GroupCounts:
    """Count groups, largest first, and merge the smallest."""
    counts = grouping.counts(rows)
    order = [code for code in np.argsort(-counts, kind="stable").tolist() if counts[code]]
    kept = order if len(order) <= _SOURCES else order[: _SOURCES - 1]
    listed = [(grouping.names[code], int(counts[code])) for code in kept]
    if len(kept) < len(order):
        listed.append((f"{len(order) - len(kept)} more", int(counts[order[len(kept) :]].sum())))
    return tuple(listed)


def _describe(
    context: ReportContext, choice: CapabilityChoice, groups: Sequence[SampledGrouping], viewer: RowViewer
) -> CapabilityFacts:
    k, available = choice.k, len(choice.order)
    top, after = min(TOP, k), min(k + BORDER, available)
    highest, most = available / k, context.request.limits.groups
    compared = [
        grouping.represent(sample.chosen(choice), sample.evenly, is_whole=sample.is_whole, highest=highest, most=most)
        for grouping, sample in groups
    ]
    return CapabilityFacts(
        name=choice.name,
        examples=len(context.index.capability(choice.name)),
        chosen=k,
        cut=choice.cut,
        scores=_histogram(choice),
        # A field with one value throughout shows nothing, so it comes last.
        groups=tuple(sorted(compared, key=lambda representation: len(representation.groups) < 2)),
        layers=_layers(context, choice.name),
        top=viewer.ranks(choice, 0, top),
        just_in=viewer.ranks(choice, max(top, k - BORDER), k),
        just_out=viewer.ranks(choice, k, after),
        bottom=viewer.ranks(choice, max(after, available - BOTTOM), available),
    )


def _histogram(choice: CapabilityChoice) -> ScoreHistogram:
    """Count scores in bins; outliers go into the first and last."""
    scores = choice.scores[choice.order]
    low, high = (float(score) for score in np.quantile(scores, (0.0005, 0.9995)))
    low, high = min(low, choice.cut), max(high, choice.cut)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    chosen, others = (
        np.histogram(np.clip(part, low, high), edges)[0] for part in (scores[: choice.k], scores[choice.k :])
    )
    return ScoreHistogram(edges, chosen, others)


def _layers(context: ReportContext, name: str) -> LayerFacts | None:
    request = context.request
    try:
        computed = context.index.layer_shares(name, method=request.method, top=request.top, where=request.where)
    except NaitError as error:
        context.note(f"Layers are left out: {error}.")
        return None
    labels = [(part.pooling or "all") if part.layer is None else str(part.layer) for part in computed.parts]
    names = tuple(dict.fromkeys(labels))
    shares: dict[str, list[float]] = {}
    for part, label, share in zip(computed.parts, labels, computed.shares, strict=True):
        shares.setdefault(part.pooling or "", [0.0] * len(names))[names.index(label)] += share
    return LayerFacts(names, {pooling: tuple(values) for pooling, values in shares.items()})


def _compare(context: ReportContext) -> Comparison | None:
    if len(context.choices) < 2:
        return None
    request = context.request
    return context.index.compare(context.names, top=request.top, method=request.method, where=request.where)


def _core(context: ReportContext, viewer: RowViewer) -> CoreFacts | None:
    """Count what 1, 2, … capabilities agree on, and list the strictest core that is not nearly empty."""
    capabilities = len(context.choices)
    if capabilities < 2:
        return None
    chosen = np.concatenate([choice.chosen for choice in context.choices])
    row_votes = np.bincount(chosen, minlength=len(context.tokens))
    levels = range(1, capabilities + 1)
    sizes = tuple(int((row_votes >= level).sum()) for level in levels)
    budgets = [choice.k for choice in context.choices]
    chance = tuple(chance_size(budgets, len(context.available), level) for level in levels)
    votes = max((level for level in levels if level >= 2 and sizes[level - 1] >= _MIN_CORE), default=2)
    core, no_stability = _core_with_stability(context, votes, is_empty=not sizes[votes - 1])
    stability = tuple(float(share) for share in core.details.get("stability", ()))
    rows = []
    for number, (position, score) in enumerate(zip(core.ordinals[:CORE], core.scores[:CORE], strict=True)):
        shown = viewer.row(position, number + 1, score)
        rows.append(CoreRow(core.details["votes"][number], stability[number] if stability else None, shown))
    return CoreFacts(sizes, chance, votes, len(core), tuple(rows), stability, context.request.bootstrap, no_stability)


def _core_with_stability(context: ReportContext, votes: int, *, is_empty: bool) -> tuple[Selection, str]:
    """Return the core, with the stability of its rows or the reason why there is none."""
    request = context.request

    def compute(redraws: int) -> Selection:
        return context.index.core(
            context.names, top=request.top, votes=votes, method=request.method, where=request.where, bootstrap=redraws
        )

    if is_empty:
        return compute(0), "no row is chosen by two capabilities"
    if not request.bootstrap:
        return compute(0), "no resampling was requested"
    try:
        return compute(request.bootstrap), ""
    except NaitError as error:
        return compute(0), f"the examples could not be encoded again: {error}"
