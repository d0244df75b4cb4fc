"""Methods against NumPy references that read one sample at a time and share no code with the package."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from helpers import build_small, refusal, samples_of, small_rows, small_signatures, write_lines
from nait_reference import cosine, pooled_reader, ranking, text_of

from nait_index import NaitIndex
from nait_index.config import Device, ModelConfig, SearchMode, SignatureConfig, View
from nait_index.errors import CapabilityError, SelectionError, StoreError
from nait_index.methods.base import Examples
from nait_index.methods.embedding import Embedding
from nait_index.methods.nas import Nas
from nait_index.methods.probe import Probe
from nait_index.methods.rds import Rds, RdsMax
from nait_index.methods.registry import MethodName, method_of
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.hits import Hits, best
from nait_index.signatures.features import Feature
from nait_index.signatures.views import dense_column
from nait_index.store.samples import spread
from tools.demo.corpus import Split, generate

Scores = dict[str, float]
TOPK = 12
EXACT = 1e-4
"""Of scores made of float32."""
HALF = 2e-3
"""Of cosines of vectors that are stored in float16."""
PROBE = 1e-2
"""Of log-odds: the minimiser stops before the last digit."""


class FakeRows:
    """Rows with ids in their order and some columns, read in blocks of different sizes.

    :param steps: of dense signatures that are codes; those of others are 1.
    """

    def __init__(
        self,
        columns: Mapping[str, np.ndarray],
        cuts: Sequence[int] = (),
        widths: tuple[int, ...] = (),
        topk: int = 1,
        steps: np.ndarray | None = None,
    ) -> None:
        self._columns, self._cuts, self.widths, self.topk, self._steps = columns, cuts, widths, topk, steps
        self.center = np.zeros((2, sum(widths)), dtype=np.float32)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def ids(self) -> list[str]:
        return [f"row-{number:04}" for number in range(len(self))]

    def blocks(self, column: str) -> Iterator[np.ndarray]:
        yield from np.split(self._columns[column], self._cuts)

    def project(self, direction: np.ndarray, feature: Feature) -> np.ndarray:
        assert self._steps is None
        return direction.astype(np.float32)

    def steps(self, feature: Feature) -> np.ndarray:
        width = self._columns[dense_column(feature)].shape[1]
        return np.ones(width, np.float32) if self._steps is None else self._steps

    def holds(self, feature: Feature) -> bool:
        return dense_column(feature) in self._columns

    def vectors(self, signatures: np.ndarray, feature: Feature) -> np.ndarray:
        return np.asarray(signatures * self.steps(feature))

    def sampled(self, feature: Feature, count: int) -> np.ndarray:
        return self._columns[dense_column(feature)][spread(len(self), count)]

    def cached(self, made_of: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        return np.asarray(make(), np.float64)

    def scores(self, feature: Feature, queries: np.ndarray) -> np.ndarray:
        stored = self._columns[dense_column(feature)]
        stamp = ScanStamp(1, len(self), stored.shape[1], str(stored.dtype))
        return ExactScan.build(self.blocks(dense_column(feature)), stamp).scores(queries)

    def search(
        self, vectors: Mapping[Feature, np.ndarray], k: int, allowed: np.ndarray | None, mode: SearchMode
    ) -> list[Hits]:
        assert mode is SearchMode.EXACT
        ((feature, queries),) = vectors.items()
        return [best(scores, k, allowed) for scores in self.scores(feature, queries)]


# ---- one index, and what is known of its rows by hand ----------------------------------------------------------------


class Built:
    """A corpus of all skills of the demo, examples of one of them, and an index of a tiny llama."""

    def __init__(self, folder: Path, corpus: Sequence[Mapping[str, Any]], **settings: Any) -> None:
        self.model = folder / "model"
        if not self.model.exists():
            tiny_models.save_family("llama", self.model, max_position_embeddings=1024)
        self.root, self.corpus = folder / "index.nait", list(corpus)
        self.examples = generate(Split.EXAMPLES, {"arithmetic": 7})
        views = tuple(View(view) for view in settings.pop("views", "pca,topk,hidden").split(","))
        self.index = NaitIndex.build(
            self.root,
            write_lines(folder / "corpus.jsonl", corpus),
            model=ModelConfig(name=str(self.model), device=Device.CPU, **settings),
            signatures=SignatureConfig(views=views, pca_dim=None, topk=TOPK),
        )
        self.file = write_lines(folder / "arithmetic.jsonl", self.examples)
        self.capability = self.index.make_capability(self.file)

    def scores(self, method: str, **options: Any) -> Scores:
        """Return ids and scores in the order of the selection."""
        selection = self.index.query(self.capability, method=method, **({"top": "100%"} | options))
        return dict(zip(selection.ids, selection.scores, strict=True))

    def stored(self, column: str, dtype: type) -> dict[str, np.ndarray]:
        """Read a column of the table without the package's readers."""
        return {row_id: np.frombuffer(row[column], dtype) for row_id, row in samples_of(self.root).items()}

    def texts(self) -> tuple[dict[str, str], list[str]]:
        return {row["id"]: text_of(row) for row in self.corpus}, [text_of(row) for row in self.examples]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("methods"), generate(Split.CORPUS, 5))


@cache
def reader(model: Path) -> Callable[[str], tuple[list[np.ndarray], np.ndarray]]:
    """Read a text alone: every layer's mean size of the up-projection, and the last hidden states (T, H)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    body = AutoModel.from_pretrained(model, dtype=torch.float32).eval()
    seen: dict[int, np.ndarray] = {}
    for number, layer in enumerate(body.layers):
        layer.mlp.up_proj.register_forward_hook(
            lambda _module, _args, out, number=number: seen.update({number: out[0].double().numpy()})
        )

    @cache
    def read(text: str) -> tuple[list[np.ndarray], np.ndarray]:
        with torch.no_grad():
            hidden = body(input_ids=torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
        return [np.abs(seen[number]).mean(axis=0) for number in sorted(seen)], hidden.double().numpy()

    return read


def assert_scores(scores: Scores, expected: Mapping[str, float], tolerance: float) -> None:
    """Check that every row is ranked once, with its score, best first; ids break ties."""
    assert sorted(scores) == sorted(expected)
    assert list(scores) == ranking(scores)
    spread = max(expected.values()) - min(expected.values())
    assert spread > 20 * tolerance, "the comparison would tell nothing"
    for row_id, expected_score in expected.items():
        assert scores[row_id] == pytest.approx(expected_score, abs=tolerance), row_id


# ---- nas -------------------------------------------------------------------------------------------------------------


def reference_nas(built: Built, layer: int) -> Scores:
    read = pooled_reader(built.model)
    corpus, examples = built.texts()
    target = np.mean([read(text)["mean"][layer] for text in examples], axis=0)
    return {row_id: cosine(read(text)["mean"][layer], target) for row_id, text in corpus.items()}


def test_nas_is_the_cosine_to_the_mean_state_of_the_last_layer_but_one(built: Built) -> None:
    assert_scores(built.scores("nas"), reference_nas(built, 1), EXACT)
    assert ranking(built.scores("nas")) == ranking(reference_nas(built, 1))


@pytest.mark.parametrize(("layers", "layer"), [("1", 1), ("last", 2), ("0,2", 0)])
def test_nas_reads_the_last_captured_layer_but_one_or_the_only_one(layers: str, layer: int, tmp_path: Path) -> None:
    built = Built(tmp_path, generate(Split.CORPUS, 2), layers=layers, views="pca")
    assert_scores(built.scores("nas"), reference_nas(built, layer), EXACT)


def test_nas_chooses_among_the_rows_that_pass_a_filter(built: Built) -> None:
    expected = {
        row_id: score for row_id, score in reference_nas(built, 1).items() if row_id.startswith(("code", "logic"))
    }
    where = "id LIKE 'code%' OR id LIKE 'logic%'"
    assert_scores(built.scores("nas", where=where), expected, EXACT)
    assert list(built.scores("nas", where=where, top=3)) == ranking(expected)[:3]


def test_nas_gives_a_row_without_activations_nothing() -> None:
    states = np.array([[3, 4, 0, 0], [0, 0, 0, 0], [0, 0, 5, 0]], dtype=np.float32)
    center = states.mean(axis=0)
    norms = np.array([[5, 9], [0, 9], [5, 9]], dtype=np.float32)
    dense = np.concatenate([states - center, np.zeros((3, 1), np.float32)], axis=1)
    rows = FakeRows({"pca_norms": norms, "pca_mean": dense}, cuts=(2,), widths=(4, 1))
    rows.center[:, :4] = center
    pooled = np.zeros((1, 2, 5), dtype=np.float32)
    pooled[0, 0, :4] = [1, 0, 1, 0]
    examples = Examples([""], Nas().summarise(pooled, (4, 1)), {})
    hits = Nas().rank(examples, rows, 3, None)
    np.testing.assert_array_equal(hits.ordinals, [2, 0, 1])
    np.testing.assert_allclose(hits.scores, [0.5**0.5, 0.6 * 0.5**0.5, 0], atol=1e-6)


# ---- nag -------------------------------------------------------------------------------------------------------------


def strongest(impact: np.ndarray) -> list[int]:
    return sorted(range(len(impact)), key=lambda i: (-impact[i], i))[:TOPK]


def reference_nag(built: Built) -> Scores:
    read = reader(built.model)
    corpus, examples = built.texts()
    layers = len(read(examples[0])[0])
    scores = dict.fromkeys(corpus, 0.0)
    for layer in range(layers):
        counts: dict[int, int] = {}
        for text in examples:
            for neuron in strongest(read(text)[0][layer]):
                counts[neuron] = counts.get(neuron, 0) + 1
        total = sum(counts.values())
        for row_id, text in corpus.items():
            scores[row_id] += sum(counts.get(neuron, 0) / total for neuron in strongest(read(text)[0][layer])) / layers
    return scores


def test_index_holds_the_neurons_of_largest_impact(built: Built) -> None:
    read = reader(built.model)
    corpus, _ = built.texts()
    numbers, values = built.stored("topk_neurons", np.uint16), built.stored("topk_values", np.float16)
    for row_id, text in corpus.items():
        for layer, impact in enumerate(read(text)[0]):
            here = slice(layer * TOPK, (layer + 1) * TOPK)
            assert sorted(numbers[row_id][here]) == sorted(strongest(impact))
            np.testing.assert_allclose(values[row_id][here], impact[numbers[row_id][here]], rtol=1e-3)
            assert (np.diff(values[row_id][here]) <= 0).all()


def test_nag_adds_up_how_often_the_examples_share_each_neuron(built: Built) -> None:
    expected = reference_nag(built)
    scores = built.scores("nag")
    assert_scores(scores, expected, 1e-6)
    assert 0 < min(scores.values()) < max(scores.values()) < 1


# ---- rds -------------------------------------------------------------------------------------------------------------


def representations(built: Built, weigh: bool) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Return the mean of the last hidden states of rows and examples, by position or plain."""
    read = reader(built.model)

    def of(text: str) -> np.ndarray:
        states = read(text)[1]
        weights = np.arange(1, len(states) + 1) if weigh else np.ones(len(states))
        return np.asarray(sum(w * state for w, state in zip(weights, states, strict=True)) / weights.sum())

    corpus, examples = built.texts()
    return {row_id: of(text) for row_id, text in corpus.items()}, [of(text) for text in examples]


def take_turns(rows: Mapping[str, np.ndarray], examples: Iterable[np.ndarray], k: int) -> list[str]:
    """Assign each example in turn the most similar row that is left, ties to the lower id."""
    left, chosen, targets = dict(rows), list[str](), list(examples)
    while len(chosen) < k:
        example = targets[len(chosen) % len(targets)]
        chosen.append(min(left, key=lambda name: (-cosine(left[name], example), name)))
        del left[chosen[-1]]
    return chosen


@pytest.mark.parametrize(("column", "weigh"), [("hidden_mean", False), ("hidden_weighted", True)])
def test_index_holds_the_means_of_the_last_hidden_states(column: str, weigh: bool, built: Built) -> None:
    expected, of_examples = representations(built, weigh)
    stored = built.stored(column, np.float16)
    assert sorted(stored) == sorted(expected)
    for row_id, values in stored.items():
        np.testing.assert_allclose(values, expected[row_id], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(built.capability.examples.signatures[column], of_examples, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("where", [None, "id LIKE 'code%' OR n_tokens > 150"])
@pytest.mark.parametrize("k", [1, 3, 7, 8, 23, "100%"])
def test_rds_lets_the_examples_take_turns(k: int | str, where: str | None, built: Built) -> None:
    """Exact for the representations as they are stored."""
    rows = {row_id: values.astype(float) for row_id, values in built.stored("hidden_weighted", np.float16).items()}
    if where:
        long = {row["id"] for row in built.index.rows() if row["n_tokens"] > 150}
        rows = {row_id: values for row_id, values in rows.items() if row_id.startswith("code") or row_id in long}
        assert 23 < len(rows) < 60
    count = len(rows) if isinstance(k, str) else k
    examples = built.capability.examples.signatures["hidden_weighted"].astype(float)
    scores = built.scores("rds", top=k, where=where)
    assert list(scores) == take_turns(rows, examples, count)
    np.testing.assert_allclose(list(scores.values()), [1 - turn / len(rows) for turn in range(count)], atol=1e-12)


def test_rds_takes_what_is_most_similar_by_hand_as_far_as_half_precision_tells(built: Built) -> None:
    rows, examples = representations(built, weigh=True)
    for turn, chosen in enumerate(built.scores("rds")):
        similar = {row_id: cosine(values, examples[turn % len(examples)]) for row_id, values in rows.items()}
        assert similar[chosen] >= max(similar.values()) - HALF
        del rows[chosen]
    assert rows == {}


def test_rds_max_is_the_cosine_to_the_nearest_example(built: Built) -> None:
    rows, examples = representations(built, weigh=True)
    expected = {row_id: max(cosine(values, example) for example in examples) for row_id, values in rows.items()}
    assert_scores(built.scores("rds-max"), expected, HALF)


@pytest.mark.parametrize("examples", [1, 5, 40])
@pytest.mark.parametrize("share", [None, 0.5])
def test_rds_with_duplicates_takes_turns_exactly(examples: int, share: float | None) -> None:
    """Many examples prefer the same rows, so that their lists of candidates run out; ties go to the lower id."""
    rng = np.random.default_rng(examples)
    # Of lengths 4 and 2, so that every similarity is exact and equal ones are equal in any order of summing.
    values = rng.permuted(np.tile([1, 1, 1, 1, -1, -1, -1, 3, 0, 0, 0, 0], (150, 1)), axis=1).astype(np.float16)
    values[100:] = values[:50]
    targets = rng.permuted(np.tile([1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0], (examples, 1)), axis=1).astype(np.float16)
    rows = FakeRows({"hidden_weighted": values}, cuts=(1, 70, 149))
    allowed = None if share is None else rng.random(150) < share
    ids = {name: row for row, name in enumerate(rows.ids()) if allowed is None or allowed[row]}
    for k in (1, examples, 60, len(ids), len(ids) + 5):
        hits = Rds().rank(Examples([""] * examples, {}, {"hidden_weighted": targets}), rows, k, allowed)
        wanted = take_turns({name: values[row].astype(float) for name, row in ids.items()}, targets, min(k, len(ids)))
        assert [rows.ids()[row] for row in hits.ordinals] == wanted


# ---- embedding -------------------------------------------------------------------------------------------------------


def test_embedding_is_the_cosine_to_the_centroid_of_unit_vectors(built: Built) -> None:
    rows, examples = representations(built, weigh=False)
    centroid = np.mean([example / np.linalg.norm(example) for example in examples], axis=0)
    expected = {row_id: cosine(values, centroid) for row_id, values in rows.items()}
    assert_scores(built.scores("embedding"), expected, HALF)


def test_embedding_gives_every_example_the_same_weight_whatever_its_length() -> None:
    rows = FakeRows({"hidden_mean": np.eye(3, dtype=np.float16)})
    targets = np.array([[100, 0, 0], [0, 1, 0]], dtype=np.float16)
    scores = Embedding().scores(Examples(["", ""], {}, {"hidden_mean": targets}), rows)
    np.testing.assert_allclose(scores, [0.5**0.5, 0.5**0.5, 0], atol=1e-6)


@pytest.mark.parametrize(("method", "column"), [(Embedding(), "hidden_mean"), (RdsMax(), "hidden_weighted")])
def test_rows_of_zeros_are_like_nothing(method: Any, column: str) -> None:
    rows = FakeRows({column: np.array([[0, 0], [1, 1], [-1, 0]], dtype=np.float16)})
    scores = method.scores(Examples([""], {}, {column: np.array([[2, 0]], dtype=np.float16)}), rows)
    np.testing.assert_allclose(scores, [0, 0.5**0.5, -1], atol=1e-6)


# ---- probe -----------------------------------------------------------------------------------------------------------


def unit_vectors(built: Built) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return rows and examples as unit vectors: every block of mean and drift, centred, of the same length."""
    read = pooled_reader(built.model)
    corpus, examples = built.texts()

    def blocks(text: str) -> list[np.ndarray]:
        return read(text)["mean"] + read(text)["drift"]

    center = [np.mean(block, axis=0) for block in zip(*(blocks(text) for text in corpus.values()), strict=True)]

    def vector(text: str) -> np.ndarray:
        centred = [block - c for block, c in zip(blocks(text), center, strict=True)]
        scaled = np.concatenate([block / (np.linalg.norm(block) or 1) for block in centred])
        return scaled / (np.linalg.norm(scaled) or 1)

    return {row_id: vector(text) for row_id, text in corpus.items()}, np.stack([vector(text) for text in examples])


def reference_probe(examples: np.ndarray, corpus: np.ndarray) -> np.ndarray:
    """Score leading coordinates of unit vectors (n, d) by those of examples (E, d).

    Logistic regression in double precision, the coordinate that every training vector has for itself written out.
    """
    count = min(1024, len(corpus))
    sample = corpus[[number * len(corpus) // count for number in range(count)]]  # at equal distances
    pairs = [sample[i] @ sample[j] for i in range(len(sample)) for j in range(i)]
    spread = np.std(pairs) if pairs and np.std(pairs) > 1e-3 else 1.0
    likeness = np.log(np.exp(2 / spread * (sample @ examples.T - 1)).mean(axis=1) + 1e-30)
    order = sorted(range(len(sample)), key=lambda i: (-likeness[i], i))
    weights = np.zeros(len(sample))
    for rank, row in enumerate(order):
        weights[row] = min(1, max(0, 10 * rank / len(sample) - 1))
    weights = weights / weights.sum() if weights.any() else np.full(len(sample), 1 / len(sample))

    points = np.concatenate([examples, sample])
    left_out = [np.sqrt(max(0, 1 - point @ point)) for point in points]
    sign = np.repeat([1.0, -1.0], [len(examples), len(sample)])
    mass = np.concatenate([np.full(len(examples), 1 / len(examples)), weights]) / 2
    theta = newton(np.column_stack([points, np.diag(left_out)]), sign, mass, 1e-3)
    return corpus @ theta[: corpus.shape[1]] + theta[-1]


def newton(points: np.ndarray, sign: np.ndarray, mass: np.ndarray, penalty: float) -> np.ndarray:
    """Minimise Σ mass·log-loss + penalty/2·‖w‖² over w and an intercept, which comes last, to the last digit."""
    x = np.column_stack([points, np.ones(len(points))])
    ridge = np.full(x.shape[1], penalty)
    ridge[-1] = 0

    def loss(theta: np.ndarray) -> float:
        return float(mass @ np.logaddexp(0, -sign * (x @ theta)) + ridge @ theta**2 / 2)

    theta = np.zeros(x.shape[1])
    for _ in range(60):
        wrong = 1 / (1 + np.exp(sign * (x @ theta)))
        gradient = x.T @ (-mass * sign * wrong) + ridge * theta
        if np.abs(gradient).max() < 1e-10:
            return theta
        hessian = (x.T * (mass * wrong * (1 - wrong))) @ x + np.diag(ridge)
        step, length = np.linalg.solve(hessian, gradient), 1.0
        while loss(theta - length * step) > loss(theta) and length > 1e-9:
            length /= 2
        theta = theta - length * step
    raise AssertionError("the reference did not converge")


def probe_scores(examples: np.ndarray, corpus: np.ndarray) -> np.ndarray:
    """Score unit vectors by the package's probe, from codes or from float32.

    Codes are scored as the index does it; the reference accounts for their rounding.
    """
    codes = np.issubdtype(corpus.dtype, np.integer)
    positives, stored = (values if codes else values.astype(np.float32) for values in (examples, corpus))
    rows = FakeRows({"pca_unit": stored}, steps=STEPS[: corpus.shape[1]] if codes else None)
    hits = Probe().rank(Examples([""] * len(examples), {}, {"pca_unit": positives}), rows, len(corpus), None)
    assert (np.diff(hits.scores) <= 0).all()
    scores = np.full(len(corpus), np.nan)
    scores[hits.ordinals] = hits.scores
    return scores


STEPS = (0.01 * 0.97 ** np.arange(64)).astype(np.float32)
"""What a unit of each number of a made-up signature is worth."""


def to_codes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values / STEPS[: values.shape[1]]), -127, 127).astype(np.int8)


def cloud(rows: int, examples: int, dim: int, seed: int = 0, kept: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Make unit vectors of examples that lie around two points, and of a corpus some of whose rows lie there too.

    :param kept: how many of the ``dim`` coordinates are stored; ``None`` for all.
    """
    rng = np.random.default_rng(seed)
    targets = 1.5 * rng.normal(size=(2, dim))
    positives = rng.normal(size=(examples, dim)) + targets[rng.integers(2, size=examples)]
    corpus = rng.normal(size=(rows, dim))
    near = rng.random(rows) < 0.1
    corpus[near] += targets[rng.integers(2, size=near.sum())]
    scaled = [values / np.linalg.norm(values, axis=1, keepdims=True) for values in (positives, corpus)]
    return scaled[0][:, :kept], scaled[1][:, :kept]


def assert_same_order(scores: np.ndarray, expected: np.ndarray, gap: float) -> None:
    """No row is ranked before one whose score is clearly higher."""
    in_order = expected[np.argsort(-scores, kind="stable")]
    assert (np.minimum.accumulate(in_order) >= in_order - gap).all()


def test_probe_scores_by_a_logistic_regression(built: Built) -> None:
    corpus, examples = unit_vectors(built)
    expected = dict(zip(corpus, reference_probe(examples, np.stack(list(corpus.values()))).tolist(), strict=True))
    scores = built.scores("probe")
    assert_scores(scores, expected, PROBE)
    names = list(expected)
    assert_same_order(
        np.array([scores[row_id] for row_id in names]), np.array([expected[row_id] for row_id in names]), PROBE
    )
    assert list(built.scores("probe", top=5)) == list(scores)[:5]
    assert list(built.scores("probe", where="id LIKE 'code%'")) == [
        row_id for row_id in scores if row_id.startswith("code")
    ]


SIZES = pytest.mark.parametrize(
    ("rows", "examples", "dim"),
    [(60, 1, 48), (60, 7, 48), (5, 3, 20), (300, 30, 32), (1300, 150, 24)],
    ids=["one example", "few", "fewer rows than ten", "more rows than dimensions", "more than the sample holds"],
)


@SIZES
@pytest.mark.parametrize("share", [1, 0.5])
def test_probe_scores_vectors_of_any_number_as_the_reference(share: float, rows: int, examples: int, dim: int) -> None:
    """Of whole vectors, and of half of their coordinates."""
    positives, corpus = cloud(rows, examples, dim, kept=int(share * dim))
    expected = reference_probe(positives, corpus)
    scores = probe_scores(positives, corpus)
    assert np.ptp(expected) > 2
    np.testing.assert_allclose(scores, expected, atol=PROBE)
    assert_same_order(scores, expected, PROBE)


@SIZES
def test_probe_scores_codes_by_what_they_stand_for(rows: int, examples: int, dim: int) -> None:
    positives, corpus = (to_codes(values) for values in cloud(rows, examples, dim, kept=dim // 2))
    expected = reference_probe(
        positives.astype(np.float64) * STEPS[: dim // 2], corpus.astype(np.float64) * STEPS[: dim // 2]
    )
    assert np.ptp(expected) > 2
    np.testing.assert_allclose(probe_scores(positives, corpus), expected, atol=PROBE)


def test_the_coordinate_that_is_left_out_counts() -> None:
    """With that coordinate set to 0 the scores differ, so the comparisons above do test it."""
    positives, corpus = cloud(300, 30, 32, kept=16)

    def lengthened(values: np.ndarray) -> np.ndarray:
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    assert (
        np.abs(reference_probe(lengthened(positives), lengthened(corpus)) - reference_probe(positives, corpus)).max()
        > 1
    )


def test_equal_rows_tie_in_probe_wherever_they_lie() -> None:
    positives, corpus = (to_codes(values) for values in cloud(240, 12, 96, kept=64))
    corpus = np.concatenate([corpus, corpus[::-1]])
    scores = probe_scores(positives, corpus)
    np.testing.assert_array_equal(scores[:240], scores[:239:-1])
    assert len(set(scores.tolist())) > 230


@pytest.mark.parametrize("count", [3, 40, 128])
def test_order_of_examples_does_not_matter_to_probe(count: int) -> None:
    positives, corpus = cloud(300, count, 32, kept=24)
    scores = probe_scores(positives, corpus)
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(positives)
        np.testing.assert_allclose(probe_scores(shuffled, corpus), scores, atol=1e-3)


def test_order_of_example_rows_does_not_matter_to_any_method_but_rds(built: Built, tmp_path: Path) -> None:
    backwards = built.index.make_capability(write_lines(tmp_path / "backwards.jsonl", built.examples[::-1]))
    for method in ("probe", "nas", "nag", "rds-max", "embedding"):
        selection = built.index.query(backwards, method=method, top="100%")
        again = dict(zip(selection.ids, selection.scores, strict=True))
        for row_id, score in built.scores(method).items():
            assert again[row_id] == pytest.approx(score, abs=1e-3), method


def test_probe_leaves_out_examples_that_are_the_corpus_mean() -> None:
    positives, corpus = cloud(60, 5, 32)
    with_nothing = np.concatenate([np.zeros((2, 32)), positives])
    np.testing.assert_array_equal(probe_scores(with_nothing, corpus), probe_scores(positives, corpus))
    with pytest.raises(CapabilityError, match=r"^these examples do not differ from the corpus"):
        probe_scores(np.zeros((2, 32)), corpus)


@pytest.mark.parametrize("method", ["probe", "contrast"])
def test_examples_equal_to_the_corpus_mean_are_refused_in_one_line(method: str, tmp_path: Path) -> None:
    """If all rows are one text, their mean is that text; each is run alone, as a batch may change the last bit."""
    row = {"instruction": "Add 1 and 2.", "output": "3"}
    built = Built(tmp_path, [row | {"id": f"row-{number}"} for number in range(4)], views="pca", batch_tokens=1)
    same = built.index.make_capability(write_lines(tmp_path / "same.jsonl", [row]))
    with pytest.raises(CapabilityError, match=r"^these examples do not differ[^\n]*$"):
        built.index.query(same, method=method)
    scores = list(built.scores(method).values())
    assert len(scores) == 4
    assert len(set(scores)) == 1


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_tiny_corpora_are_ranked_by_every_method(rows: int, tmp_path: Path) -> None:
    built = Built(tmp_path, generate(Split.CORPUS, 1)[:rows])
    for method in ("probe", "nas", "nag", "rds", "rds-max", "embedding"):
        scores = built.scores(method)
        assert sorted(scores) == sorted(row["id"] for row in built.corpus)
        assert np.isfinite(list(scores.values())).all()
    corpus, examples = unit_vectors(built)
    expected = reference_probe(examples, np.stack(list(corpus.values())))
    scores = built.scores("probe")
    np.testing.assert_allclose([scores[row_id] for row_id in corpus], expected, atol=PROBE)


@pytest.mark.parametrize("method", ["probe", "contrast", "nait", "nait-drift", "nas"])
def test_a_model_with_one_huge_neuron_is_ranked_by_every_dense_method(method: str, huge: Path, tmp_path: Path) -> None:
    """Many models have such a neuron: raw activations then span fewer dimensions than unit vectors do."""
    index = NaitIndex(huge)
    assert index._compressor.dim(Feature.DRIFT) < index._compressor.dim(Feature.UNIT)
    capability = index.make_capability(write_lines(tmp_path / "examples.jsonl", small_rows(5, first=100)))
    selection = index.query(capability, method=method, top="100%")
    assert len(set(selection.ids)) == 60
    assert np.isfinite(selection.scores).all()
    assert len(set(selection.scores)) > 50


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index of a model whose layers have one neuron of 3,000 times the size."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("huge")
    tiny_models.save_family("llama", folder / "model")
    weights = load_file(folder / "model" / "model.safetensors")
    for name, values in weights.items():
        if "up_proj" in name:
            values[3] *= 3000
    save_file(weights, folder / "model" / "model.safetensors", metadata={"format": "pt"})
    corpus = write_lines(folder / "corpus.jsonl", small_rows(60))
    build_small(folder / "own.nait", corpus, model=folder / "model", signatures=small_signatures(reservoir=48))
    return folder / "own.nait"


@pytest.mark.parametrize("method", ["probe", "nas", "nag", "rds", "rds-max", "embedding"])
def test_one_example_is_enough(method: str, built: Built, tmp_path: Path) -> None:
    """A row of the corpus itself, which is then its own best match."""
    row = built.corpus[17]
    capability = built.index.make_capability(write_lines(tmp_path / "one.jsonl", [row]))
    selection = built.index.query(capability, method=method, top="100%")
    assert len(selection.ids) == len(built.corpus)
    assert selection.ids[0] == row["id"]


# ---- what an index was built without ---------------------------------------------------------------------------------

NEEDED = {name: method_of(name).view for name in MethodName}


@pytest.fixture(scope="module", params=["pca", "topk", "hidden"])
def partial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Built]:
    return request.param, Built(tmp_path_factory.mktemp("partial"), generate(Split.CORPUS, 1), views=request.param)


def test_every_view_is_needed_by_a_method() -> None:
    assert set(NEEDED.values()) == {None, *View}


@pytest.mark.parametrize("method", MethodName)
def test_method_without_its_view_is_refused_with_the_command(
    method: MethodName, partial: tuple[str, Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    view, built = partial
    if NEEDED[method] in (None, view):
        assert len(built.scores(method)) == len(built.corpus)
        built.index.check_method(method)
        return
    more = " --sae FOLDER" if NEEDED[method] == "sae" else ""
    if NEEDED[method] == "landmarks" and view == "pca":
        more = ", or add it with 'nait-index landmarks'"
    message = rf"^method {method} needs the view {NEEDED[method]}, .* without; .*--views {view},{NEEDED[method]}{more}$"
    with pytest.raises(StoreError, match=message):
        built.index.query(built.capability, method=method)
    with pytest.raises(StoreError, match=message):
        built.index.core([built.capability, replace(built.capability, name="again")], method=method)
    monkeypatch.setattr("nait_index.capabilities.examples.IndexEncoder", lambda *_: pytest.fail("the model was loaded"))
    with pytest.raises(StoreError, match=message):
        NaitIndex(built.root).check_method(method)


def test_unknown_method_is_refused_with_all_names(built: Built) -> None:
    all_of_them = r"^unknown method 'nait2'; choose one of: probe, .*random; did you mean nait\?$"
    with pytest.raises(SelectionError, match=all_of_them):
        built.index.query(built.capability, method="nait2")
    with pytest.raises(SelectionError, match=r"^unknown method 'nait2'"):
        built.index.check_method("nait2")


def test_command_refuses_a_method_before_it_encodes_the_examples(
    partial: tuple[str, Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    view, built = partial
    monkeypatch.setattr("nait_index.capabilities.examples.IndexEncoder", lambda *_: pytest.fail("the model was loaded"))
    method = {"pca": "rds", "topk": "probe", "hidden": "nag"}[view]
    message = refusal("query", built.root, "-e", built.file, "--method", method)
    assert message.startswith(f"method {method} needs the view ")
    assert f"--views {view}," in message
