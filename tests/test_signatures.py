"""Signatures keep what they promise: inner products as far as the basis spans them, strongest neurons in order."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nait_index.signatures.features import POOLINGS, Feature, feature_vectors
from nait_index.signatures.fit import Arithmetic, fit
from nait_index.signatures.pca import BASIS_OF, LEVELS, BasisName, Compressor, Dims
from nait_index.signatures.projection import Projector
from nait_index.signatures.sparse import kept, number_dtype, top_neurons
from nait_index.signatures.views import dense_column

torch = pytest.importorskip("torch")

WIDTHS = (7, 5, 9)


def pooled(rows: int, seed: int = 0, rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = sum(WIDTHS)
    if rank is None:
        return rng.normal(size=(rows, 2, size)).astype(np.float32) + 3.0
    basis = rng.normal(size=(rank, 2 * size))
    return (rng.normal(size=(rows, rank)) @ basis).reshape(rows, 2, size).astype(np.float32) + 3.0


def reader(array: np.ndarray) -> Callable[[int, slice], np.ndarray]:
    return lambda pooling, neurons: array[:, pooling, neurons]


def compress(compressor: Compressor, array: np.ndarray, feature: Feature) -> np.ndarray:
    return Projector(compressor).columns_of(array)[dense_column(feature)]


def by_hand(array: np.ndarray, center: np.ndarray, feature: Feature) -> np.ndarray:
    """Make the vectors of ``features.py``'s docstring, one row and one layer at a time, in float64."""
    vectors = []
    for row in array.astype(np.float64):
        blocks = []
        for pooling in {Feature.MEAN: [0], Feature.DRIFT: [1], Feature.UNIT: [0, 1]}[feature]:
            start = 0
            for width in WIDTHS:
                block = row[pooling, start : start + width] - center[pooling, start : start + width]
                if feature is Feature.UNIT:
                    block = block / np.sqrt((block**2).sum()) / np.sqrt(2 * len(WIDTHS))
                blocks.append(block)
                start += width
        vectors.append(np.concatenate(blocks))
    return np.array(vectors)


@pytest.mark.parametrize("feature", list(POOLINGS))
def test_vectors_are_those_of_the_formula(feature: Feature) -> None:
    array = pooled(11)
    center = array.mean(axis=0)
    np.testing.assert_allclose(
        feature_vectors(array, center, feature, WIDTHS), by_hand(array, center, feature), rtol=1e-4, atol=1e-6
    )


def test_inner_product_of_unit_vectors_is_the_mean_cosine_over_poolings_and_layers() -> None:
    array = pooled(2)
    center = np.zeros_like(array[0])
    a, b = feature_vectors(array, center, Feature.UNIT, WIDTHS)
    cosines = []
    for pooling in (0, 1):
        for end, width in zip(np.cumsum(WIDTHS), WIDTHS, strict=True):
            x, y = (array[i, pooling, end - width : end].astype(np.float64) for i in (0, 1))
            cosines.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    assert a @ b == pytest.approx(np.mean(cosines), rel=1e-5)


def test_a_row_that_equals_the_corpus_mean_has_a_zero_vector_and_no_nan() -> None:
    array = pooled(3)
    assert not feature_vectors(array[:1], array[0], Feature.UNIT, WIDTHS).any()


def test_without_compression_signatures_are_the_vectors_and_queries_the_directions() -> None:
    array = pooled(20)
    compressor = fit(reader(array), WIDTHS, None)
    for feature in POOLINGS:
        vectors = by_hand(array, array.astype(np.float64).mean(axis=0), feature)
        np.testing.assert_allclose(compress(compressor, array, feature), vectors, rtol=1e-3, atol=1e-5)
        assert compressor.dtype == np.float32
        direction = np.arange(vectors.shape[1], dtype=np.float32)
        assert (compressor.query(direction, feature) == direction).all()


@pytest.mark.parametrize("feature", [Feature.MEAN, Feature.DRIFT])
def test_inner_products_survive_where_the_components_span_the_data(feature: Feature) -> None:
    """But for the rounding: at most half a step of every component, and seldom near as much."""
    array = pooled(600, rank=6)
    compressor = fit(reader(array), WIDTHS, Dims(30, 30))
    assert compressor.dim(feature) <= 12
    vectors = by_hand(array, array.astype(np.float64).mean(axis=0), feature)
    direction = np.random.default_rng(1).normal(size=vectors.shape[1])
    codes, query = compress(compressor, array, feature), compressor.query(direction, feature)
    inside = (np.abs(codes.astype(int)) < LEVELS).all(axis=1)
    assert inside.mean() > 0.9, "the sample is half of the rows, and few of the others lie further out"
    exact = vectors @ direction
    errors = (codes.astype(np.float64) @ query - exact)[inside]
    noise = 1e-5 * np.abs(exact).max()
    assert np.abs(errors).max() <= np.abs(query).sum() / 2 + noise
    assert np.sqrt(np.mean(errors**2)) < 1.3 * np.linalg.norm(query) / np.sqrt(12) + noise
    assert np.abs(errors).max() < 0.05 * np.abs(exact).max(), "the comparison would tell little"


def test_codes_are_coordinates_in_steps_that_hold_the_sample() -> None:
    array = pooled(60)
    compressor = fit(reader(array), WIDTHS, Dims(8, 12))
    vectors = by_hand(array, array.astype(np.float64).mean(axis=0), Feature.UNIT)
    along = vectors @ compressor.components(Feature.UNIT).T
    steps = compressor.steps[Feature.UNIT]
    np.testing.assert_allclose(steps, np.abs(along).max(axis=0) * 1.1 / LEVELS, rtol=1e-3)
    codes = compress(compressor, array, Feature.UNIT)
    assert codes.dtype == compressor.dtype == np.int8
    assert 110 <= np.abs(codes.astype(int)).max(axis=0).min() <= np.abs(codes.astype(int)).max() <= 116
    restored = compressor.restore(codes, Feature.UNIT)
    assert restored.dtype == np.float32
    assert (np.abs(restored - along) <= steps * 0.5001 + 1e-5).all()
    np.testing.assert_array_equal(compressor.restore(codes[:, :3], Feature.UNIT), restored[:, :3])


@pytest.mark.parametrize("feature", list(POOLINGS))
def test_coordinates_beyond_the_steps_are_cut_and_never_wrap_round(feature: Feature) -> None:
    compressor = fit(reader(pooled(60)), WIDTHS, Dims(5, 5))
    steps = compressor.steps[feature]
    far = np.array([[-1e6], [-127.6], [-127.4], [0.4], [0.6], [127.4], [128.0], [1e6]], np.float32) * steps
    codes = compressor.round(far, feature)
    assert (codes == np.array([-127, -127, -127, 0, 1, 127, 127, 127], np.int8)[:, None]).all()


def test_steps_go_into_the_query() -> None:
    compressor = fit(reader(pooled(60)), WIDTHS, Dims(6, 9))
    for feature in POOLINGS:
        direction = np.random.default_rng(2).normal(size=compressor.components(feature).shape[1]).astype(np.float32)
        expected = (compressor.components(feature).astype(np.float64) @ direction) * compressor.steps[feature]
        query = compressor.query(direction, feature)
        assert (query.dtype, query.shape) == (np.float32, (compressor.dim(feature),))
        np.testing.assert_allclose(query, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("scanned", "fine", "mean"), [(4, 9, 9), (9, 4, 9), (7, 7, 7)])
def test_means_may_be_wider_than_what_is_scanned(scanned: int, fine: int, mean: int) -> None:
    array = pooled(60)
    compressor = fit(reader(array), WIDTHS, Dims(scanned, fine))
    wanted = {Feature.MEAN: mean, Feature.DRIFT: scanned, Feature.UNIT: scanned}
    assert {feature: compressor.dim(feature) for feature in POOLINGS} == wanted
    assert {feature: Dims(scanned, fine)[feature] for feature in POOLINGS} == wanted
    assert {feature: compress(compressor, array, feature).shape[1] for feature in POOLINGS} == wanted
    raw = compressor.bases[BasisName.RAW].components
    np.testing.assert_array_equal(compressor.components(Feature.DRIFT), raw[:scanned])
    # What is scanned of a wide mean is what a narrow one would be.
    narrow = fit(reader(array), WIDTHS, Dims(scanned, scanned))
    np.testing.assert_array_equal(
        compress(compressor, array, Feature.MEAN)[:, :scanned], compress(narrow, array, Feature.MEAN)
    )


def test_unit_components_are_the_right_singular_vectors_of_the_unit_vectors() -> None:
    array = pooled(50)
    compressor = fit(reader(array), WIDTHS, Dims(8, 8))
    vectors = by_hand(array, array.astype(np.float64).mean(axis=0), Feature.UNIT)
    _, sizes, right = np.linalg.svd(vectors, full_matrices=False)
    basis = compressor.bases[BasisName.UNIT]
    overlap = np.abs((basis.components.astype(np.float64) * right[:8]).sum(axis=1))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-4)
    np.testing.assert_allclose(basis.variances, sizes[:8] ** 2 / 50, rtol=1e-3)


def test_components_are_orthonormal_and_the_fit_is_repeatable_to_the_bit() -> None:
    array = pooled(40)
    first, second = (fit(reader(array), WIDTHS, Dims(10, 10)) for _ in range(2))
    for name in BasisName:
        components = first.bases[name].components
        np.testing.assert_allclose(components @ components.T, np.eye(10), atol=1e-4)
        assert (components == second.bases[name].components).all()
    for feature in POOLINGS:
        assert (first.steps[feature] == second.steps[feature]).all()


@pytest.mark.parametrize("rounded", [False, True])
def test_components_of_many_neurons_are_halved_and_signatures_stay_what_they_are(rounded: bool) -> None:
    widths, rows = (40_000, 26_000), 80
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((12, 2 * sum(widths)), dtype=np.float32)
    places = rng.standard_normal((rows, 12), dtype=np.float32) / np.arange(1, 13, dtype=np.float32)
    array = (places @ basis + 0.1 * rng.standard_normal((rows, len(basis[0])), dtype=np.float32)).reshape(rows, 2, -1)
    compressor = fit(reader(array), widths, Dims(8, 8), Arithmetic(rounded=rounded))
    for name in BasisName:
        components = compressor.bases[name].components
        assert components.dtype == np.float16
        np.testing.assert_allclose(
            components.astype(np.float64) @ components.T, np.eye(8), atol=2e-2 if rounded else 1e-3
        )
    vectors = feature_vectors(array, compressor.center, Feature.UNIT, widths).astype(np.float64)
    energy = (np.linalg.svd(vectors, compute_uv=False)[:8] ** 2).sum()
    along = vectors @ compressor.components(Feature.UNIT).T.astype(np.float64)
    assert (along**2).sum() == pytest.approx(energy, rel=1e-2 if rounded else 1e-3)
    differences = np.abs(compress(compressor, array, Feature.UNIT) - np.rint(along / compressor.steps[Feature.UNIT]))
    assert differences.max() <= 1
    direction = rng.standard_normal(vectors.shape[1]).astype(np.float32)
    query = compressor.query(direction, Feature.UNIT)
    expected = compressor.components(Feature.UNIT).astype(np.float64) @ direction * compressor.steps[Feature.UNIT]
    np.testing.assert_allclose(query, expected, rtol=1e-3, atol=1e-5)
    spread = compressor.spread(along[:2].astype(np.float32), Feature.UNIT)
    np.testing.assert_allclose(spread, along[:2] @ compressor.components(Feature.UNIT), atol=1e-5)


def test_fewer_components_than_asked_for_where_the_reservoir_spans_fewer() -> None:
    compressor = fit(reader(pooled(5)), WIDTHS, Dims(512, 1024))
    assert {feature: compressor.dim(feature) <= 5 for feature in POOLINGS} == dict.fromkeys(POOLINGS, True)


def test_a_reservoir_of_equal_rows_gives_finite_signatures() -> None:
    array = np.repeat(pooled(1), 6, axis=0)
    compressor: Compressor = fit(reader(array), WIDTHS, Dims(4, 4))
    for feature in POOLINGS:
        assert np.isfinite(compress(compressor, array, feature)).all()
        assert len(compressor.bases[BASIS_OF[feature]].components) >= 1


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 12), st.booleans())
def test_top_neurons_are_the_k_largest_in_size_with_ties_to_the_lower_number(seed: int, k: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    impact = np.abs(rng.normal(size=(4, sum(WIDTHS)))).astype(np.float32)
    if ties:
        impact = np.round(impact)
    numbers, values = (part.numpy() for part in top_neurons(torch.from_numpy(impact), WIDTHS, k))
    assert numbers.shape == values.shape == (4, kept(WIDTHS, k))
    for row in range(4):
        column, start = 0, 0
        for width in WIDTHS:
            layer = impact[row, start : start + width]
            expected = sorted(range(width), key=lambda i: (-layer[i], i))[: min(k, width)]
            got = numbers[row, column : column + len(expected)].tolist()
            assert got == expected
            np.testing.assert_allclose(
                values[row, column : column + len(expected)], layer[expected], rtol=1e-3, atol=1e-3
            )
            column, start = column + len(expected), start + width


def test_neuron_numbers_take_the_smallest_type_that_holds_them() -> None:
    assert number_dtype((65_536,)) == np.uint16
    assert number_dtype((8, 65_537)) == np.uint32
