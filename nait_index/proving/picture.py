"""A picture of a proof: what every arm's loss is against random rows, with its interval."""

from pathlib import Path

from nait_index.proving.plan import RANDOM
from nait_index.proving.results import Results

_COLOR, _LINE = "#1f6feb", "#57606a"


def draw(results: Results, title: str, path: Path) -> Path | None:
    """Draw every arm, one panel a capability, and return the path; ``None`` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    arms = [arm for arm in results.arms if arm != RANDOM]
    names = results.capabilities
    figure = Figure(figsize=(2.2 + 3.2 * len(names), 1.6 + 0.35 * len(arms)), layout="constrained")
    for number, name in enumerate(names, 1):
        axes = figure.add_subplot(1, len(names), number)
        for place, arm in enumerate(reversed(arms)):
            interval = results.compare(arm, name).interval()
            axes.plot([100 * interval.low, 100 * interval.high], [place, place], color=_LINE, linewidth=1.5)
            axes.plot([100 * interval.mean], [place], "o", color=_COLOR)
        axes.axvline(0, color=_LINE, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(arms)), list(reversed(arms)) if number == 1 else [""] * len(arms))
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("answer loss against random rows, %", fontsize=8)
    figure.suptitle(title, fontsize=9, wrap=True)
    figure.savefig(path, dpi=150)
    return path
