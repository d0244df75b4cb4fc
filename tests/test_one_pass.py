"""Several capabilities in one pass over the signatures are ranked exactly as one after the other."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import build_small, small_rows, small_signatures, write_lines

from nait_index import NaitIndex
from nait_index.methods.registry import MethodName
from nait_index.search.exact import ExactScan
from nait_index.search.hits import rescored
from nait_index.selection.budget import Budget
from nait_index.selection.ranking import Ranked, RankingRequest, rank
from nait_index.signatures.features import Feature

ROWS = 90
KINDS = ["narrow", "fine", "full"]


class Built:
    """An index, and examples of three capabilities."""

    def __init__(self, folder: Path, model: Path, **settings: Any) -> None:
        corpus = write_lines(folder / "corpus.jsonl", small_rows(ROWS))
        signatures = small_signatures(**({"reservoir": 64} | settings))
        self.index = build_small(folder / "own.nait", corpus, model=model, max_length=48, signatures=signatures)
        rows = small_rows(40, first=200)
        sets = {"add": rows[1:20:2], "name": rows[0:30:2], "both": rows[30:]}
        files = {name: write_lines(folder / f"{name}.jsonl", rows) for name, rows in sets.items()}
        self.capabilities = {name: self.index.make_capability(file).examples for name, file in files.items()}

    def rank(self, names: list[str], method: str, k: int, allowed: np.ndarray | None = None) -> list[Ranked]:
        index = NaitIndex(self.index.layout.root)
        examples = [self.capabilities[name] for name in names]
        request = RankingRequest((), MethodName(method), Budget(str(k), k), len(index), allowed)
        return rank(index.columns, examples, request)


@pytest.fixture(scope="module")
def indexes(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Built]:
    """Build three indexes: all stored columns are scanned, means are wider, and whole vectors are kept."""
    model = tiny_model("llama")
    settings = {"narrow": (16, 16), "fine": (4, 32), "full": (None, 32)}
    return {
        kind: Built(tmp_path_factory.mktemp(kind), model, pca_dim=pca, fine_dim=fine)
        for kind, (pca, fine) in settings.items()
    }


def test_the_indexes_are_what_they_are_meant_to_be(indexes: Mapping[str, Built]) -> None:
    widths = {}
    for kind, built in indexes.items():
        stamp = built.index.columns.stamp(Feature.MEAN)
        widths[kind] = (stamp.dim, built.index._compressor.dim(Feature.MEAN), stamp.dtype)
    assert widths["narrow"] == (16, 16, "int8")
    assert widths["fine"] == (4, 32, "int8")
    assert widths["full"][2] == "float32"


@pytest.mark.parametrize("method", ["probe", "contrast", "nait", "nait-drift", "nas"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 9, ROWS])
def test_several_capabilities_are_ranked_as_one_by_one(
    k: int, kind: str, method: str, indexes: Mapping[str, Built]
) -> None:
    built, names = indexes[kind], list(indexes[kind].capabilities)
    together = built.rank(names, method, k)
    assert k != 9 or len({ranked.ids for ranked in together}) == 3, "equal rankings would tell little"
    for name, ranked in zip(names, together, strict=True):
        (alone,) = built.rank([name], method, k)
        if kind == "full":
            np.testing.assert_allclose(ranked.scores, alone.scores, rtol=1e-4, atol=1e-5 * np.ptp(alone.scores))
        else:
            assert ranked == alone
    backwards = built.rank(names[::-1], method, k)
    if kind != "full":
        assert backwards == together[::-1]


@pytest.mark.parametrize("method", ["probe", "contrast", "nait"])
@pytest.mark.parametrize("kind", ["narrow", "fine"])
def test_filters_hold_for_every_one_of_them(kind: str, method: str, indexes: Mapping[str, Built]) -> None:
    built, names = indexes[kind], list(indexes[kind].capabilities)
    allowed = np.arange(ROWS) % 3 == 1
    for name, ranked in zip(names, built.rank(names, method, 7, allowed), strict=True):
        assert len(ranked.ids) == 7
        assert allowed[list(ranked.ordinals)].all()
        assert [ranked] == built.rank([name], method, 7, allowed)


@pytest.mark.parametrize(
    ("method", "passes", "queries"),
    [("probe", 2, 6), ("probe-neurons", 1, 3), ("contrast", 1, 3), ("nait", 1, 3), ("nas", 3, 3)],
)
def test_the_signatures_are_scanned_once_for_all(
    method: str, passes: int, queries: int, indexes: Mapping[str, Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, seen = ExactScan.scores, list[int]()

    def counted(self: ExactScan, queries: np.ndarray, threads: int | None = None) -> np.ndarray:
        seen.append(len(queries))
        return scores(self, queries)

    monkeypatch.setattr(ExactScan, "scores", counted)
    built = indexes["fine"]
    built.rank(list(built.capabilities), method, 5)
    # The joint probe scans two views, each once for all three capabilities.
    assert (len(seen), sum(seen)) == (passes, queries)


def test_the_index_gives_each_capability_its_own_ranking(indexes: Mapping[str, Built], tmp_path: Path) -> None:
    """Through the facade: the union holds what each capability's own query chooses."""
    built = indexes["narrow"]
    capabilities = [
        built.index.make_capability(built.index.layout.root.parent / f"{name}.jsonl") for name in ("add", "name")
    ]
    for method in ("probe", "contrast", "nait"):
        chosen = [set(built.index.query(capability, method=method, top=9).ids) for capability in capabilities]
        assert set(built.index.query(capabilities, method=method, top=9).ids) == chosen[0] | chosen[1]
        assert chosen[0] != chosen[1]


# ---- ties near the cut ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1025, 1027, 1500])
def test_equal_rows_tie_when_they_are_scored_again(rows: int) -> None:
    """Wherever they are in a block of a product; the last block has another size."""
    unequal = 0
    for seed in range(16):
        rng = np.random.default_rng(seed)
        stored = np.rint(30 * rng.normal(size=(rows, 2048))).clip(-127, 127).astype(np.int8)
        half = rows // 2
        stored[-half:] = stored[:half][::-1]
        query = rng.normal(size=2048).astype(np.float32)
        coarse = (stored[:, :1024].astype(np.float64) @ query[:1024]).astype(np.float32)
        (hits,) = rescored(stored.__getitem__, coarse[None], query[None], rows, None)
        scores = np.empty(rows)
        scores[hits.ordinals] = hits.scores
        unequal += int((scores[-half:] != scores[:half][::-1]).sum())
    assert unequal == 0
