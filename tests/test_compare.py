"""Capabilities compared: against sets and ranks counted by hand."""

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from helpers import build_small, nait_index, refusal, small_signatures, write_lines
from nait_index_cli import explain, output
from rich.cells import cell_len
from scipy.stats import spearmanr

from nait_index import NaitIndex
from nait_index.config import View
from nait_index.insight import compare as module
from nait_index.insight.compare import Comparison, spearman
from tools.demo.corpus import Split, generate

NAMES = ("arithmetic", "code", "tables")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> NaitIndex:
    folder = tmp_path_factory.mktemp("compare")
    corpus = write_lines(folder / "corpus.jsonl", generate(Split.CORPUS, 8))
    signatures = small_signatures(reservoir=64, views=(View.PCA, View.TOPK, View.HIDDEN))
    index = build_small(folder / "i.nait", corpus, signatures=signatures, shard=64)
    for name in NAMES:
        index.add_capability(name, write_lines(folder / f"{name}.jsonl", generate(Split.EXAMPLES, {name: 12})))
    return index


@pytest.mark.parametrize("method", ["probe", "contrast", "nait", "nag", "bm25", "rds"])
def test_a_comparison_counts_what_selections_have_in_common(index: NaitIndex, method: str) -> None:
    compared = index.compare(method=method, top="20%")
    chosen = [set(index.query(name, method=method, top="20%")) for name in NAMES]
    assert compared.names == NAMES
    assert compared.overlap.tolist() == [[len(first & second) for second in chosen] for first in chosen]
    assert compared.sizes == tuple(map(len, chosen))
    assert compared.chance[0, 1] == pytest.approx(len(chosen[0]) * len(chosen[1]) / len(index))
    assert compared.lift[0, 1] == pytest.approx(len(chosen[0] & chosen[1]) / compared.chance[0, 1])
    ranked = [index.query(name, method=method, top="100%") for name in NAMES]
    scores = [
        [dict(zip(selection.ids, selection.scores, strict=True))[row] for row in sorted(selection.ids)]
        for selection in ranked
    ]
    np.testing.assert_allclose(compared.correlation, spearmanr(np.array(scores).T).statistic, atol=0.01)


def test_a_filter_narrows_the_comparison(index: NaitIndex) -> None:
    compared = index.compare(["code", "arithmetic"], top=10, where="n_tokens > 50")
    assert compared.names == ("code", "arithmetic")
    assert compared.available == index.query("code", where="n_tokens > 50").provenance.available
    assert compared.available < len(index)
    assert compared.ranked == compared.available


def test_cosines_are_those_of_the_directions(index: NaitIndex) -> None:
    compared = index.compare(method="nait")
    assert compared.cosine is not None
    stored = [index.capability(name).examples.summary["nait.direction"] for name in NAMES]
    basis = index._compressor.components("mean")  # type: ignore[arg-type]
    projected = [basis @ direction for direction in stored]
    projected = [direction / np.linalg.norm(direction) for direction in projected]
    np.testing.assert_allclose(compared.cosine, [[a @ b for b in projected] for a in projected], atol=1e-4)
    assert index.compare(method="bm25").cosine is None


def test_of_a_large_index_the_order_of_some_rows_is_compared(index: NaitIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = index.compare()
    monkeypatch.setattr(module, "RANKED", 40)
    sampled = index.compare()
    assert whole.ranked == len(index)
    assert 20 <= sampled.ranked <= 40
    np.testing.assert_array_equal(sampled.overlap, whole.overlap)
    np.testing.assert_allclose(sampled.correlation, whole.correlation, atol=0.5)


def comparison(overlap: list[list[int]], names: Sequence[str], available: int = 1000) -> Comparison:
    sizes = np.diag(overlap)
    return Comparison(
        tuple(names),
        "probe",
        "10%",
        available,
        available,
        tuple(sizes.tolist()),
        np.array(overlap),
        np.outer(sizes, sizes) / available,
        np.eye(len(names)),
        None,
    )


def test_capabilities_that_choose_mostly_the_same_may_as_well_be_one() -> None:
    compared = comparison([[100, 60, 0, 0], [60, 100, 51, 0], [0, 51, 100, 50], [0, 0, 50, 100]], "abcd")
    assert compared.merges == (("a", "b", "c"),)
    assert comparison([[100, 10], [10, 100]], "ab").merges == ()
    # Of so few rows, two choices of most of them have more than half in common whatever they are for.
    assert comparison([[800, 650], [650, 800]], "ab").merges == ()


def test_readings_say_what_serves_what_and_own_up_to_less_than_chance() -> None:
    sentences = comparison([[100, 40, 2], [40, 100, 3], [2, 3, 100]], "abc").readings
    assert sentences[0].startswith(
        "a row chosen for a is 4.0 times as likely as any row to be chosen for b too (40 in common"
    )
    assert sentences[2].startswith("no other choice holds more rows of c than chance would; b comes nearest")


def test_ranks_that_order_nothing_correlate_with_nothing() -> None:
    correlation = spearman(np.array([[1.0, 2, 3, 4], [5, 5, 5, 5], [4, 3, 2, 1]]))
    assert correlation.tolist() == [[1, 0, -1], [0, 1, 0], [-1, 0, 1]]


def test_the_command_line_compares_and_draws(index: NaitIndex, tmp_path: Path) -> None:
    root = index.layout.name
    assert nait_index("compare", root, "--top", "20%", "--json").json == index.compare(top="20%").to_dict()
    shown = nait_index("compare", root, "--plot", tmp_path / "c.png")
    assert shown.code == 0, shown.err
    assert "rank correlation" in shown.out
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert nait_index("compare", root, "--plot", tmp_path / "c.svg").code == 0
    first = (tmp_path / "c.svg").read_bytes()
    assert b"arithmetic" in first or b"<svg" in first
    assert "already exists" in refusal("compare", root, "--plot", tmp_path / "c.svg")
    assert nait_index("compare", root, "--plot", tmp_path / "c.svg", "--force").code == 0
    assert (tmp_path / "c.svg").read_bytes() == first
    assert ".png or .svg" in refusal("compare", root, "--plot", tmp_path / "c.jpg")
    assert "at least two" in refusal("compare", root, "-c", "code")


@pytest.mark.parametrize("width", [None, 40, 80, 200])
def test_a_comparison_shows_every_pair_on_any_terminal(width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = comparison([[100, 40, 2], [40, 100, 3], [2, 3, 100]], ["alpha", "beta", "long-name-日本"])
    out = io.StringIO()
    monkeypatch.setattr(output, "columns", lambda: width)
    with redirect_stdout(out):
        explain._print_comparison(compared)
    table = out.getvalue().split("\n\n- ")[0].split("\n\n", 1)[1]
    assert width is None or max(map(cell_len, table.splitlines())) <= width
    titles = ("", "and +", "in common +", "by chance +", "correlation +") if width == 40 else ("",) * 5
    for pair in (("alpha", "beta", "40"), ("alpha", "long-name-日本", "2"), ("beta", "long-name-日本", "3")):
        cells = (*pair, r"10\.0", r"0\.00")
        assert re.search(r"\s+".join(title + cell for title, cell in zip(titles, cells, strict=True)), table)
