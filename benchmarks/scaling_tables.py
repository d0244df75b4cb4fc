"""Tables of the costs of a million rows here and of a hundred million elsewhere, with the arithmetic."""

from collections.abc import Mapping, Sequence
from typing import Any

Table = tuple[list[str], list[tuple[str, list[str]]]]
Result = Mapping[str, Any]

# The corpus and the model to extrapolate to.
_ROWS = 100_000_000
_TOKENS = 150  # a row
_LAYERS, _NEURONS, _PARAMETERS = 32, 11_008, 6.5e9  # of a Llama of 7B, without embedding and head
# A GPU by its data sheet, and the share of its peak that is assumed.
_PEAK, _SHARE = 989e12, 0.4
_SINGLE = 67e12  # in float32, without tensor cores
_DIMS = 1024, 2048, 1024  # scanned, fine, drift: the defaults
# Machines that search a billion rows: cores, bytes a second from the object store, and between them (10 Gbit/s).
_CORES, _STORE, _NETWORK = 16, 1e9, 1.25e9
_TEXT, _PLAIN = 700, 120  # bytes a row: of the pool's rows, and of ids, hashes and counts


def per_million_table(results: Sequence[Result]) -> Table:
    """Tabulate measurements for a million rows on two cores."""
    pool, search, fit, growth = results
    build, million = pool["build"], next(size for size in search["sizes"] if size["rows"] == 1_000_000)
    rate, tokens = build["tokens_per_second"], build["tokens"] / build["rows"]
    bytes_a_row = sum(pool["bytes_per_row"].values())
    size, largest = max(growth["mebibytes"].items(), key=lambda item: int(item[0]))
    rows = [
        ("build, MiniLM (22M), hours", f"{tokens:.0f} tokens x 1 M / {rate:,} tokens/s", tokens * 1e6 / rate / 3600, 1),
        ("signatures in the table, GB", f"{bytes_a_row:,} B x 1 M", bytes_a_row / 1e3, 1),
        ("scanned (`engine/`), GB a feature", "1,024 B x 1 M", 1.024, 1),
        ("query, top 10 %, seconds", "measured at 1 M", million["one, top 10%"], 3),
        ("eight capabilities, seconds", "measured at 1 M", million["eight, top 10%"], 2),
        ("fit of the basis at 350,000 neurons, seconds", "measured, whatever the rows", _fitting(fit)["seconds"], 0),
        ("memory of a build beyond the model, MiB", f"measured at {int(size):,}", largest["beyond the model"], 0),
    ]
    return _arithmetic(rows)


def far_table(search: Result) -> Table:
    """Tabulate the costs of 100 M rows and a model of 7B: arithmetic, not measurement."""
    million = next(size for size in search["sizes"] if size["rows"] == 1_000_000)
    one, neurons = million["one, top 10%"], _LAYERS * _NEURONS
    flops = 2 * _PARAMETERS * _TOKENS
    gpu_seconds = flops * _ROWS / (_PEAK * _SHARE)
    scanned, fine, drift = _DIMS
    projected = 2 * neurons * (2 * scanned + fine + drift)
    dense, sparse = scanned + fine + drift + 4 * _LAYERS, _LAYERS * 20 * 4
    row = dense + sparse + _TEXT + _PLAIN
    basis = 2 * neurons * (2 * scanned + max(fine, drift))
    rows_a_second = _PEAK * _SHARE / flops
    moved, projection = (dense + sparse) * rows_a_second, projected * rows_a_second / _SINGLE
    rows = [
        ("neurons", f"{_LAYERS} layers x {_NEURONS:,}", f"{neurons:,}"),
        ("forward pass a row", f"2 x 6.5 G parameters x {_TOKENS} tokens", f"{flops / 1e12:.2f} TFLOP"),
        ("rows a second and GPU", f"989 TFLOP/s x {_SHARE:.0%} (assumed) / that", f"{rows_a_second:,.0f}"),
        ("**GPU hours**", "100 M / that / 3,600", f"**{gpu_seconds / 3600:,.0f}**"),
        ("projection a row", "2 x neurons x (2 x 1,024 + 2,048 + 1,024)", f"{projected / 1e9:.1f} GFLOP"),
        ("its share of the GPU", "x rows a second / 67 TFLOP/s (float32)", f"{projection:.1%}"),
        ("signatures to the host", f"({dense:,} + {sparse:,}) B x rows a second", f"{moved / 1e6:.1f} MB/s"),
        ("basis", "2 B x neurons x (2 x 1,024 + 2,048)", f"{basis / 1e9:.1f} GB on each GPU"),
        ("table", f"({dense:,} + {sparse:,} + {_TEXT + _PLAIN}) B x 100 M", f"{row * _ROWS / 1e12:.2f} TB"),
        ("scanned (`engine/`)", "1,024 B x 100 M, a feature", "102 GB"),
        ("query, top 10 %, in memory, 2 cores", f"{one:.3f} s a million x 100", f"{one * 100:.0f} s"),
        ("the same from a disk of 3 GB/s", "102 GB / 3 GB/s", "34 s"),
        ("scores in memory", "4 B x 100 M, a capability", "0.4 GB"),
        ("temporary files of the first build", "80 B x 100 M, ids seen and order of rows", "8 GB"),
        ("temporary files of an addition of few rows", "120 B x 100 M, ids known", "12 GB"),
    ]  # fmt: skip
    return ["quantity", "arithmetic", ""], [(name, [how, what]) for name, how, what in rows]


def shares_table(result: Result) -> Table:
    """Tabulate the seconds of searches by the workers of a cluster on one machine: median, lowest, highest."""
    first = result["first search, seconds"]
    rows = []
    for name, figures in result["seconds"]["one query"].items():
        cells = [_range(figures), _range(result["seconds"]["eight"][name])]
        rows.append((name, [*cells, *(f"{first[case][name]:.1f}" for case in ("anew", "again", "after an addition"))]))
    header = ["the best tenth by", "one query, s", "eight, s"]
    return [*header, "first search, s", "first of the next process, s", "first after an addition, s"], rows


def billion_table(results: Sequence[Result]) -> Table:
    """Tabulate the costs of searching a billion rows on a cluster: arithmetic, with rates that were measured."""
    shares, search, filters = results
    plan, counting = shares["billion"], shares["requests"]["one query"]["count"]["seconds"]
    share, seconds, sizes = plan["largest share"], plan["seconds"], plan["bytes"]
    million = next(size for size in search["sizes"] if size["rows"] == 1_000_000)["one, top 10%"]
    scan, held = million * share / 1e6 * 2 / _CORES, shares["rows"] / 2
    count, ids = 2 * counting * share / held, shares["ids, seconds"] / (shares["rows"] // 10) * plan["found"]
    moved = sizes["counts, at most"] + sizes["found rows"]
    network, plain = moved / _NETWORK, filters["conditions"]["n_tokens < 500000"]["made"]
    field = filters["conditions"]["source = 'gsm8k'"]["made"]
    whole = scan + count + network + seconds["merging"]
    rows = [
        ("scanned, on each machine", f"1,024 B x {share / 1e6:.1f} M, a feature", f"{1024 * share / 1e9:.0f} GB"),
        ("first search", f"that / {_STORE / 1e9:.0f} GB/s from the store (assumed)", f"{1024 * share / _STORE:.0f} s"),
        ("task of a worker", "which rows it holds, once", f"{sizes['task of a worker'] / 1e3:,.0f} kB"),
        ("scan", f"{million:.3f} s a million on 2 cores, {_CORES} cores each", f"{scan:.2f} s"),
        ("counts", f"2 x {counting * 1e3:.1f} ms / {held / 1e3:.0f},000 rows x {share / 1e6:.1f} M", f"{count:.2f} s"),
        ("moved: counts, at most", "6 B x 65,536, twice, from each", f"{sizes['counts, at most'] / 1e6:.0f} MB"),
        ("moved: a hundredth of the rows", f"8 B x {plan['found'] / 1e6:.0f} M", f"{sizes['found rows'] / 1e6:.0f} MB"),
        ("seconds of that", f"/ {_NETWORK / 1e9:.2f} GB/s (assumed)", f"{network:.2f} s"),
        ("merging", "simulated", f"{seconds['merging']:.1f} s"),
        ("**ordinals and scores of a hundredth**", "sum of the above", f"**{whole:.1f} s**"),
        ("their ids", f"{ids / plan['found'] * 1e6:.1f} s a million", f"{ids:,.0f} s"),
        ("of a tenth: moved, merging", "x 10", f"{sizes['found rows'] / 1e8:.1f} GB, {10 * seconds['merging']:.0f} s"),
        ("of a tenth: ids", "x 10", f"{10 * ids:,.0f} s"),
        ("a score of every row (`nas`)", "4 B x 1 G, moved and in memory", "4 GB"),
        ("masks of `--where`", "simulated", f"{seconds['masks of a filter']:.1f} s"),
        ("moved: masks", "1 bit x 1 G", f"{sizes['masks'] / 1e6:.0f} MB"),
        ("`--where` on own columns, here", f"{plain:.2f} s a million", f"{plain * 1e3:,.0f} s"),
        ("`--where` on fields, here", f"{field:.1f} s a million", f"{field / 3.6:,.1f} hours"),
        ("memory of the command", "simulated, without ids", f"{plan['memory, MiB'] / 1024:.1f} GB"),
    ]  # fmt: skip
    return ["quantity", "arithmetic", ""], [(name, [how, what]) for name, how, what in rows]


def workers_table(result: Result) -> Table:
    """Tabulate the rows per second of the runners: the median of the rounds, once under way and in all."""
    columns = {
        "rows/s in all": ("rows per second", ".1f"),
        "rows/s once under way": ("rows per second once under way", ".1f"),
        "seconds until under way": ("seconds until under way", ".0f"),
    }
    rows = [
        (name, [format(_median(builds, key), form) for key, form in columns.values()])
        for name, builds in result["builds"].items()
    ]
    return ["engine", *columns], rows


def renewal_table(result: Result) -> Table:
    """Tabulate the seconds to the first query after a change: median, lowest, highest; and the processor's, median."""
    names = {"add": f"{result['changed']:,} rows added", "remove": f"{result['changed']:,} rows removed"}
    rows = [
        (name, [_spread(result["first query"][change][way]) for way in ("anew", "renewed")])
        for change, name in names.items()
    ]
    return ["first query after", "made anew, s; of processor time", "brought up to date, s; of processor time"], [
        *rows,
        ("no change", ["", _spread(result["unchanged"])]),
    ]


def large_table(results: Sequence[Result]) -> Table:
    """Tabulate commands on very many made-up rows: seconds, those of the processor, memory, and what they wrote."""
    rows = []
    for result in results:
        for name, run in result["commands"].items():
            cells = [f"{run['seconds']:.1f}; {run['processor']:.1f}", f"{run['own, MiB']:,}", f"{run['peak, MiB']:,}"]
            rows.append((f"{result['rows'] // 10**6} M: {_in_code(name)}", [*cells, f"{run['written, MB']:,.0f}"]))
    header = ["rows and command", "seconds; of processor time", "own memory, MiB", "with mapped files, MiB"]
    return [*header, "written, MB"], rows


def _in_code(name: str) -> str:
    command, comma, more = name.partition(",")
    return f"`{command}`{comma}{more}"


def shift_table(result: Result) -> Table:
    """Tabulate the share of rows from an unseen group that a basis leaves out, and what that costs."""
    rows = []
    for name, figures in result["groups"].items():
        old, new, refitted = (figures[key] for key in ("old rows", "new rows", "new rows, basis of all"))
        cells = [f"{old['left out']:.2f}", f"{new['left out']:.2f}", f"{new['left out'] / old['left out']:.1f}"]
        cells += [f"{part['probe']:.3f}" for part in (old, new, refitted)]
        cells += [f"{part['nait']:.3f}" for part in (old, new, refitted)]
        rows.append((name, cells))
    header = ["new group", "left out, old rows", "new", "ratio", "`probe`, old", "new", "new, refitted"]
    return [*header, "`nait`, old", "new", "new, refitted"], rows


def _range(figures: Mapping[str, float]) -> str:
    return f"{figures['median']:.3f} ({figures['lowest']:.3f} to {figures['highest']:.3f})"


def _spread(figures: Mapping[str, float]) -> str:
    spread = f"{figures['median']:.2f} ({figures['lowest']:.2f} to {figures['highest']:.2f})"
    return f"{spread}; {figures['processor, median']:.2f}"


def _arithmetic(rows: Sequence[tuple[str, str, float, int]]) -> Table:
    return ["a million rows", "how", ""], [(name, [how, f"{value:,.{digits}f}"]) for name, how, value, digits in rows]


def _fitting(fit: Result) -> Mapping[str, float]:
    """Return what a build's fit costs: rounded, where the processor does that."""
    precisions: Mapping[str, Mapping[str, float]] = fit["precisions"]
    return precisions.get("bfloat16", precisions["float32"])


def _median(builds: Sequence[Mapping[str, float]], key: str) -> float:
    values = sorted(build[key] for build in builds)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
