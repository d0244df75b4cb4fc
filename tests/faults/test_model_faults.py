"""A model that gives what is no number, or that runs out of memory: rows are set aside or tried again, and counted."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    NOT_FINITE,
    nait_index,
    planted_infinity,
    read_lines,
    refusal,
    samples_of,
    small_rows,
    write_lines,
)

from faults.setting import LONG, MAX_LENGTH, Counts, Files, command, poison, run_here
from faults.states import assert_same, assert_same_samples, assert_verified

pytestmark = pytest.mark.slow

TRIALS = 25 if LONG else 2
REASON = "the model's activations for it are not finite, from layer 0 on"
TRIED = 3
"""Texts that a model is tried on when it is opened, before any row: one alone, then two together."""


def _sick(rows: list[dict[str, Any]], share: float, rng: random.Random) -> tuple[list[dict[str, Any]], set[str]]:
    """Put the token that the model fails on into some rows."""
    made, sick = [], set()
    for row in rows:
        if rng.random() < share:
            sick.add(row["id"])
            row = row | {"instruction": f"{NOT_FINITE} {row['instruction']}"}  # first, lest it be cut off
        made.append(row)
    return made, sick


def _built(root: Path, corpus: Path, model: Path) -> dict[str, Any]:
    options = ["--model", str(model), "--max-length", str(MAX_LENGTH), "--device", "cpu", "--json"]
    outcome = run_here(["build", str(root), str(corpus), *options])
    return dict(json.loads(outcome.out))


def test_rows_whose_activations_are_not_finite_are_set_aside_and_nothing_else_changes(
    tiny_model: Callable[[str], Path], counts: Counts, rng: random.Random, tmp_path: Path
) -> None:
    healthy = tiny_model("llama")
    for trial in range(TRIALS):
        folder = tmp_path / str(trial)
        model = Path(shutil.copytree(healthy, folder / "model"))
        values = rng.choice([(np.nan,), (np.inf,), (-np.inf,), (np.nan, np.inf)])
        poison(model, NOT_FINITE, values)
        rows, sick = _sick(small_rows(40), rng.choice([0.05, 0.3, 0.8]), rng)
        corpus = write_lines(folder / "corpus.jsonl", [*rows, "no json", rows[0]])
        built = _built(folder / "sick.nait", corpus, model)
        assert built["read"] == 42 == built["indexed"] + built["present"] + built["rejected"]
        assert (built["indexed"], built["rejected"]) == (40 - len(sick), len(sick) + 2)
        reasons = Counter(row["reason"] for row in read_lines(folder / "sick.nait" / "rejected.jsonl"))
        assert reasons[REASON] == len(sick)
        # A model that is sound, of which the same rows fail: all else must be as if the weights had no fault.
        with planted_infinity():
            _built(folder / "sound.nait", corpus, healthy)
        assert_same_samples(samples_of(folder / "sick.nait"), samples_of(folder / "sound.nait"))
        assert not sick & samples_of(folder / "sick.nait").keys()
        assert_verified(folder / "sick.nait")
        again = _built(folder / "sick.nait", corpus, model)
        assert (again["present"], again["indexed"], again["rejected"]) == (40 - len(sick), 0, len(sick) + 2)
        counts.add("activations that are not finite", "rows read", built["read"])
        counts.add("activations that are not finite", "rows indexed", built["indexed"])
        counts.add("activations that are not finite", "rows set aside", len(sick))
        shutil.rmtree(folder)


def test_a_model_that_fails_on_every_row_is_told_in_one_line(model: Path, tmp_path: Path) -> None:
    rows = [row | {"instruction": NOT_FINITE} for row in small_rows(10)]
    corpus = write_lines(tmp_path / "corpus.jsonl", rows)
    assert "not finite" in refusal("build", tmp_path / "own.nait", corpus, "--model", model)
    rows += small_rows(3, first=20)
    assert nait_index("build", tmp_path / "own.nait", write_lines(corpus, rows), "--model", model).code == 0
    assert len(samples_of(tmp_path / "own.nait")) == 3


def test_examples_whose_activations_are_not_finite_are_left_out(
    wholes: dict[str, Path], files: Files, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(wholes["base"], tmp_path / "own.nait"))
    bad = {"instruction": f"Name {NOT_FINITE}", "output": "x"}
    examples = write_lines(tmp_path / "examples.jsonl", [*read_lines(files.examples), bad])
    outcome = nait_index("query", root, "-e", examples, "--top", "100%", "--json")
    assert outcome.code == 0, outcome.err
    plain = nait_index("query", root, "-e", files.examples, "--top", "100%", "--json").json
    assert outcome.json["selected"] == plain["selected"]


# ---- memory ---------------------------------------------------------------------------------------------------------


def _fail(patch: pytest.MonkeyPatch, fails: Callable[[int], bool], error: BaseException) -> Counter[str]:
    """Make the forward pass of some batches run out of memory."""
    from nait_index.activations.capture import Capture

    run, seen = Capture.run, Counter[str]()

    def limited(self: Capture, inputs: Mapping[str, Any], span: Any) -> Any:
        size = len(inputs["input_ids"])
        if fails(size):
            seen["failed"] += 1
            raise error
        seen["run"] += 1
        return run(self, inputs, span)

    patch.setattr(Capture, "run", limited)
    return seen


def _errors() -> dict[str, BaseException]:
    import torch

    return {
        "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        "python": MemoryError(),
    }


def test_batches_that_run_out_of_memory_are_split_and_give_the_same_numbers(
    wholes: dict[str, Path], files: Files, model: Path, counts: Counts, rng: random.Random, tmp_path: Path
) -> None:
    """Above a size each time, or here and there; texts in other batches round differently, by one unit of a code."""
    whole = samples_of(wholes["build"])
    for trial in range(TRIALS):
        root, size, share = tmp_path / f"{trial}.nait", rng.choice([1, 2, 3, 5]), rng.choice([0.0, 0.3])
        with pytest.MonkeyPatch.context() as patch:
            error = rng.choice(list(_errors().values()))
            seen = _fail(
                patch, lambda batch, most=size, odd=share: batch > most or (batch > 1 and rng.random() < odd), error
            )
            run_here(command("build", root, files, model))
        assert seen["failed"]
        samples = samples_of(root)
        assert samples.keys() == whole.keys()
        for name, row in samples.items():
            _assert_near(row, whole[name])
        assert (root / "rejected.jsonl").read_bytes() == (wholes["build"] / "rejected.jsonl").read_bytes()
        assert_verified(root)
        counts.add("out of memory", "batches that failed", seen["failed"])
        counts.add("out of memory", "batches run in their place", seen["run"])
        counts.add("out of memory", "builds with the same numbers")
        shutil.rmtree(root)


def _assert_near(row: dict[str, Any], other: dict[str, Any]) -> None:
    for column, value in row.items():
        if column.startswith("pca_") and isinstance(value, bytes) and column != "pca_norms":
            codes, others = (np.frombuffer(data, np.int8).astype(int) for data in (value, other[column]))
            # A component that two fits give with opposite signs is the same component.
            assert np.minimum(abs(codes - others), abs(codes + others)).max() <= 2, column
        elif not isinstance(value, bytes):
            assert value == other[column], column


def test_a_row_that_never_fits_ends_in_one_line_and_the_build_goes_on_with_more_memory(
    wholes: dict[str, Path], files: Files, model: Path, counts: Counts, rng: random.Random, tmp_path: Path
) -> None:
    for trial in range(TRIALS):
        root, passed, after = tmp_path / f"{trial}.nait", Counter[str](), rng.randrange(TRIED, 30)

        def fails(batch: int, passed: Counter[str] = passed, after: int = after) -> bool:
            passed["rows"] += batch
            return passed["rows"] > after

        with pytest.MonkeyPatch.context() as patch:
            _fail(patch, fails, rng.choice(list(_errors().values())))
            outcome = run_here(command("build", root, files, model), code=1)
        assert "out of memory on a single text" in outcome.errors[-1]
        run_here(command("build", root, files, model))
        assert_same(root, wholes["build"])
        counts.add("out of memory", "rows that never fit, told in one line")
        shutil.rmtree(root)
