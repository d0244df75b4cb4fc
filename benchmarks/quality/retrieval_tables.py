"""Tables of methods compared on one index, and of what is worth capturing."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.quality.retrieval_figures import BASES

Table = tuple[list[str], list[tuple[str, list[str]]]]
Result = Mapping[str, Any]

_LAYERS = ("all layers", "early layers", "middle layers", "late layers")
_POOLINGS = ("mean and drift", "mean", "drift")
_METHODS = ("probe", "contrast")


def compared_table(result: Result) -> Table:
    """Tabulate every method on one index: precision, few examples, and differences over the same resamples."""
    counts = [str(count) for count in result["few"]["examples"]]
    bases = [base for base in BASES if result["differences"].get(base)]
    means = sorted(result["means"].items(), key=lambda item: -item[1]["precision"])
    rows = [
        (
            f"`{method}`",
            [
                _precision(figures),
                f"{figures['precision_clear']:.3f}",
                "–" if figures["auc"] is None else f"{figures['auc']:.3f}",
                *(f"{figures['few'][count]:.3f}" for count in counts),
                *(_difference(result["differences"][base].get(method)) for base in bases),
            ],
        )
        for method, figures in means
    ]
    header = ["", "mean of nine", "clear seven", "AUC", *(f"{count} examples" for count in counts)]
    return [*header, *(f"against `{base}`" for base in bases)], rows


def read_table(result: Result) -> Table:
    """Tabulate the precision of methods on indexes that read whole rows, their questions or their answers."""
    methods = [method for method in result["means"] if "(" not in method]
    kinds = ["", *(f" ({kind})" for kind in result["beside"])]
    rows = [(f"`{method}`", [_precision(result["means"][f"{method}{kind}"]) for kind in kinds]) for method in methods]
    return ["reads", "the whole row", *(f"the {kind} alone" for kind in result["beside"])], rows


def influence_table(result: Result) -> Table:
    """Tabulate how faithful predictions of influence are: the rank correlation, and the overlap of the best tenth."""
    figures = result["figures"]
    names = [name for name in next(iter(figures.values())) if name != "examples"]
    rows = []
    for name in names:
        kind, _, count = name.partition(" ")
        label = f"{kind}, {int(count):,} landmarks" if count else f"`{kind}`"
        pairs = [(capability[name]["rank correlation"], capability[name]["overlap"]) for capability in figures.values()]
        mean = tuple(sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        cells = [f"{correlation:.2f} / {shared:.2f}" for correlation, shared in [*pairs, mean]]
        rows.append((label, cells))
    return ["", *figures, "mean"], rows


def influence_means_table(result: Result) -> Table:
    """Tabulate the means over all capabilities alone."""
    header, rows = influence_table(result)
    return [header[0], header[-1]], [(label, cells[-1:]) for label, cells in rows]


def layers_table(result: Result) -> Table:
    """Tabulate layers and poolings of both sites."""
    rows = [
        (
            f"{site}, {layers}",
            [
                _compared(result["variants"][f"{site}, {layers}, {pooling}"][method])
                for method in _METHODS
                for pooling in _POOLINGS
            ],
        )
        for site in ("neurons", "residual")
        for layers in _LAYERS
    ]
    return ["", *(f"`{method}`, {pooling}" for method in _METHODS for pooling in _POOLINGS)], rows


def rest_table(result: Result) -> Table:
    """Tabulate all other variants."""
    listed = {
        f"{site}, {layers}, {pooling}"
        for site in ("neurons", "residual")
        for layers in _LAYERS
        for pooling in _POOLINGS
    }
    rows = [
        (variant, [_compared(by_method.get(method)) for method in _METHODS])
        for variant, by_method in result["variants"].items()
        if variant not in listed
    ]
    return ["", *(f"`{method}`" for method in _METHODS)], rows


def few_table(result: Result) -> Table:
    """Tabulate the main variants with few examples."""
    variants = [variant for variant, by_method in result["variants"].items() if by_method["probe"]["few"]]
    header = [f"`{method}`, {count}" for method in _METHODS for count in (*result["few"]["examples"], "all")]
    return ["examples", *header], [
        (variant, list(_few_cells(result["variants"][variant], result["few"]["examples"]))) for variant in variants
    ]


def _few_cells(by_method: Mapping[str, Any], counts: list[int]) -> Iterator[str]:
    for method in _METHODS:
        figures = by_method.get(method)
        for count in (*counts, None):
            value = None if figures is None else figures["precision"] if count is None else figures["few"][str(count)]
            yield "–" if value is None else f"{value:.3f}"


def _compared(figures: Result | None) -> str:
    if figures is None:
        return "–"
    difference = _difference({"difference": figures["difference"], "interval": figures["difference_interval"]})
    return f"{figures['precision']:.3f} ({difference})"


def _precision(figures: Result) -> str:
    return f"{figures['precision']:.3f} ± {figures['interval']:.3f}"


def _difference(figures: Result | None) -> str:
    """Write a difference with its interval; the default itself differs from itself by nothing."""
    if figures is None or figures["difference"] == figures["interval"] == 0:
        return "–"
    return f"{figures['difference']:+.3f} ± {figures['interval']:.3f}".replace("-", "−")
