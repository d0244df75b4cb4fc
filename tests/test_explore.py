"""The page of ``explore``, asked as its JavaScript asks it: what it answers, what it refuses, and whom."""

import json
import logging
import shutil
import socket
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers import build_small, refusal, small_rows, small_signatures, write_lines

from nait_index import NaitIndex
from nait_index.config import View
from nait_index.errors import CapabilityError, CapabilityExistsError, CorpusError, NaitError
from nait_index.methods.registry import MethodName, method_of
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from nait_index.explore.session import ChoiceRequest, Session

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'nait-index[explore]'")
pytest.importorskip("httpx", reason="httpx is not installed, which asks the page in these tests")

ROWS = 40
TOKEN = "the-key-of-these-tests"
ADDRESS = "http://127.0.0.1:8737"
SCRIPT = "<script>alert('row')</script>"


def adding(count: int = 5) -> list[dict[str, Any]]:
    return [row | {"source": "adding"} for row in small_rows(2 * count, first=100)[1::2]]


def as_lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index with two stored capabilities; not to be changed."""
    folder = tmp_path_factory.mktemp("explore")
    rows = [row | {"source": "sums" if number % 2 else "words"} for number, row in enumerate(small_rows(ROWS - 1))]
    rows.append({"id": "evil", "instruction": SCRIPT, "input": "", "output": SCRIPT, "source": "words"})
    build_small(folder / "index.nait", write_lines(folder / "corpus.jsonl", rows))
    index = NaitIndex(folder / "index.nait")
    index.tag("before")
    index.store_capability(index.make_capability_from(adding()), "adding")
    index.store_capability(index.make_capability_from(small_rows(8, first=200)[::2]), "naming")
    return folder / "index.nait"


@pytest.fixture
def place(built: Path, tmp_path: Path) -> Path:
    """Copy it, so that it may be changed."""
    return Path(shutil.copytree(built, tmp_path / "index.nait"))


@pytest.fixture
def session(place: Path) -> "Session":
    from nait_index.explore.session import Session

    return Session(NaitIndex(place))


@pytest.fixture
def stranger(session: "Session") -> "TestClient":
    """Return a client without the key."""
    return client_of(session)


@pytest.fixture
def client(stranger: "TestClient") -> "TestClient":
    """Return a client that opened the printed address."""
    answer = stranger.get("/", params={"token": TOKEN})
    assert answer.status_code == 200
    return stranger


def client_of(session: "Session") -> "TestClient":
    from starlette.testclient import TestClient

    from nait_index.explore.app import make_app

    return TestClient(make_app(session, TOKEN), base_url=ADDRESS, headers={"Origin": ADDRESS})


def fetched(client: "TestClient", path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert "error" not in answer.json(), answer.text
    return answer.json()


def pasted(client: "TestClient", text: str, status: int = 200) -> dict[str, Any]:
    answer = client.post("/api/examples", json={"text": text})
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def refused(client: "TestClient", path: str, **query: Any) -> str:
    """Request what the library refuses, and return its message of one line."""
    answer = client.get(path, params=query)
    assert 400 <= answer.status_code < 500, answer.text
    assert list(answer.json()) == ["error"]
    message = answer.json()["error"]
    assert "\n" not in message
    assert "Traceback" not in message
    return str(message)


# ---- pasted examples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        (as_lines(adding(3)), 3),
        (as_lines(adding(3)).replace("\n", "\r\n"), 3),
        ("\ufeff" + as_lines(adding(3)), 3),
        (json.dumps(adding(3)), 3),
        (json.dumps(adding(3), indent=1), 3),
        ("\n\n".join(json.dumps(row, indent=1) for row in adding(3)), 3),
        ("Add 3 and 4.\nThe answer is 7.\n\n  \n\nAdd 4 and 5: 9.\n", 2),
        ("[INST] Add 3 and 4. [/INST] 7", 1),
        ("{x} is a set.\n\n[1] is a list.", 2),
        ('{"messages": [{"role": "user", "content": "Add 1 and 2."}, {"role": "assistant", "content": "3"}]}', 1),
    ],
)
def test_text_is_read_as_what_it_looks_like(text: str, samples: int) -> None:
    from nait_index.corpus import read_text
    from nait_index.types import Sample

    read = list(read_text(text, "examples"))
    assert len(read) == samples
    assert all(isinstance(sample, Sample) for sample in read), read


def test_rows_keep_their_text_and_blocks_their_lines() -> None:
    from nait_index.corpus import read_text

    lines = as_lines(adding(2))
    assert [sample.row for sample in read_text(lines, "examples")] == lines.split("\n")
    blocks = [json.loads(sample.row) for sample in read_text("one\ntwo\n\nthree", "examples")]
    assert blocks == [{"text": "one\ntwo"}, {"text": "three"}]


def test_examples_in_a_text_file_are_those_of_the_page(place: Path, tmp_path: Path) -> None:
    """Paragraphs, which need no answers; beside rows of another file, and refused in one line."""
    from nait_index.corpus import read_examples
    from nait_index.types import Sample

    (tmp_path / "notes.txt").write_text("Add 3 and 4.\n\nAdd 5\nand 6.\n")
    made = NaitIndex(place).make_capability(tmp_path / "notes.txt")
    assert (made.name, made.examples.texts) == ("notes", ("Add 3 and 4.", "Add 5\nand 6."))
    question = write_lines(tmp_path / "asked.jsonl", [{"instruction": "Add 1 and 2.", "answer": "3"}])
    both = read_examples([tmp_path / "notes.txt", question])
    assert [row.answered for row in both if isinstance(row, Sample)] == [False, True, True]
    (tmp_path / "notes.txt").write_bytes(b"\xff")
    (tmp_path / "deep.txt").write_text('[{"a": ' * 100_000)
    messages = {"notes": "not valid UTF-8 at byte 0", "none": "no such file", "deep": "deep.txt: nested too deep"}
    for name, message in messages.items():
        with pytest.raises(CorpusError, match=message):
            read_examples([tmp_path / f"{name}.txt"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n\n ", "empty"),
        ('[{"text": "a"},', "not a valid JSON list"),
        ('["a", "b"]', "must be a JSON object"),
        ('{"asked": "a"}', "match no row format"),
        ('{"text": "a"', "not JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text: str, message: str) -> None:
    from nait_index.corpus import read_text

    with pytest.raises(CorpusError, match=message) as caught:
        list(read_text(text, "examples"))
    assert "\n" not in str(caught.value)


def test_examples_in_memory_are_those_of_a_file(place: Path, tmp_path: Path) -> None:
    import numpy as np

    index = NaitIndex(place)
    of_file = index.make_capability(write_lines(tmp_path / "examples.jsonl", adding()))
    for rows in (as_lines(adding()), adding()):
        made = index.make_capability_from(rows)
        assert made.examples.texts == of_file.examples.texts
        for name, values in of_file.examples.signatures.items():
            assert np.array_equal(made.examples.signatures[name], values)
    with pytest.raises(CapabilityError, match="5 examples are more than the 4"):
        index.make_capability_from(adding(), limit=4)


def test_progress_is_reported_and_can_stop(place: Path) -> None:
    seen: list[tuple[int, int]] = []
    NaitIndex(place).make_capability_from(adding(), progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (5, 5)

    def stop(done: int, of: int) -> None:
        raise NaitError("stopped")

    with pytest.raises(NaitError, match="stopped"):
        NaitIndex(place).make_capability_from(adding(), progress=stop)


def test_a_made_capability_is_kept_without_the_model(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = NaitIndex(place)
    made = index.make_capability_from(adding())
    loader = "nait_index.capabilities.examples.load_example_encoder"
    monkeypatch.setattr(loader, lambda *_: pytest.fail("the model was asked"))
    monkeypatch.setattr(index._library, "_encoder", lambda: pytest.fail("the model was asked"))
    kept = index.store_capability(made, "sums")
    assert (kept.name, made.name) == ("sums", "examples")
    again = NaitIndex(place)
    assert [json.loads(row) for row in again.capability_rows("sums")] == adding()
    assert again.query("sums").scores == index.query(made).scores
    version = index.manifest.version
    index.store_capability(made, "sums")  # a repetition changes nothing
    assert index.manifest.version == version
    with pytest.raises(CapabilityExistsError, match="stored already"):
        index.store_capability(made, "naming")
    index.store_capability(made, "sums", force=True)
    with pytest.raises(CapabilityError, match="was not made from examples by this index"):
        index.store_capability(again.capability("sums"), "copy")


def test_a_name_that_another_process_has_taken_meanwhile_is_not_replaced(place: Path) -> None:
    slow, fast = NaitIndex(place), NaitIndex(place)
    made = slow.make_capability_from(adding())
    fast.store_capability(fast.make_capability_from(small_rows(4)), "sums")
    with pytest.raises(CapabilityError, match="'sums' is stored already"):
        slow.store_capability(made, "sums")
    assert len(NaitIndex(place).capability("sums")) == 4


# ---- choosing ----------------------------------------------------------------------------------------------------


def test_the_page_describes_the_index(client: "TestClient", session: "Session") -> None:
    text = client.get("/").text
    assert "index.nait" in text
    assert f"{ROWS} rows" in text
    assert '<option value="probe"' in text
    assert 'value="mona"' not in text  # needs a view that this index lacks
    assert {method["name"] for method in session.methods()} == {
        str(name) for name in MethodName if method_of(name).view in (None, View.PCA, View.TOPK, View.WORDS)
    }
    assert [capability["name"] for capability in fetched(client, "/api/capabilities")] == ["adding", "naming"]


def test_pasted_examples_choose_what_the_library_chooses(client: "TestClient", place: Path) -> None:
    made = pasted(client, as_lines(adding()) + "\nnot json")
    assert (made["examples"], made["questions"], made["rejected"]) == (5, 0, 1)
    asked = pasted(client, as_lines([{"instruction": "Add 1 and 2."}, *adding()]))
    assert (asked["examples"], asked["questions"]) == (len(adding()) + 1, 1)
    assert made["reasons"] == ["examples, row 6: not JSON: Expecting value at column 1"]
    assert made["warnings"] == ["so few examples say little of a skill; give 16 to 64"]
    seen = fetched(client, "/api/choice", pasted=made["pasted"], top="25%")
    index = NaitIndex(place)
    expected = index.query(index.make_capability_from(adding()), top="25%")
    assert (seen["rows"], seen["available"]) == (10, ROWS)
    rows = fetched(client, "/api/rows", pasted=made["pasted"], top="25%", first=0, count=100)
    assert [(row["rank"], row["id"], row["score"]) for row in rows] == [
        (rank, sample_id, score)
        for rank, (sample_id, score) in enumerate(zip(expected.ids, expected.scores, strict=True), start=1)
    ]
    (skill,) = seen["skills"]
    assert (skill["cut"], skill["depth"], skill["score"]) == (10, ROWS, expected.scores[-1])
    whole = index.query(index.make_capability_from(adding()), top="100%")
    assert [tuple(point) for point in skill["curve"]] == list(enumerate(whole.scores, start=1))
    assert [row["id"] for row in skill["last"]] == list(expected.ids[-5:])
    assert [row["id"] for row in skill["next"]] == list(whole.ids[10:15])
    sources, lengths = seen["balance"]
    assert sources["by"] == "source"
    assert sum(group["chosen"] for group in sources["groups"]) == 10
    assert sum(group["chosen"] for group in lengths["groups"]) == 10
    assert {group["name"]: group["corpus"] for group in sources["groups"]} == {"sums": 19, "words": 21}


def test_encoding_runs_once_for_a_set(client: "TestClient", monkeypatch: pytest.MonkeyPatch) -> None:
    first = pasted(client, as_lines(adding()))
    monkeypatch.setattr(
        NaitIndex, "make_capability_from", lambda *arguments, **options: pytest.fail("the model was asked")
    )
    assert pasted(client, as_lines(adding())) == first
    seen = {
        fetched(client, "/api/choice", pasted=first["pasted"], top=top, where=where)["rows"]
        for top in ("10%", "7", "100%")
        for where in ("", "source = 'sums'")
    }
    assert seen == {4, 7, 40, 1, 19}


def test_what_is_shown_is_what_a_query_gives_by_every_method(session: "Session") -> None:
    from nait_index.explore.session import ChoiceRequest

    for method in session.methods():
        for names in (("adding",), ("adding", "naming")):
            for top, where in (("6", None), ("30%", "source = 'words'")):
                ask = ChoiceRequest(names=names, top=top, method=method["name"], where=where)
                chosen = session.choose(ask)
                expected = session.index.query(list(names), top=top, method=method["name"], where=where)
                assert (chosen.ids, chosen.scores) == (expected.ids, expected.scores), ask
                assert (chosen.provenance, chosen.details) == (expected.provenance, expected.details), ask
                assert len(session.describe(ask)["skills"]) == len(names)


def test_a_suggested_budget_comes_with_its_reasons(client: "TestClient") -> None:
    seen = fetched(client, "/api/choice", name="adding", top="auto")
    assert seen["reasons"][0].startswith(f"--top auto takes {seen['rows']} of {ROWS} rows")
    assert seen["skills"][0]["cut"] == seen["rows"]
    assert "give a share or a number here" in refused(client, "/api/choice", name=["adding", "naming"], top="auto")


def test_pages_and_whole_rows(client: "TestClient") -> None:
    ask = {"name": ["adding"], "top": "100%"}
    first, second, last = (
        [row["id"] for row in fetched(client, "/api/rows", **ask, first=first, count=15)] for first in (0, 15, 30)
    )
    assert (len(first), len(second), len(last)) == (15, 15, 10)
    assert len({*first, *second, *last}) == ROWS
    row = fetched(client, "/api/row", id="evil")
    assert [part["text"] for part in row["parts"]] == [SCRIPT, SCRIPT]
    assert json.loads(row["row"])["source"] == "words"
    assert refused(client, "/api/row", id="nowhere").startswith("there is no row with id 'nowhere'")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"where": "n_tokenz < 3"}, "--where 'n_tokenz < 3' cannot be used"),
        ({"where": "n_tokens <"}, "--where 'n_tokens <' cannot be used"),
        ({"where": "n_tokens > 100000"}, "there are no rows to choose from; widen --where"),
        ({"top": "0"}, "--top 0 selects nothing"),
        ({"top": "half"}, "--top 'half' is neither"),
        ({"top": "41"}, "more rows than the 40 there are"),
        ({"method": "bm25", "top": "41"}, "more rows than the 40 there are"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"method": "mona"}, "needs the view sae"),
        ({"name": "ading"}, "did you mean adding"),
        ({"name": ""}, "capability ''"),
        ({"name": [], "pasted": "0" * 32}, "no longer held"),
        ({"name": []}, "paste some examples, or pick a stored capability"),
    ],
)
def test_what_the_library_refuses_is_one_line(client: "TestClient", query: dict[str, Any], message: str) -> None:
    assert message in refused(client, "/api/choice", **{"name": "adding"} | query)


def test_refused_examples_are_one_line(client: "TestClient", monkeypatch: pytest.MonkeyPatch) -> None:
    assert "match no row format" in pasted(client, '{"asked": 1}', 422)["error"]
    assert "empty" in pasted(client, "", 422)["error"]
    monkeypatch.setattr("nait_index.explore.session.MAX_EXAMPLES", 3)
    assert "5 examples are more than the 3 allowed" in pasted(client, as_lines(adding()), 422)["error"]


def test_foreseen_errors_have_their_status(client: "TestClient", place: Path) -> None:
    choice: dict[str, Any] = {"name": "adding"}
    expected = {
        404: [("/api/choice", {"name": "none"}), ("/api/row", {"id": "none"}), ("/api/choice", {"pasted": "none"})],
        409: [("/api/choice", choice | {"method": "less"}), ("/download/rows", choice | {"method": "mona"})],
        422: [
            ("/api/choice", {}), ("/api/choice", choice | {"top": "0"}), ("/api/choice", choice | {"where": "no = 1"}),
            ("/download/meta", choice | {"where": "no = 1"}), ("/api/choice", choice | {"method": "none"}),
        ],
        400: [("/api/rows", choice | {"first": "x", "count": 3})],
    }  # fmt: skip
    for status, requests in expected.items():
        for path, query in requests:
            answer = client.get(path, params=query)
            assert (answer.status_code, list(answer.json())) == (status, ["error"]), (path, query)
    key = pasted(client, as_lines(adding(4)))["pasted"]
    with write_lock(Layout(place)):
        assert client.post("/api/keep", json={"pasted": key, "name": "x"}).status_code == 409
    for name, status in (("adding", 409), ("<script>", 422), ("x" * 201, 422)):
        assert client.post("/api/keep", json={"pasted": key, "name": name}).status_code == status


# ---- thumbs ------------------------------------------------------------------------------------------------------

SUMS, WORDS = ([f"row-{number:03}" for number in range(first, ROWS - 1, 2)] for first in (1, 0))


def with_thumbs(request: "ChoiceRequest", liked: Iterable[str] = (), disliked: Iterable[str] = ()) -> "ChoiceRequest":
    from nait_index.explore.thumbs import Thumbs

    return replace(request, thumbs=Thumbs(frozenset(liked), frozenset(disliked)))


def asked(**options: Any) -> "ChoiceRequest":
    from nait_index.explore.session import ChoiceRequest

    return ChoiceRequest(**options)


def rows_of(index: NaitIndex, ids: list[str]) -> list[dict[str, Any]]:
    return [json.loads(row["row"]) for row in index.rows(ids)]


@pytest.mark.parametrize("method", ["probe", "probe-neurons", "probe-words"])
def test_rows_like_those_with_a_thumb_move(session: "Session", method: str) -> None:
    def mean_rank(request: "ChoiceRequest", ids: list[str]) -> float:
        order = session.choose(request).ids
        return sum(map(order.index, ids)) / len(ids)

    naming = asked(names=("naming",), top="100%", method=method)
    assert mean_rank(with_thumbs(naming, liked=SUMS[:4]), SUMS[4:]) < mean_rank(naming, SUMS[4:]) - 3
    mixed = session.encode(as_lines([*adding(4), *small_rows(8, first=200)[::2]]))["pasted"]
    both = asked(pasted=mixed, top="100%", method=method)
    assert mean_rank(with_thumbs(both, disliked=SUMS[:4]), SUMS[4:]) > mean_rank(both, SUMS[4:]) + 3
    # A liked row may be chosen, and so may a disliked one, which only ranks lower.
    ids = session.choose(with_thumbs(naming, SUMS[:1], SUMS[1:2])).ids
    assert len(ids) == ROWS
    assert ids.index(SUMS[0]) < ids.index(SUMS[1])


def test_hidden_states_of_rows_are_enough_as_well(tmp_path: Path) -> None:
    from nait_index.explore.session import Session

    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(20))
    index = build_small(tmp_path / "x.nait", corpus, signatures=small_signatures(views=(View.HIDDEN,)))
    index.store_capability(index.make_capability_from(adding()), "adding")
    request = asked(names=("adding",), top="100%", method="probe-hidden")
    plain, refined = (Session(index).choose(each) for each in (request, with_thumbs(request, WORDS[:3], SUMS[:3])))
    assert refined.ids.index(WORDS[0]) < plain.ids.index(WORDS[0])


def test_thumbs_are_examples_of_a_query(session: "Session") -> None:
    """Encoded by the model, the same rows choose the same."""
    index, liked, disliked = session.index, WORDS[:3], SUMS[:2]
    unlike = index.make_capability_from(rows_of(index, disliked), "disliked")
    every = {"adding": adding(), "naming": small_rows(8, first=200)[::2]}
    made = [index.make_capability_from([*rows, *rows_of(index, liked)], name) for name, rows in every.items()]
    for count in (1, 2):
        request = with_thumbs(asked(names=tuple(every)[:count], top="40%"), liked, disliked)
        chosen = session.choose(request)
        expected = index.query(made[:count], top="40%", unlike=unlike)
        assert chosen.ids == expected.ids
        assert chosen.scores == pytest.approx(expected.scores, abs=1e-3)
        assert len(session.describe(request)["skills"]) == count
    only = with_thumbs(asked(names=("adding",), top="40%"), disliked=disliked)
    assert session.choose(only).ids == index.query("adding", top="40%", unlike=unlike).ids


def test_thumbs_in_any_order_are_one_choice(session: "Session") -> None:
    request = asked(names=("adding",), top="30%")
    plain, chosen = session.choose(request), session.choose(with_thumbs(request, WORDS[:3], SUMS[:3]))
    assert session.choose(with_thumbs(request, WORDS[2::-1], [*SUMS[2::-1], SUMS[0]])) is chosen
    for other in ((WORDS[:2], SUMS[:3]), (WORDS[:3], SUMS[:2]), (SUMS[:3], WORDS[:3])):
        assert session.choose(with_thumbs(request, *other)).scores != chosen.scores
    assert session.choose(request) is plain
    key = session.encode(as_lines(small_rows(8, first=200)[::2]))["pasted"]
    session.store(key, "adding", force=True)
    assert session.choose(with_thumbs(request, WORDS[:3], SUMS[:3])).scores != chosen.scores


def test_sidecars_list_the_rows_with_thumbs(client: "TestClient", place: Path, tmp_path: Path) -> None:
    from nait_index.explore.session import Session

    ask: dict[str, Any] = {"name": "adding", "top": "auto", "like": WORDS[2::-1], "unlike": SUMS[:1]}
    seen = fetched(client, "/api/rows", **ask, first=0, count=100)
    rows, meta = client.get("/download/rows", params=ask), client.get("/download/meta", params=ask)
    assert [json.loads(line)["id"] for line in rows.text.splitlines()] == [row["id"] for row in seen]
    facts = meta.json()
    assert (facts["liked"], facts["disliked"]) == (WORDS[:3], SUMS[:1])
    known = facts["capabilities"]["adding"]
    assert (known["examples"], known["truncated"]) == (8, 0)
    plain = client.get("/download/meta", params={"name": "adding"}).json()
    assert not {"liked", "disliked", "unlike"} & plain.keys()
    (tmp_path / "out.jsonl.meta.json").write_bytes(meta.content)
    kept = NaitIndex(place).load_selection(tmp_path / "out.jsonl.meta.json").provenance
    again = with_thumbs(asked(names=("adding",), top="auto"), kept.liked or (), kept.disliked or ())
    assert list(Session(NaitIndex(place)).choose(again).ids) == [row["id"] for row in seen]
    message = refusal("recipe", place, tmp_path / "out.jsonl.meta.json", "-o", tmp_path / "recipe.yaml")
    assert "liked and disliked rows refined this choice" in message


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"like": "row-00"}, "there is no row with id 'row-00'"),
        ({"like": "row-001", "unlike": ["row-003", ""]}, "there is no row with id ''"),
        ({"like": ["row-001", "row-003"], "unlike": "row-003"}, "row 'row-003' cannot be liked and disliked at once"),
        ({"like": [f"x{n}" for n in range(60)], "unlike": [f"y{n}" for n in range(41)]}, "101 liked and disliked rows"),
        ({"like": "row-001", "method": "bm25"}, "method bm25 heeds no unwanted examples; to like and dislike rows"),
        ({"unlike": "row-001", "method": "contrast"}, "method contrast needs full activations, which rows do not keep"),
    ],
)
def test_thumbs_that_cannot_be_used_are_refused(client: "TestClient", query: dict[str, Any], message: str) -> None:
    for path in ("/api/choice", "/api/rows", "/download/rows", "/download/meta"):
        answer = client.get(path, params={"name": "adding", "first": 0, "count": 5} | query)
        assert (answer.status_code, list(answer.json())) == (422, ["error"])
        assert message in answer.json()["error"]
        assert "\n" not in answer.json()["error"]


def test_the_page_knows_which_methods_take_thumbs(client: "TestClient", session: "Session") -> None:
    able = {method["name"] for method in session.methods() if not method["refusal"]}
    assert able == {"probe", "probe-neurons", "probe-words"}
    text = client.get("/").text
    assert 'data-refusal="" selected' in text
    assert 'data-refusal="method bm25 heeds no unwanted examples; ' in text


# ---- keeping and taking along ------------------------------------------------------------------------------------


def test_kept_examples_are_in_the_index(client: "TestClient", place: Path) -> None:
    before = fetched(client, "/api/choice", name="adding")["version"]
    key = pasted(client, as_lines(adding(4)))["pasted"]
    kept = client.post("/api/keep", json={"pasted": key, "name": " sums "}).json()
    assert kept == {"name": "sums", "examples": 4, "version": before + 1}
    assert [capability["name"] for capability in fetched(client, "/api/capabilities")] == ["adding", "naming", "sums"]
    assert len(NaitIndex(place).capability("sums")) == 4
    assert fetched(client, "/api/choice", name="sums")["version"] == before + 1
    taken = client.post("/api/keep", json={"pasted": key, "name": "adding"}).json()
    assert taken == {"error": "a capability 'adding' is stored already; tick Replace, or choose another name"}
    assert len(NaitIndex(place).capability("adding")) == 5
    assert client.post("/api/keep", json={"pasted": key, "name": "adding", "replace": True}).json()["examples"] == 4
    assert "cannot name a capability" in client.post("/api/keep", json={"pasted": key, "name": " "}).json()["error"]


def test_an_old_version_is_not_changed(place: Path) -> None:
    from nait_index.explore.session import Session

    with client_of(Session(NaitIndex(place, version="before"))) as client:
        page = client.get("/", params={"token": TOKEN}).text
        assert "An old version of the index" in page
        assert 'id="keep-button"' not in page
        key = pasted(client, as_lines(adding()))["pasted"]
        assert fetched(client, "/api/choice", pasted=key)["rows"] == 4
        assert (
            "old versions are not changed"
            in client.post("/api/keep", json={"pasted": key, "name": "x"}).json()["error"]
        )
    assert [capability["name"] for capability in NaitIndex(place).capabilities()] == ["adding", "naming"]


def test_downloads_are_what_the_command_writes(client: "TestClient", place: Path, tmp_path: Path) -> None:
    ask = {"name": ["adding", "naming"], "top": "20%", "where": "n_tokens > 5"}
    expected = NaitIndex(place).query(ask["name"], top="20%", where="n_tokens > 5")
    expected.to_jsonl(tmp_path / "out.jsonl")
    rows, meta = client.get("/download/rows", params=ask), client.get("/download/meta", params=ask)
    assert rows.content == (tmp_path / "out.jsonl").read_bytes()
    assert meta.content == (tmp_path / "out.jsonl.meta.json").read_bytes()
    assert rows.headers["content-disposition"] == 'attachment; filename="adding-naming-20pct.jsonl"'
    assert meta.headers["content-disposition"] == 'attachment; filename="adding-naming-20pct.jsonl.meta.json"'
    assert "error" in client.get("/download/rows", params=ask | {"where": "nothing"}).json()


def test_downloads_leave_no_file_behind(client: "TestClient", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert client.get("/download/rows", params={"name": "adding"}).status_code == 200
    client.get("/download/rows", params={"name": "../../nowhere"})
    assert [path for path in tmp_path.iterdir() if path.name.startswith("nait-index-")] == []


# ---- who may ask -------------------------------------------------------------------------------------------------

PATHS = ("/", "/api/status", "/api/choice?name=adding", "/api/capabilities", "/static/explore.js", "/download/rows")


@pytest.mark.parametrize("path", PATHS)
def test_nobody_gets_in_without_the_key(stranger: "TestClient", path: str) -> None:
    for cookies in ({}, {"nait-index-explore": "another"}, {"another": TOKEN}):
        stranger.cookies.clear()
        stranger.cookies.update(cookies)
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "text/plain; charset=utf-8")
        assert "set-cookie" not in answer.headers
    assert stranger.get(path, params={"token": "wrong"}).status_code == 403
    if path != "/":
        assert stranger.get("/api/status", params={"token": TOKEN}).status_code == 403


def test_the_key_is_kept_where_no_script_reads_it(stranger: "TestClient") -> None:
    kept = stranger.get("/", params={"token": TOKEN}).headers["set-cookie"]
    assert kept == f"nait-index-explore={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert TOKEN not in stranger.get("/").text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8737", "127.0.0.1.evil.example", "localhost.evil.example:8737", "192.168.0.7", ""],
)
def test_no_other_name_of_this_machine_is_answered(client: "TestClient", host: str) -> None:
    for path in (*PATHS, f"/?token={TOKEN}"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1:8737", "localhost:8737", "127.0.0.1", "localhost:9000"])
def test_this_machine_is_answered(client: "TestClient", host: str) -> None:
    assert client.get("/api/status", headers={"Host": host, "Cookie": f"nait-index-explore={TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1:8737"]
)
def test_no_other_page_changes_anything(client: "TestClient", place: Path, origin: str | None) -> None:
    key = pasted(client, as_lines(adding()))["pasted"]
    del client.headers["Origin"]
    headers = {} if origin is None else {"Origin": origin}
    answer = client.post("/api/keep", json={"pasted": key, "name": "stolen"}, headers=headers)
    assert answer.status_code == 403
    assert [capability["name"] for capability in NaitIndex(place).capabilities()] == ["adding", "naming"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_page_asks_for_is_not_given(client: "TestClient", site: str) -> None:
    assert client.get("/api/capabilities", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert client.get("/api/capabilities", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    # A link to the printed address may be opened from anywhere: whoever has it has the key.
    assert client.get("/", params={"token": TOKEN}, headers={"Sec-Fetch-Site": site}).status_code == 200


def test_every_answer_keeps_the_browser_from_more(client: "TestClient") -> None:
    for path in (*PATHS, "/nowhere", "/static/../guard.py"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_the_page_has_no_script_of_its_own_in_it(built: Path, tmp_path: Path) -> None:
    from nait_index.explore.session import Session

    evil = tmp_path / "<img src=x onerror=alert(1)>.nait"
    shutil.copytree(built, evil)
    text = client_of(Session(NaitIndex(evil))).get("/", params={"token": TOKEN}).text
    assert "&lt;img src=x" in text
    tags: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))  # type: ignore[method-assign]
    parser.feed(text)
    assert [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"] == []
    assert [attributes for tag, attributes in tags if tag == "script"] == [
        {"src": "/static/explore.js", "type": "module"}
    ]
    assert {tag for tag, _ in tags} & {"img", "iframe", "object", "style"} == set()


def test_files_outside_the_static_folder_are_not_given(client: "TestClient") -> None:
    for path in ("/static/../guard.py", "/static/%2e%2e/guard.py", "/static//etc/passwd", "/static/"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("sized", [True, False])
def test_too_much_is_not_read(client: "TestClient", monkeypatch: pytest.MonkeyPatch, sized: bool) -> None:
    from nait_index.explore import app

    monkeypatch.setattr(app, "MAX_BODY", 1 << 20)
    body = json.dumps({"text": "x" * (1 << 20)}).encode()
    sent = body if sized else iter([body[:1000], body[1000:]])
    answer = client.post("/api/examples", content=sent, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"][:20]) == (413, "more than 1 MB at on")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"text": 3}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"text": "a"}', "text/plain", 415),
        (b'{"text": "a"}', "application/x-www-form-urlencoded", 415),
        (b'{"text": "a"}', "", 415),
    ],
)
def test_what_the_page_does_not_send_is_refused(client: "TestClient", body: bytes, kind: str, status: int) -> None:
    answer = client.post("/api/examples", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize("number", ["-1", "x", "", "1e3", "101", "9" * 30, "²"])
def test_odd_numbers_are_refused(client: "TestClient", number: str) -> None:
    answer = client.get("/api/rows", params={"name": "adding", "first": 0, "count": number})
    assert answer.status_code == 400
    assert client.get("/api/rows", params={"name": ["adding"] * 3, "first": 0, "count": 5}).status_code == 200
    many = client.get("/api/choice", params={"name": [str(number) for number in range(101)]})
    assert "more than the 100 allowed" in many.json()["error"]


def test_unexpected_errors_are_shown_in_the_terminal_only(
    client: "TestClient", session: "Session", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr(session, "describe", fail)
    with caplog.at_level(logging.ERROR):
        answer = client.get("/api/choice", params={"name": "adding"})
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "an unexpected error occurred; see the terminal for details"},
    )
    assert "GET /api/choice failed" in caplog.text
    assert "a secret of the machine" in caplog.text


# ---- starting ----------------------------------------------------------------------------------------------------


def test_the_model_is_loaded_in_the_background(session: "Session", monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    def wait_for(client: "TestClient", state: str) -> dict[str, Any]:
        for _ in range(400):
            if (seen := status_of(client))["model"] == state:
                return seen
            time.sleep(0.05)
        pytest.fail(f"the model was never {state}")

    def status_of(client: "TestClient") -> dict[str, Any]:
        return dict(client.get("/api/status").json())

    def missing() -> None:
        raise NaitError("there is no model")

    for load, state, error in ((session.load_model, "ready", None), (missing, "failed", "there is no model")):
        monkeypatch.setattr(session, "load_model", load)
        with client_of(session) as client:
            client.get("/", params={"token": TOKEN})
            assert wait_for(client, state) == {"model": state, "error": error, "done": 0, "of": 0}
            assert fetched(client, "/api/choice", name="adding")["rows"] == 4


def test_only_this_machine_is_listened_to() -> None:
    from nait_index.explore.serve import listen

    with listen(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_refused_in_one_line(place: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        message = refusal_of_explore(place, port)
    assert message == f"port {port} is in use; choose another with --port, or any free one with --port 0"


def refusal_of_explore(place: Path, port: int) -> str:
    from nait_index.explore.serve import serve

    with pytest.raises(NaitError) as caught:
        serve(NaitIndex(place), port=port, browser=False)
    return str(caught.value)


def test_a_missing_package_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert refusal_of_explore(place, 0).endswith("pip install 'nait-index[explore]'")


def test_wrong_usage(place: Path) -> None:
    assert "--port" in refusal("explore", place, "--port", "70000", code=2)
    assert "is not an index" in refusal("explore", place / "nowhere", "--no-open")
