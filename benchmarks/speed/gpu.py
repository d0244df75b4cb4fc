"""What a GPU does: ``python -m benchmarks.speed.gpu`` on a machine that has one; writes results/gpu.json.

For every model the same rows are run bare and built, in turn: tokens a second, the share of the GPU's peak, its memory,
and the seconds that the basis takes to fit. The scan is timed on the processor and on the GPU, with the codes to be
moved and with the codes there, and must return the same bits. Models of a shape are random, which changes no speed.
"""

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.speed.models import model_folder
from nait_index.activations.batches import plan_batches
from nait_index.activations.encoder import Encoder, Tokens
from nait_index.activations.products import TorchProducts
from nait_index.building.builder import Builder
from nait_index.building.report import BuildProgress, Stage
from nait_index.building.shards import SHARD_ROWS
from nait_index.config import ModelConfig, RunnerConfig, SignatureConfig
from nait_index.corpus import make_template, read_corpus
from nait_index.demo.data import corpus_rows
from nait_index.distributed.runner import runner_for
from nait_index.search.row_products import scan, whole
from nait_index.store.layout import Layout
from nait_index.types import Sample

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12}
"""FLOP/s in bfloat16 without sparsity, as sold, by a part of the GPU's name."""


@click.command()
@click.option("--model", "models", multiple=True, default=("minilm", "qwen3-0.6b", "qwen3-4b"), show_default=True)
@click.option("--rows", default=20_000, show_default=True, help="Rows of the pool that are built.")
@click.option("--max-length", default=512, show_default=True)
@click.option("--scanned", default=10_000_000, show_default=True, help="Rows of 1,024 bytes that are scanned.")
@click.option("--quick", is_flag=True, help="Only check that it runs, on a GPU or none; write nothing.")
def main(models: Sequence[str], rows: int, max_length: int, scanned: int, quick: bool) -> None:
    """Measure, and write results/gpu.json after every model."""
    if DEVICE == "cpu" and not quick:
        raise click.ClickException("torch sees no GPU here; --quick checks on the CPU that this runs")
    if quick:
        models, rows, max_length, scanned = ("tiny",), 96, 64, 2_000
    result: dict[str, Any] = {"environment": environment(), "gpu": gpu_name(), "rows": rows, "max_length": max_length}
    result["scan"] = measure_scan(scanned)
    lines = [*map(json.dumps, corpus_rows()[:rows])] if quick else random.Random(0).sample(pool_lines(), rows)
    for name in models:
        with tempfile.TemporaryDirectory() as scratch:
            corpus = Path(scratch) / "corpus.jsonl"
            corpus.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            config = ModelConfig(model_folder(name, Path(scratch)), max_length=max_length)
            result.setdefault("models", {})[name] = measure_model(config, corpus, Path(scratch), quick=quick)
        if not quick:
            path = ROOT / "benchmarks" / "results" / "gpu.json"
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def gpu_name() -> str | None:
    """Return the name of the GPU, if there is one."""
    return torch.cuda.get_device_name() if DEVICE == "cuda" else None


def pool_lines() -> list[str]:
    """Read the rows of the pool."""
    return (shared_data() / "pool.jsonl").read_text(encoding="utf-8").splitlines()


# ---- builds ----------------------------------------------------------------------------------------------------------


def measure_model(config: ModelConfig, corpus: Path, scratch: Path, *, quick: bool) -> dict[str, Any]:
    """Run a model bare, build with it here and in a process of its own, and run it bare again."""
    signatures = SignatureConfig(reservoir=32) if quick else SignatureConfig()
    bare = Bare(config, corpus)
    first, memory = bare.rate(), peak_bytes()
    here = timed_build(config, signatures, corpus, scratch / "here.nait", RunnerConfig())
    build_memory = peak_bytes()
    last = bare.rate()
    result = {
        "parameters": bare.parameters,
        "tokens": bare.tokens,
        "bare, tokens a second": [round(first), round(last)],
        "build, tokens a second": round(here["rate"]),
        "build / bare": round(here["rate"] / ((first + last) / 2), 3),
        "build once under way, tokens a second": round(here["under way"]),
        "share of the peak, bare": bare.share_of_peak(max(first, last)),
        "share of the peak, build": bare.share_of_peak(here["rate"]),
        "GPU memory, bare, GiB": memory,
        "GPU memory, bare and build, GiB": build_memory,
        "fit, seconds": round(here["fit"], 1),
    }
    bare.close()
    seat = RunnerConfig(devices=("0" if DEVICE == "cuda" else "cpu",))
    apart = timed_build(config, signatures, corpus, scratch / "apart.nait", seat)
    return result | {"… in a process of its own, tokens a second": round(apart["under way"])}


class Bare:
    """A model without a build around it, in the batches of a build."""

    def __init__(self, config: ModelConfig, corpus: Path) -> None:
        with Encoder(config) as encoder:
            self._model, self._rule = encoder.model, encoder.rule
            template = make_template(config.template, encoder.model.tokenizer)
            texts = [template.render(row.parts) for row in read_corpus([corpus]) if isinstance(row, Sample)]
            tokens = encoder.tokenize(texts, add_special_tokens=template.adds_special_tokens)
        self._shards = [tokens[start : start + SHARD_ROWS] for start in range(0, len(tokens), SHARD_ROWS)]
        self.tokens = sum(len(text.ids) for text in tokens)
        self._mean_length = float(np.average(lengths := lengths_of(tokens), weights=lengths))

    @property
    def parameters(self) -> int:
        """Parameters without the table of embeddings, which multiplies nothing."""
        return self._model.parameters - sum(
            part.weight.numel() for part in self._model.module.modules() if isinstance(part, torch.nn.Embedding)
        )

    def rate(self) -> float:
        """Return tokens a second over all rows."""
        with torch.inference_mode():
            self._run(self._shards[0][:64])  # the first calls take longer
            reset_peak()
            started = time.perf_counter()
            for shard in self._shards:
                self._run(shard)
            return self.tokens / (time.perf_counter() - started)

    def share_of_peak(self, rate: float) -> float | None:
        """Return the part of the GPU's peak that a rate is: two operations a parameter and token, and attention's."""
        peak = next((peak for name, peak in PEAKS.items() if name in (gpu_name() or "")), None)
        if peak is None:
            return None
        config: Any = self._model.module.config
        settings = config.get_text_config()
        heads, width = settings.num_attention_heads, getattr(settings, "head_dim", None)
        width = width or settings.hidden_size // heads
        # A causal model looks back on half of the tokens; scores and weighted values are two products.
        attention = 4 * settings.num_hidden_layers * heads * width * self._mean_length / 2
        return round(float(rate * (2 * self.parameters + attention) / peak), 3)

    def close(self) -> None:
        """Free the memory of the model."""
        del self._model
        if DEVICE == "cuda":
            torch.cuda.empty_cache()

    def _run(self, texts: Sequence[Tokens]) -> None:
        for rows in plan_batches(lengths_of(texts), self._rule.tokens, self._rule.sharing):
            self._model.module(**self._model.inputs([texts[row].ids for row in rows], side=self._rule.side))
        synchronize()


def lengths_of(texts: Sequence[Tokens]) -> np.ndarray:
    """Return the number of tokens of each text."""
    return np.array([len(text.ids) for text in texts])


def timed_build(
    config: ModelConfig, signatures: SignatureConfig, corpus: Path, root: Path, runner: RunnerConfig
) -> dict[str, float]:
    """Build once: the seconds of the fit, and tokens a second without it, in all and once the rows after it are run."""
    seen: list[tuple[float, BuildProgress]] = []

    def note(progress: BuildProgress) -> None:
        seen.append((time.perf_counter(), progress))

    with Builder(Layout(root), config, signatures, note, runner_for(runner)) as builder:
        started = time.perf_counter()
        report = builder.run(read_corpus([corpus]), [corpus.name])
        seconds = time.perf_counter() - started
    after = [(moment, now.tokens) for moment, now in seen if now.stage is Stage.ENCODING]
    last_fit = max((moment for moment, now in seen if now.stage is Stage.FITTING), default=0.0)
    under_way = [part for part in after if part[0] > last_fit] or after
    (begun, before), (ended, tokens) = under_way[0], under_way[-1]
    fit = sum(later - earlier for (earlier, now), (later, _) in pairwise(seen) if now.stage is Stage.FITTING)
    return {
        "rate": report.tokens / (seconds - fit),
        "under way": (tokens - before) / max(ended - begun, 1e-9),
        "fit": fit,
    }


def reset_peak() -> None:
    """Begin to watch the memory of the GPU."""
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_bytes() -> float | None:
    """Return the most memory of the GPU that was in use since it is watched, in GiB."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if DEVICE == "cuda" else None


def synchronize() -> None:
    """Wait for the GPU."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


# ---- scan ------------------------------------------------------------------------------------------------------------


def measure_scan(rows: int, width: int = 1024) -> dict[str, Any]:
    """Scan random codes with 1, 8 and 64 queries, on the processor and on the device."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (rows, width), dtype=np.int8)
    measured: dict[str, Any] = {"rows": rows, "width": width}
    for count in (1, 8, 64):
        numbers, _ = whole(rng.standard_normal((count, width)).astype(np.float32), 127.0 * width**0.5)
        seconds: dict[str, float] = {}
        expected = timed(seconds, "processor", partial(scan, codes, numbers, torch.get_num_threads()))
        device = partial(TorchProducts(DEVICE).multiply, codes, numbers)
        for place in ("device, codes moved", "device, codes there"):
            scores = timed(seconds, place, device)
            assert np.array_equal(scores, expected), "the device returned other scores"
        measured[f"{count} queries, seconds"] = seconds
    return measured


def timed(seconds: dict[str, float], name: str, work: Callable[[], np.ndarray]) -> np.ndarray:
    """Note how long some work takes, and return its result."""
    started = time.perf_counter()
    result = work()
    seconds[name] = round(time.perf_counter() - started, 4)
    return result


if __name__ == "__main__":
    main()
