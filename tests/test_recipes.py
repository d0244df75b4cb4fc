"""Recipes: read, refused by line, run, resumed, and made of a selection; and ``try``."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import nait_index, refusal, small_rows, write_lines

from nait_index import NaitIndex
from nait_index.recipes.recipe import RecipeError, read_recipe, schema

TEXT = """\
index: small.nait
corpus: corpus.jsonl
build:
  model: {model}
  max-length: 48
  views: [pca, words]
  pca-dim: 16
capabilities:
  first: first.jsonl
  second: [second.jsonl]
choose:
  - for: first
    top: 20%
    dedup: 0.95
    select: round-robin
    mix: random=10%
    output: first-rows.jsonl
    as: messages
    trainer: trl
  - core: [first, second]
    top: 10
    bootstrap: 0
    output: core.jsonl
  - for: [first, second]
    combine: weighted
    weight: {{first: 2, second: 1}}
    top: 6
    output: both.jsonl
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Any) -> Path:
    write_lines(tmp_path / "corpus.jsonl", small_rows(60))
    write_lines(tmp_path / "first.jsonl", small_rows(8, first=100))
    write_lines(tmp_path / "second.jsonl", small_rows(8, first=200))
    (tmp_path / "recipe.yaml").write_text(TEXT.format(model=tiny_model("llama")))
    return tmp_path


def test_a_recipe_is_run_resumed_and_left_alone(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    ran = nait_index("run", recipe)
    assert ran.code == 0, ran.err
    assert [
        len((folder / name).read_text().splitlines()) for name in ("first-rows.jsonl", "core.jsonl", "both.jsonl")
    ] == [
        12,
        10,
        6,
    ]
    assert "messages" in json.loads((folder / "first-rows.jsonl").read_text().splitlines()[0])
    assert (folder / "first-rows.jsonl.trl.py").exists()
    lock = json.loads((folder / "recipe.yaml.lock.json").read_text())
    assert lock["index"]["rows"] == 60
    assert set(lock["outputs"]) == {"first-rows.jsonl", "core.jsonl", "both.jsonl"}
    again = nait_index("run", recipe)
    assert "up to date" in again.err
    assert "as it was" in again.err
    assert again.err.count("as they were") == 3
    assert json.loads((folder / "recipe.yaml.lock.json").read_text()) == lock
    write_lines(folder / "corpus.jsonl", small_rows(70))
    assert "10 rows indexed, 60 present" in nait_index("run", recipe).err


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("    top: 20%\n", "    topp: 20%\n", "line 13 in choose[1].topp: there is no field 'topp'; did you mean top?"),
        ("max-length: 48", "max-length: short", "line 5 in build.max-length: 'short' is not a whole number"),
        (
            "  - for: first\n    top",
            "  - top",
            "line 12 in choose[1]: name the capabilities with either 'for' or 'core'",
        ),
        ("index: small.nait\n", "", "line 1: the field 'index' is missing"),
        ("choose:", "choose", "not YAML"),
        ("views: [pca, words]", "views: [pca, wrods]", "line 6 in build.views"),
    ],
)
def test_faults_are_named_by_line(folder: Path, old: str, new: str, problem: str) -> None:
    recipe = folder / "recipe.yaml"
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    message = refusal("run", recipe)
    assert problem in message
    assert not (folder / "small.nait").exists()


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")


def test_the_schema_is_printed() -> None:
    printed = nait_index("run", "--schema")
    assert printed.code == 0
    assert json.loads(printed.out) == schema()


def test_a_recipe_of_what_was_chosen_by_hand_chooses_the_same(folder: Path) -> None:
    assert nait_index("run", folder / "recipe.yaml").code == 0
    index, out = folder / "small.nait", folder / "by-hand.jsonl"
    words = ["query", index, "-c", "first", "--not", "second", "--top", "7", "--method", "contrast", "-o", out]
    assert nait_index(*words).code == 0
    made = nait_index("recipe", index, folder / "by-hand.jsonl.meta.json", "-o", folder / "again.yaml")
    assert made.code == 0, made.err
    assert (folder / "again-first.jsonl").exists()
    ran = nait_index("run", folder / "again.yaml")
    assert ran.code == 0, ran.err
    assert (folder / "again-by-hand.jsonl").read_bytes() == out.read_bytes()
    first, second = NaitIndex(index), NaitIndex(folder / "again.nait")
    assert first.manifest.fingerprint.digest == second.manifest.fingerprint.digest
    assert "exists" in refusal("recipe", index, folder / "by-hand.jsonl.meta.json", "-o", folder / "again.yaml")


def test_one_command_from_a_corpus_to_a_report(folder: Path, tiny_model: Any) -> None:
    words = ["try", folder / "corpus.jsonl", "-e", folder / "first.jsonl", "--model", tiny_model("llama")]
    words += ["-o", folder / "tried", "--top", "10"]
    tried = nait_index(*words)
    assert tried.code == 0, tried.err
    assert len((folder / "tried" / "first.jsonl").read_text().splitlines()) == 10
    assert (folder / "tried" / "report.html").exists()
    assert "first: 10 of 60 rows chosen" in tried.out
    assert nait_index(*words).code == 0
