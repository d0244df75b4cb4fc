"""The demo's rows: a corpus of twelve skills, and held-out examples of each.

They are shipped compressed, as ``python -m tools.demo.generate`` wrote them, one JSON object per line.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"
CORPUS, EXAMPLES = "corpus.jsonl.gz", "examples.jsonl.gz"


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Where the demo's rows were written: the corpus, and one file of examples per skill."""

    corpus: Path
    capabilities: dict[str, Path]


def corpus_rows() -> list[dict[str, str]]:
    """Return the rows of the corpus: ``id``, ``instruction``, ``input``, ``output`` and ``skill``."""
    return [json.loads(line) for line in _lines(CORPUS)]


def example_rows(skill: str) -> list[dict[str, str]]:
    """Return the examples of one skill; none of them is in the corpus.

    :raises KeyError: there is no such skill.
    """
    return [json.loads(line) for line in _examples()[skill]]


def write(folder: Path) -> DemoFiles:
    """Write the corpus and the examples of every skill as JSON lines.

    :param folder: created where missing.
    """
    examples = _examples()
    files = DemoFiles(
        folder / "corpus.jsonl", {skill: folder / "capabilities" / f"{skill}.jsonl" for skill in examples}
    )
    (folder / "capabilities").mkdir(parents=True, exist_ok=True)
    files.corpus.write_bytes(b"".join(_lines(CORPUS)))
    for skill, path in files.capabilities.items():
        path.write_bytes(b"".join(examples[skill]))
    return files


def _lines(name: str) -> list[bytes]:
    with gzip.open(DATA / name) as file:
        return file.readlines()


def _examples() -> dict[str, list[bytes]]:
    """Return the lines of every skill's examples."""
    examples: dict[str, list[bytes]] = {}
    for line in _lines(EXAMPLES):
        examples.setdefault(json.loads(line)["skill"], []).append(line)
    return examples
