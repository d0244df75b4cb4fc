"""The engine finds what a plain NumPy product finds: same rows, same scores, ties all there."""

from pathlib import Path

import numpy as np
import pytest

from nait_index.errors import StoreError
from nait_index.search.engine import Engine, EngineStamp


def make(vectors: np.ndarray) -> Engine:
    stamp = EngineStamp(table_version=3, rows=len(vectors), dim=vectors.shape[1], dtype=str(vectors.dtype))
    ids = np.arange(len(vectors), dtype=np.uint64) + 100
    middle = len(vectors) // 2
    return Engine.build([(ids[:middle], vectors[:middle]), (ids[middle:], vectors[middle:])], stamp)


def vectors(rows: int, dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 16)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("k", [1, 7, 200, 1000])
def test_hits_are_those_of_a_brute_force_product(dtype: str, k: int) -> None:
    stored = vectors(200, dtype)
    query = np.random.default_rng(1).normal(size=16).astype(np.float32)
    hits = make(stored).search(query, k)
    scores = stored.astype(np.float64) @ query
    best = np.argsort(-scores, kind="stable")[: min(k, 200)]
    assert hits.ordinals.tolist() == best.tolist()
    np.testing.assert_allclose(hits.scores, scores[best], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scores_scale_with_the_query(dtype: str) -> None:
    engine, query = make(vectors(50, dtype)), np.ones(16, np.float32)
    np.testing.assert_allclose(engine.search(3 * query, 9).scores, 3 * engine.search(query, 9).scores, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_all_rows_that_tie_with_the_last_hit_are_given(dtype: str) -> None:
    stored = np.concatenate([vectors(5, dtype) + 9, np.repeat(vectors(1, dtype, 2), 40, axis=0), vectors(5, dtype) - 9])
    hits = make(stored.astype(dtype)).search(np.ones(16, np.float32), 8)
    assert set(hits.ordinals[:5].tolist()) == set(range(5))
    assert set(hits.ordinals[5:].tolist()) == set(range(5, 45))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_only_allowed_rows_are_found(dtype: str) -> None:
    stored = vectors(100, dtype)
    query = np.ones(16, np.float32)
    allowed = np.zeros(100, bool)
    allowed[[3, 50, 51, 99]] = True
    hits = make(stored).search(query, 3, allowed)
    scores = stored.astype(np.float64) @ query
    assert hits.ordinals.tolist() == sorted([3, 50, 51, 99], key=lambda i: -scores[i])[:3]
    assert len(make(stored).search(query, 50, allowed).ordinals) == 4
    assert len(make(stored).search(query, 5, np.zeros(100, bool)).ordinals) == 0


def test_zero_vectors_are_rows_like_others() -> None:
    stored = vectors(10, "float16")
    stored[4] = 0
    assert set(make(stored).search(np.ones(16, np.float32), 10).ordinals.tolist()) == set(range(10))


def test_an_engine_comes_back_from_disk_and_only_for_its_own_state_of_the_table(tmp_path: Path) -> None:
    engine = make(vectors(30, "float16"))
    engine.save(tmp_path, "x")
    again = Engine.load(tmp_path, "x", engine.stamp)
    assert again is not None
    assert (
        again.search(np.ones(16, np.float32), 5).ordinals.tolist()
        == engine.search(np.ones(16, np.float32), 5).ordinals.tolist()
    )
    assert (again.row_ids == engine.row_ids).all()
    assert Engine.load(tmp_path, "x", EngineStamp(4, 30, 16, "float16")) is None
    assert Engine.load(tmp_path, "y", engine.stamp) is None


@pytest.mark.parametrize("name", ["x.faiss", "x.rows.npy", "x.json"])
def test_a_damaged_engine_is_not_used(tmp_path: Path, name: str) -> None:
    engine = make(vectors(30, "float16"))
    engine.save(tmp_path, "x")
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert Engine.load(tmp_path, "x", engine.stamp) is None


def test_a_table_that_gives_fewer_rows_than_it_has_is_refused() -> None:
    with pytest.raises(StoreError, match="gave 2 rows where 3 were expected"):
        Engine.build([(np.arange(2, dtype=np.uint64), vectors(2, "float16"))], EngineStamp(1, 3, 16, "float16"))
