"""An explanation adds up, its parts follow the formulas, and its statements on other rows and ranks are true."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from helpers import build_small, nait_index, refusal, small_rows, small_signatures, write_lines
from nait_reference import neuron_reader, pooled_reader, principal_directions, text_of
from tiny_models import FAMILIES

from nait_index import NaitIndex
from nait_index.activations.encoder import Encoder
from nait_index.config import Device, ModelConfig, SignatureConfig, View
from nait_index.errors import SelectionError
from nait_index.insight.explain import Depth, explainable, flips, position_of
from nait_index.insight.explanation import Explanation
from nait_index.insight.words import join
from tools.demo.corpus import Split, generate

NEURON_METHODS = ["probe", "contrast", "nait", "nait-drift", "nas", "nag"]


class Built:
    """A corpus of all skills of the demo in an index of a tiny llama, and examples of one skill.

    :param whole: keep whole activations, and not their coordinates on a basis.
    """

    def __init__(self, folder: Path, whole: bool) -> None:
        self.model = tiny_models.save_family("llama", folder / "model", max_position_embeddings=1024)
        self.root, self.corpus = folder / "index.nait", generate(Split.CORPUS, 6)
        self.examples = generate(Split.EXAMPLES, {"arithmetic": 9})
        signatures = (
            SignatureConfig(views=(View.PCA,), pca_dim=None)
            if whole
            else SignatureConfig(views=(View.PCA, View.TOPK, View.HIDDEN), pca_dim=24, fine_dim=40, reservoir=64)
        )
        self.index = NaitIndex.build(
            self.root,
            write_lines(folder / "corpus.jsonl", self.corpus),
            model=ModelConfig(name=str(self.model), device=Device.CPU),
            signatures=signatures,
        )
        self.file = write_lines(folder / "arithmetic.jsonl", self.examples)
        self.index.add_capability("arithmetic", self.file)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("explain"), whole=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("explain-whole"), whole=True)


def assert_adds_up(explanation: Explanation, score: float) -> None:
    """Check that the parts add up to the score, and that it is the score of a query."""
    size = max(1.0, abs(score))
    assert explanation.baseline + sum(part.contribution for part in explanation.layers) == pytest.approx(
        explanation.score, abs=1e-9 * size
    )
    assert explanation.baseline + sum(
        part.contribution for part in explanation.neurons
    ) + explanation.rest == pytest.approx(explanation.score, abs=1e-9 * size)
    assert explanation.score == pytest.approx(score, abs=1e-5 * size)


@pytest.mark.parametrize("method", NEURON_METHODS)
def test_parts_add_up_to_the_score_and_the_rank_is_that_of_a_query(built: Built, method: str) -> None:
    ranked = built.index.query("arithmetic", method=method, top="100%")
    for i in (0, len(ranked) // 3, len(ranked) - 1):
        explanation = built.index.explain(ranked.ids[i], "arithmetic", method=method, top="25%")
        assert_adds_up(explanation, ranked.scores[i])
        chosen = len(ranked) // 4
        assert (explanation.position.rank, explanation.position.available, explanation.position.chosen) == (
            i + 1,
            len(ranked),
            chosen,
        )
        assert explanation.position.cut == pytest.approx(ranked.scores[chosen - 1], rel=1e-6)
        assert explanation.position.is_in == (i < chosen)
        values = [abs(part.contribution) for part in explanation.neurons]
        assert values == sorted(values, reverse=True)
        assert any(values)


def test_features_of_a_sparse_autoencoder_add_up_too(tmp_path: Path) -> None:
    from nait_index.building.autoencoder import train_sae  # noqa: F401 - the module is there

    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(24))
    trained = nait_index("sae", "train", tmp_path / "sae", corpus, "--latents", "64", "--tokens", "2000", "--k", "8")
    assert trained.code == 0, trained.err
    index = build_small(
        tmp_path / "i.nait", corpus, signatures=small_signatures(views=(View.SAE,), sae=str(tmp_path / "sae"))
    )
    index.add_capability("adding", write_lines(tmp_path / "adding.jsonl", small_rows(24)[1::2][:5]))
    ranked = index.query("adding", method="mona", top="100%")
    for i in (0, 20):
        explanation = index.explain(ranked.ids[i], "adding", method="mona")
        assert explanation.unit == "feature"
        assert_adds_up(explanation, ranked.scores[i])
        for part in explanation.neurons:
            assert part.rows[0].activation >= part.activation
    shares = index.layer_shares("adding", method="mona")
    mean = np.mean(index.query("adding", method="mona").scores)
    assert sum(part.contribution for part in shares.parts) == pytest.approx(mean, rel=1e-5)


def centred(built: Built) -> dict[str, Mapping[str, list[np.ndarray]]]:
    """Read the pooled activations of every row by hand, less their mean over the corpus."""
    read = pooled_reader(built.model)
    rows = {row["id"]: read(text_of(row)) for row in built.corpus}
    return {
        row_id: {
            kind: [
                layer - np.mean([other[kind][i] for other in rows.values()], axis=0)
                for i, layer in enumerate(pooled[kind])
            ]
            for kind in ("mean", "drift")
        }
        for row_id, pooled in rows.items()
    }


def test_parts_of_nait_are_those_of_its_formula(whole: Built) -> None:
    read = pooled_reader(whole.model)
    directions = principal_directions([read(text_of(row))["drift"] for row in whole.examples])
    rows = centred(whole)
    row = whole.corpus[7]["id"]
    explanation = whole.index.explain(row, "arithmetic", method="nait", depth=Depth(neurons=10_000, rows=2))
    wanted = [x * v for x, v in zip(rows[row]["mean"], directions, strict=True)]
    for layer, part in zip(wanted, explanation.layers, strict=True):
        assert part.contribution == pytest.approx(layer.sum(), abs=1e-4)
    assert len(explanation.neurons) == sum(map(len, wanted))
    for part in explanation.neurons[:40]:
        assert part.layer is not None
        assert part.contribution == pytest.approx(wanted[part.layer][part.number], abs=1e-4)


def test_neurons_are_fired_as_hard_as_is_said_and_by_those_rows(whole: Built) -> None:
    read = pooled_reader(whole.model)
    pooled = {row["id"]: read(text_of(row)) for row in whole.corpus}
    explanation = whole.index.explain(whole.corpus[3]["id"], "arithmetic", depth=Depth(neurons=12, rows=3))
    assert {part.pooling for part in explanation.neurons} == {"mean", "drift"}
    for part in explanation.neurons:
        assert part.layer is not None
        assert part.pooling is not None
        assert part.deviation is not None
        values = {row: float(layers[part.pooling][part.layer][part.number]) for row, layers in pooled.items()}
        everything = np.array(list(values.values()))
        assert part.activation == pytest.approx(values[explanation.id], abs=1e-4)
        assert part.deviation == pytest.approx(
            (values[explanation.id] - everything.mean()) / everything.std(), abs=1e-2
        )
        hardest = sorted(everything, reverse=part.deviation > 0)[:3]
        assert [row.activation for row in part.rows] == pytest.approx(hardest, abs=1e-4)
        assert [values[row.id] for row in part.rows] == pytest.approx(hardest, abs=1e-4)


def test_a_row_is_listed_with_the_activation_that_is_said_of_it(built: Built) -> None:
    """Of whole signatures, though fewer numbers are scanned."""
    depth = Depth(neurons=40, rows=5)
    for method in ("probe", "nait"):
        for row in built.corpus[::12]:
            explanation = built.index.explain(row["id"], "arithmetic", method=method, depth=depth)
            for part in explanation.neurons:
                listed = [other.activation for other in part.rows]
                assert listed == sorted(listed, reverse=bool(part.deviation and part.deviation >= 0))
                of_row = [other.activation for other in part.rows if other.id == explanation.id]
                assert of_row in ([], [part.activation])
                sign = 1 if part.deviation and part.deviation >= 0 else -1
                assert of_row or sign * part.activation <= sign * listed[-1] + 1e-4


def test_neurons_of_nag_are_among_the_strongest_of_the_rows_that_are_named(built: Built) -> None:
    import lance

    from nait_index.store.layout import Layout
    from nait_index.store.manifest import load_manifest

    layout = Layout(built.root)
    table = lance.dataset(layout.samples, version=load_manifest(layout).table_version).to_table().to_pylist()
    explanation = built.index.explain(built.index.query("arithmetic").ids[0], "arithmetic", method="nag")
    for part in explanation.neurons:
        assert part.layer is not None
        k = len(table[0]["topk_neurons"]) // tiny_models.LAYERS
        layer_slice = slice(part.layer * k, (part.layer + 1) * k)
        impacts = {
            row["id"]: dict(zip(row["topk_neurons"][layer_slice], row["topk_values"][layer_slice], strict=True)).get(
                part.number, 0
            )
            for row in table
        }
        assert impacts[explanation.id] == part.activation > 0
        assert [row.activation for row in part.rows] == sorted(impacts.values(), reverse=True)[:3]
        assert [impacts[row.id] for row in part.rows] == [row.activation for row in part.rows]


def test_nearest_examples_are_those_of_largest_cosine(whole: Built) -> None:
    read = pooled_reader(whole.model)
    mean = {
        kind: [
            np.mean([read(text_of(row))[kind][layer] for row in whole.corpus], axis=0)
            for layer in range(tiny_models.LAYERS)
        ]
        for kind in ("mean", "drift")
    }

    def unit(row: Mapping[str, Any]) -> np.ndarray:
        pooled = read(text_of(row))
        blocks = [layer - c for kind in ("mean", "drift") for layer, c in zip(pooled[kind], mean[kind], strict=True)]
        return np.concatenate([block / np.linalg.norm(block) for block in blocks])

    row = whole.corpus[11]
    likeness = [unit(row) @ unit(example) / (2 * tiny_models.LAYERS) for example in whole.examples]
    explanation = whole.index.explain(row["id"], "arithmetic")
    assert [near.likeness for near in explanation.nearest] == pytest.approx(
        sorted(likeness, reverse=True)[:3], abs=1e-4
    )
    assert [near.example - 1 for near in explanation.nearest] == np.argsort(-np.array(likeness))[:3].tolist()
    assert explanation.nearest[0].text == text_of(whole.examples[explanation.nearest[0].example - 1])


@pytest.mark.parametrize("method", ["probe", "nait", "nait-drift", "nas"])
def test_words_add_up_and_spell_the_row(built: Built, whole: Built, method: str) -> None:
    row = built.corpus[5]
    explanation = whole.index.explain(row["id"], "arithmetic", method=method, words=True)
    assert explanation.words is not None
    assert explanation.baseline + sum(word.contribution for word in explanation.words) == pytest.approx(
        explanation.score, abs=1e-3
    )
    assert "".join(word.text for word in explanation.words).removeprefix("<s>") == text_of(row)
    # What a basis of few dimensions leaves out moves no score: the direction lies in it. Codes of 8 bits do, and clip.
    less = built.index.explain(row["id"], "arithmetic", method=method, words=True)
    assert less.words is not None
    assert less.baseline + sum(word.contribution for word in less.words) == pytest.approx(less.score, abs=0.15)


def test_a_word_adds_what_the_formula_says_of_its_tokens(whole: Built) -> None:
    """NAIT is linear in the tokens: each adds a T-th of what its own activations, less the corpus mean, score."""
    read = pooled_reader(whole.model)
    directions = principal_directions([read(text_of(row))["drift"] for row in whole.examples])
    center = [
        np.mean([read(text_of(row))["mean"][layer] for row in whole.corpus], axis=0)
        for layer in range(tiny_models.LAYERS)
    ]
    row = whole.corpus[2]
    neurons = neuron_reader(whole.model)(text_of(row))
    each = sum((a - c) @ v for a, c, v in zip(neurons, center, directions, strict=True)) / len(neurons[0])
    with Encoder(ModelConfig(name=str(whole.model), device=Device.CPU)) as encoder:
        tokens = encoder.tokenize([text_of(row)], add_special_tokens=True)[0]
        pieces = encoder.pieces(text_of(row), tokens, add_special_tokens=True)
    wanted = join(pieces, each)
    explanation = whole.index.explain(row["id"], "arithmetic", method="nait", words=True)
    assert explanation.words is not None
    assert [word.text for word in explanation.words] == [word.text for word in wanted]
    assert [word.contribution for word in explanation.words] == pytest.approx(
        [word.contribution for word in wanted], abs=1e-4
    )


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_tokens_have_adds_up_to_what_is_pooled(family: str, tiny_model: Any, make_encoder: Any) -> None:
    encoder = make_encoder(tiny_model(family))
    tokens = encoder.tokenize(tiny_models.TEXTS[:3], add_special_tokens=True)
    pooled = np.zeros((3, 2, sum(encoder.widths)), dtype=np.float32)
    for batch in encoder.encode(tokens):
        pooled[batch.rows] = batch.values
    for text_tokens, together in zip(tokens, pooled, strict=True):
        direction = np.random.default_rng(0).normal(size=together.shape)
        added = encoder.split(text_tokens, direction)
        assert added.shape == (len(text_tokens.ids),)
        size = np.abs(direction * together).sum()
        assert added.sum() == pytest.approx((direction * together).sum(), abs=1e-5 * size)


def test_pieces_spell_the_text_whatever_is_in_it(bundled: Encoder) -> None:
    for text in ("Übersetze: 🙂 fox\n\n  twice  two", "a\tb", "中文字 mixed", "x"):
        tokens = bundled.tokenize([text], add_special_tokens=True)[0]
        pieces = bundled.pieces(text, tokens, add_special_tokens=True)
        assert len(pieces) == len(tokens.ids)
        assert "".join(pieces).removeprefix("<s>") == text


def test_tokens_become_words() -> None:
    words = join(["<s>", "Un", "der", "stood", ",", " two", " w", "ords", "", "!"], np.arange(1.0, 11.0))
    assert [word.text for word in words] == ["<s>", "Understood", ",", " two", " words", "!"]
    assert [word.contribution for word in words] == [1, 9, 5, 6, 24, 10]


def test_flips_is_the_least_number_of_neurons_that_do() -> None:
    class Rows:
        def take_ids(self, ordinals: np.ndarray) -> list[str]:
            return [f"r{ordinal}" for ordinal in ordinals]

    scores = np.array([5.0, 4.0, 3.0, 2.0, np.nan])
    rows: Any = Rows()
    inside, outside = position_of(rows, scores, 0, 2), position_of(rows, scores, 3, 2)
    assert (inside.rank, inside.available, inside.cut, inside.after, inside.is_in) == (1, 4, 4.0, 3.0, True)
    assert (outside.rank, outside.cut, outside.is_in, outside.percentile) == (4, 4.0, False, 0.0)
    assert flips(np.array([0.4, 1.3, 0.5, -9.0]), inside) == 3
    # Down to 3.8 it would be the last that is in, and not the first that is out.
    assert flips(np.array([0.4, 0.3, 0.5, -9.0]), inside) is None
    assert flips(np.array([-1.5, -0.7, 9.0]), outside) == 2
    assert flips(np.array([-1.5, 9.0]), outside) is None
    # Where all rows are taken, none can be out.
    assert flips(np.array([9.0]), position_of(rows, scores, 0, 4)) is None


def test_the_last_row_that_is_in_does_not_lie_below_the_cut(built: Built) -> None:
    ranked = built.index.query("arithmetic", top=6)
    for i in range(6):
        explanation = built.index.explain(ranked.ids[i], "arithmetic", top=i + 1)
        assert explanation.position.score == explanation.position.cut
        assert explanation.changes[0].endswith("it lies 0 above the cut")


def test_what_the_parts_are_measured_from_is_said(built: Built) -> None:
    row = built.index.query("arithmetic", method="nag", top=3).ids[0]
    assert built.index.explain(row, "arithmetic").zero == "an average row"
    explanation = built.index.explain(row, "arithmetic", method="nag", top=3)
    assert (explanation.baseline, explanation.zero) == (0.0, "a row that shares no neuron")
    assert explanation.changes[1].endswith("as in a row that shares no neuron, it would be out")


def test_equal_rows_are_ranked_by_their_ids(tmp_path: Path) -> None:
    rows = small_rows(12)
    rows[4] |= {key: rows[7][key] for key in ("instruction", "output")}
    index = build_small(tmp_path / "i.nait", write_lines(tmp_path / "c.jsonl", rows))
    index.add_capability("adding", write_lines(tmp_path / "e.jsonl", small_rows(30)[21::2]))
    ranked = index.query("adding", top="100%")
    for rank, row_id in enumerate(ranked.ids, start=1):
        assert index.explain(row_id, "adding").position.rank == rank


def test_layer_shares_are_the_mean_parts_of_the_chosen_rows(built: Built) -> None:
    for method in NEURON_METHODS:
        chosen = built.index.query("arithmetic", method=method, top=6)
        each = [built.index.explain(row_id, "arithmetic", method=method).layers for row_id in chosen]
        layer_shares = built.index.layer_shares("arithmetic", method=method, top=6)
        wanted = np.mean([[part.contribution for part in layers] for layers in each], axis=0)
        np.testing.assert_allclose(
            [part.contribution for part in layer_shares.parts], wanted, atol=1e-6 + 1e-5 * np.abs(wanted).max()
        )
        assert sum(map(abs, layer_shares.shares)) == pytest.approx(1)
    assert built.index.layer_shares("arithmetic").parts[0].name == "layer 0 mean"


def test_a_filter_narrows_what_a_row_is_ranked_among(built: Built) -> None:
    few = built.index.query("arithmetic", top="100%", where="n_tokens > 90")
    explanation = built.index.explain(few.ids[2], "arithmetic", where="n_tokens > 90")
    assert (explanation.position.rank, explanation.position.available) == (3, len(few))
    outside = next(row["id"] for row in built.corpus if row["id"] not in set(few))
    with pytest.raises(SelectionError, match="does not pass --where"):
        built.index.explain(outside, "arithmetic", where="n_tokens > 90")


def test_what_cannot_be_explained_is_refused_in_one_line(built: Built) -> None:
    row = built.corpus[0]["id"]
    explain = ("explain", built.root, row, "-c", "arithmetic")
    assert "no row with id" in refusal("explain", built.root, "nobody", "-c", "arithmetic")
    assert "leave --tokens out" in refusal(*explain, "--method", "nag", "--tokens")
    message = refusal(*explain, "--method", "bm25")
    assert "not a sum over neurons" in message
    assert all(name in message for name in explainable())
    assert "--top auto reads the score curve" in refusal(*explain, "--top", "auto")
    assert "name one capability" in refusal("explain", built.root, row, code=2)
    assert "name one capability" in refusal(*explain, "-e", built.file, code=2)


def test_the_command_line_explains_as_the_library_does(built: Built) -> None:
    row = built.index.query("arithmetic").ids[1]
    printed = nait_index("explain", built.root, row, "-c", "arithmetic", "--neurons", "4", "--json").json
    assert printed == built.index.explain(row, "arithmetic", depth=Depth(neurons=4)).to_dict()
    shown = nait_index("explain", built.root, row, "-e", built.file, "--tokens")
    assert shown.code == 0, shown.err
    for phrase in (
        f"rank 2 of {len(built.corpus)}",
        "layer 1 drift",
        "nearest in-domain examples",
        "all other neurons",
    ):
        assert phrase in shown.out
    assert text_of(next(sample for sample in built.corpus if sample["id"] == row)).splitlines()[0] in shown.out
