"""Make the README's tables of the results: ``python -m benchmarks.tables``; ``--check`` only says if they are old."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import ROOT

RESULTS = ROOT / "benchmarks" / "results"
TARGETS = (ROOT / "README.md",)
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
        (
            "core of gsm8k, humaneval, knowledge (chance)",
            [f"{own['core']['found']} ({own['core']['chance']:.1f})" for own in results],
        ),
    ]
    return _render(["", *(own["model"] for own in results)], rows) + _where(results)


def precision_table() -> str:
    """Precision of every method for every capability."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("pool-*.json"))]
    columns = [(own["model"], method, own["precision"][method]) for own in results for method in own["precision"]]
    rows = [
        (capability, [f"{precision[capability]:.2f}" for _, _, precision in columns])
        for capability in next(iter(columns))[2]
    ]
    means = [f"**{sum(precision.values()) / len(precision):.3f}**" for _, _, precision in columns]
    return _render(["", *(f"{model}, `{method}`" for model, method, _ in columns)], [*rows, ("**mean**", means)])


TABLES = {"pool": pool_table, "precision": precision_table}


def _render(header: list[str], rows: list[tuple[str, list[str]]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *([name, *cells] for name, cells in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _where(results: list[dict[str, Any]]) -> str:
    places = {f"{own['environment']['processor']}, {own['environment']['cores']} cores" for own in results}
    commits = {own["environment"]["commit"].split()[0][:10] for own in results}
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
            sys.exit(f"{Path(target).name} is out of date: make tables")
        if new != old:
            target.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
