"""Rows shared out among processes: what they find together is what one finds, and a change is read where it is held."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_renewal import SCANNED, Corpus, stamp_of

from nait_index.search.copies import ScanCopies
from nait_index.search.cut import count_halves, half_of, score_of, sort_rows
from nait_index.search.hits import Hits
from nait_index.search.merged import MergedScans
from nait_index.search.scans import ColumnQueries, HeldScans
from nait_index.search.shares import SharedRows, share_out
from nait_index.store.engines import prune
from nait_index.store.fragments import Fragment
from nait_index.store.samples import SampleTable

ROWS = 90


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Rows in fragments of several pieces, with a hole, and many of them equal to rows of other fragments."""
    monkeypatch.setattr("nait_index.store.fragments.PIECE", 7)
    made = Corpus(tmp_path)
    monkeypatch.setattr(made, "rng", _Repeating())
    for count in (40, 3, 27, 20):
        made.add(count)
    made.remove(5)
    return made


class _Repeating(np.random.Generator):
    """Random numbers of which whole rows repeat."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def integers(self, low: int, high: int, size: tuple[int, int]) -> np.ndarray:  # type: ignore[override]
        numbers = super().integers(low, high, (9, size[1]))
        return numbers[super().integers(0, 9, size[0])]


def here(table: SampleTable, corpus: Corpus) -> HeldScans:
    return HeldScans(ScanCopies(corpus.layout, table))


def shared(table: SampleTable, corpus: Corpus, shares: int) -> tuple[MergedScans, list[int]]:
    """Scan the shares of a table one after the other in this process, and count the bytes of their answers."""
    divided, moved = share_out(table.fragments_of("id"), shares), []
    rows = [
        SharedRows(HeldScans(ScanCopies(corpus.layout, table, share), threads=1), spans) for share, spans in divided
    ]

    def ask(request: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        answers = [getattr(held, request)(*given) for held, given in zip(rows, arguments, strict=True)]
        moved.append(sum(map(_size, answers)))
        return answers

    return MergedScans(ask, here(table, corpus).each, table.signatures_at, [spans for _, spans in divided]), moved


def _size(answer: Any) -> int:
    """Return the bytes of the arrays in an answer."""
    if isinstance(answer, list | tuple):
        return sum(map(_size, answer))
    return int(np.asarray(answer).nbytes)


def asked(table: SampleTable, column: str, width: int, seed: int = 1) -> ColumnQueries:
    queries = np.random.default_rng(seed).standard_normal((3, width)).astype(np.float32)
    return ColumnQueries(column, stamp_of(table, column), queries)


def assert_same(hits: Sequence[Hits], wanted: Sequence[Hits]) -> None:
    for one, other in zip(hits, wanted, strict=True):
        assert one.scores.dtype == other.scores.dtype
        assert one.scores.tobytes() == other.scores.tobytes()
        assert one.ordinals.tolist() == other.ordinals.tolist()


@pytest.mark.parametrize("shares", [2, 4])
def test_shares_find_what_one_process_finds_ties_included(shares: int, corpus: Corpus) -> None:
    table = corpus.at()
    alone, (together, _) = here(table, corpus), shared(table, corpus, shares)
    part, whole = asked(table, "pca_unit", SCANNED), asked(table, "pca_unit", 12)
    both = [part, asked(table, "words_lsa", SCANNED, 2)]
    stamp = part.stamp
    assert together.longest("pca_unit", stamp) == alone.longest("pca_unit", stamp)
    np.testing.assert_array_equal(together.scores(both), alone.scores(both))
    ordinals = np.array([70, 3, 3, len(table) - 1, 0])
    np.testing.assert_array_equal(together.take("pca_unit", stamp, ordinals), alone.take("pca_unit", stamp, ordinals))
    some = np.random.default_rng(3).random(len(table)) < 0.4
    cases: list[tuple[int, np.ndarray | None]] = [(0, None), (1, None), (11, None), (1000, None)]
    for k, allowed in [*cases, (7, some), (int(some.sum()), some), (3, np.zeros(len(table), bool))]:
        assert_same(together.best([part], k, allowed), alone.best([part], k, allowed))
        assert_same(together.best(both, k, allowed), alone.best(both, k, allowed))
        assert_same(together.best_whole(whole, k, allowed), alone.best_whole(whole, k, allowed))


def test_shares_may_be_empty(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    corpus.add(5)
    table = corpus.at()
    part = asked(table, "pca_unit", SCANNED)
    scans, _ = shared(table, corpus, 3)
    assert_same(scans.best([part], 2, None), here(table, corpus).best([part], 2, None))
    np.testing.assert_array_equal(scans.take("pca_unit", part.stamp, np.array([1])).shape, (1, SCANNED))


def test_only_the_rows_that_are_found_are_moved(corpus: Corpus) -> None:
    table = corpus.at()
    scans, moved = shared(table, corpus, 4)
    part = asked(table, "pca_unit", SCANNED)
    found = scans.best([part], 10, None)
    assert moved[-1] == 8 * sum(len(hits.ordinals) for hits in found)


def test_each_share_reads_only_what_is_new_in_it(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    signatures = SampleTable.signatures

    def counted(self: SampleTable, column: str, fragments: Sequence[Fragment] | None = None) -> Iterator[np.ndarray]:
        for batch in signatures(self, column, fragments):
            reads.append(len(batch))
            yield batch

    monkeypatch.setattr(SampleTable, "signatures", counted)

    def assert_reads(wanted: int) -> None:
        reads.clear()
        table = corpus.at()
        (together, _), part = shared(table, corpus, 2), asked(table, "pca_unit", SCANNED)
        scores = together.scores([part])
        assert sum(reads) == wanted
        np.testing.assert_array_equal(scores, here(table, corpus).scores([part]))

    assert_reads(len(corpus.table))
    assert_reads(0)
    corpus.add(9)
    torn = corpus.layout.engines / "0-of-2" / "1" / "pca_unit.npy"
    torn.parent.mkdir()
    torn.write_bytes(b"without its stamp")
    prune(corpus.layout, corpus.table.version)
    assert not torn.parent.exists()
    assert_reads(9)
    corpus.remove(6)
    prune(corpus.layout, corpus.table.version)
    assert_reads(0)
    folders = {str(path.relative_to(corpus.layout.engines)) for path in corpus.layout.engines.glob("*-of-*/*/")}
    assert folders == {f"{number}-of-2/{corpus.table.version}" for number in range(2)}
    shared(corpus.at(), corpus, 3)[0].scores([asked(corpus.at(), "pca_unit", SCANNED)])
    assert not [*corpus.layout.engines.glob("*-of-2")]


@pytest.mark.parametrize("scores", ["mixed", "alike", "signed"])
def test_the_cut_is_the_score_of_the_row_that_sorting_puts_there(scores: str) -> None:
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal(500) * 10.0 ** rng.integers(-30, 30, 500)
    kinds = {"mixed": mixed, "alike": np.round(mixed, 1), "signed": np.array([0.0, -0.0, 1e-45, -1e-45])}
    numbers = kinds[scores].astype(np.float32)
    parts = np.array_split(rng.permutation(numbers), 3)
    for k in (1, 2, 3, 4, len(numbers) // 2, len(numbers)):
        upper, left = half_of([count_halves(part, None) for part in parts], k)
        lower, _ = half_of([count_halves(part, upper) for part in parts], left)
        assert score_of(upper, lower) == np.sort(numbers)[-k]


def test_rows_are_sorted_by_score_and_equal_ones_by_ordinal() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(-3, 4, 200).astype(np.float32) / 3 * rng.choice(np.float32([1, -1]), 200)
    ordinals = rng.permutation(2**32 - 1 - np.arange(200)).astype(np.uint32)
    order = np.lexsort((ordinals, -scores))
    best_first, places = sort_rows(scores, ordinals)
    np.testing.assert_array_equal(best_first, scores[order])
    np.testing.assert_array_equal(places, ordinals[order])
