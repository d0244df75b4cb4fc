"""The demo: an index of the bundled corpus by the bundled model, selections from it, and a report on them."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nait_index.building.report import ProgressCallback
from nait_index.demo.data import write
from nait_index.errors import NaitError
from nait_index.files import check_absent
from nait_index.index import NaitIndex
from nait_index.selection.selection import Selection

QUERIED = ("arithmetic", "logic", "tables")


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Rows that the corpus labels with a skill. :param chosen: those that were chosen for it; :param corpus: all."""

    chosen: int
    corpus: int


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What the demo selected: rows for each queried skill, and one set of rows that serves them all.

    :param report: the page on these; ``None`` if it could not be written, for the reason ``no_report``.
    """

    index: NaitIndex
    selections: Mapping[str, Selection]
    core: Selection
    report: Path | None
    no_report: str

    def labels(self, skill: str) -> LabelCounts:
        """Count the rows that are labelled with a queried skill; the model never sees the label."""
        chosen = (json.loads(row)["skill"] for row in self.selections[skill].rows())
        corpus = (json.loads(row["row"])["skill"] for row in self.index.rows())
        return LabelCounts(*(sum(label == skill for label in labels) for labels in (chosen, corpus)))


def is_finished(folder: Path) -> bool:
    """Report whether a folder holds what :func:`run` makes of it, to its end."""
    return (folder / "core.jsonl").is_file() and (folder / "demo.nait" / "manifest.json").is_file()


def run(folder: Path, *, force: bool = False, progress: ProgressCallback | None = None) -> DemoOutcome:
    """Build the demo's index in a folder, store every skill, query some, compute their core, and write the selections.

    :raises OutputExistsError: the folder exists already and ``force`` is not set.
    """
    check_absent(folder, force=force)
    (folder / "core.jsonl").unlink(missing_ok=True)  # the last of its files
    place, files = folder / "demo.nait", write(folder)
    if (place / "manifest.json").is_file():  # made by an earlier demo, perhaps of another version of this package
        shutil.rmtree(place)
    index = NaitIndex.build(place, files.corpus, progress=progress)
    for skill, examples in files.capabilities.items():
        index.add_capability(skill, examples, force=True)
    selections = {skill: index.query(skill) for skill in QUERIED}
    core = index.core(QUERIED)
    for name, selection in {**selections, "core": core}.items():
        selection.to_jsonl(folder / f"{name}.jsonl", force=True)
    report, no_report = _report(index, folder)
    return DemoOutcome(index, selections, core, report, no_report)


def _report(index: NaitIndex, folder: Path) -> tuple[Path | None, str]:
    """Write the report on the queried skills, or return why that is not possible."""
    from nait_index.report import ReportRequest, write_report

    request = ReportRequest(names=QUERIED, by=("skill",))
    try:
        return write_report(index, folder / "demo-report.html", request, force=True).path, ""
    except NaitError as error:
        return None, f"no report: {error}"
