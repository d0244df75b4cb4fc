"""The view ``words``: its formula, scripts without spaces, indexes without a model; the probe over several views."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SHARD, build_small, nait_index, refusal, samples_of, small_rows, small_signatures, write_lines

from nait_index import NaitIndex
from nait_index.config import View
from nait_index.corpus.words import terms, words
from nait_index.errors import StoreError
from nait_index.methods.probe import SAMPLE, Probe, train
from nait_index.signatures.features import Feature
from nait_index.signatures.fit import with_words
from nait_index.signatures.pca import Compressor
from nait_index.signatures.words import fit_vocabulary

DOCUMENTS = [
    "the cat sat on the mat",
    "the dog sat on the log",
    "a cat and a dog",
    "numbers add up to the sum",
    "the sum of two numbers",
    "add the two numbers up",
]


def by_hand(document: Sequence[str], reservoir: Sequence[Sequence[str]]) -> dict[str, float]:
    """Weigh the terms of a document by the formula, one by one, and scale the whole to length 1."""
    frequency = {term: sum(term in other for other in reservoir) for term in document}
    weights = {
        term: (1 + np.log(count)) * (1 + np.log((1 + len(reservoir)) / (1 + frequency[term])))
        for term, count in Counter(document).items()
        if frequency[term] > 1
    }
    length = np.sqrt(sum(weight**2 for weight in weights.values()))
    return {term: weight / length for term, weight in weights.items()}


def test_vectors_are_those_of_the_formula_and_products_survive_the_projection() -> None:
    reservoir = [terms(text) for text in DOCUMENTS]
    vocabulary, along = fit_vocabulary(reservoir, 16)
    asked = [*reservoir, terms("the the zebra sat"), terms("nothing known"), []]
    expected = [by_hand(document, reservoir) for document in asked]
    dense = np.array([[weights.get(term, 0) for term in vocabulary.terms] for weights in expected])
    np.testing.assert_allclose(vocabulary.vectors(asked).toarray(), dense, atol=1e-6)
    projected = vocabulary.project(asked)
    assert projected.shape == (len(asked), 16)
    # The components span the reservoir, and are kept in half precision.
    np.testing.assert_allclose(projected[:6] @ projected[:6].T, dense[:6] @ dense[:6].T, atol=2e-3)
    np.testing.assert_allclose(projected[:6], along, atol=1e-6)
    assert not projected[-2:].any()


def test_words_are_runs_of_letters_and_single_characters_of_scripts_without_spaces() -> None:
    assert words("Two_words, naïve Ｔhree!") == ["two_words", "naïve", "three"]
    assert words("ab今日はcd。x") == ["ab", "今", "日", "は", "cd", "x"]
    assert words("ที่นี่ a") == ["ที่", "นี่", "a"]


def test_coordinates_are_of_length_one_however_few_the_components_are() -> None:
    vocabulary, _ = fit_vocabulary([terms(text) for text in DOCUMENTS], 2)
    projected = vocabulary.project([terms("two numbers quetzal"), terms("two numbers"), terms("quetzal")])
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), [1, 1, 0], atol=1e-6)
    np.testing.assert_array_equal(projected[0], projected[1])


@pytest.mark.parametrize(
    ("script", "rows"),
    {
        "Thai": ["แมวนั่งบนเสื่อ", "แมวนอนบนเสื่อ", "บวกเลขสองจำนวน", "ลบเลขสองจำนวน"],
        "Khmer": ["ឆ្មាអង្គុយលើកន្ទេល", "ឆ្មាដេកលើកន្ទេល", "បូកលេខពីរ", "ដកលេខពីរ"],
        "Chinese": ["猫坐在垫子上", "猫睡在垫子上", "把两个数字相加", "把两个数字相减"],
        "Japanese": ["ネコがマットに座る", "ネコがマットで寝る", "二つの数を足す", "二つの数を引く"],
        "Turkish": ["kedi minderin üstünde oturuyor", "kedi minderin üstünde uyuyor", "iki sayı topla", "iki sayı böl"],
    }.items(),
)  # fmt: skip
def test_rows_of_every_script_are_nearest_to_the_one_that_shares_most(script: str, rows: list[str]) -> None:
    documents = [terms(text) for text in rows]
    compressor = with_words(_empty(), documents, 8)
    codes = compressor.compress_words(documents).astype(np.float32) * compressor.steps[Feature.WORDS]
    similarity = codes @ codes.T - 9 * np.eye(4)
    assert similarity.argmax(axis=1).tolist() == [1, 0, 3, 2], script


def test_pairs_of_characters_are_terms_only_where_there_are_no_spaces() -> None:
    assert terms("one two") == ["one", "two"]
    assert terms("çok iyi") == ["çok", "iyi"]
    assert terms("两个 is 2") == ["两", "个", "is", "2", "两个"]


def test_words_of_ascii_are_split_as_all_others() -> None:
    every = "".join(f"{chr(code)}a" for code in range(128))
    assert words(every) == words(f"{every} é")[:-1]


def test_marks_and_beginnings_of_lines_are_terms_but_combining_marks_are_none() -> None:
    assert terms("if x:\n    f(x);\nend") == ["if", "x", "f", "x", "end", ":", "(", ");", "↵    ", "↵"]
    assert terms("हिन्दी, เก่า।") == ["हिन्दी", "เ", "ก่", "า", "เก่", "ก่า", ",", "।"]


def _empty() -> Compressor:
    return Compressor((), np.zeros((2, 0), np.float32), {}, {})


# ---- without a model -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", small_rows(40))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("examples") / "sums.jsonl", small_rows(20, first=100)[1::2])


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every attempt to load a model fail."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model is loaded")

    for place in ("activations.encoder.Encoder.__init__", "activations.loading.load_tokenizer"):
        monkeypatch.setattr(f"nait_index.{place}", refuse)


def build_words(root: Path, corpus: Path) -> NaitIndex:
    return build_small(root, corpus, signatures=small_signatures(views=(View.WORDS,), words_dim=24))


@pytest.mark.usefixtures("no_model")
def test_an_index_of_words_needs_no_model(tmp_path: Path, corpus: Path, examples: Path) -> None:
    index = build_words(tmp_path / "words.nait", corpus)
    assert (len(index), index.info()["model"]["name"], index.info()["neurons"]) == (40, "none", 0)
    capability = index.add_capability("sums", examples)
    for method in ("probe", "probe-words", "bm25", "dsir", "dsir-mean", "length", "random"):
        assert len(index.query("sums", method=method, top=5)) == 5
    best = index.query(capability, top=20)
    assert {int(row_id[-3:]) % 2 for row_id in best.ids} == {1}
    assert best.scores == index.query("sums", method="probe-words", top=20).scores
    with pytest.raises(StoreError, match="method nait needs the view pca, which"):
        index.query("sums", method="nait")
    assert all(check.passed for check in index.verify() if check.name != "encoding")
    index.add_capability("few", write_lines(tmp_path / "few.jsonl", small_rows(9)))
    assert len(index.core(["sums", "few"], top=3)) == 3


@pytest.mark.usefixtures("no_model")
def test_an_index_of_words_is_extended_and_rebuilt(tmp_path: Path, corpus: Path, examples: Path) -> None:
    index = build_words(tmp_path / "words.nait", corpus)
    index.add_capability("sums", examples)
    added = NaitIndex.add(tmp_path / "words.nait", write_lines(tmp_path / "more.jsonl", small_rows(6, first=40)))
    assert len(added) == 46
    rebuilt = added.rebuild(tmp_path / "rebuilt.nait")
    assert len(rebuilt) == 46
    assert [name["name"] for name in rebuilt.capabilities()] == ["sums"]
    file = added.export_capability("sums", tmp_path / "sums.safetensors")
    rebuilt.remove_capability("sums")
    NaitIndex(tmp_path / "rebuilt.nait").import_capability(file)
    # Of one basis alone, a row has the same signature whenever it was added.
    once = build_words(tmp_path / "same.nait", corpus)
    assert once.manifest.basis == index.manifest.basis
    again = NaitIndex(tmp_path / "rebuilt.nait").query("sums", top=3)
    assert set(again.ids) <= set(samples_of(tmp_path / "rebuilt.nait"))


@pytest.mark.usefixtures("no_model")
def test_the_command_line_builds_without_a_model(tmp_path: Path, corpus: Path, examples: Path) -> None:
    root = tmp_path / "words.nait"
    assert nait_index("build", root, corpus, "--no-model", "--json").json["rows"] == 40
    assert nait_index("build", root, corpus, "--json").json["present"] == 40
    assert nait_index("query", root, "-e", examples, "--top", "3", "--json").json["rows"] == 3
    assert "needs no model; leave out --model bundled" in refusal("build", root, corpus, "--model", "bundled")
    other = tmp_path / "other.nait"
    assert "--no-model is --views words" in refusal("build", other, corpus, "--no-model", "--views", "pca", code=2)
    assert "nothing to estimate" in refusal("build", other, corpus, "--no-model", "--dry-run")
    assert not other.exists()


def test_a_damaged_vocabulary_is_reported(tmp_path: Path, corpus: Path, examples: Path) -> None:
    build_words(tmp_path / "words.nait", corpus)
    file = tmp_path / "words.nait" / "vocabulary.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    index = NaitIndex(tmp_path / "words.nait")
    with pytest.raises(StoreError, match=r"vocabulary\.safetensors is damaged"):
        index.make_capability(examples)
    assert [check.name for check in index.verify() if check.passed is False] == ["words"]


def test_words_that_are_not_the_rows_are_reported(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = build_words(tmp_path / "words.nait", corpus)
    made = Compressor.compress_words

    def altered(self: Compressor, documents: Sequence[Sequence[str]]) -> np.ndarray:
        codes = made(self, documents)
        codes[3, 0] += 2 if codes[3, 0] < 100 else -2
        return codes

    monkeypatch.setattr(Compressor, "compress_words", altered)
    assert [check.name for check in index.verify() if check.passed is False] == ["words"]


# ---- several views together ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> NaitIndex:
    views = (View.PCA, View.HIDDEN, View.WORDS)
    return build_small(
        tmp_path_factory.mktemp("joint") / "joint.nait", corpus, signatures=small_signatures(views=views, words_dim=24)
    )


def test_probe_trains_on_neurons_and_words_side_by_side(joint: NaitIndex, examples: Path) -> None:
    rows, capability = joint.columns, joint.make_capability(examples)
    stored = {"pca_unit": Feature.UNIT, "words_lsa": Feature.WORDS}
    vectors = {
        column: np.concatenate(list(rows.blocks(column))) * rows.steps(feature) for column, feature in stored.items()
    }
    every = np.concatenate(list(vectors.values()), axis=1) / np.sqrt(2)
    positive = [capability.examples.signatures[column] * rows.steps(feature) for column, feature in stored.items()]
    classifier = train(np.concatenate(positive, axis=1) / np.sqrt(2), every[:SAMPLE])
    expected = dict(zip(rows.ids(), every @ classifier.vector + classifier.constant, strict=True))
    chosen = joint.query(capability, top="100%")
    np.testing.assert_allclose(chosen.scores, [expected[row_id] for row_id in chosen.ids], atol=1e-3)
    alone = joint.query(capability, top="100%", method="probe-neurons")
    assert alone.scores != chosen.scores


def test_probe_of_one_view_is_the_same_as_that_of_an_index_with_it_alone(
    joint: NaitIndex, corpus: Path, examples: Path, tmp_path: Path
) -> None:
    neurons = build_small(tmp_path / "neurons.nait", corpus, signatures=small_signatures(views=(View.PCA,)))
    words = build_words(tmp_path / "words.nait", corpus)
    for index, method in ((neurons, "probe-neurons"), (words, "probe-words")):
        alone = index.query(index.make_capability(examples), top="100%")
        beside = joint.query(joint.make_capability(examples), top="100%", method=method)
        assert (alone.ids, alone.scores) == (beside.ids, beside.scores)


def test_probe_of_hidden_states_takes_unit_vectors_less_the_corpus_mean(joint: NaitIndex, examples: Path) -> None:
    rows, capability = joint.columns, joint.make_capability(examples)
    hidden = np.concatenate(list(rows.blocks("hidden_mean"))).astype(np.float32)
    center = hidden.mean(axis=0)

    def unit(values: np.ndarray) -> np.ndarray:
        centred = values.astype(np.float32) - center
        return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))

    classifier = train(unit(capability.examples.signatures["hidden_mean"]), unit(hidden))
    expected = dict(zip(rows.ids(), unit(hidden) @ classifier.vector + classifier.constant, strict=True))
    chosen = joint.query(capability, top="100%", method="probe-hidden")
    np.testing.assert_allclose(chosen.scores, [expected[row_id] for row_id in chosen.ids], atol=1e-3)


def test_an_explanation_says_what_words_add(joint: NaitIndex, examples: Path) -> None:
    capability = joint.make_capability(examples)
    best = joint.query(capability, top=1)
    explanation = joint.explain(best.ids[0], capability)
    (words,) = explanation.views
    assert (words.name, words.contribution > 0) == ("words", True)
    parts = explanation.baseline + sum(part.contribution for part in (*explanation.layers, words))
    assert explanation.score == pytest.approx(parts, abs=1e-9)
    assert explanation.score == pytest.approx(best.scores[0], abs=1e-4)
    neurons = sum(part.contribution for part in explanation.neurons) + explanation.rest
    assert neurons == pytest.approx(sum(part.contribution for part in explanation.layers), abs=1e-9)
    shares = joint.layer_shares(capability)
    assert shares.parts[-1].name == "words"
    assert np.abs(shares.shares).sum() == pytest.approx(1)


def test_capabilities_are_compared_by_both_views(joint: NaitIndex, examples: Path, tmp_path: Path) -> None:
    names = write_lines(tmp_path / "names.jsonl", small_rows(20, first=100)[::2])
    pair = [joint.make_capability(examples), joint.make_capability(names)]
    cosine = joint.compare(pair).cosine
    rows, directions = joint.columns, []
    for capability in pair:
        parts = Probe().query(capability.examples, rows).parts
        directions.append(np.concatenate([vector / rows.steps(feature) for feature, vector in parts.items()]))
    assert len(directions[0]) == sum(rows.stamp(feature).dim for feature in (Feature.UNIT, Feature.WORDS))
    expected = directions[0] @ directions[1] / np.prod([np.linalg.norm(direction) for direction in directions])
    assert cosine is not None
    assert cosine[0, 1] == pytest.approx(expected, abs=1e-5)


def test_shards_of_every_size_have_the_same_words(tmp_path: Path, corpus: Path, joint: NaitIndex) -> None:
    alone = build_words(tmp_path / "words.nait", corpus)
    for row_id, row in samples_of(alone.layout.root).items():
        assert row["words_lsa"] == samples_of(joint.layout.root)[row_id]["words_lsa"]
    assert len(alone) > SHARD
