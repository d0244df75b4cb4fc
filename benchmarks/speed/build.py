"""The build compared with the bare forward pass and a common script: ``python -m benchmarks.speed.build NAME``.

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
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
from nait_index.signatures.fit import fit
from nait_index.signatures.pca import Dims
from nait_index.store.layout import Layout
from nait_index.types import Sample

POOL_ROWS = 29_581


class BuildWork(StrEnum):
    """What is timed: the bare forward pass, the whole build, and the script."""

    BARE = "bare"
    BUILD = "build"
    BARE_HALF = "bare bfloat16"
    BUILD_HALF = "build bfloat16"
    ALONE = "script, one row at a time"
    BATCHES = "script, batches of 8"


_IN = {
    Precision.FLOAT32: (BuildWork.BARE, BuildWork.BUILD),
    Precision.BFLOAT16: (BuildWork.BARE_HALF, BuildWork.BUILD_HALF),
}
"""The bare pass and the build in one precision."""

RATIOS = {
    "build / bare": (BuildWork.BUILD, BuildWork.BARE),
    "build / bare, bfloat16": (BuildWork.BUILD_HALF, BuildWork.BARE_HALF),
    "bfloat16 / float32, bare": (BuildWork.BARE_HALF, BuildWork.BARE),
    "bfloat16 / float32, build": (BuildWork.BUILD_HALF, BuildWork.BUILD),
    "build bfloat16 / script, one row at a time": (BuildWork.BUILD_HALF, BuildWork.ALONE),
    "build bfloat16 / script, batches of 8": (BuildWork.BUILD_HALF, BuildWork.BATCHES),
    "build / script, one row at a time": (BuildWork.BUILD, BuildWork.ALONE),
    "build / script, batches of 8": (BuildWork.BUILD, BuildWork.BATCHES),
}


@click.command()
@click.argument("name")
@click.option("--model", help="Folder of the model. Default: what NAME means, one of minilm, qwen3, bundled.")
@click.option("--corpus", type=click.Path(path_type=Path, exists=True), help="The rows. Default: the pool.")
@click.option("--rows", default=1024, show_default=True, help="Rows of a round; one shard or less.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--script-rows", default=64, show_default=True, help="Rows of a round of the script.")
@click.option(
    "--only",
    type=click.Choice([*map(str, _IN)]),
    help="Only the bare pass and the build: for a large model.",
)
@click.option("--reservoir", default=4096, show_default=True, help="Rows of the fit that is measured separately.")
@click.option("--threads", type=int, help="Threads of torch.")
def main(
    name: str,
    model: str | None,
    corpus: Path | None,
    rows: int,
    rounds: int,
    script_rows: int,
    only: str | None,
    reservoir: int,
    threads: int | None,
) -> None:
    """Measure, and write results/build-NAME.json."""
    if threads:
        torch.set_num_threads(threads)
    lines = (corpus or shared_data() / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        folder = model or model_folder(name, Path(scratch))
        setup = BuildSetup(folder, Path(scratch), random.Random(0).sample(lines, rows), script_rows)
        measured = measure(setup, _IN[Precision(only)] if only else tuple(BuildWork), rounds, reservoir)
    result = {"environment": environment(), "model": name, "threads": torch.get_num_threads()} | measured
    path = ROOT / "benchmarks" / "results" / f"build-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


class BuildSetup:
    """Rows and models, each loaded where it is timed.

    :param script_rows: how many of the rows the script runs.
    """

    def __init__(self, folder: str, scratch: Path, lines: Sequence[str], script_rows: int) -> None:
        self._scratch, self._lines, self._script_rows = scratch, lines, script_rows
        self._config = ModelConfig(folder, max_length=256, dtype=Precision.FLOAT32)
        self._half = replace(self._config, dtype=Precision.BFLOAT16)
        self._texts, self.tokens = _tokenised(self._half, _write(scratch / "rows.jsonl", lines))
        self.lengths = np.array([len(text.ids) for text in self.tokens])
        self.widths: tuple[int, ...] = ()
        self._closed = ExitStack()

    def work(self, kind: BuildWork) -> tuple[Callable[[], object], int]:
        """Return what runs one round, and how many tokens that is."""
        config, tokens = (self._half if "bfloat16" in kind else self._config), int(self.lengths.sum())
        if kind in (BuildWork.BARE, BuildWork.BARE_HALF):
            bare = BareModel(config)
            return lambda: bare.run(self.tokens), tokens
        if kind in (BuildWork.BUILD, BuildWork.BUILD_HALF):
            build = Rounds(config, self._lines, self._scratch / str(config.dtype))
            self._closed.callback(build.close)
            self.widths = build.widths
            return build.run, tokens
        few, size = self._texts[: self._script_rows], 1 if kind is BuildWork.ALONE else 8
        return lambda: self._script.run(few, size), int(self.lengths[: self._script_rows].sum())

    def close(self) -> None:
        """Release the models of the builds."""
        self._closed.close()

    @cached_property
    def _script(self) -> HookScript:
        return HookScript(self._config.name, 256)


def measure(setup: BuildSetup, kinds: Sequence[BuildWork], rounds: int, reservoir: int) -> dict[str, Any]:
    """Run all in turn."""
    works = {kind: setup.work(kind) for kind in kinds}
    seconds = _by_turns({kind: work for kind, (work, _) in works.items()}, rounds)
    setup.close()
    rates = {kind: works[kind][1] / np.array(seconds[kind]) for kind in kinds}
    result: dict[str, Any] = {
        "rows": len(setup.lengths),
        "tokens": int(setup.lengths.sum()),
        "padding_share": round(padding_share(setup.lengths), 4),
        "tokens_per_second": {str(kind): [round(float(rate), 1) for rate in values] for kind, values in rates.items()},
        "ratios": {
            name: _ratio(rates[work], rates[base])
            for name, (work, base) in RATIOS.items()
            if work in rates and base in rates
        },
    }
    if BuildWork.BUILD not in rates:
        return result
    return result | _on_whole_pool(rates, setup.lengths, setup.widths, reservoir)


def _on_whole_pool(
    rates: Mapping[BuildWork, np.ndarray], lengths: np.ndarray, widths: Sequence[int], reservoir: int
) -> dict[str, Any]:
    """Add the fit, which a build does once, at its default size."""
    pooled = np.random.default_rng(0).standard_normal((reservoir, 2, sum(widths)), dtype=np.float32)
    started = time.perf_counter()
    fit(lambda pooling, neurons: pooled[:, pooling, neurons], widths, Dims(1024, 2048))
    fitting = time.perf_counter() - started
    tokens = float(lengths.mean()) * POOL_ROWS
    build, bare = tokens / float(rates[BuildWork.BUILD].max()) + fitting, tokens / float(rates[BuildWork.BARE].max())
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
        self.widths = self._builder._encoder.widths.neurons  # a private attribute, for the benchmark only
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


def _by_turns(works: Mapping[BuildWork, Callable[[], object]], rounds: int) -> dict[BuildWork, list[float]]:
    seconds: dict[BuildWork, list[float]] = {name: [] for name in works}
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
