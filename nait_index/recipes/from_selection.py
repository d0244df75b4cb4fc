"""A recipe of what was chosen by hand, from the file beside the chosen rows."""

import glob
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from nait_index.config import ModelConfig, RowRules, SearchMode, SignatureConfig
from nait_index.corpus.formats import detect_format
from nait_index.corpus.read import HEAD_ROWS
from nait_index.corpus.rows import one_line
from nait_index.corpus.sources import is_elsewhere
from nait_index.errors import NaitError, UnknownCapabilityError
from nait_index.files import check_writable, together
from nait_index.index import NaitIndex
from nait_index.selection.provenance import Provenance, read_sidecar
from nait_index.spelling import normal_name
from nait_index.upkeep.remove import count_removed

logger = logging.getLogger(__name__)

_MODEL = ("max_length", "template", "layers", "site", "dtype", "reasoning", "read", "side")


def write_recipe(index: NaitIndex, sidecar: Path, path: Path, *, force: bool = False) -> list[Path]:
    """Write a recipe that builds such an index and chooses these rows, and the examples of its capabilities beside it.

    An index does not record which part of its corpus was read (``--limit``, ``--split``, ``--format``).

    :param sidecar: ``….meta.json`` beside the rows, or what ``--json`` printed.
    :returns: the files that were written, the recipe first.
    :raises NaitError: the corpus is not where it was, a capability is not stored, none was chosen for, or rows that
        were liked or disliked refined the choice.
    """
    import yaml

    provenance = read_sidecar(sidecar)[1]
    if removed := count_removed(index.layout):
        logger.warning(
            "%d rows were removed from %s, and the recipe reads them again; take them out of the corpus, or remove "
            "them from the new index too",
            removed,
            index.layout.name,
        )
    if provenance.search == SearchMode.APPROXIMATE:
        logger.warning("an approximate search chose these rows; the recipe searches exactly, so a few may be others")
    if not provenance.capabilities:
        raise NaitError(f"{sidecar}: was not chosen for capabilities, so that there is nothing to replay")
    if provenance.liked or provenance.disliked:
        raise NaitError(f"{sidecar}: liked and disliked rows refined this choice, and a recipe cannot hold them")
    examples: dict[str, list[str]] = {}
    texts: dict[Path, str] = {}
    for name, facts in {**provenance.capabilities, **(provenance.unlike or {})}.items():
        files = _examples(index, name, facts.get("hash"), path.with_name(f"{path.stem}-{normal_name(name)}"))
        examples[name] = [file.name for file in files]
        texts |= files
    rows = sidecar.name.removesuffix(".meta.json")
    record = {
        "index": f"{path.stem}.nait",
        "corpus": [_source(name, path, index) for name in index.manifest.sources],
        "build": _build(index, path),
        "capabilities": {name: files[0] if len(files) == 1 else files for name, files in examples.items()},
        "choose": [_choice(provenance, f"{path.stem}-{rows if Path(rows).suffix else f'{rows}/'}") | _writing(sidecar)],
    }
    text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True)
    for file in (path, *texts):
        check_writable(file, force=force)
    with together() as batch:
        for file, content in {path: text, **texts}.items():
            with batch.file(file) as out:
                out.write(content.encode())
    return [path, *texts]


def _examples(index: NaitIndex, name: str, digest: str | None, stem: Path) -> dict[Path, str]:
    """Return the texts of files that hold the examples of a capability, one for each format, in their order.

    :param digest: of the examples that rows were chosen for, if it is known. :param stem: beginning of the paths.
    :raises NaitError: they are not stored, or cannot be read from files.
    """
    again = "store them with 'nait-index capability add', and choose again with -c"
    try:
        capability = index.capability(name)
    except UnknownCapabilityError as error:
        raise NaitError(f"{index.layout.name} does not hold the examples of '{name}'; {again}") from error
    if digest not in (None, capability.digest):
        raise NaitError(
            f"the examples that {index.layout.name} stores as '{name}' are not those that the rows were chosen for; "
            f"{again}"
        )
    texts = {}
    by_format = groupby(index.capability_samples(name), key=attrgetter("format"))
    for number, (form, samples) in enumerate(by_format, start=1):
        rows = [one_line(sample.row) for sample in samples]
        file = stem.with_name(f"{stem.name}.examples{'' if number == 1 else f'-{number}'}.jsonl")
        known = detect_format(map(json.loads, rows[:HEAD_ROWS]), file.name, index.manifest.reading.columns)
        if known is not form:
            raise NaitError(
                f"the examples of '{name}' were read as {form}, and a recipe would read them as {known}; add them "
                "without --format, and choose again"
            )
        texts[file] = "".join(row + "\n" for row in rows)
    return texts


def _source(name: str, path: Path, index: NaitIndex) -> str:
    """Return how a recipe names a part of the corpus.

    :raises NaitError: it is not there.
    """
    if is_elsewhere(name):
        return name
    if name == "-" or not (os.path.lexists(name) or glob.glob(name, recursive=True)):
        raise NaitError(
            f"{index.layout.name} was built from {name}, which is not here; run this in the folder where it was built"
        )
    return _relative(name, path)


def _relative(name: str, path: Path) -> str:
    """Return a path as a recipe names it: relative to the recipe if it is below its folder, else absolute."""
    absolute, folder = os.path.abspath(name), os.path.abspath(path.parent)
    return os.path.relpath(absolute, folder) if absolute.startswith(folder + os.sep) else absolute


def _build(index: NaitIndex, path: Path) -> dict[str, Any]:
    """Return the settings of an index, without those that are the defaults."""
    model, signatures = index.recorded_settings()
    build: dict[str, Any] = {}
    if signatures.needs_model:
        build["model"] = _relative(model.name, path) if Path(model.name).exists() else model.name
        build |= _unusual(model, ModelConfig(), _MODEL)
        if Path(model.template).is_file():
            build["template"] = _relative(model.template, path)
    else:
        build |= _unusual(model, ModelConfig(), ("reasoning", "read", "side"))
    if model.columns:
        build["columns"] = dict(model.columns)
    views = {setting.name for setting in fields(signatures) if "help" in setting.metadata}
    build |= _unusual(signatures, SignatureConfig(), sorted(views))
    if signatures.sae is not None:
        build["sae"] = _relative(signatures.sae, path) if Path(signatures.sae).exists() else signatures.sae
    build |= _unusual(index.manifest.rules, RowRules(), ("unanswered", "media"))
    return {name.replace("_", "-"): value for name, value in build.items()}


def _unusual(settings: object, usual: object, names: Sequence[str]) -> dict[str, Any]:
    """Return the settings that are not the usual ones, as YAML writes them."""
    values = {name: getattr(settings, name) for name in names}
    return {name: _plain(value) for name, value in values.items() if value != getattr(usual, name)}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return "full" if value is None else str(value) if isinstance(value, str) else value


def _writing(sidecar: Path) -> dict[str, Any]:
    """Return how the rows were written, in the words of a recipe."""
    record = json.loads(sidecar.read_bytes())
    held_out, seed = record.get("validation") or {}, record.get("shuffled")
    facts = {
        "as": record.get("format"),
        "trainer": list(record.get("ignored") or ()),
        "scores": record.get("scores"),
        "weights": record.get("nait_weight") is not None,
        "shuffle": seed is not None,
        "validation": held_out.get("rows"),
        "seed": held_out.get("seed", seed),
    }
    return {name: value for name, value in facts.items() if value}


def _choice(provenance: Provenance, output: str) -> dict[str, Any]:
    """Return how rows were chosen, in the words of a recipe."""
    names, core = list(provenance.capabilities or {}), provenance.core
    choice: dict[str, Any] = {"for" if core is None else "core": names, "output": output}
    facts = {
        "not": list(provenance.unlike or {}),
        "method": provenance.method,
        "top": provenance.budget,
        "where": provenance.where,
        "blend": dict(provenance.blend or {}),
        "combine": None if len(names) < 2 else provenance.combined,
        "weight": dict(provenance.weights) if isinstance(provenance.weights, Mapping) else None,
        "rule": None if core is None else core.rule,
        "votes": None if core is None else core.votes,
        "dedup": None if provenance.deduplicated is None else provenance.deduplicated.threshold,
        "at-most": list(provenance.at_most or ()),
        "select": provenance.select,
        "mix": provenance.mix,
        "decontaminate": True if provenance.decontaminated is not None else None,
    }
    return choice | {name: value for name, value in facts.items() if value}
