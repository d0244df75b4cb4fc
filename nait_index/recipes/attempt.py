"""From a corpus and files of examples to chosen rows and a report, in one folder."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nait_index.building.report import ProgressCallback
from nait_index.corpus.sources import is_elsewhere, is_pattern
from nait_index.errors import IncompleteIndexError, NaitError, NotAnIndexError
from nait_index.handover.handover import OutputOptions
from nait_index.index import NaitIndex
from nait_index.recipes.run import Tell, store, tell_of_build
from nait_index.selection.selection import Selection
from nait_index.spelling import did_you_mean_path, parse_capability_name
from nait_index.store.layout import Layout
from nait_index.store.manifest import load_finished

_INDEX, _PAGE = "index.nait", "report.html"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was made.

    :param selections: by capability, with the file of its rows. :param report: the page; ``None`` if it could not be
        written, for the reason ``no_report``.
    """

    index: NaitIndex
    selections: Mapping[str, tuple[Selection, Path]]
    report: Path | None
    no_report: str = ""


def attempt(
    folder: Path,
    corpus: Sequence[str],
    examples: Sequence[str],
    *,
    model: str,
    top: str = "10%",
    limit: int | None = None,
    progress: ProgressCallback | None = None,
    command: str | None = None,
    tell: Tell,
) -> Attempt:
    """Build where there is no index, store the examples, choose, and write rows and report; again, it goes on.

    :param command: what the user typed, for the sidecars.
    :raises NaitError: a step cannot be done, or the index there is of another corpus.
    """
    from nait_index.report import ReportRequest, write_report

    outputs = _outputs(folder, corpus, examples)
    sources = [*map(_absolute, corpus)]  # as the index records them: to be found again from any folder
    _check_sources(folder / _INDEX, sources)
    folder.mkdir(parents=True, exist_ok=True)
    index = NaitIndex.build(folder / _INDEX, sources, model=model, limit=limit, progress=progress, replace=True)
    tell_of_build(index, str(folder / _INDEX), "this corpus", tell)
    selections = {}
    for name, (file, output) in outputs.items():
        store(index, name, [file], tell)
        selection = index.query(name, top=top)
        selection.write_output(OutputOptions(output, force=True, command=command))
        selections[name] = selection, output
    page = folder / _PAGE
    try:
        write_report(index, page, ReportRequest(names=tuple(selections), top=top), force=True)
    except NaitError as error:
        return Attempt(index, selections, None, f"no report: {error}")
    return Attempt(index, selections, page)


def _check_sources(path: Path, corpus: Sequence[str]) -> None:
    """Refuse an index of another corpus, whose rows would be chosen as well."""
    try:
        sources = load_finished(Layout(path)).sources
    except (NotAnIndexError, IncompleteIndexError):
        return
    if others := [name for name in sources if name not in corpus]:
        raise NaitError(
            f"{path} also holds rows of {', '.join(others)}; name it as well, or choose another folder with -o"
        )


def _absolute(name: str) -> str:
    return name if is_elsewhere(name) or name == "-" else os.path.realpath(name)


def _outputs(folder: Path, corpus: Sequence[str], examples: Sequence[str]) -> dict[str, tuple[str, Path]]:
    """Return the examples and the output of every capability, by name.

    :raises NaitError: two have one name, or an output would replace something else.
    """
    inputs = {Path(name).resolve() for name in (*corpus, *examples)}
    outputs: dict[str, tuple[str, Path]] = {}
    for file in examples:
        if not (Path(file).exists() or is_elsewhere(file) or is_pattern(file)):
            raise NaitError(f"{file}: no such file{did_you_mean_path(file)}")  # before anything is built
        name = parse_capability_name(Path(file).stem)
        output = folder / f"{name}.jsonl"
        if name in outputs:
            raise NaitError(f"{outputs[name][0]} and {file} would both be the capability '{name}'; rename one of them")
        if output.resolve() in inputs:
            raise NaitError(f"the rows chosen for {file} would replace {output}; choose another folder with -o")
        if os.path.lexists(output) and not os.path.lexists(f"{output}.meta.json"):
            raise NaitError(f"{output} exists, and is no selection; choose another folder with -o")
        outputs[name] = file, output
    if os.path.lexists(folder / _PAGE) and not os.path.lexists(folder / _INDEX):
        raise NaitError(f"{folder / _PAGE} exists, and there is no index beside it; choose another folder with -o")
    return outputs
