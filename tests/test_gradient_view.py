"""The view of gradients: whatever interrupts its build, it ends like an uninterrupted one, bit for bit."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import (
    NOT_FINITE,
    basis_of,
    build_small,
    counts_of,
    interrupt_call,
    manifest_of,
    planted_infinity,
    read_lines,
    refusal,
    samples_of,
    small_rows,
    small_signatures,
    write_lines,
)

from nait_index import NaitIndex
from nait_index.config import View
from nait_index.store.layout import Layout

if TYPE_CHECKING:
    from nait_index.building.report import BuildProgress, ProgressCallback

pytestmark = pytest.mark.slow

ROWS = 18  # three shards with the row that fails, of which the basis takes two
WIDTH = 32


@pytest.fixture(scope="module", autouse=True)
def _short_and_failing() -> Iterator[None]:
    """Make the model fail on one row, and warm up in a few steps."""
    from nait_index.activations.gradients.adapters import GradientSettings

    with planted_infinity(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index.building.encoder.GradientSettings", partial(GradientSettings, warmup_steps=6))
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bad = {"id": "bad", "instruction": f"{NOT_FINITE} fails", "output": "x"}
    return write_lines(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", [*small_rows(ROWS), bad])


@pytest.fixture(scope="module")
def more(corpus: Path) -> Path:
    return write_lines(corpus.with_name("more.jsonl"), small_rows(10, first=ROWS))


@pytest.fixture(scope="module")
def examples(corpus: Path) -> Path:
    return write_lines(corpus.with_name("examples.jsonl"), small_rows(4, first=500))


@pytest.fixture(scope="module")
def build(tiny_model: Callable[[str], Path]) -> Callable[..., NaitIndex]:
    def built(root: Path, *files: Path, progress: "ProgressCallback | None" = None, **changes: Any) -> NaitIndex:
        signatures = small_signatures(**({"views": (View.PCA, View.GRAD), "grad_dim": WIDTH} | changes))
        return build_small(root, list(files), model=tiny_model("llama"), signatures=signatures, progress=progress)

    return built


@pytest.fixture(scope="module")
def whole(build: Callable[..., NaitIndex], corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build without an interruption."""
    root = tmp_path_factory.mktemp("whole") / "whole.nait"
    build(root, corpus)
    return root


@pytest.fixture(scope="module")
def grown(build: Callable[..., NaitIndex], corpus: Path, more: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build, then add, both without an interruption."""
    root = tmp_path_factory.mktemp("grown") / "grown.nait"
    build(root, corpus)
    build(root, corpus, more)
    return root


def _ranking(root: Path, examples: Path) -> tuple[tuple[str, ...], tuple[float, ...]]:
    index = NaitIndex(root)
    chosen = index.query(index.make_capability(examples), top="100%", method="less")
    return chosen.ids, chosen.scores


def _assert_same(root: Path, expected: Path, examples: Path) -> None:
    assert samples_of(root) == samples_of(expected)
    assert counts_of(root) == counts_of(expected)
    assert basis_of(root) == basis_of(expected)
    for name in ("warmup.safetensors", "rejected.jsonl"):
        assert (root / name).read_bytes() == (expected / name).read_bytes()
    assert _ranking(root, examples) == _ranking(expected, examples)
    assert sorted(path.name for path in root.iterdir()) == sorted(path.name for path in expected.iterdir())


def test_every_row_has_a_gradient_of_unit_length(whole: Path) -> None:
    rows = samples_of(whole)
    assert (len(rows), len(read_lines(whole / "rejected.jsonl"))) == (ROWS, 1)
    gradients = np.array([np.frombuffer(row["grad"], np.float16) for row in rows.values()]).astype(np.float64)
    assert gradients.shape == (ROWS, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(gradients, axis=1), 1, atol=2e-3)
    assert len({gradient.tobytes() for gradient in gradients}) == ROWS
    assert manifest_of(whole).warmup_hash is not None


def test_the_warm_up_comes_before_the_first_shard_and_is_made_once(
    build: Callable[..., NaitIndex], corpus: Path, more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nait_index.activations.gradients.encoder import GradientEncoder

    warm_up, texts = GradientEncoder.warm_up, list[int]()

    def counted(self: GradientEncoder, tokens: Any, *others: Any) -> Any:
        texts.append(len(tokens))
        return warm_up(self, tokens, *others)

    monkeypatch.setattr(GradientEncoder, "warm_up", counted)
    build(tmp_path / "own.nait", corpus)
    first = (tmp_path / "own.nait" / "warmup.safetensors").read_bytes()
    build(tmp_path / "own.nait", corpus, more)
    assert texts == [ROWS + 1]
    assert (tmp_path / "own.nait" / "warmup.safetensors").read_bytes() == first


def test_other_views_are_those_of_an_index_without_gradients(
    build: Callable[..., NaitIndex], corpus: Path, whole: Path, tmp_path: Path
) -> None:
    """Adapters sit on a model of their own: the activations are those of the model as it is."""
    build(tmp_path / "own.nait", corpus, views=(View.PCA,))
    alone, beside = samples_of(tmp_path / "own.nait"), samples_of(whole)
    assert {row_id: {name: row[name] for name in row if name != "grad"} for row_id, row in beside.items()} == alone
    assert basis_of(tmp_path / "own.nait") == basis_of(whole)


BUILDER = "nait_index.building.builder"
PREPARE = "nait_index.building.gradients"
GRADIENTS = "nait_index.activations.gradients.encoder.GradientEncoder"
STEPS: list[tuple[str, int, str]] = [
    (f"{GRADIENTS}.warm_up", 1, "before"),
    (f"{GRADIENTS}.warm_up", 1, "after"),
    (f"{PREPARE}.save_fitted", 1, "before"),
    (f"{PREPARE}.save_fitted", 1, "after"),
    (f"{PREPARE}.save_manifest", 1, "after"),
    (f"{PREPARE}.load_fitted", 1, "after"),
    (f"{GRADIENTS}._project", 1, "before"),
    (f"{GRADIENTS}._project", 2, "after"),
    (f"{GRADIENTS}._project", 3, "before"),
    (f"{BUILDER}.StagedShard.finish", 1, "after"),
    (f"{BUILDER}.StagedShard.finish", 2, "before"),
    (f"{BUILDER}.fit_basis", 1, "after"),
    (f"{BUILDER}.save_manifest", 2, "after"),
    (f"{BUILDER}.SampleTable.append", 1, "after"),
    (f"{BUILDER}.SampleTable.append", 2, "after"),
    (f"{BUILDER}.SampleTable.append", 3, "before"),
    (f"{BUILDER}.SampleTable.compact", 1, "after"),
]
"""Function, which call of it, and when."""


@pytest.mark.parametrize(("place", "call", "when"), STEPS)
def test_a_build_interrupted_at_any_step_ends_like_an_uninterrupted_one(
    place: str,
    call: int,
    when: str,
    build: Callable[..., NaitIndex],
    corpus: Path,
    whole: Path,
    examples: Path,
    tmp_path: Path,
) -> None:
    root = tmp_path / "own.nait"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, place, call=call, after=when == "after")
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus)
    build(root, corpus)
    _assert_same(root, whole, examples)


def test_a_build_interrupted_again_and_again_ends_like_an_uninterrupted_one(
    build: Callable[..., NaitIndex], corpus: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    for event in (2, 3, 4):
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus, progress=_raise_at(event))
    build(root, corpus)
    _assert_same(root, whole, examples)


def _raise_at(event: int) -> "ProgressCallback":
    seen = {"events": 0}

    def progress(_: "BuildProgress") -> None:
        seen["events"] += 1
        if seen["events"] == event:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(
    ("place", "call"),
    [(f"{PREPARE}.load_fitted", 1), (f"{GRADIENTS}._project", 2), (f"{BUILDER}.SampleTable.append", 1)],
)
def test_an_interrupted_addition_goes_on_with_the_same_adapters(
    place: str,
    call: int,
    build: Callable[..., NaitIndex],
    corpus: Path,
    more: Path,
    whole: Path,
    grown: Path,
    examples: Path,
    tmp_path: Path,
) -> None:
    root = tmp_path / "own.nait"
    build(root, corpus)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, place, call=call)
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus, more)
    assert samples_of(root) == samples_of(whole)
    assert _ranking(root, examples) == _ranking(whole, examples)
    build(root, corpus, more)
    _assert_same(root, grown, examples)


def test_a_warm_up_that_is_damaged_or_gone_is_named(
    build: Callable[..., NaitIndex], corpus: Path, more: Path, examples: Path, tmp_path: Path
) -> None:
    from nait_index import NaitError

    root = tmp_path / "own.nait"
    build(root, corpus)
    file = Layout(root).warmup
    whole = file.read_bytes()
    for damaged in (b"", whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], None):
        if damaged is None:
            file.unlink()
        else:
            file.write_bytes(damaged)
        assert str(file) in refusal("query", root, "-e", examples, "--method", "less")
        with pytest.raises(NaitError, match=r"warmup\.safetensors"):
            build(root, corpus, more)
    file.write_bytes(whole)
    assert build(root, corpus, more).report is not None


@pytest.mark.parametrize(
    "changes", [{"grad_dim": WIDTH + 1}, {"grad_layers": 1}, {"grad_checkpoints": 2}, {"seed": 1}], ids=str
)
def test_other_gradients_are_refused_by_name(
    changes: dict[str, int], build: Callable[..., NaitIndex], whole: Path, corpus: Path
) -> None:
    from nait_index.errors import FingerprintError

    with pytest.raises(FingerprintError, match=rf"{next(iter(changes))} \("):
        build(whole, corpus, **changes)


def test_gradients_of_another_precision_are_refused_by_name(whole: Path, more: Path, tiny_model: Any) -> None:
    from nait_index.config import ModelConfig, Precision
    from nait_index.errors import FingerprintError
    from nait_index.store.manifest import load_manifest

    recorded = load_manifest(Layout(whole))
    model = ModelConfig(
        str(tiny_model("llama")),
        dtype=Precision(recorded.fingerprint.dtype),
        max_length=recorded.fingerprint.max_length,
        gradient_dtype=Precision.FLOAT16,
    )
    with pytest.raises(FingerprintError, match=r"gradient_dtype \(none here, float16 there\)"):
        NaitIndex.build(whole, more, model=model, signatures=recorded.fingerprint.signatures)
