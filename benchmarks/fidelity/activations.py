"""Whole pooled activations of corpus rows and of nine capabilities, on disk in half precision."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.environment import shared_data
from benchmarks.pool import GROUPS
from nait_index.activations.encoder import Encoder
from nait_index.config import ModelConfig, Precision
from nait_index.corpus import make_template, read_corpus
from nait_index.types import Sample


def encode_all(model: str, max_length: int, rows: int, folder: Path) -> dict[str, np.ndarray]:
    """Encode a random sample of the pool and every capability: (n, 2, D) float16 each, memory-mapped."""
    data = shared_data()
    files = {"pool": data / "pool.jsonl"} | {name: data / "capabilities" / f"{name}.jsonl" for name in GROUPS}
    arrays = {}
    with Encoder(ModelConfig(name=model, max_length=max_length, dtype=Precision.FLOAT32)) as encoder:
        template = make_template("auto", encoder.model.tokenizer)
        for name, file in files.items():
            parts = [sample.parts for sample in read_corpus([file], None) if isinstance(sample, Sample)]
            if name == "pool":
                order = np.random.default_rng(0).permutation(len(parts))[:rows]
                parts = [parts[row] for row in order]
            texts = [template.render(sample_parts) for sample_parts in parts]
            arrays[name] = _encode(encoder, texts, template.adds_special_tokens, folder / f"{name}.npy")
            print(json.dumps({"encoded": name, "rows": len(texts)}), flush=True)
    return arrays


def _encode(encoder: Encoder, texts: Sequence[str], special: bool, path: Path) -> np.ndarray:
    shape = (len(texts), 2, sum(encoder.widths))
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for start in range(0, len(texts), 1024):
        for batch in encoder.encode(encoder.tokenize(texts[start : start + 1024], add_special_tokens=special)):
            array[start + batch.rows] = batch.values
    return array
