"""The bundled model and corpus do what they are for."""

import json
from collections import Counter
from pathlib import Path

import pytest

from nait_index import NaitIndex
from nait_index.activations.loading import model_path
from nait_index.config import BUNDLED_MODEL
from nait_index.demo.run import QUERIED, DemoOutcome, run
from nait_index.errors import OutputExistsError
from nait_index.methods.registry import DEFAULT_METHOD
from nait_index.upkeep.describe import size_on_disk
from tools.demo.corpus import SKILLS


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> DemoOutcome:
    return run(tmp_path_factory.mktemp("demo") / "out")


def test_the_default_method_retrieves_every_skill(outcome: DemoOutcome) -> None:
    """Precision at min(skill size, 10 % of the corpus), mean over the skills, at least 0.85."""
    index = outcome.index
    sizes = Counter(json.loads(row["row"])["skill"] for row in index.rows())
    precision = {}
    for skill in SKILLS:
        k = min(sizes[skill], len(index) // 10)
        rows = index.query(skill, top=k, method=DEFAULT_METHOD).rows()
        precision[skill] = sum(json.loads(row)["skill"] == skill for row in rows) / k
    assert sum(precision.values()) / len(precision) >= 0.85, precision
    assert min(precision.values()) >= 0.75, precision


def test_the_label_of_a_row_never_reaches_the_model(outcome: DemoOutcome, tmp_path: Path) -> None:
    """Without the field ``skill`` the signatures, and with them ranking and scores, are the same to the bit."""
    lines = (outcome.index.layout.root.parent / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:200]
    bare = [json.loads(line) for line in lines]
    for row in bare:
        del row["skill"]
    (tmp_path / "with.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "without.jsonl").write_text("\n".join(json.dumps(row) for row in bare), encoding="utf-8")
    examples = outcome.index.layout.root.parent / "capabilities" / "logic.jsonl"
    chosen = []
    for name in ("with", "without"):
        index = NaitIndex.build(tmp_path / f"{name}.nait", tmp_path / f"{name}.jsonl")
        selection = index.query(index.make_capability(examples), top="100%")
        chosen.append(list(zip(selection.ids, selection.scores, strict=True)))
    assert chosen[0] == chosen[1]


def test_the_selections_are_written_with_their_provenance(outcome: DemoOutcome) -> None:
    folder = outcome.index.layout.root.parent
    corpus = set((folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    for name in (*QUERIED, "core"):
        rows = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        meta = json.loads((folder / f"{name}.jsonl.meta.json").read_text(encoding="utf-8"))
        assert len(rows) == meta["rows"] == len(meta["selected"])
        assert corpus.issuperset(rows)


def test_the_demo_counts_the_rows_that_carry_the_right_label(outcome: DemoOutcome) -> None:
    labels = outcome.labels("logic")
    chosen = [json.loads(row)["skill"] for row in outcome.selections["logic"].rows()]
    assert labels.chosen == chosen.count("logic") >= 0.9 * labels.corpus
    assert labels.corpus == 140
    assert outcome.report is not None
    assert "logic" in outcome.report.read_text(encoding="utf-8")


def test_what_the_demo_takes_on_disk_is_forecast(outcome: DemoOutcome) -> None:
    """Its basis, far larger than all of its rows, included."""
    index = outcome.index
    forecast = NaitIndex.estimate(index.layout.root.parent / "corpus.jsonl")
    stored = len(index.capabilities()) * forecast.capability_bytes
    assert 2 / 3 < (forecast.index_bytes + stored) / size_on_disk(index.layout) < 1.5


def test_the_core_serves_every_skill_and_related_skills_share_rows(outcome: DemoOutcome) -> None:
    core = outcome.core.provenance.core
    assert core is not None
    assert core.rows == core.alone == 240
    assert core.kept is not None
    assert min(core.kept.values()) > 60
    assert core.shared is not None
    assert core.shared[1] > 25


def test_a_demo_overwrites_nothing_unasked(outcome: DemoOutcome) -> None:
    with pytest.raises(OutputExistsError, match="--force"):
        run(outcome.index.layout.root.parent)


def test_the_bundled_model_is_a_small_llama_that_plain_transformers_loads() -> None:
    import torch
    from safetensors import safe_open
    from transformers import AutoModel, AutoTokenizer

    folder = Path(model_path(BUNDLED_MODEL))
    body = AutoModel.from_pretrained(folder)
    assert body.config.model_type == "llama"
    assert 3_000_000 <= sum(p.numel() for p in body.parameters()) <= 5_000_000
    assert (folder / "model.safetensors").stat().st_size <= 10_000_000
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.bfloat16}
    ids = AutoTokenizer.from_pretrained(folder)("How many apples?")["input_ids"]
    assert ids[0] == body.config.bos_token_id
    assert len(ids) < 10


def test_how_the_bundled_model_was_trained_is_written_beside_it() -> None:
    record = json.loads((Path(model_path(BUNDLED_MODEL)) / "training.json").read_text())
    assert record["loss"][-1]["tokens"] == pytest.approx(record["recipe"]["tokens"], rel=0.01)
    assert record["loss"][-1]["held_out"] < record["loss"][0]["held_out"] / 2
    assert {"command", "data", "seconds", "versions", "device"} <= set(record)


def test_the_training_script_makes_a_model_that_loads(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tools.demo.train_model import Recipe, train

    recipe = Recipe(
        vocabulary=400, hidden=32, intermediate=48, layers=2, heads=2, kv_heads=1, context=32, batch=4, tokens=1500,
        warmup_steps=2, demo_rows_per_skill=4,
    )  # fmt: skip
    record = train(tmp_path / "model", None, (), recipe)
    assert record["loss"][-1]["held_out"] < record["loss"][0]["held_out"]
    assert len(AutoTokenizer.from_pretrained(tmp_path / "model")("a cat")["input_ids"]) > 1
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").config.num_hidden_layers == 2
