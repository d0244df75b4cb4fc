"""Tables of what things cost: building, signatures, choosing."""

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
    """Ratios of tokens a second, median of the rounds and best over best; one column a model."""
    rows = [("bare forward pass, tokens/s", [f"{max(own['tokens_per_second']['bare']):,.0f}" for own in results])]
    rows += [(text, [_ratio(own["ratios"].get(key)) for own in results]) for key, text in _RATIOS.items()]
    rows += [("padding, share of what runs", [f"{own['padding_share']:.1%}" for own in results])]
    return ["tokens a second", *(own["model"] for own in results)], rows


def _ratio(own: Mapping[str, float] | None) -> str:
    return "–" if own is None else f"{own['median']:.2f} (best {own['best']:.2f})"


def fidelity_table(result: Result, method: str) -> Table:
    """Lowest and mean overlap of the nine capabilities, by kind and bytes a row."""
    sizes = sorted({size for curve in result[method].values() for size in curve}, key=int)
    rows = [(kind, [_overlap(curve.get(size)) for size in sizes]) for kind, curve in result[method].items()]
    return ["bytes a row", *(f"{int(size):,}" for size in sizes)], rows


def explanations_table(result: Result) -> Table:
    """How what signatures tell of a score compares with what whole activations say, the mean over capabilities."""
    rows = []
    for method, capabilities in result["methods"].items():
        means = {key: sum(own[key] for own in capabilities.values()) / len(capabilities) for key in _TOLD}
        cells = [f"{means['correlation']:.3f}", f"{10 * means['named']:.1f}"]
        rows.append((f"`{method}`", [*cells, f"{means['layers']:.1%}", f"{means['firing']:.1%}"]))
    return ["", *_TOLD.values()], rows


def budget_table(result: Result) -> Table:
    """Mean F1 of budgets over the capabilities."""
    budgets = ("auto", "a tenth", "true size", "best")
    rows = [
        (
            f"`{method}`",
            [f"{sum(own[budget] for own in found.values()) / len(found):.3f}" for budget in budgets]
            + [str(len(found))],
        )
        for method, found in result["methods"].items()
    ]
    return ["F1", "`--top auto`", "10 %", "true size (not known)", "best (not known)", "capabilities"], rows


_TOLD = {
    "correlation": "correlation of all neurons' parts",
    "named": "of the ten neurons named, rightly",
    "layers": "largest error of a layer's part, of all parts",
    "firing": "error of how hard they fire",
}


def _overlap(own: Mapping[str, Any] | None) -> str:
    return "–" if own is None else f"{own['lowest']:.3f} / {own['mean']:.3f}"


def search_table(result: Result) -> Table:
    """Milliseconds of every way to choose, one column a size."""
    sizes = result["sizes"]
    names = ("read", "one, top 10%", "one, top 100", "eight, top 10%")
    texts = ("reading the codes once", "one capability, top 10 %", "one, top 100", "eight in one pass, top 10 %")
    rows = [(f"**{text}**", [_ms(own[name]) for own in sizes]) for name, text in zip(names, texts, strict=True)]
    rows += [
        ("one over reading", [f"{own['one over read']:.1f}" for own in sizes]),
        ("eight over one", [f"{own['eight over one']:.1f}" for own in sizes]),
        ("opening", [_ms(own["open"]) for own in sizes]),
        ("approximate, top 100", [_ms(own.get("approximate", {}).get("one, top 100")) for own in sizes]),
        ("… recall at 100 (lowest)", [_recall(own.get("approximate")) for own in sizes]),
        ("… times faster than exact", [_times(own.get("approximate")) for own in sizes]),
    ]
    peers = dict.fromkeys(name for own in sizes for name in own.get("peers", {}))
    rows += [(name, [_ms(own.get("peers", {}).get(name)) for own in sizes]) for name in peers]
    return ["milliseconds", *(f"{own['rows']:,} x {own['bytes_per_row']} B" for own in sizes)], rows


def _recall(own: Mapping[str, Any] | None) -> str:
    return "–" if own is None else f"{own['recall']:.3f} ({own['lowest recall']:.2f})"


def _times(own: Mapping[str, Any] | None) -> str:
    return "–" if own is None else f"{own['times faster']:.0f}"


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1000:,.0f}" if seconds >= 0.01 else f"{seconds * 1000:.2f}"


def sparse_table(result: Result) -> Table:
    """Seconds of the sparse views' scans and of coverage."""
    rows = [(f"`cover`, {name}", own) for name, own in result["cover"].items()]
    rows += [(f"`{name}`", result[name]) for name in ("mona", "nag")]
    return ["", "rows x numbers", "seconds", "reading them once"], [
        (name, [f"{own['shape'][0]:,} x {own['shape'][1]}", f"{own['seconds']:.2f}", f"{own['read_seconds']:.3f}"])
        for name, own in rows
    ]


def memory_table(results: Sequence[Result]) -> Table:
    """MiB that a build takes beyond the loaded model, by rows."""
    sizes = sorted({size for own in results for size in own["mebibytes"]}, key=int)
    rows = [
        (
            own["model"],
            [f"{own['mebibytes'][size]['beyond the model']:,}" if size in own["mebibytes"] else "–" for size in sizes],
        )
        for own in results
    ]
    return ["MiB beyond the model", *(f"{int(size):,} rows" for size in sizes)], rows
