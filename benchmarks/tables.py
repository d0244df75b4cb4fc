"""Make the documentation's tables of the results: ``python -m benchmarks.tables``; ``--check`` only looks."""

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from benchmarks.cost_tables import (
    budget_table,
    build_table,
    explanations_table,
    fidelity_table,
    memory_table,
    search_table,
    sparse_table,
)
from benchmarks.environment import ROOT
from benchmarks.fault_tables import damage_table, tried_table, where_table
from benchmarks.quality.teaching_tables import teaching_tables
from benchmarks.scaling_tables import far_table, per_million_table, shift_table, workers_table
from nait_index.methods.registry import MethodName

MODELS = ("minilm", "bundled")
"""Models that were measured on the whole pool."""

RESULTS = ROOT / "benchmarks" / "results"
TARGETS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pool_table() -> str:
    """Build, query and core on the real pool, one column a model."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("pool-*.json"))]
    rows: list[tuple[str, list[str]]] = [
        ("rows indexed", [f"{own['build']['rows']:,}" for own in results]),
        ("tokens", [f"{own['build']['tokens']:,}" for own in results]),
        ("build, minutes", [f"{own['build']['seconds'] / 60:.1f}" for own in results]),
        ("build, tokens/s", [f"{own['build']['tokens_per_second']:,}" for own in results]),
        ("peak memory of the build, GiB", [f"{own['build']['peak_memory_gib']:.2f}" for own in results]),
        (
            "bytes a row, `pca` + `topk`",
            [" + ".join(f"{size:,}" for size in own["bytes_per_row"].values()) for own in results],
        ),
        ("query, stored capability, seconds", [f"{own['query_seconds']['stored']:.2f}" for own in results]),
        (
            "query, 400 examples from a file, seconds",
            [f"{own['query_seconds']['file of 400 examples']:.1f}" for own in results],
        ),
        ("query, peak memory, MiB (engine file)", [_query_memory(own) for own in results]),
        (
            "core of gsm8k, humaneval, knowledge (chance)",
            [f"{own['core']['found']} ({own['core']['chance']:.1f})" for own in results],
        ),
    ]
    return _render(["", *(own["model"] for own in results)], rows) + _where(results)


def _query_memory(result: dict[str, Any]) -> str:
    own = result.get("query_memory_mib")
    return "–" if own is None else f"{own['peak']:,} ({own['engine file']:,})"


def retrieval_table() -> str:
    """Every method on every model: mean precision and its interval, without two unclear groups, AUC, 16 examples."""
    results = [own for own in _results("retrieval-*.json") if own["model"] in MODELS]
    methods = _best_first(results)
    header = [
        "",
        *(
            f"{own['model']}{what}"
            for own in results
            for what in (": mean of nine", ", clear seven", ", AUC", ", 16 examples")
        ),
    ]
    rows = [(f"`{method}`", [cell for own in results for cell in _mean_cells(own, method)]) for method in methods]
    return _render(header, rows) + _where(results)


def method_table(method: str) -> str:
    """Find one method's row of the table above, on every model."""
    rows = [(own["model"], _mean_cells(own, method)) for own in _results("retrieval-*.json") if own["model"] in MODELS]
    return _render(["model", "mean of nine", "clear seven", "AUC", "16 examples"], rows)


def _mean_cells(result: dict[str, Any], method: str) -> list[str]:
    own = result["means"].get(method)
    if own is None:
        return ["–"] * 4
    auc = "–" if own["auc"] is None else f"{own['auc']:.3f}"
    return [
        f"{own['precision']:.3f} ± {own['interval']:.3f}",
        f"{own['precision_clear']:.3f}",
        auc,
        f"{own['few']:.3f}",
    ]


def _best_first(results: list[dict[str, Any]]) -> list[str]:
    """Order the methods by their mean precision on the first model that has them."""
    means = {
        method: own["means"][method]["precision"]
        for result in reversed(results)
        for own in [result]
        for method in own["means"]
    }
    return sorted(means, key=lambda method: -means[method])


def capability_table(model: str) -> str:
    """Precision of every method for every capability, with one model."""
    result = json.loads((RESULTS / f"retrieval-{model}.json").read_text(encoding="utf-8"))
    methods = _best_first([result])
    rows = [
        (
            f"`{method}`",
            [
                f"{own[method]['precision']:.2f} ± {own[method]['interval']:.2f}"
                for own in result["capabilities"].values()
            ],
        )
        for method in methods
    ]
    return _render(["", *result["capabilities"]], rows)


def teaching_table(name: str) -> str:
    """One of the tables of what selections teach."""
    result = json.loads((RESULTS / "teaching-bundled.json").read_text(encoding="utf-8"))
    header, rows = teaching_tables(result)[name]
    return _render(header, rows)


def cost_table(make: Callable[[Any], Any], *names: str, many: bool = False) -> str:
    """One of the tables of what things cost, with where it was measured."""
    results = [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    header, rows = make(results if many else results[0])
    return _render(header, rows) + _where(results)


FAITHFUL = ("minilm", "bundled")
"""Models whose signatures' fidelity was measured."""

TABLES: dict[str, Callable[[], str]] = {
    "build": partial(cost_table, build_table, "build-minilm", "build-qwen3", many=True),
    "memory": partial(cost_table, memory_table, "build-memory-tiny", many=True),
    "search": partial(cost_table, search_table, "search"),
    "sparse": partial(cost_table, sparse_table, "sparse"),
    "faults": partial(cost_table, tried_table, "faults"),
    "faults-where": partial(cost_table, where_table, "faults"),
    "faults-damage": partial(cost_table, damage_table, "faults"),
    **{
        f"fidelity-{method}-{model}": partial(cost_table, partial(fidelity_table, method=method), f"fidelity-{model}")
        for method in ("probe", "nait")
        for model in FAITHFUL
    },
    "per-million": partial(
        cost_table, per_million_table, "pool-minilm", "search", "sparse", "fit", "build-memory-tiny", many=True
    ),
    "far": partial(cost_table, far_table, "search"),
    "workers": partial(cost_table, workers_table, "workers-bundled"),
    "budget": partial(cost_table, budget_table, "budget-bundled"),
    "explanations": partial(cost_table, explanations_table, "explanations-bundled"),
    "shift": partial(cost_table, shift_table, "shift-bundled"),
    "pool": pool_table,
    "retrieval": retrieval_table,
    **{f"retrieval-{model}": partial(capability_table, model) for model in (*MODELS, "less")},
    **{f"method-{method}": partial(method_table, method) for method in MethodName if method is not MethodName.LESS},
    **{name: partial(teaching_table, name) for name in ("teaching", "teaching-transfer", "teaching-claims")},
}


def _results(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern), reverse=True)]


def _render(header: list[str], rows: list[tuple[str, list[str]]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *([name, *cells] for name, cells in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _where(results: list[dict[str, Any]]) -> str:
    places = {f"{own['environment']['processor']}, {own['environment']['cores']} cores" for own in results}
    times = [when for own in results for when in (own["environment"], *own.get("earlier", []))]
    commits = {when["commit"].split()[0][:10] for when in times}
    return f"\nMeasured on {' and '.join(sorted(places))}; commit {', '.join(sorted(commits))}.\n"


def rewrite(text: str) -> str:
    """Fill every marked place of a text with its table."""
    return _MARKED.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; end with exit code 1 where a table is out of date.")
def main(check: bool) -> None:
    """Write the tables into the files that hold them."""
    for target in TARGETS:
        old = target.read_text(encoding="utf-8")
        new = rewrite(old)
        if new != old and check:
            sys.exit(f"{target.relative_to(ROOT)} is out of date: make tables")
        if new != old:
            target.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
