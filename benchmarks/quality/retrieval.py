"""Does it find the right rows? ``python -m benchmarks.quality.retrieval NAME --index INDEX``; ``--quick`` tries it out.

Every method is asked for every capability on one index of the real pool. Precision is the share of the pool's right
group among the first min(size of the group, a tenth of the pool) rows; the area under the ROC curve takes the whole
ranking. The interval is ±1.96 standard deviations over redraws of the examples, with replacement; what is drawn is the
same for every method. The same again with 16 of the examples only, the mean of several draws.
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
# What gives no order of all rows, or takes its time: only the first tenth is asked for.
TENTH_ONLY = {MethodName.RDS}
TEXT_ONLY = {MethodName.BM25, MethodName.DSIR, MethodName.DSIR_MEAN}
CLEAR = [name for name in GROUPS if name not in ("bbh", "general")]
"""Capabilities that have a clean group in the pool."""


class HeldRows(IndexRows):
    """Rows that are read once and kept in memory, since thousands of rankings are made of them."""

    def blocks(self, column: str) -> Iterator[np.ndarray]:
        """Read a signature column once."""
        yield from self._column(column)

    def texts(self) -> Iterator[str]:
        """Make the texts once."""
        yield from self._texts()

    @cache  # noqa: B019 - lives as long as the benchmark
    def _column(self, column: str) -> list[np.ndarray]:
        return list(super().blocks(column))

    @cache  # noqa: B019
    def _texts(self) -> list[str]:
        return list(super().texts())


# Texts are split into words and n-grams once, whatever is asked of them.
bm25.words = cache(bm25.words)  # type: ignore[attr-defined]
dsir.buckets = cache(dsir.buckets)


@click.command()
@click.argument("name")
@click.option("--index", type=click.Path(path_type=Path), help="An index of the pool; built in the cache if not given.")
@click.option("--model", default="bundled", show_default=True, help="Folder of the model, where the index is built.")
@click.option("--methods", help="Comma-separated, measured again beside earlier results; all there are if not given.")
@click.option("--draws", default=10, show_default=True, help="Redraws of the examples for the interval.")
@click.option("--few-draws", default=3, show_default=True, help="Draws of 16 examples.")
@click.option(
    "--cache", "folder", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / ".cache", help="For resuming."
)
@click.option("--quick", is_flag=True, help="Two capabilities, 2,000 rows, 2 draws; nothing is written.")
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
    own = opened.manifest.fingerprint
    rows = HeldRows(opened.layout, opened._table, opened._compressor, own.signatures)
    plan = Plan(tuple(wanted), draws, few_draws)
    found = {group: _capability(opened, rows, group, plan, records) for group in capabilities}
    result = {
        "environment": environment(),
        "model": name,
        "index": {key: opened.info()[key] for key in ("rows", "truncated", "layers", "neurons", "bytes_per_row")},
        "draws": draws,
        "few": {"examples": FEW, "draws": few_draws},
        "capabilities": found,
        "means": {method: _means(found, method) for method in wanted},
    }
    if not quick:
        path = ROOT / "benchmarks" / "results" / f"retrieval-{name}.json"
        result = result if methods is None or not path.exists() else beside(result, json.loads(path.read_text()))
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result["means"], indent=1))


def beside(result: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Put methods that were measured again beside those that were not, and say when those were."""
    kept = [method for method in earlier["means"] if method not in result["means"]]
    when = earlier["environment"] | {"methods": kept}
    return result | {
        "earlier": [*earlier.get("earlier", []), when],
        "capabilities": {name: earlier["capabilities"][name] | own for name, own in result["capabilities"].items()},
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
class Plan:
    """What is measured: methods, redraws of all examples, draws of few."""

    methods: tuple[str, ...]
    draws: int
    few_draws: int


def _capability(index: NaitIndex, rows: HeldRows, name: str, plan: Plan, records: RunCache) -> dict[str, Any]:
    """Measure every method on one capability."""
    capability = index.make_capability(shared_data() / "capabilities" / f"{name}.jsonl", name)
    right = _right(index, GROUPS[name])
    plans = dict(_draws(len(capability), plan.draws, plan.few_draws))
    pool = [len(index), name]
    own = [index.manifest.fingerprint.digest, index.manifest.basis, *pool]
    # What reads the rows' text alone gives the same on every index of them.
    state = {method: pool if method in TEXT_ONLY else own for method in plan.methods}
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
    """Tell which rows, in table order, are of a group."""
    groups = [json.loads(record["row"])["group"] for record in index._table.records(["row"])]
    return np.array([own == group for own in groups])


def _measure(rows: IndexRows, examples: Examples, method: MethodName, right: np.ndarray) -> dict[str, Any]:
    n, k = len(rows), min(int(right.sum()), len(rows) // 10)
    hits = method_of(method).rank(examples, rows, k if method in TENTH_ONLY else n, None)
    precision = float(right[hits.ordinals[:k]].mean())
    auc = None if len(hits.ordinals) < n else roc_auc(hits.scores, right[hits.ordinals])
    return {"precision": precision, "auc": auc}


def roc_auc(scores: np.ndarray, right: np.ndarray) -> float:
    """Give the share of pairs of a right and a wrong row in which the right one scores higher; ties count half."""
    from scipy.stats import rankdata

    ranks, hits = rankdata(scores), int(right.sum())
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * (len(right) - hits)))


def _summary(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    resampled_ = [own["precision"] for label, own in records.items() if label.startswith("redraw")]
    few = [own["precision"] for label, own in records.items() if label.startswith("few")]
    return {
        "precision": round(records["all"]["precision"], 4),
        "interval": round(1.96 * float(np.std(resampled_, ddof=1)), 4),
        "resampled": [round(own, 4) for own in resampled_],
        "auc": None if records["all"]["auc"] is None else round(records["all"]["auc"], 4),
        "few": round(float(np.mean(few)), 4),
        "few_spread": round(float(np.std(few)), 4),
    }


def _means(found: Mapping[str, Mapping[str, Any]], method: str) -> dict[str, Any]:
    own = {name: by_method[method] for name, by_method in found.items()}
    clear = [facts["precision"] for name, facts in own.items() if name in CLEAR]
    resampled_ = np.mean([facts["resampled"] for facts in own.values()], axis=0)
    aucs = [facts["auc"] for facts in own.values()]
    return {
        "precision": round(float(np.mean([facts["precision"] for facts in own.values()])), 4),
        "interval": round(1.96 * float(resampled_.std(ddof=1)), 4),
        "precision_clear": round(float(np.mean(clear)), 4),
        "auc": None if None in aucs else round(float(np.mean(aucs)), 4),
        "few": round(float(np.mean([facts["few"] for facts in own.values()])), 4),
    }


if __name__ == "__main__":
    main()
