"""The order in which rows are written, and the part that is kept for validation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import nait_index, read_lines, refusal, small_rows

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, View
from nait_index.errors import NaitError, OutputExistsError
from nait_index.selection.selection import Selection

READ: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".jsonl": read_lines,
    ".json": lambda path: json.loads(path.read_bytes()),
    ".parquet": lambda path: __import__("pyarrow.parquet").parquet.read_table(path).to_pylist(),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("order") / "x.nait"
    built = NaitIndex.build(path, small_rows(60), signatures=SignatureConfig(views=(View.WORDS,)))
    built.add_capability("own", small_rows(8, first=500))
    return path


@pytest.fixture
def chosen(index: Path) -> Selection:
    return NaitIndex(index).query("own", top=40)


@pytest.mark.parametrize("suffix", READ)
def test_every_row_is_taught_or_kept_for_validation(chosen: Selection, suffix: str, tmp_path: Path) -> None:
    out, held = tmp_path / f"a{suffix}", tmp_path / f"a.validation{suffix}"
    written = chosen.write(out, validation="10%", seed=3)
    taught, kept = ([row["id"] for row in READ[suffix](path)] for path in (out, held))
    assert (written.rows, len(taught), len(kept)) == (36, 36, 4)
    assert sorted(taught + kept) == sorted(chosen.ids)
    assert taught == [sample_id for sample_id in chosen.ids if sample_id in set(taught)], "best first"
    facts = json.loads(written.sidecar.read_bytes())
    assert facts["validation"] == {"file": held.name, "rows": 4, "seed": 3, "ids": kept}
    assert facts["rows"] == 36
    assert [record["id"] for record in facts["selected"]] == list(chosen.ids), "the whole choice, to write it again"


def test_shuffled_rows_are_the_same_rows_in_an_order_of_their_seed(chosen: Selection, tmp_path: Path) -> None:
    orders = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        chosen.write(tmp_path / f"{name}.jsonl", shuffle=True, seed=seed)
        orders.append([row["id"] for row in read_lines(tmp_path / f"{name}.jsonl")])
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in (orders[0], orders[2], chosen.ids)}) == 3
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(chosen.ids)
    assert json.loads((tmp_path / "c.jsonl.meta.json").read_bytes())["shuffled"] == 1


def test_both_at_once_with_scores_as_a_trainer_reads_them(chosen: Selection, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    chosen.write(out, shuffle=True, validation=5, format="messages", trainers=["trl"], scores=True)
    taught, kept = read_lines(out), read_lines(tmp_path / "a.validation.jsonl")
    assert (len(taught), len(kept)) == (35, 5)
    assert sorted(row["nait_rank"] for row in taught + kept) == list(range(1, 41))
    assert all("messages" in row for row in kept)


def test_what_is_there_is_not_replaced(chosen: Selection, tmp_path: Path) -> None:
    held = tmp_path / "a.validation.jsonl"
    held.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExistsError, match=r"a\.validation\.jsonl"):
        chosen.write(tmp_path / "a.jsonl", validation=5)
    assert held.read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "a.jsonl").exists()
    chosen.write(tmp_path / "a.jsonl", validation=5, force=True)
    assert chosen.write(tmp_path / "a.jsonl", validation=5).unchanged


def test_rows_that_an_earlier_output_kept_for_validation_do_not_stay_beside_another(
    chosen: Selection, tmp_path: Path
) -> None:
    out, held = tmp_path / "a.jsonl", tmp_path / "a.validation.jsonl"
    chosen.write(out, validation=5)
    assert held.exists()
    chosen.write(out, force=True)
    assert not held.exists()
    held.write_text("mine", encoding="utf-8")
    chosen.write(out, shuffle=True, force=True)
    assert held.read_text(encoding="utf-8") == "mine"


def test_a_seed_is_not_negative(chosen: Selection, tmp_path: Path) -> None:
    with pytest.raises(NaitError, match="--seed must be 0 or more, not -1"):
        chosen.write(tmp_path / "a.jsonl", shuffle=True, seed=-1)


@pytest.mark.parametrize("part", ["0", "0%", "100%", "x", "-1", "", "5 rows", "1e400%"])
def test_parts_that_cannot_be_kept(chosen: Selection, part: str, tmp_path: Path) -> None:
    with pytest.raises(NaitError, match="--validation") as caught:
        chosen.write(tmp_path / "a.jsonl", validation=part)
    assert "such as 5%" in str(caught.value)
    with pytest.raises(NaitError, match="none of the 40 rows"):
        chosen.write(tmp_path / "a.jsonl", validation=40)
    assert list(tmp_path.iterdir()) == []


def test_the_command(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    asked = nait_index(
        "query", index, "-c", "own", "--top", "20", "--shuffle", "--validation", "20%", "--seed", "7", "-o", out
    )
    assert asked.code == 0, asked.err
    assert f"4 rows for validation are in {tmp_path}/a.validation.jsonl" in asked.err
    again = tmp_path / "b.jsonl"
    assert nait_index("export", index, "--from", f"{out}.meta.json", "--validation", "4", "-o", again).code == 0
    assert len(read_lines(again)) == 16
    assert "--validation" in refusal("query", index, "-c", "own", "--validation", "5%", code=2)
    assert "--seed is that of" in refusal(
        "query", index, "-c", "own", "--seed", "1", "-o", tmp_path / "c.jsonl", code=2
    )


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_kept_for_validation_are_kept_when_written_again(
    index: Path, chosen: Selection, suffix: str, tmp_path: Path
) -> None:
    sidecar = chosen.write(tmp_path / "a.jsonl", validation="25%", seed=3).sidecar
    kept = [row["id"] for row in read_lines(tmp_path / "a.validation.jsonl")]
    again, out = NaitIndex(index).load_selection(sidecar), tmp_path / f"b{suffix}"
    assert again.write(out).rows == 30
    facts = json.loads((tmp_path / f"b{suffix}.meta.json").read_bytes())
    assert facts["validation"] == {"file": f"b.validation{suffix}", "rows": 10, "seed": 3, "ids": kept}
    assert [row["id"] for row in READ[suffix](tmp_path / f"b.validation{suffix}")] == kept
    assert again.write(out).unchanged
    with pytest.raises(OutputExistsError, match=r"b\.validation|" + out.name):
        again.write(out, shuffle=True)
    assert again.write(tmp_path / "c.jsonl", validation=1).rows == 39
