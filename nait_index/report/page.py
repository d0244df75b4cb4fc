"""Facts and figures to one HTML file that asks the network for nothing.

Rows come from anyone. Jinja escapes all text; data for the figures lies in JSON that holds no ``<``; and the page's own
policy lets no script run but the two whose hashes it names, and nothing be fetched.
"""

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from nait_index.errors import NaitError
from nait_index.files import atomic_write, check_writable
from nait_index.index import NaitIndex
from nait_index.report import figures, wording
from nait_index.report.asked import Asked
from nait_index.report.facts import CapabilityFacts, Facts
from nait_index.report.gathering import gather


@dataclass(frozen=True, slots=True)
class Written:
    """A report that was written: where, how large in bytes, and how long it took in seconds."""

    path: Path
    size: int
    seconds: float
    notes: tuple[str, ...]


def write_report(
    index: NaitIndex,
    path: str | Path,
    asked: Asked | None = None,
    *,
    force: bool = False,
) -> Written:
    """Write a report of an index: one HTML file that needs no network.

    :raises OutputExistsError: the file is there and ``force`` was not given.
    :raises NaitError: of the kind that says what is wrong; nothing is written then.
    """
    target, begun = Path(path), time.monotonic()
    check_writable(target, force=force)
    library = plotly_script()
    facts = gather(index, asked or Asked())
    page = render(facts, library).encode("utf-8", "replace")
    with atomic_write(target) as file:
        file.write(page)
    return Written(target, len(page), time.monotonic() - begun, facts.notes)


def plotly_script() -> str:
    """Read the library that draws the figures.

    :raises NaitError: plotly is not installed.
    """
    try:
        return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ImportError, OSError):
        raise NaitError("a report needs plotly: pip install 'nait-index[report]'") from None


def render(facts: Facts, library: str) -> str:
    """Make the page. :param library: the script that draws the figures."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nait_index.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for helper in (wording.count, wording.number, wording.share, wording.size, wording.times):
        environment.filters[helper.__name__] = helper
    environment.globals |= {"drawn_from": wording.drawn_from, "transfer": wording.transfer, "zip": zip}
    own = _asset("report.js")
    return environment.get_template("report.html.j2").render(
        facts=facts,
        headlines=wording.headlines(facts),
        pairs=wording.pairs(facts),
        made=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        css=_asset("report.css"),
        library=library,
        script=own,
        hashes=[_hash(library), _hash(own)],
        data=embedded({"figures": _figures(facts), "map": _map(facts)}),
    )


def embedded(value: object) -> str:
    """Write JSON that can stand inside a script element, whatever the texts in it are."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _figures(facts: Facts) -> dict[str, figures.Figure]:
    corpus = facts.corpus
    found = {
        "sources": figures.bars(corpus.sources, corpus.sources_read, f"Rows by {corpus.source_field}"),
        "lengths": figures.columns(corpus.lengths, corpus.rows, "Rows by length", "tokens"),
    }
    for at, own in enumerate(facts.capabilities):
        found |= {f"{name}-{at}": figure for name, figure in _of_capability(facts, own).items()}
    if facts.between is not None:
        found["lift"] = figures.overlap(facts.between)
        found["correlation"] = figures.correlation(facts.between)
    if facts.core is not None:
        found["core"] = figures.core_sizes(facts.core, "Size of the core by votes, beside chance")
        if facts.core.stability:
            found["stability"] = figures.stability(facts.core, "Stability of the core's rows")
    return found


def _of_capability(facts: Facts, own: CapabilityFacts) -> dict[str, figures.Figure]:
    highest = facts.available / own.chosen
    found = {"scores": figures.scores(own.scores, own.cut, f"Scores for {own.name}", own.chosen)}
    for number, one in enumerate(own.groups):
        found[f"groups-{number}"] = figures.representation(one, highest, f"{own.name}: chosen rows by {one.field}")
    if own.layers is not None:
        found["layers"] = figures.layers(own.layers, f"What each layer carries of {own.name}")
    return found


def _map(facts: Facts) -> Mapping[str, Any] | None:
    return None if facts.map is None else figures.map_data(facts.map, [own.name for own in facts.capabilities])


def _asset(name: str) -> str:
    return (files("nait_index.report") / "templates" / name).read_text(encoding="utf-8").strip()


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
