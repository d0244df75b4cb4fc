"""What a build says of its signatures is what it measures: the share of chosen rows that whole vectors choose too."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import build_small, manifest_of, nait_index, small_rows, small_signatures, write_lines
from nait_reference import principal_directions

from nait_index.building.basis import Fidelity, measure_fidelity, overlap, unfaithful
from nait_index.building.report import BuildReport
from nait_index.config import View
from nait_index.methods.probe import train
from nait_index.signatures.features import Feature, feature_vectors
from nait_index.signatures.fit import fit
from nait_index.signatures.pca import Compressor, Dims
from nait_index.signatures.projection import Projector
from nait_index.signatures.views import dense_column

WIDTHS = (16, 12)
ROWS = 200


def made(groups: int | None = None, rank: int = 9, seed: int = 0) -> np.ndarray:
    """Make pooled activations (n, 2, D) that lie in few dimensions, and in groups of equal size if asked for."""
    rng = np.random.default_rng(seed)
    size = 2 * sum(WIDTHS)
    places = rng.normal(size=(ROWS, rank))
    if groups is not None:
        places = 0.1 * places + 2 * rng.normal(size=(groups, rank))[np.arange(ROWS) % groups]
    return (places @ rng.normal(size=(rank, size))).reshape(ROWS, 2, -1).astype(np.float32) + 3


def fitted(array: np.ndarray, dims: Dims) -> Compressor:
    return fit(reader(array), WIDTHS, dims)


def reader(array: np.ndarray) -> Callable[[int, slice], np.ndarray]:
    return lambda pooling, neurons: array[:, pooling, neurons]


def compress(compressor: Compressor, array: np.ndarray, feature: Feature) -> np.ndarray:
    return Projector(compressor).columns_of(array)[dense_column(feature)]


def measured(array: np.ndarray, compressor: Compressor, seed: int = 0, held_out: bool = True) -> Fidelity:
    unit, mean = (compress(compressor, array, feature) for feature in (Feature.UNIT, Feature.MEAN))
    return measure_fidelity(reader(array), unit, mean, compressor, seed=seed, held_out=held_out)


def unrounded(array: np.ndarray, compressor: Compressor, feature: Feature) -> np.ndarray:
    """Return signatures as they would be without rounding."""
    vectors = feature_vectors(array, compressor.center, feature, WIDTHS).astype(np.float64)
    return vectors @ compressor.components(feature).T / compressor.steps[feature]


# ---- what is measured ------------------------------------------------------------------------------------------------


def test_overlap_is_the_share_of_the_tenth_that_both_choose() -> None:
    one = np.arange(50.0)
    assert overlap(one, one * 3 - 7) == 1
    assert overlap(one, -one) == 0
    other = one.copy()
    other[[48, 49]] = -1  # of the rows 45 to 49
    assert overlap(one, other) == overlap(other, one) == 3 / 5
    assert overlap(np.arange(3.0), np.array([0, 5, 1])) == 0


def test_signatures_of_everything_are_wholly_faithful() -> None:
    array = made()
    compressor = fitted(array, Dims(40, 40))
    unit, mean = (unrounded(array, compressor, feature) for feature in (Feature.UNIT, Feature.MEAN))
    fidelity = measure_fidelity(reader(array), unit, mean, compressor, seed=0, held_out=True)
    assert fidelity == Fidelity((1.0, 1.0), (1.0, 1.0), ROWS, True)


def test_codes_of_everything_are_nearly_as_faithful() -> None:
    """Rows near the cut may change places with others whose score is nearly the same; groups stay what they are."""
    array = made()
    fidelity = measured(array, fitted(array, Dims(40, 40)))
    for lowest, mean in (fidelity.probe, fidelity.nait):
        assert lowest >= 0.85
        assert mean >= 0.95
    array = made(groups=10)
    assert measured(array, fitted(array, Dims(40, 40))).probe == (1.0, 1.0)


def test_a_narrow_basis_is_less_faithful() -> None:
    array = made()
    means = [measured(array, fitted(array, Dims(dim, dim))) for dim in (1, 4, 40)]
    for method in ("probe", "nait"):
        narrow, middle, wide = (getattr(fidelity, method)[1] for fidelity in means)
        assert narrow < middle < wide
        assert narrow < 0.7
        assert all(getattr(fidelity, method)[0] <= getattr(fidelity, method)[1] for fidelity in means)


def test_the_width_of_the_means_matters_to_nait_alone() -> None:
    array = made()
    narrow, wide = (measured(array, fitted(array, Dims(4, fine))) for fine in (4, 40))
    assert wide.probe == narrow.probe
    assert wide.nait[1] > narrow.nait[1]


def test_scores_agree_with_a_direct_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of whole vectors and of stored ones, for rows and their nearest neighbours; vectors written out."""
    compared: list[tuple[np.ndarray, np.ndarray]] = []

    def kept(one: np.ndarray, other: np.ndarray) -> float:
        compared.append((one, other))
        return overlap(one, other)

    monkeypatch.setattr("nait_index.building.basis.overlap", kept)
    array, seed = made(rank=25), 3
    compressor = fitted(array, Dims(6, 10))
    fidelity = measured(array, compressor, seed=seed)
    assert len(compared) == 16

    units = feature_vectors(array, compressor.center, Feature.UNIT, WIDTHS)
    stored = compress(compressor, array, Feature.UNIT) * compressor.steps[Feature.UNIT]
    means = compress(compressor, array, Feature.MEAN) * compressor.steps[Feature.MEAN]
    products = units.astype(np.float64) @ units.T
    overlaps = []
    for number, row in enumerate(np.random.default_rng(seed).permutation(ROWS)[:8]):
        examples = np.argsort(-products[row])[:16]
        assert row in examples
        for vectors, scores in zip((units, stored), compared[number], strict=True):
            expected = vectors @ train(vectors[examples], vectors).vector
            np.testing.assert_allclose(scores, expected, atol=2e-2 * expected.std())
        drifts = [np.split(array[example, 1].astype(np.float64), [WIDTHS[0]]) for example in examples]
        direction = np.concatenate(principal_directions(drifts))
        whole, projected = array[:, 0] @ direction, means @ (compressor.components(Feature.MEAN) @ direction)
        for expected, scores in zip((whole, projected), compared[8 + number], strict=True):
            # But for a constant, which changes no order.
            np.testing.assert_allclose(scores - scores.mean(), expected - expected.mean(), atol=1e-3 * expected.std())
        overlaps.append((overlap(*compared[number]), overlap(*compared[8 + number])))
    probe, nait = zip(*overlaps, strict=True)
    assert fidelity.probe == (round(min(probe), 4), round(sum(probe) / 8, 4))
    assert fidelity.nait == (round(min(nait), 4), round(sum(nait) / 8, 4))
    assert fidelity.probe[0] < 1
    assert fidelity.nait[0] < 1


def test_the_same_sample_gives_the_same_numbers_and_another_seed_others() -> None:
    array = made(rank=25)
    compressor = fitted(array, Dims(5, 5))
    assert measured(array, compressor) == measured(array, compressor)
    assert len({measured(array, compressor, seed=seed) for seed in range(4)}) > 1


@pytest.mark.parametrize("held_out", [True, False])
def test_it_says_of_how_many_rows_and_whether_the_basis_knew_them(held_out: bool) -> None:
    array = made()
    fidelity = measured(array, fitted(array, Dims(5, 5)), held_out=held_out)
    assert (fidelity.rows, fidelity.held_out) == (ROWS, held_out)


def test_rows_that_are_all_equal_can_be_measured() -> None:
    array = np.repeat(made()[:1], ROWS, axis=0)
    fidelity = measured(array, fitted(array, Dims(5, 5)))
    assert all(0 <= value <= 1 for value in (*fidelity.probe, *fidelity.nait))


# ---- what is said of it ----------------------------------------------------------------------------------------------


def facts(probe: float, nait: float) -> dict[str, Any]:
    return asdict(Fidelity((0.0, probe), (0.0, nait), 500, True))


def test_a_line_for_every_method_below_the_limit_and_none_above() -> None:
    assert unfaithful(None) == []
    assert unfaithful(facts(0.97, 0.97)) == []
    assert unfaithful(facts(1.0, 1.0)) == []
    (line,) = unfaithful(facts(0.9, 0.97))
    assert "90% of the rows" in line
    assert "for probe" in line
    assert "--pca-dim" in line
    (line,) = unfaithful(facts(0.97, 0.5))
    assert "50% of the rows" in line
    assert "for nait" in line
    assert "--fine-dim" in line
    both = unfaithful(facts(0.9699, 0.9699))
    assert len(both) == 2
    assert all("\n" not in line for line in both)
    report = BuildReport(0, 0, 0, 0, 0, 0, 0, 0, fidelity=facts(0.9699, 0.9699))
    assert report.warnings == both
    assert replace(report, fidelity=None).warnings == []


# ---- builds ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


def built(root: Path, rows: int, model: Path, **settings: Any) -> BuildReport:
    corpus = write_lines(root.parent / f"{rows}.jsonl", small_rows(rows))
    signatures = small_signatures(**({"reservoir": 128} | settings))
    report = build_small(root, corpus, model=model, max_length=48, signatures=signatures, shard=128).report
    assert report is not None
    return report


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize(("rows", "held_out"), [(240, True), (120, False)])
def test_a_build_reports_it_and_the_manifest_keeps_it(rows: int, held_out: bool, model: Path, tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    report = built(root, rows, model)
    fidelity = report.fidelity
    assert fidelity is not None
    assert (fidelity["rows"], fidelity["held_out"]) == (rows - 128 if held_out else rows, held_out)
    for method in ("probe", "nait"):
        lowest, mean = fidelity[method]
        assert 0 <= lowest <= mean <= 1
    assert fidelity["nait"][1] > 0.8
    assert through_json(manifest_of(root).fidelity) == through_json(fidelity)
    assert report.warnings == unfaithful(fidelity)
    # It is of the basis, which rows that come later do not change.
    more = built(root, rows + 4, model)
    assert more.indexed == 4
    assert through_json(more.fidelity) == through_json(fidelity) == through_json(manifest_of(root).fidelity)


@pytest.mark.parametrize(
    ("rows", "settings"),
    [(99, {}), (110, {"pca_dim": None}), (110, {"views": (View.TOPK,)})],
    ids=["few rows", "whole vectors", "no dense view"],
)
def test_a_build_that_cannot_be_measured_says_nothing(
    rows: int, settings: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    report = built(tmp_path / "own.nait", rows, model, **settings)
    assert report.rows == rows
    assert report.fidelity is None
    assert report.warnings == []
    assert manifest_of(tmp_path / "own.nait").fidelity is None
    assert (tmp_path / "own.nait" / "components.safetensors").exists() is (settings == {})


def test_the_command_warns_of_a_narrow_basis(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(120))
    command = ["build", tmp_path / "own.nait", corpus, "--model", model, "--device", "cpu", "--json"]
    outcome = nait_index(*command, "--pca-dim", "1", "--fine-dim", "1")
    fidelity = outcome.json["fidelity"]
    assert max(fidelity["probe"][1], fidelity["nait"][1]) < 0.97
    lines = [line for line in outcome.err.splitlines() if "the signatures choose" in line]
    assert len(lines) == 2
    assert [line[line.index("the signatures") :] for line in lines] == unfaithful(fidelity)


def test_a_shift_is_measured_on_the_last_rows_that_the_basis_was_not_fitted_on() -> None:
    from types import SimpleNamespace
    from typing import cast

    from nait_index.building.basis import measure_shift
    from nait_index.store.samples import SampleTable

    measured = []

    def signatures_at(ordinals: np.ndarray, _: str) -> np.ndarray:
        measured.append(ordinals.tolist())
        return np.zeros((len(ordinals), 1))

    table = SimpleNamespace(
        schema=lambda: SimpleNamespace(names=["pca_unit"]),
        last_between=lambda first, end, most: (40, np.arange(40)) if end else (20, np.arange(40, 60)),
        signatures_at=signatures_at,
    )
    compressor = SimpleNamespace(bases={"unit": ()}, restore=lambda signatures, feature: signatures)
    given = cast(SampleTable, table), cast(Compressor, compressor)
    shift = measure_shift(*given, fitted=20, first_rows=40, first_new=40)
    assert shift is not None
    assert shift.rows == (20, 20)
    assert measured == [[*range(20, 40)], [*range(40, 60)]]
    assert measure_shift(*given, fitted=40, first_rows=40, first_new=40) is None
