"""Recipes: read, refused by line, run, resumed, and made of a selection; and ``try``."""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from helpers import nait_index, refusal, small_rows, write_lines

from nait_index import NaitIndex
from nait_index.config import Combine, CoreRule, SignatureConfig, View
from nait_index.methods.registry import MethodName
from nait_index.recipes.document import RecipeError, schema
from nait_index.recipes.recipe import read_recipe
from nait_index.types import RowFormat

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
    assert again.err.count("is stored already, with these examples") == 2
    assert again.err.count("as they were") == 3
    assert json.loads((folder / "recipe.yaml.lock.json").read_text()) == lock
    write_lines(folder / "corpus.jsonl", small_rows(70))
    assert "10 indexed, 60 present" in nait_index("run", recipe).err


def test_an_edited_template_and_replaced_rows_are_noticed(folder: Path) -> None:
    recipe, template = folder / "recipe.yaml", folder / "own.jinja"
    template.write_text("{{ messages[0].content }} -> {{ messages[-1].content }}")
    text = recipe.read_text()
    recipe.write_text(text[: text.index("choose:")].replace("  max-length", "  template: own.jinja\n  max-length"))
    assert nait_index("run", recipe).code == 0
    assert "up to date" in nait_index("run", recipe).err
    other = write_lines(folder / "other.jsonl", [small_rows(1)[0] | {"output": "another answer altogether"}])
    assert nait_index("add", folder / "small.nait", other, "--replace").code == 0
    again = nait_index("run", recipe)
    assert "1 indexed, 59 present" in again.err, again.err
    assert "up to date" in nait_index("run", recipe).err
    template.write_text("{{ messages[0].content }} => {{ messages[-1].content }}")
    assert "in build: this index and this build differ in template" in refusal("run", recipe)


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


CHOICE = "index: a.nait\ncorpus: corpus.jsonl\ncapabilities: {a: first.jsonl, b: second.jsonl}\nchoose:\n  - "
START = "index: a.nait\ncorpus: corpus.jsonl\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: nothing is not a mapping"),
        ("[" * 2000, "nested too deeply"),
        (START + "1: 2\n", "line 3: to YAML, the name 1 is no text; put it in quotes"),
        (START + "corpus: corpus.jsonl\n", "line 3: 'corpus' is there twice"),
        (START + "build: &a {columns: *a}\n", "a mapping is not text"),
        (START + "build: {limit: 2024-13-45}\n", "cannot be read: month must be in 1..12"),
        (START + "build: {layers: foo}\n", "line 3 in build: --layers 'foo'"),
        (START + "build: {columns: {nope: b}}\n", "line 3 in build.columns"),
        (START + "build: {pca-dim: whole}\n", "'whole' is neither a number nor 'full'"),
        (START + "build: {template: none.jinja}\n", "line 3 in build.template: there is no file or folder"),
        (START + "build: {model: ./none}\n", "line 3 in build.model: there is no file or folder"),
        (START + "capabilities: {a/b: first.jsonl}\n", "line 3 in capabilities.a/b: 'a/b' cannot name a capability"),
        (START + "capabilities: {a: frist.jsonl}\n", "first.jsonl?"),
        ("index: a.nait\ncorpus: [corpus.jsonl, none.jsonl]\n", "line 2 in corpus[2]: there is no file or folder"),
        ("index: a.nait\ncorpus: '-'\n", "cannot read standard input"),
        (CHOICE + "{for: aa, output: o.jsonl}\n", "line 5 in choose[1].for: there is no 'aa' under 'capabilities'"),
        (CHOICE + "{for: a, not: c, output: o.jsonl}\n", "choose[1].not: there is no 'c'"),
        (CHOICE + "{for: a, top: 0%, output: o.jsonl}\n", "choose[1].top: --top 0%"),
        (CHOICE + "{for: a, rule: joint, output: o.jsonl}\n", "'rule' goes with 'core'"),
        (CHOICE + "{core: [a, b], weight: {a: 1}, output: o.jsonl}\n", "'weight' goes with 'for'"),
        (CHOICE + "{core: [a, b], select: gip, output: o.jsonl}\n", "'select' goes with 'for'"),
        (CHOICE + "{core: [a, b], mix: random=5%, output: o.jsonl}\n", "'mix' goes with 'for'"),
        (CHOICE + "{for: a, mix: random, output: o.jsonl}\n", "choose[1].mix: --mix 'random' is not of the form"),
        (CHOICE + "{for: a, at-most: source, output: o.jsonl}\n", "choose[1].at-most: --at-most 'source' is not"),
        (CHOICE + "{core: [a], output: o.jsonl}\n", "choose[1].core: name at least 2"),
        (CHOICE + "{for: a, method: prob, output: o.jsonl}\n", "did you mean probe?"),
        (CHOICE + "{for: a, output: corpus.jsonl}\n", "is the corpus; name another file"),
        (CHOICE + "{for: a, output: second.jsonl}\n", "is the examples; name another file"),
        (CHOICE + "{for: a, output: notes.jsonl}\n", "notes.jsonl exists, and is no selection"),
        (CHOICE + "{for: a, output: own.jsonl, validation: 5%}\n", "own.validation.jsonl exists, and is no selection"),
        (CHOICE + "{for: a, output: o.jsonl}\n  - {for: b, output: ./o.jsonl}\n", "line 6 in choose[2].output"),
        (CHOICE + "{for: a, output: none/o.jsonl}\n", "there is no folder"),
        (CHOICE + "{for: a, output: o/, trainer: llamafactory}\n", "cannot read a folder of datasets"),
    ],
)
def test_nothing_begins_before_a_recipe_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    for name in ("corpus", "first", "second", "notes", "own.validation"):
        write_lines(tmp_path / f"{name}.jsonl", small_rows(2))
    (tmp_path / "recipe.yaml").write_text(text)
    monkeypatch.chdir("/")
    message = refusal("run", tmp_path / "recipe.yaml")
    assert message.startswith(str(tmp_path / "recipe.yaml"))
    assert problem in message
    assert not (tmp_path / "a.nait").exists()


def test_a_recipe_without_a_model_follows_its_corpus_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(tmp_path / "corpus.jsonl", small_rows(40))
    write_lines(tmp_path / "first.jsonl", small_rows(8, first=100))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        START + "build: {views: [words]}\ncapabilities: {a: first.jsonl}\nchoose:\n"
        "  - {for: a, method: bm25, top: 5, output: rows/}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert nait_index("run", "recipe.yaml").code == 0
    lock = (tmp_path / "recipe.yaml.lock.json").read_bytes()
    monkeypatch.chdir("/")
    again = nait_index("run", recipe)
    assert "up to date" in again.err
    assert "rows: 5 rows, as they were" in again.err
    assert (tmp_path / "recipe.yaml.lock.json").read_bytes() == lock
    recipe.write_text(recipe.read_text() + "  - {for: a, method: bm25, top: 3, output: three.jsonl}\n")
    assert "up to date" in nait_index("run", recipe).err

    rows = small_rows(30)
    rows[0] = {**rows[0], "output": "another answer altogether"}
    write_lines(tmp_path / "corpus.jsonl", rows)
    for _ in range(2):
        assert "10 rows of the index are not in the corpus" in nait_index("run", recipe).err
    shutil.rmtree(tmp_path / "a.nait")
    assert "30 indexed" in nait_index("run", recipe).err
    recipe.write_text(recipe.read_text().replace("[words]", "[words], read: answer"))
    assert "line 3 in build: this index and this build differ in read" in refusal("run", recipe)

    recipe.write_text(recipe.read_text().replace(", read: answer", ""))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert nait_index("recipe", tmp_path / "a.nait", tmp_path / "three.jsonl.meta.json").code == 0
    monkeypatch.chdir(tmp_path)
    made = nait_index("recipe", tmp_path / "a.nait", "three.jsonl.meta.json", "-o", "again.yaml")
    assert made.code == 0, made.err
    assert nait_index("run", "again.yaml").code == 0
    assert (tmp_path / "again-three.jsonl").read_bytes() == (tmp_path / "three.jsonl").read_bytes()


def test_the_schema_has_every_setting_of_a_build_and_a_choice() -> None:
    known = schema()["properties"]
    views = {setting.name.replace("_", "-") for setting in fields(SignatureConfig) if "help" in setting.metadata}
    assert views <= known["build"]["properties"].keys()
    choose = known["choose"]["items"]["properties"]
    assert choose["method"]["enum"] == list(MethodName)
    assert choose["rule"]["enum"] == list(CoreRule)
    assert choose["combine"]["enum"] == list(Combine)
    assert known["build"]["properties"]["views"]["items"]["enum"] == list(View)
    assert known["build"]["properties"]["format"]["enum"] == list(RowFormat)


def test_trying_replaces_nothing_that_it_reads(tmp_path: Path) -> None:
    write_lines(tmp_path / "corpus.jsonl", small_rows(4))
    write_lines(tmp_path / "first.jsonl", small_rows(2))
    corpus, first = tmp_path / "corpus.jsonl", tmp_path / "first.jsonl"
    assert "would replace" in refusal("try", corpus, "-e", first, "-o", tmp_path)
    assert "both be the capability 'first'" in refusal("try", corpus, "-e", first, "-e", first, "-o", tmp_path / "t")
    assert "no such file" in refusal("try", corpus, "-e", tmp_path / "frist.jsonl", "-o", tmp_path / "t")
    assert not (tmp_path / "t").exists()


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
    assert (folder / "again-first.examples.jsonl").exists()
    ran = nait_index("run", folder / "again.yaml")
    assert ran.code == 0, ran.err
    assert (folder / "again-by-hand.jsonl").read_bytes() == out.read_bytes()
    first, second = NaitIndex(index), NaitIndex(folder / "again.nait")
    assert first.manifest.fingerprint.digest == second.manifest.fingerprint.digest
    assert "exists" in refusal("recipe", index, folder / "by-hand.jsonl.meta.json", "-o", folder / "again.yaml")


def test_a_recipe_keeps_examples_of_several_formats(tmp_path: Path) -> None:
    write_lines(tmp_path / "corpus.jsonl", small_rows(20))
    write_lines(tmp_path / "alpaca.jsonl", small_rows(4, first=20))
    write_lines(tmp_path / "pairs.jsonl", [{"question": f"Add {n} and 1.", "answer": str(n + 1)} for n in range(4)])
    (tmp_path / "recipe.yaml").write_text(
        START + "build: {views: [words]}\ncapabilities: {mixed: [alpaca.jsonl, pairs.jsonl]}\nchoose:\n"
        "  - {for: mixed, method: bm25, top: 5, output: rows.jsonl}\n"
    )
    assert nait_index("run", tmp_path / "recipe.yaml").code == 0
    made = nait_index("recipe", tmp_path / "a.nait", tmp_path / "rows.jsonl.meta.json", "-o", tmp_path / "again.yaml")
    assert made.code == 0, made.err
    ran = nait_index("run", tmp_path / "again.yaml")
    assert "capability mixed: 8 examples stored" in ran.err
    assert (tmp_path / "again-rows.jsonl").read_bytes() == (tmp_path / "rows.jsonl").read_bytes()


def test_a_recipe_of_rows_that_are_named_after_their_capability_can_be_run(folder: Path) -> None:
    assert nait_index("run", folder / "recipe.yaml").code == 0
    rows = folder / "hand" / "first.jsonl"
    rows.parent.mkdir()
    assert nait_index("query", folder / "small.nait", "-c", "first", "--top", "7", "-o", rows).code == 0
    assert nait_index("recipe", folder / "small.nait", f"{rows}.meta.json", "-o", folder / "again.yaml").code == 0
    ran = nait_index("run", folder / "again.yaml")
    assert ran.code == 0, ran.err
    assert (folder / "again-first.jsonl").read_bytes() == rows.read_bytes()


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Build an index without a model."""
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(40))
    NaitIndex.build(tmp_path / "words.nait", corpus, signatures=SignatureConfig(views=(View.WORDS,)))
    return tmp_path


def test_a_recipe_holds_the_examples_of_several_files_and_formats(words: Path) -> None:
    rows = small_rows(12, first=100)
    files = [write_lines(words / "first.jsonl", rows[:4])]
    pairs = [{"id": row["id"], "question": row["instruction"], "answer": row["output"]} for row in rows[:4]]
    files.append(write_lines(words / "second.jsonl", pairs))
    files.append(write_lines(words / "third.jsonl", rows[2:6]))  # with ids of the first
    files.append(words / "pretty.txt")
    files[-1].write_text("\n".join(json.dumps(row, indent=2) for row in rows[8:]))
    index = NaitIndex(words / "words.nait")
    assert len(index.add_capability("mixed", files)) == 16
    index.query("mixed", top=8).write(words / "by-hand.jsonl")
    made = nait_index("recipe", words / "words.nait", words / "by-hand.jsonl.meta.json", "-o", words / "again.yaml")
    assert made.code == 0, made.err
    ran = nait_index("run", words / "again.yaml")
    assert ran.code == 0, ran.err
    assert (words / "again-by-hand.jsonl").read_bytes() == (words / "by-hand.jsonl").read_bytes()
    again = NaitIndex(words / "again.nait").capability("mixed")
    assert (len(again), again.rejected) == (16, 0)


def test_a_recipe_holds_no_other_examples_than_those_that_rows_were_chosen_for(words: Path) -> None:
    index = NaitIndex(words / "words.nait")
    index.add_capability("mixed", small_rows(8, first=100))
    recipe = ["recipe", words / "words.nait", words / "by-hand.jsonl.meta.json", "-o", words / "again.yaml"]
    index.query(index.make_capability_from(small_rows(8, first=200), "mixed"), top=8).write(words / "by-hand.jsonl")
    assert "stores as 'mixed' are not those that the rows were chosen for; store them" in refusal(*recipe)
    index.query("mixed", top=8).write(words / "by-hand.jsonl", force=True)
    index.add_capability("mixed", small_rows(8, first=200), force=True)
    assert "are not those" in refusal(*recipe)
    index.add_capability("mixed", small_rows(8, first=100), force=True)
    assert nait_index(*recipe).code == 0
    pairs = [{"messages": [], **row} for row in small_rows(8)]
    index.add_capability("mixed", pairs, row_format=RowFormat.ALPACA, force=True)
    index.query("mixed", top=8).write(words / "by-hand.jsonl", force=True)
    assert "were read as alpaca, and a recipe would read them as messages" in refusal(*recipe, "--force")


def test_a_recipe_of_an_index_without_some_of_its_rows_says_so(words: Path) -> None:
    index = NaitIndex(words / "words.nait")
    index.add_capability("first", small_rows(8, first=100), force=True)
    index.remove(index.query("first", top=2).ids)
    index.query("first", top=8).write(words / "by-hand.jsonl", force=True)
    made = nait_index("recipe", words / "words.nait", words / "by-hand.jsonl.meta.json", "-o", words / "again.yaml")
    assert made.code == 0, made.err
    assert "2 rows were removed from" in made.err
    assert "words.nait, and the recipe reads them again" in made.err


def test_a_recipe_of_what_an_approximate_search_chose_says_that_it_searches_exactly(words: Path) -> None:
    index, sidecar = NaitIndex(words / "words.nait"), words / "by-hand.jsonl.meta.json"
    index.add_capability("first", small_rows(8, first=100))
    index.query("first", top=8).write(words / "by-hand.jsonl")
    recipe = ["recipe", words / "words.nait", sidecar, "-o", words / "again.yaml"]
    assert "approximate" not in nait_index(*recipe).err
    record = json.loads(sidecar.read_text(encoding="utf-8")) | {"search": "approximate"}
    sidecar.write_text(json.dumps(record), encoding="utf-8")
    made = nait_index(*recipe, "--force")
    assert made.code == 0, made.err
    assert "the recipe searches exactly" in made.err


def test_a_recipe_writes_the_rows_as_they_were_written_by_hand(folder: Path) -> None:
    assert nait_index("run", folder / "recipe.yaml").code == 0
    out = folder / "by-hand.jsonl"
    words = ["query", folder / "small.nait", "-c", "first", "--top", "12", "--method", "contrast", "-o", out]
    words += ["--shuffle", "--validation", "25%", "--seed", "3", "--as", "messages", "--for", "trl", "--scores"]
    assert nait_index(*words, "--weights").code == 0
    made = nait_index("recipe", folder / "small.nait", f"{out}.meta.json", "-o", folder / "again.yaml")
    assert made.code == 0, made.err
    ran = nait_index("run", folder / "again.yaml")
    assert ran.code == 0, ran.err
    for name in ("by-hand.jsonl", "by-hand.validation.jsonl"):
        assert (folder / f"again-{name}").read_bytes() == (folder / name).read_bytes()
    assert (folder / "again-by-hand.jsonl.trl.py").exists()


def test_one_command_from_a_corpus_to_a_report(folder: Path, tiny_model: Any) -> None:
    words = ["try", folder / "corpus.jsonl", "-e", folder / "first.jsonl", "--model", tiny_model("llama")]
    words += ["-o", folder / "tried", "--top", "10"]
    tried = nait_index(*words)
    assert tried.code == 0, tried.err
    assert len((folder / "tried" / "first.jsonl").read_text().splitlines()) == 10
    assert (folder / "tried" / "report.html").exists()
    assert "first: 10 of 60 rows chosen" in tried.out
    again = nait_index(*words)
    assert again.code == 0, again.err
    assert "0 indexed, 60 present, 0 rejected" in again.err


def test_trying_tells_what_was_left_out_and_mixes_no_corpora(folder: Path, tiny_model: Any) -> None:
    examples = write_lines(folder / "first.jsonl", [*small_rows(8, first=100), "no row"])
    words = ["-e", examples, "--model", tiny_model("llama"), "-o", folder / "tried", "--top", "3"]
    write_lines(folder / "corpus.jsonl", [*small_rows(30), "no row"])
    tried = nait_index("try", folder / "corpus.jsonl", *words)
    assert tried.code == 0, tried.err
    assert "30 indexed, 0 present, 1 rejected" in tried.err
    assert "rejected rows, with reasons: " in tried.err
    assert "capability first: 8 examples stored, 1 rejected" in tried.err
    other = write_lines(folder / "other.jsonl", small_rows(20, first=40))
    assert "also holds rows of" in refusal("try", other, *words)
    assert len(NaitIndex(folder / "tried" / "index.nait")) == 30
    write_lines(folder / "corpus.jsonl", [small_rows(1)[0] | {"output": "another answer"}, *small_rows(28, first=1)])
    fewer = nait_index("try", folder / "corpus.jsonl", *words)
    assert fewer.code == 0, fewer.err
    assert "1 row of the index is not in this corpus; remove" in fewer.err


def test_a_corpus_that_was_tried_is_known_from_any_folder(
    folder: Path, tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["-e", folder / "first.jsonl", "--model", tiny_model("llama"), "-o", folder / "tried", "--top", "3"]
    monkeypatch.chdir(folder)
    assert nait_index("try", "corpus.jsonl", *words).code == 0
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert nait_index("try", "../corpus.jsonl", *words).code == 0
    write_lines(Path("corpus.jsonl"), small_rows(20, first=40))
    assert "also holds rows of" in refusal("try", "corpus.jsonl", *words)
