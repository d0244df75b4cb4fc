"""What the measurement works with: the pool, the capabilities' rows, both as tokens, and the model."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.run_cache import digest
from benchmarks.quality.statistics import split
from benchmarks.quality.tokens import Tokens, tokenize
from nait_index.activations.loading import model_path
from nait_index.corpus import make_template, read_corpus
from nait_index.types import Sample


@dataclass(frozen=True)
class Materials:
    """The data of a measurement.

    :param ids: of the pool's rows; :param rows: of every capability, as JSON text.
    :param pool: tokens of the pool; :param held: tokens of all capabilities' rows, one capability after another.
    :param sources: hash of model, pool and capabilities.
    """

    ids: Sequence[str]
    rows: Mapping[str, Sequence[str]]
    pool: Tokens
    held: Tokens
    sources: str

    def examples(self, capability: str, seed: int, count: int | None) -> list[str]:
        """Give the rows that a query may see."""
        rows = self.rows[capability]
        return [rows[at] for at in split(len(rows), seed)[0][:count]]

    def held_out(self, seed: int, count: int) -> dict[str, list[int]]:
        """Give the places in ``held`` of the rows that runs of a seed are measured on, at most ``count`` of each."""
        found, first = {}, 0
        for name, rows in self.rows.items():
            found[name] = [first + at for at in split(len(rows), seed)[1][:count]]
            first += len(rows)
        return found


def read_materials(data: Path, capabilities: Sequence[str], model: str, limit: int | None, longest: int) -> Materials:
    """Read the data and tokenize them as the index reads them."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model_path(model))
    template = make_template("auto", tokenizer)
    pool = _samples(data / "pool.jsonl", limit)
    own = {name: _samples(data / "capabilities" / f"{name}.jsonl") for name in capabilities}
    every = [sample for samples in own.values() for sample in samples]
    tokens = [tokenize(samples, tokenizer, template, longest) for samples in (pool, every)]
    return Materials(
        ids=[sample.id for sample in pool],
        rows={name: [sample.row for sample in samples] for name, samples in own.items()},
        pool=tokens[0],
        held=tokens[1],
        sources=digest(_model_digest(Path(model_path(model))), *(_tokens_digest(one) for one in tokens)),
    )


def load_model(model: str) -> Any:  # noqa: ANN401 - transformers is untyped here
    """Load the model with its head."""
    from transformers import AutoModelForCausalLM, logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(model_path(model))


def _samples(path: Path, limit: int | None = None) -> list[Sample]:
    return [item for item in islice(read_corpus([path]), limit) if isinstance(item, Sample)]


def _tokens_digest(tokens: Tokens) -> str:
    return digest(*(np.ascontiguousarray(own).tobytes() for own in (tokens.ids, tokens.answer, tokens.starts)))


def _model_digest(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json"))
    return digest(*(hashlib.blake2b(path.read_bytes()).hexdigest() for path in files))
