"""The random projection: inner products kept to the Johnson-Lindenstrauss bound, the same every time."""

import numpy as np
import pytest

from nait_index.activations.gradients.projection import Projection

torch = pytest.importorskip("torch")

WIDTH = 1024
BLOCKS = (4096, 100, 20_000, 1, 7000)


def project(values: np.ndarray, width: int = WIDTH, seed: int = 0, blocks: tuple[int, ...] = BLOCKS) -> np.ndarray:
    """Project vectors (n, P), P the sum of the blocks."""
    projection = Projection(width, seed)
    out = torch.zeros(len(values), width)
    ends = np.cumsum(blocks)
    for number, (end, size) in enumerate(zip(ends, blocks, strict=True)):
        projection.add(number, torch.from_numpy(values[:, end - size : end]), out)
    return out.numpy()


def cosines(values: np.ndarray) -> np.ndarray:
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit @ unit.T


def vectors(kind: str, n: int = 60) -> np.ndarray:
    """Make vectors (n, P) with cosines of every size: dense ones, or ones with few large entries."""
    rng = np.random.default_rng(1)
    size = sum(BLOCKS)
    common = rng.standard_normal(size) * np.linspace(0, 2, n)[:, None]
    values = common + rng.standard_normal((n, size))
    if kind == "spiky":
        values *= np.exp(2 * rng.standard_normal(size))
    return values.astype(np.float32)


@pytest.mark.parametrize("kind", ["dense", "spiky"])
def test_cosines_stay_within_the_bound(kind: str) -> None:
    values = vectors(kind)
    exact, kept = cosines(values), cosines(project(values))
    # n vectors keep their inner products to ε with d = 4·ln(n) / (ε²/2 − ε³/3): ε = 0.19 here.
    assert exact[~np.eye(len(exact), dtype=bool)].min() < 0.1
    assert exact[0, 1:].max() < exact[-2, -1]
    assert np.abs(kept - exact).max() < 0.19
    assert np.abs(kept - exact).std() < 1 / np.sqrt(WIDTH)


@pytest.mark.parametrize("kind", ["dense", "spiky"])
def test_inner_products_are_kept_without_bias(kind: str) -> None:
    values = vectors(kind, 12)
    norms = np.linalg.norm(values, axis=1)
    errors = []
    for seed in range(40):
        projected = project(values, 256, seed)
        errors.append((projected @ projected.T - values @ values.T) / np.outer(norms, norms))
    # The variance of one inner product of unit vectors is at most 2/d; the mean of 40 has a deviation of 0.014.
    assert np.abs(np.mean(errors, axis=0)).max() < 4 * np.sqrt(2 / 256 / 40)
    assert np.std(errors, axis=0).max() < 1.5 * np.sqrt(2 / 256)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    values = vectors("dense", 3)
    first = project(values)
    np.testing.assert_array_equal(first, project(values))
    assert np.abs(first - project(values, seed=1)).max() > 1


def test_a_row_does_not_depend_on_its_batch() -> None:
    values = vectors("dense", 7)
    together = project(values)
    alone = np.concatenate([project(values[row : row + 1]) for row in range(len(values))])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(together).max())


def test_hashes_made_anew_are_the_same_as_those_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    values = vectors("dense", 3)
    kept = project(np.concatenate([values, values]))
    monkeypatch.setattr("nait_index.activations.gradients.projection._COORDINATES_KEPT", 5000)
    projection = Projection(WIDTH, 0)
    for _ in range(2):
        out = torch.zeros(len(values), WIDTH)
        ends = np.cumsum(BLOCKS)
        for number, (end, size) in enumerate(zip(ends, BLOCKS, strict=True)):
            projection.add(number, torch.from_numpy(values[:, end - size : end]), out)
        np.testing.assert_allclose(out.numpy(), kept[:3], rtol=0, atol=1e-5 * np.abs(kept).max())


@pytest.mark.parametrize("width", [1, 3, 6, 1000])
def test_every_width_keeps_lengths_on_average(width: int) -> None:
    values = vectors("dense", 1)
    lengths = [np.sum(project(values, width, seed) ** 2) / np.sum(values**2) for seed in range(60)]
    assert np.mean(lengths) == pytest.approx(1, abs=4 * np.sqrt(2 / width / 60))


def test_blocks_of_the_same_size_are_hashed_differently() -> None:
    values = np.ones((1, 2000), dtype=np.float32)
    out = torch.zeros(2, WIDTH)
    projection = Projection(WIDTH, 0)
    projection.add(0, torch.from_numpy(values), out[:1])
    projection.add(1, torch.from_numpy(values), out[1:])
    assert abs(cosines(out.numpy())[0, 1]) < 0.2
