"""The demo: build an index of the bundled corpus with the bundled model, select from it, and write what is selected."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nait_index.building.report import ProgressCallback
from nait_index.demo.data import write
from nait_index.files import check_absent
from nait_index.index import NaitIndex
from nait_index.selection.selection import Selection

QUERIED = ("arithmetic", "logic", "tables")
CORE_TOP = "20%"


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What the demo selected: rows for each queried skill, and the rows that all of these selections share."""

    index: NaitIndex
    selections: Mapping[str, Selection]
    core: Selection


def run(folder: Path, *, force: bool = False, progress: ProgressCallback | None = None) -> DemoOutcome:
    """Build the demo's index in a folder, store every skill, query some, compute their core, and write the selections.

    :raises OutputExistsError: the folder exists already and ``force`` is not set.
    """
    check_absent(folder, force=force)
    files = write(folder)
    index = NaitIndex.build(folder / "demo.nait", files.corpus, progress=progress)
    for skill, examples in files.capabilities.items():
        index.add_capability(skill, examples, force=True)
    selections = {skill: index.query(skill) for skill in QUERIED}
    core = index.core(QUERIED, top=CORE_TOP)
    for name, selection in {**selections, "core": core}.items():
        selection.to_jsonl(folder / f"{name}.jsonl", force=True)
    return DemoOutcome(index, selections, core)
