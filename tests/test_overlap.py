"""What a build does beside the forward pass keeps its order, holds one shard at a time and loses no error."""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import build_small, samples_of, small_rows, write_lines

from nait_index.activations.batches import finish_late
from nait_index.building.commit import BackgroundWriter
from nait_index.building.runner import ahead
from nait_index.config import SignatureConfig
from nait_index.errors import NaitError
from nait_index.signatures.features import POOLINGS, feature_vectors
from nait_index.signatures.fit import fit
from nait_index.signatures.projection import Projector
from nait_index.signatures.views import dense_column, dims_of


def _square(number: int) -> int:
    if number == 13:
        raise ValueError("unlucky")
    return number * number


def test_ahead_keeps_the_order() -> None:
    with ahead(_square, range(10)) as results:
        assert list(results) == [number * number for number in range(10)]
    with ahead(_square, []) as results:
        assert list(results) == []


def test_ahead_makes_one_thing_more_than_was_asked_for() -> None:
    made: list[int] = []
    with ahead(made.append, range(10)) as results:
        next(results)
        time.sleep(0.05)
        assert made == [0, 1]
    assert made == [0, 1]


def test_ahead_raises_where_the_result_would_be() -> None:
    with ahead(_square, [1, 13, 2]) as results:
        assert next(results) == 1
        with pytest.raises(ValueError, match="unlucky"):
            next(results)


def test_the_background_writer_works_in_order_and_waits_for_the_last() -> None:
    done: list[int] = []

    def slowly(number: int) -> None:
        time.sleep(0.01)
        done.append(number)

    with BackgroundWriter() as thread:
        for number in range(5):
            thread.do(partial(slowly, number))
            assert len(done) >= number
    assert done == list(range(5))


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
def test_the_background_writer_raises_before_the_next_work_begins(error: BaseException) -> None:
    done: list[int] = []

    def fail() -> None:
        raise error

    def run(*works: Callable[[], None]) -> None:
        with BackgroundWriter() as thread:
            for work in works:
                thread.do(work)

    with pytest.raises(type(error)):
        run(fail, partial(done.append, 1))
    assert done == []
    with pytest.raises(type(error)):
        run(fail)


def test_the_background_writer_finishes_what_was_begun_when_the_caller_fails() -> None:
    begun, done = threading.Event(), []

    def slowly() -> None:
        begun.wait()
        done.append(1)

    def run() -> None:
        with BackgroundWriter() as thread:
            thread.do(slowly)
            begun.set()
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert done == [1]


class _Batch:
    def __init__(self, number: int, log: list[str]) -> None:
        self._number, self._log = number, log
        log.append(f"begin {number}")

    def wait(self) -> int:
        self._log.append(f"wait {self._number}")
        return self._number


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, ["begin 0", "wait 0", "begin 1", "wait 1", "begin 2", "wait 2"]),
        (1, ["begin 0", "begin 1", "wait 0", "begin 2", "wait 1", "wait 2"]),
    ],
)
def test_a_batch_is_waited_for_when_others_were_begun(depth: int, expected: list[str]) -> None:
    log: list[str] = []
    assert list(finish_late((_Batch(number, log).wait for number in range(3)), depth)) == [0, 1, 2]
    assert log == expected


@pytest.mark.parametrize("dim", [5, None])
def test_signatures_are_projections_of_the_vectors_in_batches_of_any_size(dim: int | None) -> None:
    pooled = np.random.default_rng(0).standard_normal((300, 2, 24)).astype(np.float32)
    dims = dims_of(SignatureConfig(pca_dim=dim, fine_dim=9))
    compressor = fit(lambda pooling, neurons: pooled[:, pooling, neurons], (8, 16), dims)
    projector = Projector(compressor)
    columns = projector.columns_of(pooled)
    for feature in POOLINGS:
        vectors = feature_vectors(pooled, compressor.center, feature, (8, 16)).astype(np.float64)
        column = columns[dense_column(feature)]
        assert (column.shape, column.dtype) == ((300, compressor.dim(feature)), compressor.dtype)
        if dim is None:
            np.testing.assert_allclose(column, vectors, rtol=2e-3, atol=1e-5)
        else:
            # Sums in float32: a coordinate that lies just between two codes may get the other one.
            codes = np.rint(vectors @ compressor.components(feature).T / compressor.steps[feature]).clip(-127, 127)
            differences = np.abs(column - codes)
            assert differences.max() <= 1
            assert (differences > 0).mean() < 1e-3
        alone = np.concatenate([projector.columns_of(row[None])[dense_column(feature)] for row in pooled[:40]])
        np.testing.assert_allclose(alone, column[:40], rtol=1e-4, atol=1 if dim else 1e-5)
    none = projector.columns_of(pooled[:0])
    assert {name: column.shape for name, column in none.items()} == {
        name: (0, column.shape[1]) for name, column in columns.items()
    }


@pytest.mark.slow
def test_a_writer_that_fails_ends_the_build_and_leaves_it_to_be_finished(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nait_index.store.samples import SampleTable

    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(30))
    build = partial(build_small, model=tiny_model("llama"), max_length=48)
    build(tmp_path / "whole.nait", corpus)
    append, calls = SampleTable.append, []

    def full_disk(self: SampleTable, *arguments: object) -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 2:
            raise OSError("no space left on device")
        append(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(SampleTable, "append", full_disk)
        with pytest.raises(NaitError, match="no space left"):
            build(tmp_path / "own.nait", corpus)
    assert len(calls) == 2
    assert all(name.startswith("behind") for name in calls)
    build(tmp_path / "own.nait", corpus)
    assert samples_of(tmp_path / "own.nait") == samples_of(tmp_path / "whole.nait")
