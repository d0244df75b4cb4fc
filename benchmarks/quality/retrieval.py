"""Does it find the right rows? ``python -m benchmarks.quality.retrieval NAME --index INDEX``; ``--quick`` is a trial.

Every method ranks one index of the real pool for every capability. Precision is the share of the pool's right group
among the first min(size of the group, a tenth of the pool) rows; the area under the ROC curve uses the whole ranking.
The interval is ±1.96 standard deviations over resamples of the examples, with replacement, the same ones for every
method. All is repeated with 16 of the examples only, averaged over several draws.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.pool import GROUPS
from benchmarks.quality.run_cache import RunCache, digest
from nait_index import NaitIndex
from nait_index.capabilities.capability import Capability, resampled
from nait_index.config import ModelConfig, SignatureConfig, View
from nait_index.methods import bm25, dsir
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName, method_of
from nait_index.search.rows import IndexRows

FEW = 16
# Methods that do not rank all rows, or are slow: only the first tenth is requested.
TENTH_ONLY = {MethodName.RDS}
TEXT_ONLY = {MethodName.BM25, MethodName.DSIR, MethodName.DSIR_MEAN}
CLEAR = [name for name in GROUPS if name not in ("bbh", "general")]
"""Capabilities that have a clean group in the pool."""


class HeldRows(IndexRows):
    """Rows that are read once and held in memory, since thousands of rankings are computed from them."""

    def blocks(self, column: str) -> Iterator[np.ndarray]:
        """Yield a signature column, which is read once."""
        yield from self._column(column)

    def texts(self) -> Iterator[str]:
        """Yield the texts, which are rendered once."""
        yield from self._texts()

    @cache  # noqa: B019 - lives as long as the benchmark
    def _column(self, column: str) -> list[np.ndarray]:
        return list(super().blocks(column))

    @cache  # noqa: B019
    def _texts(self) -> list[str]:
        return list(super().texts())


# Texts are split into words and n-grams once for all rankings.
bm25.words = cache(bm25.words)  # type: ignore[attr-defined]
dsir.buckets = cache(dsir.buckets)


@click.command()
@click.argument("name")
@click.option(
    "--index", type=click.Path(path_type=Path), help="An index of the pool; by default it is built in the cache."
)
@click.option("--model", default="bundled", show_default=True, help="Folder of the model, if the index is built.")
@click.option("--methods", help="Comma-separated, to measure again beside earlier results. Default: all.")
@click.option("--draws", default=10, show_default=True, help="Resamples of the examples for the interval.")
@click.option("--few-draws", default=3, show_default=True, help="Draws of 16 examples.")
@click.option(
    "--cache", "folder", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / ".cache", help="For resuming."
)
@click.option("--quick", is_flag=True, help="Two capabilities, 2,000 rows, 2 draws; write nothing.")
def main(
    name: str,
    index: Path | None,
    model: str,
    methods: str | None,
    draws: int,
    few_draws: int,
    folder: Path,
    quick: bool,
) -> None:
    """Run the measurement and write results/retrieval-NAME.json."""
    limit, capabilities = (2000, ("gsm8k", "translation")) if quick else (None, tuple(GROUPS))
    draws, few_draws = (2, 1) if quick else (draws, few_draws)
    opened = NaitIndex(index) if index else _build(folder / f"retrieval-{name}-{limit}.nait", model, limit)
    wanted = _usable(opened, methods)
    runs = len(capabilities) * len(wanted) * (1 + draws + few_draws)
    click.echo(
        f"{runs:,} rankings of {len(opened):,} rows, by {', '.join(wanted)}; about {runs / 90:.0f} min", err=True
    )
    records = RunCache(folder / "retrieval.jsonl")
    fingerprint = opened.manifest.fingerprint
    rows = HeldRows(opened.layout, opened._table, opened._compressor, fingerprint.signatures)
    plan = RetrievalPlan(tuple(wanted), draws, few_draws)
    measured = {group: _capability(opened, rows, group, plan, records) for group in capabilities}
    result = {
        "environment": environment(),
        "model": name,
        "index": {key: opened.info()[key] for key in ("rows", "truncated", "layers", "neurons", "bytes_per_row")},
        "draws": draws,
        "few": {"examples": FEW, "draws": few_draws},
        "capabilities": measured,
        "means": {method: _means(measured, method) for method in wanted},
    }
    if not quick:
        path = ROOT / "benchmarks" / "results" / f"retrieval-{name}.json"
        result = result if methods is None or not path.exists() else beside(result, json.loads(path.read_text()))
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result["means"], indent=1))


def beside(result: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Merge new results of some methods with earlier ones of the others, and record when those were measured."""
    unchanged = [method for method in earlier["means"] if method not in result["means"]]
    when = earlier["environment"] | {"methods": unchanged}
    return result | {
        "earlier": [*earlier.get("earlier", []), when],
        "capabilities": {
            name: earlier["capabilities"][name] | methods for name, methods in result["capabilities"].items()
        },
        "means": earlier["means"] | result["means"],
    }


def _build(path: Path, model: str, limit: int | None) -> NaitIndex:
    path.parent.mkdir(parents=True, exist_ok=True)
    views = SignatureConfig(views=(View.PCA, View.TOPK, View.HIDDEN))
    return NaitIndex.build(
        path, shared_data() / "pool.jsonl", model=ModelConfig(model, max_length=256), signatures=views, limit=limit
    )


def _usable(index: NaitIndex, methods: str | None) -> list[str]:
    views = index.manifest.fingerprint.signatures.views
    known = [name for name in MethodName if method_of(name).view in (None, *views)]
    return [str(name) for name in known] if methods is None else methods.split(",")


@dataclass(frozen=True)
class RetrievalPlan:
    """What is measured: methods, resamples of all examples, draws of few."""

    methods: tuple[str, ...]
    draws: int
    few_draws: int


def _capability(index: NaitIndex, rows: HeldRows, name: str, plan: RetrievalPlan, records: RunCache) -> dict[str, Any]:
    """Measure every method on one capability."""
    capability = index.make_capability(shared_data() / "capabilities" / f"{name}.jsonl", name)
    right = _right(index, GROUPS[name])
    plans = dict(_draws(len(capability), plan.draws, plan.few_draws))
    pool = [len(index), name]
    index_state = [index.manifest.fingerprint.digest, index.manifest.basis, *pool]
    # Methods that read only the rows' text give the same scores on every index of them.
    state = {method: pool if method in TEXT_ONLY else index_state for method in plan.methods}
    for label, drawn in plans.items():
        examples: Examples | None = None
        for method in plan.methods:
            key = digest(*state[method], label, method)
            if key in records:
                continue
            examples = examples or _drawn(capability, rows.widths, drawn)
            records.add({"key": key} | _measure(rows, examples, MethodName(method), right))
        click.echo(f"{name}: {label}", err=True)
    return {
        method: _summary({label: records[digest(*state[method], label, method)] for label in plans})
        for method in plan.methods
    }


def _draws(size: int, draws: int, few_draws: int) -> Iterator[tuple[str, np.ndarray | None]]:
    yield "all", None
    for draw in range(draws):
        yield f"redraw {draw}", np.random.default_rng([1, draw]).integers(size, size=size)
    for draw in range(few_draws):
        yield f"few {draw}", np.random.default_rng([2, draw]).permutation(size)[:FEW]


def _drawn(capability: Capability, widths: Sequence[int], drawn: np.ndarray | None) -> Examples:
    assert capability.pooled is not None
    return capability.examples if drawn is None else resampled(capability, capability.pooled, widths, drawn)


def _right(index: NaitIndex, group: str) -> np.ndarray:
    """Return which rows, in table order, belong to a group."""
    groups = [json.loads(record["row"])["group"] for record in index._table.records(["row"])]
    return np.array([row_group == group for row_group in groups])


def _measure(rows: IndexRows, examples: Examples, method: MethodName, right: np.ndarray) -> dict[str, Any]:
    n, k = len(rows), min(int(right.sum()), len(rows) // 10)
    hits = method_of(method).rank(examples, rows, k if method in TENTH_ONLY else n, None)
    precision = float(right[hits.ordinals[:k]].mean())
    auc = None if len(hits.ordinals) < n else roc_auc(hits.scores, right[hits.ordinals])
    return {"precision": precision, "auc": auc}


def roc_auc(scores: np.ndarray, right: np.ndarray) -> float:
    """Return the share of pairs of a right and a wrong row in which the right one scores higher; ties count half."""
    from scipy.stats import rankdata

    ranks, hits = rankdata(scores), int(right.sum())
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * (len(right) - hits)))


def _summary(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    precisions = [record["precision"] for label, record in records.items() if label.startswith("redraw")]
    few = [record["precision"] for label, record in records.items() if label.startswith("few")]
    return {
        "precision": round(records["all"]["precision"], 4),
        "interval": round(1.96 * float(np.std(precisions, ddof=1)), 4),
        "resampled": [round(precision, 4) for precision in precisions],
        "auc": None if records["all"]["auc"] is None else round(records["all"]["auc"], 4),
        "few": round(float(np.mean(few)), 4),
        "few_spread": round(float(np.std(few)), 4),
    }


def _means(measured: Mapping[str, Mapping[str, Any]], method: str) -> dict[str, Any]:
    figures = {name: by_method[method] for name, by_method in measured.items()}
    clear = [facts["precision"] for name, facts in figures.items() if name in CLEAR]
    redrawn = np.mean([facts["resampled"] for facts in figures.values()], axis=0)
    aucs = [facts["auc"] for facts in figures.values()]
    return {
        "precision": round(float(np.mean([facts["precision"] for facts in figures.values()])), 4),
        "interval": round(1.96 * float(redrawn.std(ddof=1)), 4),
        "precision_clear": round(float(np.mean(clear)), 4),
        "auc": None if None in aucs else round(float(np.mean(aucs)), 4),
        "few": round(float(np.mean([facts["few"] for facts in figures.values()])), 4),
    }


if __name__ == "__main__":
    main()
