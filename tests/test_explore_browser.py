"""The page of ``explore`` in a real browser, served by the real command: from pasted examples to a file of rows."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import Watched
from helpers import build_small, small_rows, write_lines

from nait_index import NaitIndex

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'nait-index[explore]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'nait-index[explore]'")

ROWS = 60
TEXT = "<b onclick=alert(1)>bold</b> & \"quoted\" 'text'"
EXAMPLES = small_rows(12, first=100)[1::2]
WAIT = 60_000
"""Milliseconds that a slow machine may take for a step."""


@dataclass(frozen=True, slots=True)
class Served:
    """The running command. :param place: its index. :param address: as it was printed, with the key."""

    place: Path
    address: str
    process: "subprocess.Popen[str]"


def serve(place: Path, *options: str) -> Served:
    """Start the command on a free port, and wait until it says where it is."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from nait_index_cli.main import main; main()"),
            *("explore", str(place), "--port", "0", "--no-open", "--device", "cpu", *options),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"DISPLAY": ""},
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", address), address
    return Served(place, address, process)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve an index with one stored capability."""
    place = tmp_path_factory.mktemp("explore") / "index.nait"
    rows = small_rows(ROWS - 1)
    rows.append({"id": "odd", "instruction": TEXT, "input": "", "output": "3"})
    build_small(place, write_lines(place.with_name("corpus.jsonl"), rows))
    index = NaitIndex(place)
    index.store_capability(index.make_capability_from(small_rows(8, first=200)[::2]), "naming")
    running = serve(place)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.fixture
def looked(page: Watched, served: Served) -> Iterator[Watched]:
    """Open the page; nothing may go wrong on it, and nothing may be asked of another machine."""
    page.page.set_default_timeout(WAIT)
    page.page.goto(served.address)
    page.page.wait_for_selector("#capabilities li", state="attached")
    yield page
    assert (page.errors, page.outside) == ([], [])


def ids(page: "Page") -> list[str]:
    """Return the ids of the listed rows."""
    facts = page.locator("#rows .facts").all_text_contents()
    return [str(fact).rpartition("id ")[2] for fact in facts]


def choice_of(page: "Page", rows: int) -> None:
    """Wait until so many rows are chosen."""
    page.locator("#headline", has_text=re.compile(rf"^{rows} of ")).wait_for()
    page.locator("#found:not(.stale)").wait_for()


def downloaded(page: "Page", selector: str, folder: Path) -> Path:
    with page.expect_download() as coming:
        page.click(selector)
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    return path


def pasted(page: "Page") -> None:
    page.fill("#text", "\n".join(json.dumps(row) for row in EXAMPLES))
    page.click("#find")


def test_from_pasted_examples_to_a_file(looked: Watched, served: Served, tmp_path: Path) -> None:
    page, index = looked.page, NaitIndex(served.place)
    assert "token" not in page.url
    pasted(page)
    choice_of(page, 6)
    made = index.make_capability_from(EXAMPLES)
    assert ids(page) == list(index.query(made).ids)
    assert page.locator("svg.curve").get_attribute("aria-label").startswith("Scores of 60 rows by rank")  # type: ignore[union-attr]
    assert "6 examples; so few examples say little of a skill; give 16 to 64" in page.inner_text("#status")

    page.fill("#top", "20")
    page.keyboard.press("Enter")
    choice_of(page, 20)
    assert ids(page) == list(index.query(made, top=20).ids)

    page.fill("#where", "n_tokenz < 40")
    page.keyboard.press("Enter")
    page.wait_for_selector("#where[aria-invalid]")
    assert page.inner_text("#where-error").startswith("--where 'n_tokenz < 40' cannot be used: ")
    assert page.get_attribute("#download-rows", "href") is None
    page.fill("#where", "n_tokens < 40")
    page.keyboard.press("Enter")
    page.wait_for_selector("#where:not([aria-invalid])")
    choice_of(page, 20)
    assert page.inner_text("#where-error") == ""
    assert ids(page) == list(index.query(made, top=20, where="n_tokens < 40").ids)

    page.fill("#name", "sums")
    page.click("#keep-button")
    page.wait_for_selector("#capabilities input[value=sums]:checked")
    choice_of(page, 20)
    index = NaitIndex(served.place)
    assert [json.loads(row) for row in index.capability_rows("sums")] == EXAMPLES
    assert page.inner_text("#version") == str(index.manifest.version)

    rows, meta = (downloaded(page, f"#download-{part}", tmp_path) for part in ("rows", "meta"))
    (tmp_path / "expected").mkdir()
    beside = index.query("sums", top="20", where="n_tokens < 40").to_jsonl(tmp_path / "expected" / rows.name)
    assert rows.name == "sums-20.jsonl"
    assert rows.read_bytes() == beside.with_name(rows.name).read_bytes()
    assert (meta.name, meta.read_bytes()) == (beside.name, beside.read_bytes())


def test_rows_are_text_and_open_whole(looked: Watched) -> None:
    page = looked.page
    page.check("input[value=stored]", force=True)
    page.check("#capabilities input[value=naming]")
    choice_of(page, 6)
    page.fill("#top", "100%")
    page.keyboard.press("Enter")
    choice_of(page, ROWS)
    for first in (21, 41):
        page.click("#later")
        page.locator("#where-in-pages", has_text=re.compile(f"^{first} to")).wait_for()
    assert page.is_disabled("#later")
    page.fill("#where", "id = 'odd'")
    page.keyboard.press("Enter")
    choice_of(page, 1)
    row = page.locator("#rows details.row")
    assert row.locator(".preview").inner_text() == f"{TEXT} › 3"
    row.locator("summary").first.click()
    row.locator(".part.user .text").wait_for()
    assert row.locator(".part.user .text").inner_text() == TEXT
    assert page.locator("#results b[onclick]").count() == 0
    read, raw = row.locator(".words details").all()
    read.locator("summary").click()
    assert read.locator("pre").inner_text() == f"{TEXT}\n3"
    raw.locator("summary").click()
    assert json.loads(raw.locator("pre").inner_text())["instruction"] == TEXT


def test_everything_is_within_reach_of_the_keyboard(looked: Watched, served: Served) -> None:
    page = looked.page
    page.focus("#text")
    page.keyboard.insert_text("Add 3 and 4. The answer is 7.\n\nAdd 5 and 6. It is 11.\n\nAdd 1 and 2: 3.")
    page.keyboard.press("Control+Enter")
    choice_of(page, 6)
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    choice_of(page, 7)
    assert (page.input_value("#top"), page.get_attribute("#slider", "aria-valuetext")) == ("12%", "12 per cent")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"top", "method", "where", "name", "replace", "download-rows", "download-meta", "SUMMARY"} <= reached
    inputs = "[...document.querySelectorAll('input, select, textarea')]"
    assert (
        page.evaluate(f"{inputs}.filter((input) => !input.labels.length && !input.ariaLabel).map((input) => input.id)")
        == []
    )
    page.select_option("#method", "bm25")
    page.locator(".skill .said", has_text="By bm25").wait_for()
    made = NaitIndex(served.place).make_capability_from(page.input_value("#text"))
    assert ids(page) == list(NaitIndex(served.place).query(made, top="12%", method="bm25").ids)


def test_thumbs_refine_the_choice(looked: Watched, served: Served) -> None:
    from nait_index.explore.session import ChoiceRequest, Session
    from nait_index.explore.thumbs import Thumbs

    def chosen(liked: Iterable[str] = (), disliked: Iterable[str] = ()) -> list[str]:
        thumbs = Thumbs(frozenset(liked), frozenset(disliked))
        return list(session.choose(ChoiceRequest(names=("naming",), top="10", thumbs=thumbs)).ids)

    def refined(text: str) -> None:
        page.locator("#refined", has_text=re.compile(f"^{text} · clear$")).wait_for()
        page.locator("#found:not(.stale)").wait_for()

    page, session = looked.page, Session(NaitIndex(served.place))
    page.check("input[value=stored]", force=True)
    page.check("#capabilities input[value=naming]")
    page.fill("#top", "10")
    page.keyboard.press("Enter")
    choice_of(page, 10)
    *_, last = chosen()
    like, dislike = (
        page.locator("#rows").get_by_role("button", name=f"{word} row {last}", exact=True)
        for word in ("Like", "Dislike")
    )
    like.focus()
    page.keyboard.press("Enter")
    refined("refined by 1 liked row")
    assert (like.get_attribute("aria-pressed"), dislike.get_attribute("aria-pressed")) == ("true", "false")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Like row {last}"
    assert ids(page) == chosen([last])
    disliked: list[str] = []
    for rows in ("1 disliked rows?", "2 disliked rows"):
        disliked.append(ids(page)[0])  # of what is shown now: a row may have left the choice
        page.locator("#rows").get_by_role("button", name=f"Dislike row {disliked[-1]}", exact=True).click()
        refined(f"refined by 1 liked, {rows}")
        assert ids(page) == chosen([last], disliked)
    assert f"like={last}" in (page.get_attribute("#download-rows", "href") or "")

    page.select_option("#method", "bm25")
    page.locator(".skill .said", has_text="By bm25").wait_for()
    refined("not refined by 1 liked, 2 disliked rows")
    thumb = page.locator("#rows .thumb").first
    assert thumb.is_disabled()
    assert (thumb.get_attribute("title") or "").startswith("method bm25 heeds no unwanted examples; ")
    page.select_option("#method", "probe")
    page.locator(".skill .said", has_text="By probe").wait_for()
    refined("refined by 1 liked, 2 disliked rows")
    page.click("#clear")
    page.locator("#refined").wait_for(state="hidden")
    choice_of(page, 10)
    assert ids(page) == chosen()
    assert page.locator(".thumb[aria-pressed=true]").count() == 0


def test_what_is_wrong_is_said_beside_its_field(looked: Watched) -> None:
    page = looked.page
    page.fill("#text", '{"asked": "Add 1 and 2."}')
    page.click("#find")
    page.locator("#text-error", has_text="match no row format").wait_for()
    assert page.get_attribute("#text", "aria-invalid") == "true"
    pasted(page)
    choice_of(page, 6)
    assert page.inner_text("#text-error") == ""
    page.fill("#name", "naming")
    page.click("#keep-button")
    page.locator("#keep-error", has_text="is stored already; tick Replace").wait_for()
    page.fill("#top", "half")
    page.keyboard.press("Enter")
    page.locator("#top-error", has_text="neither a share such as 10%").wait_for()
    assert "are from the previous choice" in page.inner_text("#status")


def test_encoding_can_be_stopped(looked: Watched, served: Served) -> None:
    page = looked.page
    page.fill("#text", "\n\n".join(f"Add {number} and {number + 3}. " * 40 for number in range(300)))
    page.click("#find")
    page.locator("#status", has_text=re.compile(r"Encoding the examples: [\d,]+ of 300…")).wait_for()
    page.locator("#find", has_text="Stop").click()
    page.locator("#status", has_text="Stopped.").wait_for()
    pasted(page)
    choice_of(page, 6)


def test_a_file_is_read_like_what_is_pasted(looked: Watched, tmp_path: Path) -> None:
    page = looked.page
    page.set_input_files("#file", write_lines(tmp_path / "adding.jsonl", EXAMPLES))
    choice_of(page, 6)
    assert page.input_value("#name") == "adding"
    page.set_input_files("#file", {"name": "rows.parquet", "mimeType": "application/x", "buffer": b"PAR1"})
    page.locator("#text-error", has_text="this page reads JSON and plain text").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone(looked: Watched, scheme: Any) -> None:
    page = looked.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    assert not looked.is_wide()
    pasted(page)
    choice_of(page, 6)
    page.locator("#rows summary").first.click()
    page.locator("#rows .part").first.wait_for()
    assert not looked.is_wide()


def test_another_visitor_is_not_let_in(page: Watched, served: Served) -> None:
    answer = page.page.goto(served.address.partition("?")[0])
    assert answer is not None
    assert answer.status == 403
    assert "open the address that 'nait-index explore' printed" in page.page.inner_text("body")


def test_an_old_version_is_for_looking_at_and_ends_quietly(page: Watched, served: Served) -> None:
    running = serve(served.place, "--at", "1")
    page.page.goto(running.address)
    page.page.wait_for_selector("text=An old version of the index")
    assert page.page.locator("#keep-button").count() == 0
    assert page.errors == []
    running.process.send_signal(signal.SIGINT)
    _, errors = running.process.communicate(timeout=60)
    assert running.process.returncode in (0, 130)
    assert errors.splitlines() == [f"{served.place}: {ROWS} rows; press Ctrl-C to stop"]
