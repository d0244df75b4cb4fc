"""Tables of the costs of building, signatures and choosing."""

from collections.abc import Mapping, Sequence
from typing import Any

Table = tuple[list[str], list[tuple[str, list[str]]]]
Result = Mapping[str, Any]

_RATIOS = {
    "build / bare": "build over the bare forward pass, float32",
    "build / bare, bfloat16": "the same in bfloat16",
    "bfloat16 / float32, build": "bfloat16 over float32, build",
    "build / script, one row at a time": "build over the script, one row at a time",
    "build / script, batches of 8": "build over the script, batches of 8",
    "build bfloat16 / script, one row at a time": "bfloat16 build over the float32 script, one row at a time",
    "build bfloat16 / script, batches of 8": "bfloat16 build over the float32 script, batches of 8",
}


def build_table(results: Sequence[Result]) -> Table:
    """Tabulate ratios of tokens per second, median of the rounds and best over best, one column per model."""
    rows = [
        (
            f"bare forward pass, {precision}, tokens/s",
            [_best(result["tokens_per_second"].get(key)) for result in results],
        )
        for precision, key in (("float32", "bare"), ("bfloat16", "bare bfloat16"))
    ]
    rows += [(text, [_ratio(result["ratios"].get(key)) for result in results]) for key, text in _RATIOS.items()]
    rows += [("padding, share of what runs", [f"{result['padding_share']:.1%}" for result in results])]
    return ["tokens a second", *(result["model"] for result in results)], rows


def _best(rates: Sequence[float] | None) -> str:
    return "–" if rates is None else f"{max(rates):,.0f}"


def _ratio(ratio: Mapping[str, float] | None) -> str:
    return "–" if ratio is None else f"{ratio['median']:.2f} (best {ratio['best']:.2f})"


def fidelity_table(result: Result, method: str) -> Table:
    """Tabulate the lowest and mean overlap of the nine capabilities, by compression and bytes per row."""
    sizes = sorted({size for curve in result[method].values() for size in curve}, key=int)
    rows = [(kind, [_overlap(curve.get(size)) for size in sizes]) for kind, curve in result[method].items()]
    return ["bytes a row", *(f"{int(size):,}" for size in sizes)], rows


def explanations_table(result: Result) -> Table:
    """Compare explanations from signatures with those from whole activations, averaged over the capabilities."""
    rows = []
    for method, capabilities in result["methods"].items():
        means = {key: sum(figures[key] for figures in capabilities.values()) / len(capabilities) for key in _FIGURES}
        cells = [f"{means['correlation']:.3f}", f"{10 * means['named']:.1f}"]
        rows.append((f"`{method}`", [*cells, f"{means['layers']:.1%}", f"{means['firing']:.1%}"]))
    return ["", *_FIGURES.values()], rows


def budget_table(result: Result) -> Table:
    """Tabulate the mean F1 of budgets over the capabilities."""
    budgets = ("auto", "a tenth", "true size", "best")
    rows = [
        (
            f"`{method}`",
            [f"{sum(scores[budget] for scores in capabilities.values()) / len(capabilities):.3f}" for budget in budgets]
            + [str(len(capabilities))],
        )
        for method, capabilities in result["methods"].items()
    ]
    return ["F1", "`--top auto`", "10 %", "true size (not known)", "best (not known)", "capabilities"], rows


_FIGURES = {
    "correlation": "correlation of all neurons' parts",
    "named": "of the ten neurons named, rightly",
    "layers": "largest error of a layer's part, of all parts",
    "firing": "error of their activations",
}


def _overlap(point: Mapping[str, Any] | None) -> str:
    return "–" if point is None else f"{point['lowest']:.3f} / {point['mean']:.3f}"


def search_table(result: Result) -> Table:
    """Tabulate the milliseconds of every way to choose, one column per size."""
    sizes = result["sizes"]
    names = ("read", "one, top 10%", "one, top 100", "eight, top 10%")
    texts = ("reading the codes once", "one capability, top 10 %", "one, top 100", "eight in one pass, top 10 %")
    rows = [(f"**{text}**", [_ms(size[name]) for size in sizes]) for name, text in zip(names, texts, strict=True)]
    rows += [
        ("one over reading", [f"{size['one over read']:.1f}" for size in sizes]),
        ("eight over one", [f"{size['eight over one']:.1f}" for size in sizes]),
        ("opening", [_ms(size["open"]) for size in sizes]),
        ("approximate, top 100", [_ms(size.get("approximate", {}).get("one, top 100")) for size in sizes]),
        ("… recall at 100 (lowest)", [_recall(size.get("approximate")) for size in sizes]),
        ("… times faster than exact", [_times(size.get("approximate")) for size in sizes]),
    ]
    peers = dict.fromkeys(name for size in sizes for name in size.get("peers", {}))
    rows += [(name, [_ms(size.get("peers", {}).get(name)) for size in sizes]) for name in peers]
    return ["milliseconds", *(f"{size['rows']:,} x {size['bytes_per_row']} B" for size in sizes)], rows


def _recall(approximate: Mapping[str, Any] | None) -> str:
    return "–" if approximate is None else f"{approximate['recall']:.3f} ({approximate['lowest recall']:.2f})"


def _times(approximate: Mapping[str, Any] | None) -> str:
    return "–" if approximate is None else f"{approximate['times faster']:.0f}"


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1000:,.0f}" if seconds >= 0.01 else f"{seconds * 1000:.2f}"


def sparse_table(result: Result) -> Table:
    """Tabulate the seconds of the sparse views' scans and of coverage."""
    rows = [(f"`cover`, {name}", figures) for name, figures in result["cover"].items()]
    rows += [(f"`{name}`", result[name]) for name in ("mona", "nag")]
    return ["", "rows x numbers", "seconds", "reading them once"], [
        (
            name,
            [
                f"{figures['shape'][0]:,} x {figures['shape'][1]}",
                f"{figures['seconds']:.2f}",
                f"{figures['read_seconds']:.3f}",
            ],
        )
        for name, figures in rows
    ]


def filters_table(result: Result) -> Table:
    """Tabulate the seconds that conditions take, the first time and again."""
    rows = [
        (f"`{where}`", [f"{seconds['made']:.2f}", f"{seconds['kept']:.2f}"])
        for where, seconds in result["conditions"].items()
    ]
    return [f"condition on {result['rows']:,} rows", "first time, s", "again, s"], rows


def memory_table(results: Sequence[Result]) -> Table:
    """Tabulate the MiB that a build takes beyond the loaded model, by rows."""
    sizes = sorted({size for result in results for size in result["mebibytes"]}, key=int)
    rows = [
        (
            result["model"],
            [
                f"{result['mebibytes'][size]['beyond the model']:,}" if size in result["mebibytes"] else "–"
                for size in sizes
            ],
        )
        for result in results
    ]
    return ["MiB beyond the model", *(f"{int(size):,} rows" for size in sizes)], rows


def growth_table(result: Result) -> Table:
    """Tabulate the memory and time of builds of made-up rows and of additions to them, by rows."""
    rows = []
    for size, build in result["mebibytes"].items():
        more, stages = build["addition"], build["seconds by stage"]
        memory = [f"{part[key]:,}" for part in (build, more) for key in ("beyond the model", "peak")]
        encoding = stages["encoding"] + stages["fitting the basis"]
        seconds = [build["processor seconds"], stages["reading"], encoding, stages["finishing"], more["seconds"]]
        rows.append((f"{int(size):,}", memory + [f"{number:,.0f}" for number in seconds]))
    return [
        "rows",
        "build, MiB beyond the model",
        "in all",
        "addition of 1,000 rows, MiB beyond the model",
        "in all",
        "build, s of processor time",
        "reading, s",
        "fit, encoding and committing, s",
        "finishing, s",
        "addition, s",
    ], rows


def durations_table(result: Result) -> Table:
    """Tabulate the minutes that the parts of ``make bench`` take."""
    minutes = {part.split(" --model")[0]: figures["seconds"] / 60 for part, figures in result["parts"].items()}
    rows = [(f"`{part}`", [f"{taken:.1f}"]) for part, taken in minutes.items()]
    return ["`python -m benchmarks.…`", "minutes"], [*rows, ("all", [f"{sum(minutes.values()):.0f}"])]


def cover_loss_table(result: Result) -> Table:
    """Compare rows chosen in blocks with those chosen from all at once."""
    rows = []
    for name, figures in result["loss"].items():
        count, numbers = figures["shape"]
        for choice, described in figures["choices"].items():
            proposals = described.get("first proposals of a block")
            cells = ["–" if proposals is None else f"{proposals / figures['rows of the first round']:.2f}"]
            cells += [f"{described[key]:.2%}" for key in ("covered by half", "covered by all", "covered by everything")]
            needed = (described["rows until 99 % is covered"], described["rows until all is covered"])
            cells += ["–" if length is None else f"{length:,}" for length in needed]
            rows.append((f"{name}, {count:,} x {numbers}: {choice}", [*cells, f"{described['shared with exact']:.0%}"]))
    covered = ["half a round covers", "a round covers", "all chosen rows cover"]
    return ["", "rounds a block proposes first", *covered, "rows for 99 %", "rows for all", "same rows"], rows


def cover_shell_table(result: Result) -> Table:
    """Tabulate what the command takes on an index of made-up rows."""
    rows = []
    for name, figures in result["shell"].items():
        blocks = next((line.split()[3] for line in figures["said"] if line.startswith("plan: each of ")), "1")
        minutes = [f"{figures[key] / 60:.1f}" for key in ("processor", "seconds")]
        what = f"{figures['rows']:,} x {figures['numbers']}{', rarity' if 'rarity' in name else ''}"
        rows.append((what, [figures["top"], blocks, *minutes, f"{figures['peak_memory_gib']:.2f}"]))
    return [
        "rows x numbers",
        "chosen",
        "blocks",
        "minutes of processor time",
        "minutes in all",
        "peak memory, GiB",
    ], rows
