"""Methods that read texts, lengths and ids: their formulas written out again, and what they promise of any corpus."""

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from nait_index.corpus.words import words
from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples, Scored
from nait_index.methods.baselines import Length, RandomOrder
from nait_index.methods.bm25 import Bm25, ranks
from nait_index.methods.dsir import Dsir, DsirMean, buckets

WORDS = [
    "add",
    "the",
    "numbers",
    "of",
    "two",
    "lists",
    "def",
    "return",
    "x",
    "1",
    "=",
    "(",
    ")",
    "東京",
    "مرحبا",
    "için",
]


@dataclass
class FakeRows:
    """The part of an index that these methods read."""

    rows: Sequence[str]
    names: Sequence[str] = ()
    columns: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self) -> list[str]:
        return list(self.names) or [f"r{number}" for number in range(len(self.rows))]

    def texts(self) -> Iterator[str]:
        return iter(self.rows)

    def numbers(self, column: str) -> np.ndarray:
        return np.asarray(self.columns[column])

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a method that needs no view reads {name}")


def examples(*texts: str) -> Examples:
    return Examples(texts, {}, {})


def invented(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 30))) for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Add the NUMBERS: x_1, 2!", ["add", "the", "numbers", "x_1", "2"]),
        ("東京タワー2階へ", ["東", "京", "タ", "ワ", "ー", "2", "階", "へ"]),
        ("قُرْآن كريم", ["قُرْآن", "كريم"]),  # vowel signs stay inside their word
        ("සිංහල හිन्दी", ["සිංහල", "හිन्दी"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("Straße STRASSE ＡＢＣ e\u0301", ["strasse", "strasse", "abc", "é"]),
        (" …!? ", []),
        ("", []),
    ],
)
def test_words_of_every_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def bm25_by_hand(queries: Sequence[str], texts: Sequence[str]) -> list[float]:
    documents = [Counter(words(text)) for text in texts]
    lengths = [sum(counts.values()) for counts in documents]
    mean = sum(lengths) / len(lengths)

    def score(query: set[str], document: int) -> float:
        total = 0.0
        for word in query:
            df, tf = sum(word in counts for counts in documents), documents[document][word]
            idf = math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
            total += idf * tf / (tf + 1.5 * (1 - 0.75 + 0.75 * lengths[document] / mean))
        return round(total, 5)

    total = [0.0] * len(texts)
    for query in queries:
        scores = [score(set(words(query)), row) for row in range(len(texts))]
        for row in range(len(texts)):
            total[row] += 1 / (60 + 1 + sum(other > scores[row] for other in scores)) / len(queries)
    return total


def test_bm25_is_its_formula() -> None:
    texts, queries = invented(60, 0), invented(7, 1)
    np.testing.assert_allclose(
        Bm25().scores(examples(*queries), FakeRows(texts)), bm25_by_hand(queries, texts), rtol=1e-6
    )


def test_bm25_finds_what_shares_words_in_scripts_without_spaces() -> None:
    texts = [
        "The cat sat on the mat.",
        "影评家们如何评价这部电影？",
        "يقع البيت في المدينة",
        "この映画はどこで撮影されましたか",
    ]
    query = examples("这部电影由谁导演？")
    assert Bm25().rank(query, FakeRows(texts), 2, None).ordinals.tolist() == [1, 3]
    assert Bm25().rank(query, FakeRows(texts), 1, np.array([1, 0, 1, 1], bool)).ordinals.tolist() == [3]


def test_bm25_without_a_shared_word_says_so() -> None:
    for corpus in (["one two"], ["…"], [""]):
        with pytest.raises(CapabilityError, match="no word of these examples"):
            Bm25().scores(examples("three"), FakeRows(corpus))
    # An example without any word leaves the ranking to the others.
    hits = Bm25().rank(examples("…", "two"), FakeRows(["one", "two"]), 1, None)
    assert hits.ordinals.tolist() == [1]


def test_equal_scores_share_a_rank() -> None:
    assert ranks(np.array([0.0, 3.0, 1.0, 3.0, 0.0, 0.0])).tolist() == [4, 1, 3, 1, 4, 4]


def dsir_by_hand(targets: Sequence[str], texts: Sequence[str]) -> tuple[list[float], list[int]]:
    def ngrams(text: str) -> list[str]:
        tokens = re.findall(r"\w+|[^\w\s]+", text.lower())
        return tokens + [" ".join(tokens[i : i + 2]) for i in range(len(tokens) - 1)]

    def bucket(ngram: str) -> int:
        return int(hashlib.sha256(ngram.encode()).hexdigest(), 16) % 10_000

    p, q = (Counter(bucket(ngram) for text in side for ngram in ngrams(text)) for side in (targets, texts))
    sums, lengths = [], []
    for text in texts:
        hashed = [bucket(ngram) for ngram in ngrams(text)]
        sums.append(
            sum(math.log(p[ngram] / p.total() + 1e-8) - math.log(q[ngram] / q.total() + 1e-8) for ngram in hashed)
        )
        lengths.append(len(hashed))
    return sums, lengths


def test_dsir_is_its_formula_and_its_mean_is_per_ngram() -> None:
    texts, targets = [*invented(60, 2), " "], invented(7, 3)
    sums, lengths = dsir_by_hand(targets, texts)
    np.testing.assert_allclose(Dsir().scores(examples(*targets), FakeRows(texts)), sums, rtol=1e-5)
    means = [total / max(1, length) for total, length in zip(sums, lengths, strict=True)]
    np.testing.assert_allclose(DsirMean().scores(examples(*targets), FakeRows(texts)), means, rtol=1e-5)


def test_buckets_never_move() -> None:
    assert buckets("The cat, the CAT.").tolist() == [8288, 2366, 4887, 8288, 2366, 3960, 143, 4947, 4852, 143, 4482]


def test_dsir_of_examples_without_words_is_refused() -> None:
    with pytest.raises(CapabilityError, match="dsir needs"):
        Dsir().scores(examples("", " "), FakeRows(["one two"]))


@pytest.mark.parametrize("method", [Bm25(), Dsir(), DsirMean(), RandomOrder()])
def test_no_score_depends_on_the_order_of_rows_or_examples(method: Scored) -> None:
    texts, targets = invented(40, 4), invented(5, 5)
    names = [f"row {number}" for number in range(40)]
    scores = method.scores(examples(*targets), FakeRows(texts, names))
    assert (scores.dtype, scores.shape) == (np.float32, (40,))
    order = np.random.default_rng(0).permutation(40)
    moved = FakeRows([texts[row] for row in order], [names[row] for row in order])
    np.testing.assert_array_equal(method.scores(examples(*targets), moved), scores[order])
    np.testing.assert_allclose(method.scores(examples(*targets[::-1]), FakeRows(texts, names)), scores, rtol=1e-6)


def test_length_takes_the_longest_first() -> None:
    rows = FakeRows(["", "", "", ""], columns={"n_tokens": np.array([5, 9, 2, 9])})
    hits = Length().rank(examples("x"), rows, 3, None)
    assert (hits.ordinals.tolist(), hits.scores.tolist()) == ([1, 3, 0], [9, 9, 5])


def test_random_order_is_even_seeded_and_never_moves() -> None:
    rows = FakeRows([""] * 4000)
    scores = RandomOrder().scores(examples("x"), rows)
    assert scores.min() >= 0
    assert scores.max() < 1
    assert np.abs(np.histogram(scores, bins=10, range=(0, 1))[0] - 400).max() < 100
    np.testing.assert_array_equal(scores, RandomOrder(0).scores(examples("y", "z"), rows))
    assert abs(np.corrcoef(scores, RandomOrder(1).scores(examples("x"), rows))[0, 1]) < 0.1
    np.testing.assert_allclose(scores[:3], [0.8316931128501892, 0.6027920246124268, 0.790511429309845])


def test_every_text_method_needs_no_view() -> None:
    for method in (Bm25, Dsir, DsirMean, Length, RandomOrder):
        assert method.view is None
