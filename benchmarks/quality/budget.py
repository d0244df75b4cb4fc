"""Is a suggested budget any good? ``python -m benchmarks.quality.budget NAME --index INDEX``.

Writes results/budget-NAME.json.

Every method ranks an index of the real pool, whose groups are labelled, for every capability. For each budget the F1 of
the chosen rows against the capability's group is measured: for ``--top auto``, for a tenth, and, though neither is
known beforehand, for the group's true size and for the best of all budgets.
"""

import json

import click
import numpy as np

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.pool import GROUPS
from nait_index import NaitIndex
from nait_index.errors import NaitError
from nait_index.methods.registry import MethodName

_METHODS = ("probe", "contrast", "nait", "nas", "nag", "bm25", "dsir-mean")


@click.command()
@click.argument("name")
@click.option("--index", "path", required=True, type=click.Path(exists=True), help="An index of the whole pool.")
def main(name: str, path: str) -> None:
    """Measure every method and capability."""
    index = NaitIndex(path)
    with (shared_data() / "pool.jsonl").open(encoding="utf-8") as file:
        group = {row["id"]: row["group"] for row in map(json.loads, file)}
    measured: dict[str, dict[str, dict[str, float]]] = {method: {} for method in _METHODS}
    for capability, wanted in GROUPS.items():
        examples = index.make_capability(shared_data() / "capabilities" / f"{capability}.jsonl")
        for method in _METHODS:
            ranked = index.query(examples, method=MethodName(method), top="100%")
            right = np.array([group[sample_id] == wanted for sample_id in ranked])
            f1 = 2 * right.cumsum() / (np.arange(1, len(right) + 1) + right.sum())
            budgets = {"a tenth": len(right) // 10, "true size": int(right.sum()), "best": int(f1.argmax()) + 1}
            try:
                budgets["auto"] = len(index.query(examples, method=MethodName(method), top="auto"))
            except NaitError as error:
                click.echo(f"{method}, {capability}: {error}", err=True)
                continue
            measured[method][capability] = {key: round(float(f1[rows - 1]), 4) for key, rows in budgets.items()}
            measured[method][capability]["rows"] = budgets["auto"]
            click.echo(f"{method}, {capability}: {measured[method][capability]}", err=True)
    result = {"environment": environment(), "model": name, "rows": len(index), "methods": measured}
    out = ROOT / "benchmarks" / "results" / f"budget-{name}.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
