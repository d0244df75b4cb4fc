"""The main job on the bundled corpus with the bundled model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nait_index.building.report import ProgressCallback
from nait_index.demo.corpus import write
from nait_index.files import check_absent
from nait_index.index import NaitIndex
from nait_index.selection.selection import Selection

QUERIED = ("arithmetic", "logic", "tables")
CORE_TOP = "20%"


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What the demo found: a selection for each skill asked for, and what they agree on."""

    index: NaitIndex
    selections: Mapping[str, Selection]
    core: Selection


def run(folder: Path, *, force: bool = False, progress: ProgressCallback | None = None) -> DemoOutcome:
    """Build the demo index in a folder, store every skill, choose for some, find the core, write the selections.

    :raises OutputExistsError: the folder is there already and ``force`` was not given.
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
