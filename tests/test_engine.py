"""The engine finds what a plain NumPy product finds: same rows, same scores, ties all there."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nait_index.activations.products import TorchProducts
from nait_index.config import Device
from nait_index.errors import StoreError
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.hits import Hits, best, rescored
from nait_index.search.placement import OnProcessor, Placed, products_for
from nait_index.search.row_products import scan, whole

DTYPES = ["int8", "float32"]


def stamp_of(rows: np.ndarray) -> ScanStamp:
    return ScanStamp(table_version=3, rows=len(rows), dim=rows.shape[1], dtype=str(rows.dtype))


def make(rows: np.ndarray) -> ExactScan:
    middle = len(rows) // 2
    return ExactScan.build([rows[:middle], rows[middle:]], stamp_of(rows))


def vectors(rows: int, dtype: str, seed: int = 0, width: int = 16) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, width))
    return (np.rint(30 * values).clip(-127, 127) if dtype == "int8" else values).astype(dtype)


def search(engine: ExactScan, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Hits:
    return best(engine.scores(query[None])[0], k, allowed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 7, 200, 1000])
def test_hits_are_those_of_a_brute_force_product(dtype: str, k: int) -> None:
    stored = vectors(200, dtype)
    query = np.random.default_rng(1).normal(size=16).astype(np.float32)
    hits = search(make(stored), query, k)
    scores = stored.astype(np.float64) @ query
    expected = np.argsort(-scores, kind="stable")[: min(k, 200)]
    assert len(set(hits.ordinals.tolist())) == len(expected)
    # Rows closer together than the rounding of the query may change places.
    np.testing.assert_allclose(scores[hits.ordinals], scores[expected], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(hits.scores, scores[expected], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_rows_and_queries_in_one_pass(dtype: str) -> None:
    """Several tiles, the last of them not full."""
    stored, queries = vectors(5_000, dtype, width=700), vectors(9, "float32", seed=1, width=700)
    scores = make(stored).scores(queries)
    expected = (stored.astype(np.float64) @ queries.T).T
    assert scores.shape == (9, 5_000)
    # Queries are rounded to whole numbers, of which the errors do not grow with a row's score.
    errors = np.sqrt(np.mean((scores - expected) ** 2, axis=1))
    assert (errors < (5e-4 if dtype == "int8" else 1e-6) * expected.std(axis=1)).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_scores_are_the_same_bits_in_whatever_order_they_are_summed(threads: int) -> None:
    stored = vectors(3_000, "int8", width=1024)
    longest = float(np.linalg.norm(stored.astype(np.float64), axis=1).max())
    numbers, _ = whole(vectors(3, "float32", seed=1, width=1024), longest)
    exact = (stored.astype(np.int64) @ numbers.astype(np.int64).T).T
    assert np.abs(exact).max() < 2**24
    assert (scan(stored, numbers, threads) == exact).all()
    shuffled = np.random.default_rng(0).permutation(1024)
    assert (scan(stored[:, shuffled], numbers[:, shuffled], threads) == exact).all()


def test_queries_are_as_fine_as_exact_sums_allow() -> None:
    stored, queries = vectors(3_000, "int8", width=1024), vectors(4, "float32", seed=1, width=1024)
    longest = float(np.linalg.norm(stored.astype(np.float64), axis=1).max())
    numbers, units = whole(queries, longest)
    assert (np.linalg.norm(numbers, axis=1) * longest < 2**24).all()
    np.testing.assert_allclose(numbers * units[:, None], queries, atol=float(units.max()) / 2 * 1.001)
    assert np.abs(numbers).max() > 127, "finer than the rows' own eight bits"


def test_a_query_of_zeros_scores_zero() -> None:
    assert not make(vectors(5, "int8")).scores(np.zeros((1, 16), np.float32)).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_scale_with_the_query(dtype: str) -> None:
    engine, query = make(vectors(50, dtype)), np.ones(16, np.float32)
    np.testing.assert_allclose(search(engine, 3 * query, 9).scores, 3 * search(engine, query, 9).scores, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_rows_that_tie_with_the_last_hit_are_given(dtype: str) -> None:
    stored = np.concatenate([vectors(5, dtype) + 9, np.repeat(vectors(1, dtype, 2), 40, axis=0), vectors(5, dtype) - 9])
    query = np.ones(16, np.float32)
    scores = stored.astype(np.float64) @ query
    above = int((scores > scores[5]).sum())
    hits = search(make(stored.astype(dtype)), query, above + 3)
    assert set(hits.ordinals[above:].tolist()) == set(range(5, 45))


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_allowed_rows_are_found(dtype: str) -> None:
    stored = vectors(100, dtype)
    query = np.random.default_rng(3).normal(size=16).astype(np.float32)
    allowed = np.zeros(100, bool)
    allowed[[3, 50, 51, 99]] = True
    hits = search(make(stored), query, 3, allowed)
    scores = stored.astype(np.float64) @ query
    assert hits.ordinals.tolist() == sorted([3, 50, 51, 99], key=lambda i: -scores[i])[:3]
    assert len(search(make(stored), query, 50, allowed).ordinals) == 4
    assert len(search(make(stored), query, 5, np.zeros(100, bool)).ordinals) == 0


def test_zero_vectors_are_rows_like_others() -> None:
    stored = vectors(10, "int8")
    stored[4] = 0
    assert set(search(make(stored), np.ones(16, np.float32), 10).ordinals.tolist()) == set(range(10))


def test_only_the_first_columns_are_scanned() -> None:
    stored, query = vectors(30, "int8"), vectors(1, "float32", 1)[0]
    engine = ExactScan.build([stored], ScanStamp(1, 30, 5, "int8"))
    np.testing.assert_allclose(engine.scores(query[None])[0], stored[:, :5] @ query[:5], rtol=1e-3, atol=1e-3)


# ---- the rows near the cut --------------------------------------------------------------------------------------


def test_rows_near_the_cut_are_scored_by_all_that_is_stored() -> None:
    stored = vectors(4_000, "int8", width=48)
    stored[:, 32:] //= 4  # what is not scanned matters less
    query = vectors(1, "float32", 1, width=48)[0]
    read: list[int] = []

    def rows(ordinals: np.ndarray) -> np.ndarray:
        read.append(len(ordinals))
        return stored[ordinals]

    coarse = (stored[:, :32].astype(np.float64) @ query[:32]).astype(np.float32)

    def best_rows(k: int, allowed: np.ndarray | None = None) -> Hits:
        (hits,) = rescored(rows, coarse[None], query[None], k, allowed)
        return hits

    hits = best_rows(200)
    whole_scores = stored.astype(np.float64) @ query
    assert set(hits.ordinals.tolist()) == set(np.argsort(-whole_scores)[:200].tolist())
    np.testing.assert_allclose(hits.scores, whole_scores[hits.ordinals], rtol=1e-4)
    assert read[1] < 2_000, "far from all"
    allowed = np.arange(4_000) % 2 == 0
    assert (best_rows(200, allowed).ordinals % 2 == 0).all()
    assert not len(best_rows(5, np.zeros(4_000, bool)).ordinals)


# ---- on disk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_engine_comes_back_from_disk_and_only_for_its_own_state_of_the_table(tmp_path: Path, dtype: str) -> None:
    rows, query = vectors(30, dtype), np.ones((1, 16), np.float32)
    ExactScan.write(tmp_path, "x", [rows[:11], rows[11:]], stamp_of(rows))
    again = ExactScan.open(tmp_path, "x", stamp_of(rows))
    assert again is not None
    assert isinstance(again.rows, np.memmap)
    assert (again.scores(query) == make(rows).scores(query)).all()
    assert again.is_whole()
    assert ExactScan.open(tmp_path, "x", ScanStamp(4, 30, 16, dtype)) is None
    assert ExactScan.open(tmp_path, "y", stamp_of(rows)) is None


@pytest.mark.parametrize("name", ["x.npy", "x.json"])
def test_a_damaged_engine_is_not_used(tmp_path: Path, name: str) -> None:
    rows = vectors(30, "int8")
    ExactScan.write(tmp_path, "x", [rows], stamp_of(rows))
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-5])
    assert ExactScan.open(tmp_path, "x", stamp_of(rows)) is None


def test_a_flipped_bit_is_found_by_reading_everything(tmp_path: Path) -> None:
    rows = vectors(30, "int8")
    ExactScan.write(tmp_path, "x", [rows], stamp_of(rows))
    data = bytearray((tmp_path / "x.npy").read_bytes())
    data[-7] ^= 4
    (tmp_path / "x.npy").write_bytes(data)
    engine = ExactScan.open(tmp_path, "x", stamp_of(rows))
    assert engine is not None
    assert not engine.is_whole()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_table_of_other_length_is_refused(rows: int, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the table returned 2 rows"):
        ExactScan.build([vectors(2, "int8")], ScanStamp(1, rows, 16, "int8"))
    with pytest.raises(StoreError, match="the table returned 2 rows"):
        ExactScan.write(tmp_path, "x", [vectors(2, "int8")], ScanStamp(1, rows, 16, "int8"))
    assert not list(tmp_path.iterdir())


_SMALL_MEMORY = """
import resource, sys
import numpy as np
import os
import subprocess
import sys
from pathlib import Path
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.hits import best

rows, dim = 400_000, 1024
stamp = ScanStamp(1, rows, dim, "int8")
codes = np.random.default_rng(0).integers(-127, 128, (4_000, dim)).astype(np.int8)
resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))
# The same rows again and again, one bit apart from each other, so that what is best can be told.
def batches():
    for shift in range(100):
        yield np.roll(codes, shift, axis=1)
ExactScan.write(Path(sys.argv[1]), "x", batches(), stamp)
engine = ExactScan.open(Path(sys.argv[1]), "x", stamp)
try:
    np.array(engine.rows)
    raise SystemExit("the limit does not hold")
except MemoryError:
    pass
queries = np.random.default_rng(1).standard_normal((3, dim)).astype(np.float32)
scores = engine.scores(queries)
for scored, query in zip(scores, queries):
    hits = best(scored, 50)
    merged = []
    for start in range(0, rows, 50_000):
        part = best(engine.scores_at(np.arange(start, start + 50_000), query[None])[0], 50)
        merged += zip((-part.scores).tolist(), (part.ordinals + start).tolist())
    merged = sorted(merged)[: len(hits.ordinals)]
    assert [place for _, place in merged] == hits.ordinals.tolist()
    assert [-score for score, _ in merged] == hits.scores.tolist()
print("same")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on a process's own memory is Linux's")
def test_a_table_larger_than_memory_is_scanned_piece_by_piece_and_exactly(tmp_path: Path) -> None:
    """400 MB of signatures in a process that may have 300 MB of its own, and the same from eight pieces merged."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _SMALL_MEMORY, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "same\n", done.stderr


# ---- on a device of torch, for which the CPU stands in --------------------------------------------------------------


@pytest.mark.parametrize("free", [0, 1 << 30])
def test_a_device_returns_the_same_bits_for_many_queries_whether_it_keeps_the_codes_or_not(
    free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nait_index.activations.products._BLOCK_BYTES", 700 * 128)
    monkeypatch.setattr(TorchProducts, "_free_bytes", lambda self: free)
    engine, queries = make(vectors(3_000, "int8", width=128)), vectors(9, "float32", seed=1, width=128)
    expected, device = engine.scores(queries), TorchProducts("cpu")
    engine.products = Placed(device, Device.CUDA)
    for _ in range(2):
        assert engine.scores(queries).tobytes() == expected.tobytes()
        assert device.holds(3_000 * 128) is (free > 0)
    ordinals = np.array([5, 2, 2_999])
    assert engine.scores_at(ordinals, queries).tobytes() == np.ascontiguousarray(expected[:, ordinals]).tobytes()


class _Coarse(TorchProducts):
    """A GPU that was set to multiply in fewer digits."""

    def multiply(self, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        return np.round(super().multiply(rows, queries), -2)


class _Full(TorchProducts):
    def multiply(self, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        raise RuntimeError("CUDA out of memory")


class _Absent(TorchProducts):
    def multiply(self, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        raise AssertionError("Torch not compiled with CUDA enabled")


@pytest.mark.parametrize(
    ("gpu", "reason"), [(_Coarse, "fewer digits"), (_Full, "CUDA out of memory"), (_Absent, "not compiled with CUDA")]
)
def test_the_processor_multiplies_where_a_gpu_fails(
    gpu: type[TorchProducts], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine, queries = make(vectors(300, "int8")), vectors(2, "float32", seed=1)
    expected = engine.scores(queries)
    engine.products = Placed(gpu("cpu"), Device.CUDA)
    assert (engine.scores(queries) == expected).all()
    assert reason in caplog.text


class _Gpu(TorchProducts):
    def __init__(self, *, started: bool = False, held: bool = False) -> None:
        super().__init__("cpu")
        self._answers = started, held

    def is_started(self) -> bool:
        return self._answers[0]

    def holds(self, size: int) -> bool:
        return self._answers[1]


@pytest.mark.parametrize(
    ("rows", "queries", "gpu", "begins"),
    [
        (100_000, 1, _Gpu(), "on the processor: about"),
        (10_000_000, 1, _Gpu(), "on the processor: about"),
        (10_000_000, 200, _Gpu(), "on the GPU: about"),
        (10_000_000, 1, _Gpu(started=True), "on the processor: about"),
        (10_000_000, 64, _Gpu(started=True), "on the GPU: about"),
        (10_000_000, 1, _Gpu(started=True, held=True), "on the GPU: about"),
    ],
)
def test_a_gpu_is_chosen_where_it_is_sooner(
    rows: int, queries: int, gpu: _Gpu, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert Placed(gpu, Device.AUTO).reason(rows, 1024, "int8", queries).startswith(begins)


def test_a_device_that_was_named_is_used_and_sums_that_depend_on_order_stay_here() -> None:
    assert Placed(_Gpu(), Device.CPU).reason(10**9, 1024, "int8", 99) == "on the processor, as --device cpu says"
    assert Placed(_Gpu(), Device.CUDA).reason(10, 10, "int8", 1) == "on the GPU, as --device cuda says"
    assert "since sums of float32" in Placed(_Gpu(), Device.CUDA).reason(10**9, 1024, "float32", 99)


def test_a_machine_without_a_gpu_has_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.exists", lambda path: path == "/dev/nvidiactl")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert isinstance(products_for(_Gpu(), Device.AUTO), Placed)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert isinstance(products_for(_Gpu(), Device.AUTO), OnProcessor)
    monkeypatch.undo()
    monkeypatch.setattr("os.path.exists", lambda path: False)
    products = products_for(_Gpu(), Device.AUTO)
    assert isinstance(products, OnProcessor)
    assert products.reason(10**9, 1024, "int8", 99) == ""
