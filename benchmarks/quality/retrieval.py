"""Does it find the right rows? ``python -m benchmarks.quality.retrieval NAME --index INDEX``; ``--quick`` is a trial.

Every method ranks one index of the real pool for every capability. Precision is the share of the pool's right group
among the first min(size of the group, a tenth of the pool) rows; the area under the ROC curve uses the whole ranking.
The interval is ±1.96 standard deviations over resamples of the examples, with replacement, the same ones for every
method; so the interval of a difference between two methods is that of the differences in the same resamples. All is
repeated with 4, 16 and 64 of the examples only, averaged over several draws.

``--beside NAME=INDEX`` adds an index of the same rows, made with another model or other views: methods that need its
model are listed as ``METHOD (NAME)``, and of the others those that the first index cannot serve.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.pool import GROUPS, build_index
from benchmarks.quality.draws import Draw, DrawKind, DrawPlan
from benchmarks.quality.retrieval_figures import differences, figures_of, means, merged, roc_auc
from benchmarks.quality.run_cache import RunCache, digest
from nait_index import NaitIndex
from nait_index.capabilities.capability import Capability, resampled
from nait_index.config import View
from nait_index.methods import bm25, dsir
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName, method_of
from nait_index.search.rows import IndexRows

FEW = (4, 16, 64)
# Methods that do not rank all rows, or are slow: only the first tenth is requested.
TENTH_ONLY = {MethodName.RDS}
TEXT_ONLY = {MethodName.BM25, MethodName.DSIR, MethodName.DSIR_MEAN}


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
@click.option("--beside", multiple=True, metavar="NAME=INDEX", help="An index of the same rows, of another model.")
@click.option("--methods", help="Comma-separated, to measure again beside earlier results. Default: all.")
@click.option("--examples", type=int, help="Most examples of a capability. Default: all.")
@click.option("--draws", default=10, show_default=True, help="Resamples of the examples for the interval.")
@click.option("--few-draws", default=3, show_default=True, help="Draws of 4, 16 and 64 examples.")
@click.option(
    "--cache", "folder", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / ".cache", help="For resuming."
)
@click.option("--quick", is_flag=True, help="Two capabilities, 2,000 rows, 2 draws; write nothing.")
def main(
    name: str,
    index: Path | None,
    model: str,
    beside: tuple[str, ...],
    methods: str | None,
    examples: int | None,
    draws: int,
    few_draws: int,
    folder: Path,
    quick: bool,
) -> None:
    """Run the measurement and write results/retrieval-NAME.json."""
    limit, capabilities = (2000, ("gsm8k", "translation")) if quick else (None, tuple(GROUPS))
    draws, few_draws = (2, 1) if quick else (draws, few_draws)
    opened = NaitIndex(index) if index else build_index(folder / f"pool-{Path(model).name}-{limit}.nait", model, limit)
    plan = RetrievalPlan(DrawPlan(draws, FEW, few_draws), examples, RunCache(folder / "retrieval.jsonl"))
    pools = [MeasuredIndex(opened, _usable(opened, methods))]
    pools += [_beside(word, pools[0], methods) for word in beside]
    _announce(pools, len(capabilities) * len(plan.draws))
    measured: dict[str, dict[str, Any]] = {capability: {} for capability in capabilities}
    for pool in pools:
        for capability in capabilities:
            measured[capability] |= pool.measure(capability, plan)
    wanted = list(next(iter(measured.values())))
    result = {
        "environment": environment(),
        "model": name,
        "index": _facts(opened),
        "beside": {pool.suffix: _facts(pool.index) for pool in pools if pool.suffix},
        "most_examples": examples,
        "draws": draws,
        "few": {"examples": FEW, "draws": few_draws},
        "capabilities": measured,
        "means": {method: means(measured, method) for method in wanted},
        "differences": differences(measured, wanted),
    }
    if not quick:
        path = ROOT / "benchmarks" / "results" / f"retrieval-{name}.json"
        result = result if methods is None or not path.exists() else merged(result, json.loads(path.read_text()))
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps({"means": result["means"], "differences": result["differences"]}, indent=1))


def _announce(pools: Sequence["MeasuredIndex"], draws: int) -> None:
    """Print how much is to be done: about 90 rankings of 30,000 rows take a minute."""
    runs = sum(draws * len(pool.methods) for pool in pools)
    rows, names = len(pools[0].index), ", ".join(pool.label(method) for pool in pools for method in pool.methods)
    click.echo(f"{runs:,} rankings of {rows:,} rows, by {names}; about {runs * rows / 2.7e6:.0f} min", err=True)


def _facts(index: NaitIndex) -> dict[str, Any]:
    return {key: index.info()[key] for key in ("rows", "truncated", "layers", "neurons", "bytes_per_row")}


def _usable(index: NaitIndex, methods: str | None) -> list[MethodName]:
    """List the methods that the views of an index allow, or those that are named."""
    if methods is not None:
        return [MethodName(method) for method in methods.split(",")]
    views = index.manifest.fingerprint.signatures.views
    return [
        method
        for method in MethodName
        if method_of(method).view is None or {method_of(method).view, *method_of(method).instead} & set(views)
    ]


def _beside(word: str, first: "MeasuredIndex", methods: str | None) -> "MeasuredIndex":
    """Open an index of the same rows, for the methods that the first cannot serve, or not with the same model."""
    suffix, _, path = word.partition("=")
    index = NaitIndex(path)
    if _ids(index) != _ids(first.index):
        raise click.BadParameter(f"{path} does not hold the same rows as the index", param_hint="--beside")
    views = index.manifest.fingerprint.signatures.views
    usable = [method for method in _usable(index, methods) if method_of(method).view in views]
    wanted = [method for method in usable if needs_model(method) or method not in first.methods]
    return MeasuredIndex(index, wanted, suffix)


def needs_model(method: MethodName) -> bool:
    """Report whether a method's scores depend on the model that the index was built with."""
    return method_of(method).view not in (None, View.WORDS)


def _ids(index: NaitIndex) -> list[str]:
    return sorted(record["id"] for record in index._table.records(["id"]))


@dataclass(frozen=True)
class RetrievalPlan:
    """What is measured: draws, the most examples of a capability; and what was measured before."""

    draws: DrawPlan
    examples: int | None
    records: RunCache


class MeasuredIndex:
    """An index and the methods that are measured on it.

    :param suffix: tells its methods from those of another index; empty for the first.
    """

    def __init__(self, index: NaitIndex, methods: Sequence[MethodName], suffix: str = "") -> None:
        self.index, self.methods, self.suffix = index, methods, suffix
        manifest, fingerprint = index.manifest, index.manifest.fingerprint
        self._rows = HeldRows(
            index.layout,
            index._table,
            index._compressor,
            fingerprint.signatures,
            manifest.reading,
            manifest.landmarks_hash,
        )
        pool = [digest(_ids(index))]
        # Methods that read only the rows' text give the same scores on every index of them.
        self._state = {
            method: pool if method in TEXT_ONLY else [fingerprint.digest, index.manifest.basis, *pool]
            for method in methods
        }

    def label(self, method: MethodName) -> str:
        """Return the name of a method in the results."""
        return f"{method} ({self.suffix})" if self.suffix and needs_model(method) else str(method)

    def measure(self, name: str, plan: RetrievalPlan) -> dict[str, Any]:
        """Measure every method on one capability."""
        keys = {
            (draw, method): digest(*self._state[method], name, plan.examples, str(draw), method)
            for draw in plan.draws
            for method in self.methods
        }
        missing = [(draw, method) for (draw, method), key in keys.items() if key not in plan.records]
        if missing:
            capability = self._capability(name, plan.examples)
            right = _right(self.index, GROUPS[name])
            for draw, waiting in groupby(missing, key=lambda pair: pair[0]):
                examples = _drawn(capability, self._rows.widths, draw)
                for _, method in waiting:
                    record = _measure(self._rows, examples, method, right)
                    plan.records.add({"key": keys[draw, method]} | record)
                click.echo(f"{name}: {draw}", err=True)
        return {
            self.label(method): figures_of({draw: plan.records[keys[draw, method]] for draw in plan.draws}, plan.draws)
            for method in self.methods
        }

    def _capability(self, name: str, most: int | None) -> Capability:
        rows = (shared_data() / "capabilities" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        chosen = sorted(rows, key=lambda row: digest("examples", json.loads(row)["id"]))[:most] if most else rows
        return self.index.make_capability_from("\n".join(chosen), name)


def _drawn(capability: Capability, widths: Sequence[int], draw: Draw) -> Examples:
    assert capability.pooled is not None
    if draw.kind is DrawKind.ALL:
        return capability.examples
    return resampled(capability, capability.pooled, widths, draw.rows(len(capability)))


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


if __name__ == "__main__":
    main()
