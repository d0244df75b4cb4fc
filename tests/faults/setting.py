"""What the tests of faults work with: a model that fails on some rows, corpora, commands, and counts."""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import NOT_FINITE, Outcome, nait_index, small_rows, small_shards, small_signatures

LONG = os.environ.get("NAIT_FAULTS") == "long"
"""Whether the tests shall take minutes, and be many."""

MOMENTS = "moments of "
"""How the kinds of trials begin whose kills were aimed between two writes."""

ROWS, ADDED = 30, 20
MAX_LENGTH = 48


class Counts:
    """How often what was tried, and how it ended."""

    def __init__(self) -> None:
        self.values: dict[str, Counter[str]] = {}

    def add(self, kind: str, what: str, number: int = 1) -> None:
        """Count one more."""
        self.values.setdefault(kind, Counter())[what] += number


COUNTS = Counts()


def poison(folder: Path, text: str, values: tuple[float, ...] = (np.nan, np.inf)) -> None:
    """Put what is not finite into the embeddings of the tokens of a text, which other texts must not have."""
    from safetensors.numpy import load_file, save_file
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    common = {token_id for row in small_rows(1100) for token_id in tokenizer(json.dumps(row))["input_ids"]}
    rare = [token_id for token_id in tokenizer(text)["input_ids"] if token_id not in common]
    assert rare
    arrays = load_file(folder / "model.safetensors")
    name = next(name for name in arrays if "embed_tokens" in name)
    for number, token in enumerate(rare):
        arrays[name][token, number] = values[number % len(values)]
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})


def messy(rows: list[dict[str, Any]]) -> list[dict[str, Any] | str]:
    """Put among the rows one that is cut, some that cannot be read, and some that the model fails on."""
    long = {"id": f"long-{rows[0]['id']}", "instruction": "Repeat.", "output": "la " * 200}
    bad = [{"id": f"{row['id']}-bad", "instruction": f"{NOT_FINITE} {row['id']}", "output": "x"} for row in rows[:2]]
    return [*rows[:5], "not json", long, *rows[5:11], *bad, rows[0], *rows[11:]]


@dataclass(frozen=True, slots=True)
class Files:
    """Corpora, and examples of a capability."""

    corpus: Path
    more: Path
    changed: Path
    examples: Path
    scores: Path


def command(kind: str, root: Path, files: Files, model: Path) -> list[str]:
    """Return the command line of one kind of change."""
    build = ["--model", str(model), "--max-length", str(MAX_LENGTH), "--device", "cpu"]
    return {
        "build": ["build", str(root), str(files.corpus), *build],
        "add": ["add", str(root), str(files.more), "--model", str(model), "--device", "cpu"],
        "add --replace": ["add", str(root), str(files.changed), "--replace", "--model", str(model), "--device", "cpu"],
        "remove": ["remove", str(root), "--where", "position < 9"],
        "capability": ["capability", "add", str(root), "other", str(files.more), "--model", str(model)],
        "optimize": ["optimize", str(root), "--keep-days", "0"],
    }[kind]


def run_here(arguments: list[str], fragments: int = 64, code: int = 0, **signatures: Any) -> Outcome:
    """Run a command in this process, with the settings of the children."""
    with small_shards(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index_cli.build.SignatureConfig", lambda **settings: small_signatures(**signatures))
        patch.setattr("nait_index.building.commit._MOST_FRAGMENTS", fragments)
        outcome = nait_index(*arguments)
    assert outcome.code == code, outcome.err
    return outcome
