"""The build compared with the bare forward pass and a common script: ``python -m benchmarks.speed.build MODEL``.

All run in one process and in turn, so that other load on the machine affects them equally; every round takes the same
rows with new ids. A build's round is all of it but loading the model and fitting the basis: read the file, tokenise,
run, pool, compress, write, finish; the basis is fitted before, on the first rows. The fit is measured separately at its
full size, and the rate on the whole pool follows from both.
"""

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.baselines.hook_script import HookScript
from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.speed.models import model_folder
from nait_index.activations.batches import plan_batches
from nait_index.activations.encoder import Encoder, Tokens
from nait_index.activations.loading import load_model
from nait_index.building.builder import Builder
from nait_index.config import ModelConfig, Precision, SignatureConfig
from nait_index.corpus import make_template, read_corpus
from nait_index.signatures.pca import Dims, fit
from nait_index.store.layout import Layout
from nait_index.types import Sample

POOL_ROWS = 29_581


@click.command()
@click.argument("model")
@click.option("--rows", default=1024, show_default=True, help="Rows of a round; one shard or less.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--script-rows", default=64, show_default=True, help="Rows of a round of the script.")
@click.option("--reservoir", default=4096, show_default=True, help="Rows of the fit that is measured separately.")
@click.option("--threads", type=int, help="Threads of torch.")
def main(model: str, rows: int, rounds: int, script_rows: int, reservoir: int, threads: int | None) -> None:
    """Measure, and write results/build-MODEL.json; MODEL is minilm, qwen3 or bundled."""
    if threads:
        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        measured = measure(model_folder(model, Path(scratch)), Path(scratch), rows, rounds, script_rows, reservoir)
    result = {"environment": environment(), "model": model, "threads": torch.get_num_threads()} | measured
    path = ROOT / "benchmarks" / "results" / f"build-{model}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def measure(folder: str, scratch: Path, rows: int, rounds: int, script_rows: int, reservoir: int) -> dict[str, Any]:
    """Run all in turn."""
    lines = (shared_data() / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    sampled = random.Random(0).sample(lines, rows)
    config = ModelConfig(folder, max_length=256, dtype=Precision.FLOAT32)
    texts, tokens = _tokenised(config, _write(scratch / "rows.jsonl", sampled))
    lengths = np.array([len(text.ids) for text in tokens])
    half = replace(config, dtype=Precision.BFLOAT16)
    whole, whole_half = Rounds(config, sampled, scratch / "f32"), Rounds(half, sampled, scratch / "bf16")
    bare, bare_half = BareModel(config), BareModel(half)
    script = HookScript(folder, 256)
    few, few_tokens = texts[:script_rows], int(lengths[:script_rows].sum())
    total = int(lengths.sum())
    works: dict[str, tuple[Callable[[], object], int]] = {
        "bare": (lambda: bare.run(tokens), total),
        "build": (whole.run, total),
        "bare bfloat16": (lambda: bare_half.run(tokens), total),
        "build bfloat16": (whole_half.run, total),
        "script, one row at a time": (lambda: script.run(few, 1), few_tokens),
        "script, batches of 8": (lambda: script.run(few, 8), few_tokens),
    }
    seconds = _by_turns({name: work for name, (work, _) in works.items()}, rounds)
    whole.close()
    whole_half.close()
    rates = {name: works[name][1] / np.array(taken) for name, taken in seconds.items()}
    result: dict[str, Any] = {
        "rows": rows,
        "tokens": total,
        "padding_share": round(padding_share(lengths), 4),
        "tokens_per_second": {name: [round(float(rate), 1) for rate in values] for name, values in rates.items()},
        "ratios": {
            "build / bare": _ratio(rates["build"], rates["bare"]),
            "build / bare, bfloat16": _ratio(rates["build bfloat16"], rates["bare bfloat16"]),
            "bfloat16 / float32, bare": _ratio(rates["bare bfloat16"], rates["bare"]),
            "bfloat16 / float32, build": _ratio(rates["build bfloat16"], rates["build"]),
            "build bfloat16 / script, one row at a time": _ratio(
                rates["build bfloat16"], rates["script, one row at a time"]
            ),
            "build bfloat16 / script, batches of 8": _ratio(rates["build bfloat16"], rates["script, batches of 8"]),
            "build / script, one row at a time": _ratio(rates["build"], rates["script, one row at a time"]),
            "build / script, batches of 8": _ratio(rates["build"], rates["script, batches of 8"]),
        },
    }
    return result | _on_whole_pool(rates, lengths, whole.widths, reservoir)


def _on_whole_pool(
    rates: dict[str, np.ndarray], lengths: np.ndarray, widths: Sequence[int], reservoir: int
) -> dict[str, Any]:
    """Add the fit, which a build does once, at its default size."""
    pooled = np.random.default_rng(0).standard_normal((reservoir, 2, sum(widths)), dtype=np.float32)
    started = time.perf_counter()
    fit(lambda pooling, neurons: pooled[:, pooling, neurons], widths, Dims(1024, 2048))
    fitting = time.perf_counter() - started
    tokens = float(lengths.mean()) * POOL_ROWS
    build, bare = tokens / float(rates["build"].max()) + fitting, tokens / float(rates["bare"].max())
    return {
        "fit_seconds": round(fitting, 1),
        "whole_pool": {"rows": POOL_ROWS, "reservoir": reservoir, "build / bare": round(bare / build, 3)},
    }


BATCH_TOKENS = 2048
"""The batch size of a build on a CPU."""


class BareModel:
    """A transformer without hooks."""

    def __init__(self, config: ModelConfig) -> None:
        self._model = load_model(config)

    def run(self, tokens: Sequence[Tokens]) -> None:
        """Run every text once."""
        lengths = np.array([len(text.ids) for text in tokens])
        with torch.inference_mode():
            for rows in plan_batches(lengths, BATCH_TOKENS):
                self._model.module(**self._model.inputs([tokens[row].ids for row in rows]))


def padding_share(lengths: np.ndarray) -> float:
    """Return the share of the model's input that is padding: what packed batches could save at most."""
    run = sum(len(rows) * int(lengths[rows].max()) for rows in plan_batches(lengths, BATCH_TOKENS))
    return 1 - float(lengths.sum()) / run


class Rounds:
    """Builds one index, one round at a time."""

    def __init__(self, config: ModelConfig, lines: Sequence[str], scratch: Path) -> None:
        self._lines = lines
        self._scratch = scratch
        scratch.mkdir()
        self._round = 0
        self._builder = Builder(Layout(scratch / "rounds.nait"), config, SignatureConfig(reservoir=1024))
        self.widths = self._builder._encoder.widths  # a private attribute, for the benchmark only
        self.run()

    def run(self) -> None:
        """Add the rows with new ids."""
        self._round += 1
        rows = [
            json.dumps(json.loads(line) | {"id": f"{number}-{self._round}"}) for number, line in enumerate(self._lines)
        ]
        path = _write(self._scratch / f"{self._round}.jsonl", rows)
        self._builder.run(read_corpus([path]), [path.name])

    def close(self) -> None:
        """Release the model."""
        self._builder.__exit__()


def _tokenised(config: ModelConfig, path: Path) -> tuple[list[str], list[Tokens]]:
    with Encoder(config) as encoder:
        template = make_template(config.template, encoder.model.tokenizer)
        texts = [template.render(row.parts) for row in read_corpus([path]) if isinstance(row, Sample)]
        return texts, encoder.tokenize(texts, add_special_tokens=template.adds_special_tokens)


def _write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def _by_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _ratio(rates: np.ndarray, base: np.ndarray) -> dict[str, float]:
    """Compare the rates of the same rounds, and the best rates."""
    return {
        "median": round(statistics.median((rates / base).tolist()), 3),
        "best": round(float(rates.max() / base.max()), 3),
    }


if __name__ == "__main__":
    main()
