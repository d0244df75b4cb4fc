"""Write the documentation's tables from the results: ``python -m benchmarks.tables``; ``--check`` only compares."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from benchmarks.cost_tables import (
    budget_table,
    build_table,
    cover_loss_table,
    cover_shell_table,
    durations_table,
    explanations_table,
    fidelity_table,
    filters_table,
    growth_table,
    memory_table,
    search_table,
    sparse_table,
)
from benchmarks.environment import ROOT
from benchmarks.families.tables import counts_table, refused_table, whole_table
from benchmarks.quality.retrieval_tables import (
    compared_table,
    few_table,
    influence_means_table,
    influence_table,
    layers_table,
    read_table,
    rest_table,
)
from benchmarks.quality.teaching_tables import (
    brief_table,
    choices_table,
    claims_table,
    cores_table,
    measured_table,
    settings_table,
)
from benchmarks.scaling_tables import (
    billion_table,
    far_table,
    large_table,
    per_million_table,
    renewal_table,
    shares_table,
    shift_table,
    workers_table,
)
from benchmarks.search.tables import engines_table
from nait_index.methods.registry import MethodName

MODELS = ("minilm", "bundled")
"""Models that were measured on the whole pool."""

RESULTS = ROOT / "benchmarks" / "results"
TARGETS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pool_table() -> str:
    """Tabulate build, query and core on the real pool, one column per model."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("pool-*.json"))]
    made: dict[str, Callable[[dict[str, Any]], str]] = {
        "rows indexed": lambda result: f"{result['build']['rows']:,}",
        "tokens": lambda result: f"{result['build']['tokens']:,}",
        "build, minutes": lambda result: f"{result['build']['seconds'] / 60:.1f}",
        "build, tokens/s": lambda result: f"{result['build']['tokens_per_second']:,}",
        "build, tokens per second of computing": lambda result: f"{result['build']['tokens_per_cpu_second']:,}",
        "fidelity of `probe`, lowest / mean": lambda result: _fidelity(result, "probe"),
        "fidelity of `nait`, lowest / mean": lambda result: _fidelity(result, "nait"),
        "peak memory of the build, GiB": lambda result: f"{result['build']['peak_memory_gib']:.2f}",
        "bytes a row": _bytes,
        "query, stored capability, seconds": lambda result: f"{result['query_seconds']['stored']:.2f}",
        "query, 400 examples from a file, seconds": lambda result: (
            f"{result['query_seconds']['file of 400 examples']:.1f}"
        ),
        "query, peak memory, MiB (engine file)": _query_memory,
        "core of gsm8k, humaneval, knowledge": lambda result: _core(result["core"]),
    }
    rows = [(name, [_known(cell, result) for result in results]) for name, cell in made.items()]
    return _render(["", *(result["model"] for result in results)], rows) + _where(results)


def _known(cell: Callable[[dict[str, Any]], str], result: dict[str, Any]) -> str:
    """Return a cell, or a dash where that was not measured."""
    try:
        return cell(result)
    except KeyError:
        return "–"


def _bytes(result: dict[str, Any]) -> str:
    return " + ".join(f"{size:,} `{view}`" for view, size in result["bytes_per_row"].items())


def _fidelity(result: dict[str, Any], method: str) -> str:
    fidelity = (result["build"].get("fidelity") or {}).get(method)
    return "–" if fidelity is None else " / ".join(f"{overlap:.3f}" for overlap in fidelity)


def _core(core: dict[str, Any]) -> str:
    """Count the rows that all would choose alone, which are the whole core where votes decided."""
    if core.get("shared") is None:
        return f"{core['found']} on which all agree (chance {core['chance']:.1f})"
    return f"{core['found']:,} rows; {core['shared'][-1]:,} of them all would choose alone"


def _query_memory(result: dict[str, Any]) -> str:
    memory = result.get("query_memory_mib")
    return "–" if memory is None else f"{memory['peak']:,} ({memory['engine file']:,})"


def retrieval_table() -> str:
    """Tabulate by method and model: mean precision, precision on the clear groups, AUC, precision from 16 examples."""
    results = [result for result in _results("retrieval-*.json") if result["model"] in MODELS]
    methods = _best_first(results)
    header = [
        "",
        *(
            f"{result['model']}{what}"
            for result in results
            for what in (": mean of nine", ", clear seven", ", AUC", ", 16 examples")
        ),
    ]
    rows = [(f"`{method}`", [cell for result in results for cell in _mean_cells(result, method)]) for method in methods]
    return _render(header, rows) + _where(results)


def method_table(method: str) -> str:
    """Tabulate one method's figures from the table above, one row per model."""
    rows = [
        (result["model"], _mean_cells(result, method))
        for result in _results("retrieval-*.json")
        if result["model"] in MODELS
    ]
    return _render(["model", "mean of nine", "clear seven", "AUC", "16 examples"], rows)


def _mean_cells(result: dict[str, Any], method: str) -> list[str]:
    means = result["means"].get(method)
    if means is None:
        return ["–"] * 4
    auc = "–" if means["auc"] is None else f"{means['auc']:.3f}"
    return [
        f"{means['precision']:.3f} ± {means['interval']:.3f}",
        f"{means['precision_clear']:.3f}",
        auc,
        f"{means['few']['16']:.3f}",
    ]


def _best_first(results: list[dict[str, Any]]) -> list[str]:
    """Order the methods by their mean precision on the first model that has them."""
    means = {
        method: figures["precision"] for result in reversed(results) for method, figures in result["means"].items()
    }
    return sorted(means, key=lambda method: -means[method])


def capability_table(model: str) -> str:
    """Tabulate the precision of every method for every capability, with one model."""
    result = json.loads((RESULTS / f"retrieval-{model}.json").read_text(encoding="utf-8"))
    methods = _best_first([result])
    rows = [
        (
            f"`{method}`",
            [
                f"{scores[method]['precision']:.2f} ± {scores[method]['interval']:.2f}"
                for scores in result["capabilities"].values()
            ],
        )
        for method in methods
    ]
    return _render(["", *result["capabilities"]], rows)


TAUGHT = {"as above": "teaching-gemma", "half the learning rate": "teaching-gemma-rate"}
"""Results of what choices teach, by what their settings change."""


def teaching_settings_table() -> str:
    """Tabulate what choices teach under several settings."""
    results = {
        title: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for title, name in TAUGHT.items()
    }
    header, rows = settings_table(results)
    return _render(header, rows) + _where(list(results.values()))


def cost_table(make: Callable[[Any], Any], *names: str, many: bool = False) -> str:
    """Render one of the tables of costs, with the machine that it was measured on."""
    results = [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    header, rows = make(results if many else results[0])
    return _render(header, rows) + _where(results)


Rows = list[tuple[str, list[str]]]

_DAMAGES = ("bit flipped", "cut", "emptied", "removed")


def tried_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Count what was tried and how it ended, except where kills hit and which files were damaged."""
    counts = result["counts"]
    rows = [
        (kind, [f"{sum(endings.values()):,}", _endings(endings)])
        for kind, endings in counts.items()
        if not kind.endswith(": where") and not kind.startswith("damage: ")
    ]
    return ["what", "how often", "how it ended"], [*rows, ("tests that failed", [str(result["failed"]), ""])]


def moments_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Count the kills between two writes of each verb: what was seen after them, and how the same command ended."""
    rows = []
    for kind, counts in result["counts"].items():
        seen = ("killed", "as before", "as after", "told what to run", "then the same end")
        verb = kind.removeprefix("moments of ")
        rows.append((f"`{verb}`", [str(counts.get(name, 0)) for name in seen[:-1]] + [_share(counts)]))
    totals = [sum(int(cells[column]) for _, cells in rows) for column in range(4)]
    ended = sum(counts.get("then the same end", 0) for counts in result["counts"].values())
    started = sum(counts.get("killed", 0) + counts.get("too late", 0) for counts in result["counts"].values())
    rows.append(("all", [f"{total:,}" for total in totals] + [f"{ended:,} of {started:,}"]))
    titles = ("killed", "seen: as before", "as after", "unfinished, and what to run", "the same command ended the same")
    return ["verb", *titles], rows


def _share(counts: dict[str, int]) -> str:
    started = counts.get("killed", 0) + counts.get("too late", 0)
    return f"{counts.get('then the same end', 0)} of {started}"


def where_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Count the kills by step: while the step ran, or after it and before the next one."""
    kinds = {kind.removesuffix(": where"): hits for kind, hits in result["counts"].items() if kind.endswith(": where")}
    steps = sorted({place.split(" ", 1)[1] for hits in kinds.values() for place in hits})
    rows = [(step, [f"{hits.get(f'in {step}', 0)} + {hits.get(f'after {step}', 0)}" for hits in kinds.values()])
            for step in steps]  # fmt: skip
    total = ("all", [f"{sum(hits.values())}" for hits in kinds.values()])
    return ["in a step + after it", *kinds], [*rows, total]


def damage_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Count the outcomes of each kind of damage to each kind of file."""
    rows = []
    for kind, endings in result["counts"].items():
        if kind.startswith("damage: "):
            cells = [
                Counter({key.split(": ", 1)[1]: files for key, files in endings.items() if key.startswith(damage)})
                for damage in _DAMAGES
            ]
            rows.append((kind.removeprefix("damage: "), [_endings(cell) for cell in cells]))
    return ["kind of file", *_DAMAGES], rows


def _endings(counts: dict[str, int]) -> str:
    return (
        "; ".join(f"{number:,} {ending}" for ending, number in sorted(counts.items(), key=lambda item: -item[1])) or "–"
    )


FAITHFUL = ("minilm", "bundled")
"""Models whose signatures' fidelity was measured."""

TABLES: dict[str, Callable[[], str]] = {
    "build": partial(cost_table, build_table, "build-minilm", "build-qwen3", "build-gemma", many=True),
    "memory": partial(cost_table, memory_table, "build-memory-tiny", many=True),
    "growth": partial(cost_table, growth_table, "build-growth"),
    "search": partial(cost_table, search_table, "search"),
    "sparse": partial(cost_table, sparse_table, "sparse"),
    "faults": partial(cost_table, tried_table, "faults"),
    "moments": partial(cost_table, moments_table, "moments"),
    "faults-where": partial(cost_table, where_table, "faults"),
    "faults-damage": partial(cost_table, damage_table, "faults"),
    "families": partial(cost_table, counts_table, "families"),
    "families-whole": partial(cost_table, whole_table, "families"),
    "families-refused": partial(cost_table, refused_table, "families"),
    **{
        f"fidelity-{method}-{model}": partial(cost_table, partial(fidelity_table, method=method), f"fidelity-{model}")
        for method in ("probe", "nait")
        for model in FAITHFUL
    },
    "per-million": partial(cost_table, per_million_table, "pool-minilm", "search", "fit", "build-growth", many=True),
    "far": partial(cost_table, far_table, "search"),
    "large": partial(cost_table, large_table, "large", "large-huge", many=True),
    "renewal": partial(cost_table, renewal_table, "renewal"),
    "engines": partial(cost_table, engines_table, "engines"),
    "cover-loss": partial(cost_table, cover_loss_table, "cover"),
    "cover-shell": partial(cost_table, cover_shell_table, "cover"),
    "shares": partial(cost_table, shares_table, "shares"),
    "billion": partial(cost_table, billion_table, "shares", "search", "filters", many=True),
    "workers": partial(cost_table, workers_table, "workers-bundled"),
    "budget": partial(cost_table, budget_table, "budget-bundled"),
    "explanations": partial(cost_table, explanations_table, "explanations-bundled"),
    "shift": partial(cost_table, shift_table, "shift-bundled"),
    "pool": pool_table,
    "retrieval": retrieval_table,
    **{f"retrieval-{model}": partial(capability_table, model) for model in (*MODELS, "less")},
    "retrieval-gemma": partial(capability_table, "gemma"),
    "compared-gemma": partial(cost_table, compared_table, "retrieval-gemma"),
    "compared-gemma-probes": partial(cost_table, compared_table, "retrieval-gemma-probes"),
    "influence": partial(cost_table, influence_table, "influence-bundled"),
    "influence-gemma": partial(cost_table, influence_means_table, "influence-gemma"),
    "capture-layers": partial(cost_table, layers_table, "capture-gemma"),
    "capture-rest": partial(cost_table, rest_table, "capture-gemma"),
    "capture-few": partial(cost_table, few_table, "capture-gemma"),
    **{f"method-{method}": partial(method_table, method) for method in MethodName if method is not MethodName.LESS},
    "read": partial(cost_table, read_table, "retrieval-read"),
    "filters": partial(cost_table, filters_table, "filters"),
    "durations": partial(cost_table, durations_table, "durations"),
    "teaching-brief": partial(cost_table, brief_table, "teaching-gemma"),
    "teaching": partial(cost_table, choices_table, "teaching-gemma"),
    "teaching-cores": partial(cost_table, cores_table, "teaching-gemma"),
    "teaching-measured": partial(cost_table, measured_table, "teaching-gemma"),
    "teaching-claims": partial(cost_table, claims_table, "teaching-gemma"),
    "teaching-settings": teaching_settings_table,
    "teaching-selectors": partial(cost_table, choices_table, "teaching-gemma-selectors"),
    "teaching-epoch": partial(cost_table, choices_table, "teaching-gemma-epoch"),
    "teaching-epoch-claims": partial(cost_table, claims_table, "teaching-gemma-epoch"),
}


def _results(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern), reverse=True)]


def _render(header: list[str], rows: list[tuple[str, list[str]]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *([name, *cells] for name, cells in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _where(results: list[dict[str, Any]]) -> str:
    places = {f"{result['environment']['processor']}, {result['environment']['cores']} cores" for result in results}
    times = [when for result in results for when in (result["environment"], *result.get("earlier", []))]
    commits = {when["commit"].split()[0][:10] for when in times}
    return f"\nMeasured on {' and '.join(sorted(places))}; commit {', '.join(sorted(commits))}.\n"


def rewrite(text: str) -> str:
    """Fill in the table at every mark of a text."""
    return _MARKED.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with code 1 if a table is out of date.")
def main(check: bool) -> None:
    """Write the tables into the files that show them."""
    for target in TARGETS:
        old = target.read_text(encoding="utf-8")
        new = rewrite(old)
        if new != old and check:
            sys.exit(f"{target.relative_to(ROOT)} is out of date: make tables")
        if new != old:
            target.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
