"""The data of the measurement: the pool and the capabilities' rows, both tokenized, and the model."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.run_cache import digest
from benchmarks.quality.statistics import split
from benchmarks.quality.tokens import TokenizedRows, tokenize
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
    pool: TokenizedRows
    held: TokenizedRows
    sources: str

    def examples(self, capability: str, seed: int, count: int | None) -> list[str]:
        """Return the rows that a query may see."""
        rows = self.rows[capability]
        return [rows[row] for row in split(len(rows), seed)[0][:count]]

    def held_out(self, seed: int, count: int) -> dict[str, list[int]]:
        """Return the positions in ``held`` of the rows to measure a seed's runs on, at most ``count`` of each."""
        places, first = {}, 0
        for name, rows in self.rows.items():
            places[name] = [first + row for row in split(len(rows), seed)[1][:count]]
            first += len(rows)
        return places


def read_materials(data: Path, capabilities: Sequence[str], model: str, limit: int | None, longest: int) -> Materials:
    """Read the data and tokenize them as the index does."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model_path(model))
    template = make_template("auto", tokenizer)
    pool = _samples(data / "pool.jsonl", limit)
    samples_by_name = {name: _samples(data / "capabilities" / f"{name}.jsonl") for name in capabilities}
    every = [sample for samples in samples_by_name.values() for sample in samples]
    tokens = [tokenize(samples, tokenizer, template, longest) for samples in (pool, every)]
    return Materials(
        ids=[sample.id for sample in pool],
        rows={name: [sample.row for sample in samples] for name, samples in samples_by_name.items()},
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


def _tokens_digest(tokens: TokenizedRows) -> str:
    return digest(*(np.ascontiguousarray(array).tobytes() for array in (tokens.ids, tokens.answer, tokens.starts)))


def _model_digest(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json"))
    return digest(*(hashlib.blake2b(path.read_bytes()).hexdigest() for path in files))
