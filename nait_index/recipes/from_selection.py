"""A recipe of what was chosen by hand, from the file beside the chosen rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nait_index.config import ModelConfig, SignatureConfig
from nait_index.errors import NaitError
from nait_index.files import atomic_write, check_writable
from nait_index.index import NaitIndex
from nait_index.selection.provenance import Provenance, read_sidecar
from nait_index.spelling import normal_name

_BUILD = ("max_length", "template", "layers", "site")


def write_recipe(index: NaitIndex, sidecar: Path, path: Path, *, force: bool = False) -> list[Path]:
    """Write a recipe that builds such an index and chooses these rows, and the examples of its capabilities beside it.

    :param sidecar: ``….meta.json`` beside the rows, or what ``--json`` printed.
    :returns: the files that were written, the recipe first.
    :raises NaitError: a capability is no longer stored, or nothing was chosen by capabilities.
    """
    import yaml

    provenance = read_sidecar(sidecar)[1]
    if not provenance.capabilities:
        raise NaitError(f"{sidecar}: was not chosen for capabilities, so that there is nothing to replay")
    names = [*provenance.capabilities, *(provenance.unlike or {})]
    examples = {name: path.with_name(f"{path.stem}-{normal_name(name)}.jsonl") for name in names}
    texts = {examples[name]: "".join(row + "\n" for row in index.capability_rows(name)) for name in names}
    rows = sidecar.name.removesuffix(".meta.json")
    record = {
        "index": f"{path.stem}.nait",
        "corpus": list(index.manifest.sources),
        "build": _build(index),
        "capabilities": {name: file.name for name, file in examples.items()},
        "choose": [_choice(provenance, f"{path.stem}-{rows}")],
    }
    text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True)
    for file in (path, *examples.values()):
        check_writable(file, force=force)
    for file, content in {path: text, **texts}.items():
        with atomic_write(file) as out:
            out.write(content.encode())
    return [path, *examples.values()]


def _build(index: NaitIndex) -> dict[str, Any]:
    """Return the settings of an index, without those that are the defaults."""
    model, signatures = index.recorded_settings()
    usual, usual_signatures = ModelConfig(), SignatureConfig()
    build: dict[str, Any] = {"model": model.name}
    build |= {name: getattr(model, name) for name in _BUILD if getattr(model, name) != getattr(usual, name)}
    reading = {"reasoning": model.reasoning, "read": model.read, "side": model.side}
    build |= {name: str(value) for name, value in reading.items() if value != getattr(usual, name)}
    if model.columns:
        build["columns"] = dict(model.columns)
    if signatures.views != usual_signatures.views:
        build["views"] = [str(view) for view in signatures.views]
    numbers = ("pca_dim", "fine_dim", "landmarks", "grad_layers", "seed")
    kept = {name: getattr(signatures, name) for name in numbers}
    build |= {name: value for name, value in kept.items() if value not in (None, getattr(usual_signatures, name))}
    return {name.replace("_", "-"): value for name, value in build.items()}


def _choice(provenance: Provenance, output: str) -> Mapping[str, Any]:
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
        "decontaminate": True if provenance.decontaminated is not None else None,
    }
    return choice | {name: value for name, value in facts.items() if value}
