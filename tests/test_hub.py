"""Selections that are written to a data set of the Hub, against a stand-in that keeps one in memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import build_small, small_rows, write_lines
from hub_stand_in import serving

from nait_index.errors import NaitError
from nait_index.handover.hub import HubOptions, output_options

ADDRESS = "hf://datasets/acme/sums"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    build_small(folder / "small.nait", write_lines(folder / "corpus.jsonl", small_rows(16)))
    return folder / "small.nait"


def run(endpoint: str, folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own, since the libraries read the Hub's address when they are imported."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("OFFLINE")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder), "HF_TOKEN": "hf_stand_in"}
    code = "from nait_index_cli.main import main; main()"
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def test_a_selection_is_written_to_a_private_data_set(index: Path, tmp_path: Path) -> None:
    made: dict[str, Any] = {}
    asked = ["export", index, "-o", ADDRESS]
    with serving("acme/sums", {}, made) as address:
        ran = run(address, tmp_path, *asked)
        assert ran.returncode == 0, ran.stderr
        assert f"wrote train.jsonl (16 rows) and train.jsonl.meta.json to {ADDRESS}" in ran.stderr
        files = made.pop("files")
        assert (made["type"], made["name"], made["organization"]) == ("dataset", "sums", "acme")
        assert made.get("private") is True or made.get("visibility") == "private"
        assert sorted(files) == ["README.md", "train.jsonl", "train.jsonl.meta.json"]
        assert len(files["train.jsonl"].splitlines()) == 16
        sidecar = json.loads(files["train.jsonl.meta.json"])
        assert sidecar["command"].endswith(f"-o {ADDRESS}")
        _check_card(files["README.md"].decode(), sidecar)

        ran = run(address, tmp_path, *asked)
        assert ran.returncode == 1
        assert f"{ADDRESS} exists already; replace its rows with --force" in ran.stderr
        ran = run(address, tmp_path, *asked, "--force", "--as", "messages", "--where", "id in ('row-001', 'row-004')")
        assert ran.returncode == 0, ran.stderr
        rows = [json.loads(row) for row in made["files"]["train.jsonl"].splitlines()]
        assert [row["id"] for row in rows] == ["row-001", "row-004"]
        assert "messages" in rows[0]


def _check_card(card: str, sidecar: dict[str, Any]) -> None:
    """Check that the card names the file of the rows, and holds the facts of the sidecar but for those of rows."""
    import yaml

    _, head, body = card.split("---\n", 2)
    (config,) = yaml.safe_load(head)["configs"]
    assert config["data_files"] == [{"split": "train", "path": "train.jsonl"}]
    facts = json.loads(body.split("```json\n")[1].split("```")[0])
    assert facts == {key: value for key, value in sidecar.items() if key in facts}
    assert {"index", "version", "method", "rows", "command"} <= set(facts)
    assert "selected" not in facts


def test_a_hub_that_is_away_is_one_line(index: Path, tmp_path: Path) -> None:
    ran = run("http://127.0.0.1:9", tmp_path, "query", index, "-c", "x", "-o", ADDRESS)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"Error: {ADDRESS}: ")
    assert line.endswith("check the name, the network and hf auth whoami")


@pytest.mark.parametrize("address", [f"{ADDRESS}/data", "hf://datasets/sums", "hf://datasets/"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(NaitError, match="not a data set of the Hub; write it as hf://datasets/OWNER/NAME"):
        HubOptions(address)


def test_a_trainer_needs_a_file() -> None:
    with pytest.raises(NaitError, match="beside a file; write a file, or leave out --for"):
        output_options(ADDRESS, trainers=("trl",))
