"""Whole pooled activations of a sub-pool and of every capability's examples, kept on disk in half precision.

One pass captures two sites of every layer, the input of the down projection (*neurons*) and the input of the attention
(*residual*: the residual stream, normalised), and the last hidden states. A row's first token is the same in every row
where the tokenizer puts one at the beginning; so the activations of that token, and of every row's first token of its
text, are kept as well: from them, means and drifts without it can be computed.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import shared_data
from benchmarks.pool import GROUPS
from benchmarks.quality.run_cache import digest
from nait_index.activations.capture import Probes
from nait_index.activations.encoder import Encoder, Tokens
from nait_index.config import ModelConfig
from nait_index.corpus import make_template, read_corpus
from nait_index.types import Sample

_CHUNK = 128
_LIMIT = float(np.finfo(np.float16).max)


class CaptureSite(StrEnum):
    """Where activations are captured."""

    NEURONS = "neurons"
    RESIDUAL = "residual"


@dataclass(frozen=True)
class CaptureSettings:
    """What is captured: the model, the sites' paths, the rows of the sub-pool, the examples of each capability."""

    model: str
    corpus: str
    rows: int
    examples: int
    max_length: int
    neurons: str = "layers.{i}.mlp.down_proj"
    residual: str = "layers.{i}.self_attn.q_proj"

    @property
    def paths(self) -> dict[CaptureSite, str]:
        """Return the module whose input is captured, by site."""
        return {CaptureSite.NEURONS: self.neurons, CaptureSite.RESIDUAL: self.residual}


@dataclass(frozen=True)
class Captured:
    """Activations of n rows: first those of the sub-pool, in random order, then every capability's examples.

    :param pooled: (n, 2, D) float16 mean and drift. :param columns: the neurons of each layer, by site.
    :param hidden: (n, 2, H) mean and position-weighted mean of the last hidden states.
    :param lengths: (n,) tokens. :param first: (n, D) activations at the first token of the text.
    :param start: (D,) activations at the token that begins every row; zeros where there is none.
    :param groups: of the sub-pool's rows. :param examples: row numbers of each capability's examples.
    """

    pooled: np.ndarray
    hidden: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    start: np.ndarray
    columns: dict[CaptureSite, list[slice]]
    groups: list[str]
    examples: dict[str, np.ndarray]
    identity: str

    def without_start(self, rows: slice, neurons: slice) -> tuple[np.ndarray, np.ndarray]:
        """Compute mean and drift (b, N) over the tokens of the text alone, without the token that begins every row."""
        mean, drift = (self.pooled[rows, pooling, neurons].astype(np.float32) for pooling in (0, 1))
        start, count = self.start[neurons], self.lengths[rows, None].astype(np.float32)
        if not self.start.any():
            return mean, drift
        rest = np.maximum(count - 1, 1)
        return (mean * count - start) / rest, drift + start - self.first[rows, neurons].astype(np.float32)


def sub_pool(corpus: Path, rows: int) -> list[Sample]:
    """Draw rows evenly over the sources, in random order; both depend on the rows' ids alone."""
    by_source: dict[str, list[Sample]] = defaultdict(list)
    for sample in read_corpus([corpus], None):
        if isinstance(sample, Sample):
            by_source[json.loads(sample.row).get("source", "")].append(sample)
    chosen: list[Sample] = []
    smallest_first = sorted(by_source.values(), key=len)
    for number, samples in enumerate(smallest_first):
        share = (rows - len(chosen)) // (len(smallest_first) - number)
        chosen += sorted(samples, key=lambda sample: digest(sample.id))[:share]
    return sorted(chosen, key=lambda sample: digest("order", sample.id))


def capture(settings: CaptureSettings, folder: Path, capabilities: Sequence[str] = tuple(GROUPS)) -> Captured:
    """Run the model once over everything, or go on where an earlier run ended."""
    pool = sub_pool(Path(settings.corpus), settings.rows)
    samples, examples = list(pool), {}
    for name in capabilities:
        file = shared_data() / "capabilities" / f"{name}.jsonl"
        known = [sample for sample in read_corpus([file], None) if isinstance(sample, Sample)]
        known = sorted(known, key=lambda sample: digest("examples", sample.id))[: settings.examples]
        examples[name] = np.arange(len(samples), len(samples) + len(known))
        samples += known
    identity = digest(vars(settings) | {"corpus": ""}, [sample.id for sample in samples])
    folder = folder / f"captured-{identity[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "facts.json").exists():
        _encode(settings, samples, folder)
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("pooled", "hidden", "lengths", "first")}
    return Captured(
        **arrays,
        start=np.load(folder / "start.npy"),
        columns={CaptureSite(site): [slice(*ends) for ends in layers] for site, layers in facts["columns"].items()},
        groups=[json.loads(sample.row)["group"] for sample in pool],
        examples=examples,
        identity=identity,
    )


def _encode(settings: CaptureSettings, samples: Sequence[Sample], folder: Path) -> None:
    site = ",".join(settings.paths.values())
    config = ModelConfig(settings.model, site=site, max_length=settings.max_length)
    with Encoder(config, probes=Probes(hidden=True)) as encoder:
        template = make_template(config.template, encoder.model.tokenizer)
        texts = [template.render(sample.parts) for sample in samples]
        tokens = encoder.tokenize(texts, add_special_tokens=template.adds_special_tokens)
        lengths = np.array([len(text.ids) for text in tokens])
        click.echo(f"{len(tokens):,} rows, {lengths.sum():,} tokens", err=True)
        pooled = _memmap(folder / "pooled.npy", (len(tokens), 2, sum(encoder.widths)))
        hidden = _memmap(folder / "hidden.npy", (len(tokens), 2, encoder.hidden_size))
        finished = folder / "finished.txt"
        start = int(finished.read_text()) if finished.exists() else 0
        for chunk in range(start, len(tokens), _CHUNK):
            for batch in encoder.encode(tokens[chunk : chunk + _CHUNK]):
                assert batch.hidden is not None
                pooled[chunk + batch.rows] = np.clip(batch.values, -_LIMIT, _LIMIT)
                hidden[chunk + batch.rows] = np.clip(batch.hidden, -_LIMIT, _LIMIT)
            pooled.flush()
            hidden.flush()
            finished.write_text(str(chunk + _CHUNK))
            click.echo(f"{min(chunk + _CHUNK, len(tokens)):,} rows captured", err=True)
        first, begin = _first_tokens(encoder, [text.ids for text in tokens])
        np.save(folder / "first.npy", first)
        np.save(folder / "start.npy", begin)
        np.save(folder / "lengths.npy", lengths)
        (folder / "facts.json").write_text(json.dumps({"columns": dict(_columns(encoder, settings))}))


def _columns(encoder: Encoder, settings: CaptureSettings) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    ends = np.cumsum([site.width for site in encoder.sites]).tolist()
    for name, path in settings.paths.items():
        suffix = path.rpartition("{i}")[2]
        yield (
            str(name),
            [
                (end - site.width, end)
                for site, end in zip(encoder.sites, ends, strict=True)
                if site.path.endswith(suffix)
            ],
        )


def _first_tokens(encoder: Encoder, texts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the activations at the first token of every text and at the token before it, the same in all texts.

    A causal model's activations at a token depend on what comes before it alone.
    """
    begins = {int(ids[0]) for ids in texts}
    width = sum(encoder.widths)
    if len(begins) > 1:
        return np.zeros((len(texts), width), np.float16), np.zeros(width, np.float32)
    begin = next(iter(begins))
    seconds = sorted({int(ids[min(1, len(ids) - 1)]) for ids in texts})
    prefixes = [np.array([begin]), *(np.array([begin, second]) for second in seconds)]
    drifts = np.zeros((len(prefixes), width), np.float32)
    means = np.zeros(width, np.float32)
    for batch in encoder.encode([Tokens(ids, False) for ids in prefixes]):
        drifts[batch.rows] = batch.values[:, 1]
        if 0 in batch.rows:
            means = batch.values[batch.rows == 0, 0][0]
    numbers = {second: number for number, second in enumerate(seconds, start=1)}
    of_text = [numbers[int(ids[min(1, len(ids) - 1)])] for ids in texts]
    return (drifts + means).astype(np.float16)[of_text], means


def _memmap(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    mode = "r+" if path.exists() else "w+"
    return np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)
