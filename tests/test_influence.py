"""Influence: its regression against plain leave-one-out fits, and its landmarks through the life of an index."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import build_small, manifest_of, nait_index, refusal, small_rows, small_signatures, write_lines

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, View
from nait_index.errors import CapabilityError, NaitError, StoreError
from nait_index.methods.influence import LandmarkFit
from nait_index.store.fitted import load_landmarks
from nait_index.store.layout import Layout
from nait_index.store.samples import spread

ROWS, LANDMARKS, WIDTH = 40, 24, 32


# ---- the regression --------------------------------------------------------------------------------------------------


def ridge(points: np.ndarray, targets: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Solve a ridge regression with an intercept by its normal equations."""
    mean, centre = points.mean(axis=0), targets.mean()
    centred = points - mean
    squares = centred.T @ centred + penalty * np.eye(points.shape[1])
    weights = np.linalg.solve(squares, centred.T @ (targets - centre))
    return weights, float(centre - weights @ mean)


def test_the_penalty_is_that_of_the_smallest_error_on_landmarks_left_out() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((30, 6))
    targets = points @ rng.standard_normal(6) + 2 * rng.standard_normal(30) + 3
    fit = LandmarkFit.of(points.astype(np.float32), np.zeros((30, 1), np.float32))
    weights, constant, explained = fit.fit(targets)
    scale = np.square(points - points.mean(axis=0)).sum() / 30
    errors = {}
    for penalty in np.logspace(-4, 4, 33) * scale:
        missed = []
        for row in range(30):
            others = np.arange(30) != row
            # The fit in closed form keeps the centre of all landmarks, so its intercept is penalised nowhere either.
            w, b = ridge(points[others], targets[others], penalty)
            missed.append(targets[row] - points[row] @ w - b)
        errors[penalty] = np.square(missed).sum()
    best = min(errors, key=errors.__getitem__)
    w, b = ridge(points, targets, best)
    np.testing.assert_allclose(weights, w, rtol=1e-4)
    assert constant == pytest.approx(b, rel=1e-4)
    means = [np.delete(targets, row).mean() for row in range(30)]
    assert explained == pytest.approx(1 - errors[best] / np.square(targets - means).sum(), rel=1e-3)


def test_targets_that_the_signatures_say_nothing_of_are_hardly_followed() -> None:
    rng = np.random.default_rng(1)
    points, targets = rng.standard_normal((200, 50)).astype(np.float32), rng.standard_normal(200)
    weights, _, explained = LandmarkFit.of(points, np.zeros((200, 1), np.float32)).fit(targets)
    assert explained < 0.05
    assert np.std(points @ weights) < 0.4 * np.std(targets)


def test_directions_in_which_landmarks_do_not_differ_get_no_weight() -> None:
    rng = np.random.default_rng(2)
    points = rng.standard_normal((40, 4)).astype(np.float32)
    points[:, 3] = 7
    weights, _, _ = LandmarkFit.of(points, np.zeros((40, 1), np.float32)).fit(points[:, 0].astype(np.float64))
    assert abs(weights[3]) < 1e-6
    assert weights[0] == pytest.approx(1, abs=0.01)


# ---- the landmarks of an index ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _short_warm_up() -> Any:
    from nait_index.activations.gradients.adapters import GradientSettings

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index.building.encoder.GradientSettings", partial(GradientSettings, warmup_steps=3))
        yield


@pytest.fixture(scope="module")
def build(tiny_model: Callable[[str], Path]) -> Callable[..., NaitIndex]:
    def built(root: Path, *files: Path, **changes: Any) -> NaitIndex:
        settings = {"views": (View.PCA, View.LANDMARKS), "grad_dim": WIDTH, "landmarks": LANDMARKS} | changes
        return build_small(root, list(files), model=tiny_model("llama"), signatures=small_signatures(**settings))

    return built


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", small_rows(ROWS))


@pytest.fixture(scope="module")
def examples(corpus: Path) -> Path:
    return write_lines(corpus.with_name("examples.jsonl"), small_rows(4, first=500))


@pytest.fixture(scope="module")
def index(build: Callable[..., NaitIndex], corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> NaitIndex:
    return build(tmp_path_factory.mktemp("whole") / "whole.nait", corpus)


def test_landmarks_are_the_first_rows_with_the_gradients_that_the_view_of_all_rows_has(
    build: Callable[..., NaitIndex], corpus: Path, index: NaitIndex, tmp_path: Path
) -> None:
    ordinals, gradients = index.columns.landmarks()
    np.testing.assert_array_equal(np.sort(ordinals), np.arange(LANDMARKS))
    np.testing.assert_allclose(np.linalg.norm(gradients.astype(np.float64), axis=1), 1, atol=2e-3)
    whole = build(tmp_path / "all.nait", corpus, views=(View.PCA, View.GRAD))
    stored = dict(zip(whole.columns.ids(), np.concatenate(list(whole.columns.blocks("grad"))), strict=True))
    for row_id, gradient in zip(index.columns.take_ids(ordinals), gradients, strict=True):
        np.testing.assert_allclose(gradient, stored[row_id], atol=2e-3)
    assert "grad" not in index.columns.table.schema().names


def test_the_score_is_the_regression_on_the_landmarks(index: NaitIndex, examples: Path) -> None:
    capability = index.make_capability(examples)
    selection = index.query(capability, top="100%", method="influence")
    rows = index.columns
    signatures = rows.exact("unit").rows * rows.steps("unit")  # type: ignore[arg-type]
    ordinals, gradients = rows.landmarks()
    targets = gradients.astype(np.float64) @ capability.examples.signatures["grad"].astype(np.float64).mean(axis=0)
    weights, constant, _ = LandmarkFit.of(signatures[ordinals], gradients).fit(targets)
    expected = dict(zip(rows.ids(), signatures @ weights + constant, strict=True))
    for row_id, score in zip(selection.ids, selection.scores, strict=True):
        assert score == pytest.approx(expected[row_id], abs=2e-3)


def test_landmarks_live_on_as_rows_come_and_go(
    build: Callable[..., NaitIndex], corpus: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "living.nait"
    build(root, corpus)
    before = (root / "landmarks.safetensors").read_bytes()
    nait_index("capability", "add", root, "skill", examples)
    more = write_lines(tmp_path / "more.jsonl", small_rows(10, first=ROWS))
    nait_index("add", root, more)
    assert (root / "landmarks.safetensors").read_bytes() == before
    gone = NaitIndex(root).columns.take_ids(NaitIndex(root).columns.landmarks()[0][:3])
    ids = tmp_path / "gone.txt"
    ids.write_text("\n".join(gone))
    nait_index("remove", root, "--ids", ids)
    index = NaitIndex(root)
    assert len(index.columns.landmarks()[0]) == LANDMARKS - 3
    assert len(index.query("skill", top="100%", method="influence").ids) == ROWS + 10 - 3
    assert all(check.passed is not False for check in index.verify())
    again = index.rebuild(tmp_path / "again.nait")
    assert len(again.columns.landmarks()[0]) == LANDMARKS
    assert len(again.query("skill", top=5, method="influence").ids) == 5
    nait_index("capability", "export", root, "skill", "-o", tmp_path / "skill.cap")
    nait_index("capability", "remove", root, "skill")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index.capabilities.library._encoded_again", None)  # of this index: taken as it is
        assert nait_index("capability", "import", root, tmp_path / "skill.cap").code == 0
    other = build(tmp_path / "other.nait", corpus)
    nait_index("capability", "import", tmp_path / "other.nait", tmp_path / "skill.cap")
    assert len(NaitIndex(tmp_path / "other.nait").query("skill", top=5, method="influence").ids) == 5
    assert other.manifest.landmarks_hash is not None


def test_landmarks_added_later_are_of_rows_all_over_the_index(
    build: Callable[..., NaitIndex], corpus: Path, examples: Path, index: NaitIndex, tmp_path: Path
) -> None:
    root = tmp_path / "later.nait"
    build(root, corpus, views=(View.PCA,))
    nait_index("capability", "add", root, "skill", examples)
    before = NaitIndex(root)
    before.tag("paper")
    outcome = nait_index("landmarks", root, "--landmarks", str(LANDMARKS), "--grad-dim", str(WIDTH), "--json")
    assert outcome.json == {"landmarks": LANDMARKS, "version": 3}
    later = NaitIndex(root)
    assert later.manifest.fingerprint == index.manifest.fingerprint
    (mine, of_mine), (theirs, of_theirs) = later.columns.landmarks(), index.columns.landmarks()
    assert mine.tolist() == spread(ROWS, LANDMARKS).tolist()
    _, here, there = np.intersect1d(mine, theirs, return_indices=True)
    assert len(here) > 5
    np.testing.assert_allclose(of_mine[here].astype(np.float64), of_theirs[there].astype(np.float64), atol=1e-3)
    assert len(later.query("skill", top=9, method="influence")) == 9
    assert later.query("skill", top=9).ids == index.query(index.make_capability(examples), top=9).ids
    assert "has landmarks already" in refusal("landmarks", root)
    with pytest.raises(StoreError, match="have changed since it was opened"):
        before.store_capability(before.make_capability(examples), "late")
    paper = NaitIndex(root, version="paper")
    assert paper.query("skill", top=9).ids == before.query("skill", top=9).ids
    nait_index("restore", root, "paper")
    assert nait_index("query", root, "-c", "skill", "--top", "9").code == 0
    influence = ("query", root, "-c", "skill", "--top", "9", "--method", "influence")
    assert "add the capability again" in refusal(*influence)
    added = nait_index("capability", "add", root, "skill", examples)
    assert (added.code, "stored already" in added.err) == (0, False)
    assert nait_index(*influence).code == 0
    assert "stored already" in nait_index("capability", "add", root, "skill", examples).err
    nait_index("add", root, write_lines(tmp_path / "more.jsonl", small_rows(5, first=ROWS)))
    assert len(NaitIndex(root)) == ROWS + 5


def test_landmarks_that_are_damaged_or_gone_are_named(
    build: Callable[..., NaitIndex], corpus: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "damaged.nait"
    capability = build(root, corpus).make_capability(examples)
    file = Layout(root).landmarks
    file.write_bytes(file.read_bytes()[:-1])
    for problem in ("is damaged", "is missing"):
        (check,) = [check for check in NaitIndex(root).verify() if check.name == "landmarks"]
        assert (check.passed, problem in check.detail) == (False, True)
        with pytest.raises(StoreError, match=rf"landmarks\.safetensors {problem}"):
            NaitIndex(root).query(capability, method="influence")
        file.unlink(missing_ok=True)


def test_few_landmarks_and_indexes_without_them_are_refused(
    build: Callable[..., NaitIndex], corpus: Path, examples: Path, tmp_path: Path
) -> None:
    few = build(tmp_path / "few.nait", corpus, landmarks=5)
    with pytest.raises(CapabilityError, match="only 5 landmarks are left"):
        few.query(few.make_capability(examples), method="influence")
    with pytest.raises(NaitError, match="landmarks needs the view pca"):
        SignatureConfig(views=(View.LANDMARKS,))


def test_the_manifest_names_the_landmarks(index: NaitIndex) -> None:
    manifest = manifest_of(Path(index.layout.root))
    assert len(load_landmarks(index.layout, manifest.landmarks_hash).ids) == LANDMARKS
    assert manifest.fingerprint.signatures.landmarks == LANDMARKS
