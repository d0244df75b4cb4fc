"""An index in an object store: an S3-compatible server on loopback, started here."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers import build_small, interrupt_call, nait_index, refusal, samples_of, small_rows, write_lines

from nait_index.errors import IndexBusyError, NaitError
from nait_index.store.dataset import writing
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock

if TYPE_CHECKING:
    from nait_index.store.remote import Remote

pytestmark = pytest.mark.slow

ROWS = 30
_KEYS = {
    "aws_access_key_id": "own",
    "aws_secret_access_key": "very-secret",
    "region": "us-east-1",
    "allow_http": "true",
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("obstore", reason="needs the extra s3")
    pytest.importorskip("moto.server", reason="needs moto[server]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT"), timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield address
        process.kill()


@pytest.fixture
def storage(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Options of the store; what serves the indexes there lies in a new cache folder for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return _KEYS | {"endpoint": server}


@pytest.fixture
def uri(request: pytest.FixtureRequest) -> str:
    return f"s3://bucket/{request.node.name}/own.nait"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "corpus.jsonl", [*small_rows(ROWS), "no json"])


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "examples.jsonl", small_rows(6, first=500))


def _options(storage: dict[str, str]) -> list[str]:
    return [part for key, value in storage.items() for part in ("--storage-option", f"{key}={value}")]


def _stored(uri: str, storage: dict[str, str]) -> dict[str, dict[str, Any]]:
    return samples_of(uri, storage)


def test_everything_works_there_as_it_does_here(
    uri: str, storage: dict[str, str], corpus: Path, examples: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here.nait"
    build_small(here, corpus)
    build_small(uri, corpus, storage=storage)
    assert _stored(uri, storage) == samples_of(here)
    options = _options(storage)

    def same(*command: str | Path) -> None:
        verb, *rest = command
        there, local = nait_index(verb, uri, *rest, *options), nait_index(verb, here, *rest)
        assert (there.code, local.code) == (0, 0), there.err
        assert there.out.replace(uri, "X") == local.out.replace(str(here), "X")

    same("query", "-e", examples, "--top", "10", "--json")
    same("rows", "--where", "n_tokens > 10", "--json")
    assert nait_index("capability", "add", uri, "own", examples, *options).code == 0
    assert nait_index("capability", "add", here, "own", examples).code == 0
    same("query", "-c", "own", "--top", "10", "--json")
    same("cover", "--top", "10", "--json")
    more = write_lines(tmp_path / "more.jsonl", small_rows(8, first=ROWS))
    for place, given in ((uri, options), (str(here), [])):
        assert nait_index("tag", place, "before", *given).code == 0
        assert nait_index("add", place, more, *given).code == 0
        assert nait_index("remove", place, "--where", "id = 'row-003'", *given).code == 0
    same("query", "-c", "own", "--top", "10", "--json")
    same("query", "--at", "before", "-c", "own", "--top", "10", "--json")
    scores = write_lines(
        tmp_path / "scores.jsonl", [{"id": f"row-{number:03}", "value": number} for number in range(ROWS)]
    )
    assert nait_index("score", *options, uri, "import", scores, "--name", "own").code == 0
    assert nait_index("score", here, "import", scores, "--name", "own").code == 0
    same("rows", "--where", "own > 7", "--json")
    assert nait_index("optimize", uri, *options).code == 0
    assert nait_index("restore", uri, "before", *options).code == 0
    assert _stored(uri, storage).keys() == {f"row-{number:03}" for number in range(ROWS)}
    checks = {check["name"]: check["passed"] for check in nait_index("verify", uri, "--json", *options).json}
    assert False not in checks.values()


def test_another_machine_sees_the_same(
    uri: str, storage: dict[str, str], corpus: Path, examples: Path, tmp_path: Path
) -> None:
    build_small(uri, corpus, storage=storage)
    command = ["query", uri, "-e", examples, "--top", "9", "--json", *_options(storage)]
    wanted = nait_index(*command).json
    shutil.rmtree(tmp_path / "cache")
    assert nait_index(*command).json == wanted
    assert nait_index("info", uri, "--json", *_options(storage)).json["rejected"] == 1
    more = write_lines(tmp_path / "more.jsonl", [*small_rows(3, first=ROWS), "nor this"])
    shutil.rmtree(tmp_path / "cache")
    assert nait_index("add", uri, more, "--json", *_options(storage)).json["rows"] == ROWS + 3
    shutil.rmtree(tmp_path / "cache")
    info = nait_index("info", uri, "--json", *_options(storage)).json
    assert (info["rows"], info["rejected"]) == (ROWS + 3, 2)


@pytest.mark.parametrize("place", ["save_compressor", "publish_rows"])
def test_an_interrupted_build_is_finished_on_another_machine(
    place: str, uri: str, storage: dict[str, str], corpus: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here.nait"
    build_small(here, corpus)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, f"nait_index.building.builder.{place}")
        with pytest.raises(KeyboardInterrupt):
            build_small(uri, corpus, storage=storage)
    assert "was interrupted" in refusal("info", uri, *_options(storage))
    shutil.rmtree(tmp_path / "cache")
    build_small(uri, corpus, storage=storage)
    assert _stored(uri, storage) == samples_of(here)


def test_environment_variables_do_as_well(
    uri: str, storage: dict[str, str], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in storage.items():
        monkeypatch.setenv(f"AWS_{name.removeprefix('aws_').upper()}", value)
    build_small(uri, corpus)
    assert nait_index("info", uri, "--json").json["rows"] == ROWS


def test_one_writer_at_a_time(uri: str, storage: dict[str, str], corpus: Path, tmp_path: Path) -> None:
    from nait_index.store import remote

    build_small(uri, corpus, storage=storage)
    command = ["tag", uri, "own", *_options(storage)]
    with write_lock(Layout(uri, storage)):
        os.rename(tmp_path / "cache", tmp_path / "elsewhere")  # as from another machine
        message = refusal(*command)
        assert str(os.getpid()) in message
        assert socket.gethostname() in message
        # One that is gone lets go after a while.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote, "_STALE", -1.0)
            patch.setattr(remote, "BEAT", 0.01)
            taken = nait_index(*command)
            assert taken.code == 0
            assert f"locked by process {os.getpid()} on {socket.gethostname()}; waiting" in taken.err
    assert nait_index("tag", uri, "other", *_options(storage)).code == 0


def test_a_lock_that_is_held_is_renewed(uri: str, storage: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from nait_index.store import remote

    monkeypatch.setattr(remote, "BEAT", 0.1)
    locked = Layout(uri, storage).remote
    assert locked is not None
    with locked.lock():
        first = locked.get(remote.LOCK)
        deadline = time.monotonic() + 10
        while locked.get(remote.LOCK) == first and time.monotonic() < deadline:
            time.sleep(0.05)
        assert locked.get(remote.LOCK) != first
        with pytest.raises(IndexBusyError):
            locked.lock().__enter__()
    assert locked.get(remote.LOCK) is None


@pytest.mark.parametrize("clock", ["ahead", "right"])
def test_a_lock_that_is_renewed_is_not_taken_over_whatever_the_clock_says(
    clock: str, uri: str, storage: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nait_index.store import remote

    writer, other, waited = _remote(uri, storage), _remote(uri, storage), []

    def renewed_meanwhile(seconds: float) -> None:
        waited.append(seconds)
        writer._renew_now()

    if clock == "ahead":
        monkeypatch.setattr(remote, "_STALE", -3600.0)
    monkeypatch.setattr(remote.time, "sleep", renewed_meanwhile)
    with writer.lock():
        with pytest.raises(IndexBusyError), other.lock():
            raise AssertionError("it was taken over")
        writer.put("manifest.json", b"mine")
    assert waited == ([3 * remote.BEAT] if clock == "ahead" else [])
    with other.lock():
        pass


def test_a_writer_that_lost_its_lock_leaves_it_to_the_other(uri: str, storage: dict[str, str]) -> None:
    from nait_index.store import remote

    writer, other = _remote(uri, storage), _remote(uri, storage)
    with writer.lock():
        other.put(remote.LOCK, b"taken over")
    assert other.get(remote.LOCK) == b"taken over"


def _remote(uri: str, storage: dict[str, str]) -> "Remote":
    """Return the store as another process sees it."""
    remote = Layout(uri, storage).remote
    assert remote is not None
    return remote


def test_a_writer_that_lost_its_lock_writes_no_more(
    uri: str, storage: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nait_index.store import remote

    monkeypatch.setattr(remote, "BEAT", 0.1)
    layout, other = Layout(uri, storage), _remote(uri, storage)
    slow = layout.remote
    assert slow is not None
    with slow.lock():
        other.put(remote.LOCK, b"taken over")
        deadline = time.monotonic() + 10
        while slow._tag and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(IndexBusyError, match="another process has begun to write there"):
            slow.put("manifest.json", b"old")
        with pytest.raises(IndexBusyError, match="another process has begun to write there"), writing(layout):
            raise AssertionError("it has written")
    assert other.get("manifest.json") is None
    assert other.get(remote.LOCK) == b"taken over"


def test_a_writer_that_wakes_up_looks_for_its_lock_first(uri: str, storage: dict[str, str]) -> None:
    from nait_index.store import remote

    layout = Layout(uri, storage)
    slow = layout.remote
    assert slow is not None
    with slow.lock():
        _remote(uri, storage).put(remote.LOCK, b"taken over")
        with writing(layout):
            pass  # it cannot know yet
        slow._renewed -= 3 * remote.BEAT
        with pytest.raises(IndexBusyError, match="another process has begun to write there"), writing(layout):
            raise AssertionError("it has written")


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        ("s3://no-such-bucket/own.nait", {}, "no-such-bucket"),
        ("s3://bucket/nothing-there", {}, "is not an index"),
        ("s3://bucket/own.nait", {"endpoint": "http://127.0.0.1:9"}, "cannot be read"),
        ("s3://bucket/own.nait", {"nonsense": "x"}, "cannot be opened"),
        ("nonsense://bucket/own.nait", {}, "cannot be opened"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    place: str, change: dict[str, str], message: str, storage: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_RETRIES", "0")
    line = refusal("info", place, *_options(storage | change))
    assert message in line
    assert "very-secret" not in line


def test_options_of_a_store_are_for_a_store(tmp_path: Path) -> None:
    assert "object store" in refusal("info", tmp_path, "--storage-option", "region=x")
    assert "KEY=VALUE" in refusal("info", tmp_path, "--storage-option", "region", code=2)


def test_a_prefix_with_other_things_in_it_is_no_place_for_an_index(
    uri: str, storage: dict[str, str], corpus: Path
) -> None:
    remote = Layout(uri, storage).remote
    assert remote is not None
    remote.put("thesis.txt", b"mine")
    with pytest.raises(NaitError, match="not empty"):
        build_small(uri, corpus, storage=storage)
    assert remote.get("thesis.txt") == b"mine"


def test_credentials_are_written_nowhere(uri: str, storage: dict[str, str], corpus: Path, tmp_path: Path) -> None:
    build_small(uri, corpus, storage=storage)
    layout = Layout(uri, storage)
    assert layout.remote is not None
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"very-secret" in path.read_bytes() for path in files)
    manifest = layout.remote.get("manifest.json")
    assert manifest is not None
    assert b"very-secret" not in manifest


# ---- an index in the place of a deleted one ---------------------------------------------------------------------


def _tagged(letter: str, sums: int) -> list[dict[str, Any]]:
    """Make rows of which every fourth is a sum, beginning with one of the first four."""
    rows = []
    for n in range(40):
        text = f"add {n} and {n + 3}" if n % 4 == sums else f"name a thing that {letter}{n} is"
        rows.append(
            {"id": f"{letter}{n}", "instruction": text, "output": str(n), "tag": "sum" if n % 4 == sums else "x"}
        )
    return rows


def _chosen(place: Path | str) -> list[tuple[str, float]]:
    """Choose rows by all that is kept beside an index: a scan copy, a trained query, and a field."""
    from nait_index import NaitIndex

    index = NaitIndex(place)
    examples = index.make_capability_from([{"instruction": f"add {n} and 5", "output": "9"} for n in range(8)])
    choices = [index.query(examples, top=5), index.query(examples, top=5, where="tag = 'sum'")]
    return [pair for choice in choices for pair in zip(choice.ids, choice.scores, strict=True)]


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that serves as a prefix of an object store."""
    pytest.importorskip("obstore", reason="needs the extra s3")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "store" / "x.nait"


@pytest.mark.parametrize("builder", ["cache", "another"])
def test_an_index_in_the_place_of_another_is_searched_by_its_own_copies(
    builder: str, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nait_index import NaitIndex, SignatureConfig
    from nait_index.config import View

    words, here = SignatureConfig(views=(View.WORDS,)), tmp_path / "here.nait"
    prefix.mkdir(parents=True)
    NaitIndex.build(prefix.as_uri(), _tagged("a", 0), signatures=words)
    assert {name[0] for name, _ in _chosen(prefix.as_uri())} == {"a"}
    shutil.rmtree(prefix)
    prefix.mkdir()
    with monkeypatch.context() as machine:
        machine.setenv("XDG_CACHE_HOME", str(tmp_path / builder))
        NaitIndex.build(prefix.as_uri(), _tagged("b", 2), signatures=words)
    NaitIndex.build(here, _tagged("b", 2), signatures=words)
    assert _chosen(prefix.as_uri()) == _chosen(here)


def test_an_interrupted_build_that_was_deleted_leaves_nothing_to_the_next(prefix: Path, tmp_path: Path) -> None:
    corpus, here = write_lines(tmp_path / "corpus.jsonl", small_rows(ROWS)), tmp_path / "here.nait"
    prefix.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, "nait_index.building.builder.fit_basis")
        with pytest.raises(KeyboardInterrupt):
            build_small(prefix.as_uri(), corpus)
        left = Layout(prefix.as_uri()).staging
        assert [*left.glob("shard-*")]
        elsewhere = shutil.copytree(left, tmp_path / "left")
        shutil.rmtree(prefix)
        prefix.mkdir()
        interrupt_call(patch, "nait_index.building.builder.BackgroundWriter.do")
        with pytest.raises(KeyboardInterrupt):
            build_small(prefix.as_uri(), corpus, max_length=8)
    # As where the deleted build ran on another machine than the one that was begun anew.
    shutil.copytree(elsewhere, left, dirs_exist_ok=True)
    build_small(prefix.as_uri(), corpus, max_length=8)
    build_small(here, corpus, max_length=8)
    assert samples_of(prefix.as_uri()) == samples_of(here)


def test_stores_at_two_addresses_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="needs the extra s3")
    uri, roots = "s3://bucket/own.nait", []
    for port in (1, 2):
        roots.append(Layout(uri, _KEYS | {"endpoint": f"http://127.0.0.1:{port}"}).root)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert Layout(uri, {"region": "x"}).root == roots[-1]
        monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert len({*roots, Layout(uri, _KEYS).root}) == 3
