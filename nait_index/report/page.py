"""Facts and figures to one HTML file that makes no network requests.

Rows come from anyone. Jinja escapes all text; data for the figures is JSON without ``<``; and the page's content
security policy allows only the two scripts whose hashes it names, and no requests.
"""

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from nait_index.errors import NaitError
from nait_index.files import atomic_write, check_writable
from nait_index.index import NaitIndex
from nait_index.report import comparison_figures, figures, wording
from nait_index.report.facts import Facts
from nait_index.report.gather import gather
from nait_index.report.request import ReportRequest


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report that was written: where, its size in bytes, how long it took in seconds, and what it leaves out."""

    path: Path
    size: int
    seconds: float
    notes: tuple[str, ...]


def write_report(
    index: NaitIndex, path: str | Path, request: ReportRequest | None = None, *, force: bool = False
) -> WrittenReport:
    """Write a report on an index: one HTML file that needs no network.

    :raises OutputExistsError: the file exists and ``force`` was not given.
    :raises NaitError: a package is missing, or the request cannot be met; nothing is written then.
    """
    target, start = Path(path), time.monotonic()
    check_writable(target, force=force)
    library = plotly_script()
    facts = gather(index, request or ReportRequest())
    page = render(facts, library).encode("utf-8", "replace")
    with atomic_write(target) as file:
        file.write(page)
    return WrittenReport(target, len(page), time.monotonic() - start, facts.notes)


def plotly_script() -> str:
    """Read the library that draws the figures.

    :raises NaitError: plotly is not installed.
    """
    try:
        return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ImportError, OSError):
        raise NaitError("a report needs plotly: pip install 'nait-index[report]'") from None


def render(facts: Facts, library: str) -> str:
    """Render the page.

    :param library: the script that draws the figures.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nait_index.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    helpers = (wording.capitalised, wording.count, wording.number, wording.share, wording.short_name, wording.signed)
    for helper in (*helpers, wording.size, wording.times):
        environment.filters[helper.__name__] = helper
    environment.globals |= {"source_findings": wording.source_findings, "zip": zip}
    script = _asset("report.js")
    map_data = comparison_figures.map_data(facts.map, facts.capabilities) if facts.map else None
    return environment.get_template("report.html.j2").render(
        facts=facts,
        headlines=wording.headlines(facts),
        pairs=wording.pairs(facts),
        made=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        css=_asset("report.css"),
        library=library,
        script=script,
        hashes=[_hash(library), _hash(script)],
        data=embedded({"figures": _figures(facts), "map": map_data}),
    )


def embedded(value: object) -> str:
    """Write JSON that can stand inside a script element, whatever its texts are."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _figures(facts: Facts) -> dict[str, figures.Figure]:
    """Draw all figures, by the names that the template has for them."""
    corpus = facts.corpus
    drawn = {
        "sources": figures.bars(corpus.sources, corpus.sources_read),
        "lengths": figures.columns(corpus.lengths, corpus.rows, "tokens"),
    }
    for number, capability in enumerate(facts.capabilities):
        drawn[f"scores-{number}"] = figures.scores(capability.scores, capability.cut, capability.chosen)
        for field_number, field in enumerate(capability.groups):
            highest = facts.available / capability.chosen
            drawn[f"groups-{field_number}-{number}"] = figures.representation(field, highest)
        if capability.layers is not None:
            drawn[f"layers-{number}"] = figures.layers(capability.layers)
    if facts.comparison is not None and len(facts.comparison.names) > 2:  # of two, one sentence is enough
        drawn["lift"] = comparison_figures.overlap(facts.comparison)
        drawn["correlation"] = comparison_figures.correlation(facts.comparison)
    if facts.core is not None:
        drawn["core"] = comparison_figures.core_sizes(facts.core)
        if facts.core.stability:
            drawn["stability"] = comparison_figures.stability(facts.core)
    return drawn


def _asset(name: str) -> str:
    return (files("nait_index.report") / "templates" / name).read_text(encoding="utf-8").strip()


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
