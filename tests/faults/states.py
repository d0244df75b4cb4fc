"""Comparing an index with one that nothing happened to."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from helpers import counts_of, manifest_of, nait_index, samples_of

METHODS = ("probe", "nait")


def ranking(root: Path) -> list[Any]:
    """Rank all rows by some methods, for a capability that is stored or for none."""
    from nait_index import NaitIndex

    index = NaitIndex(root)
    capability = "own" if index.capabilities() else None
    if capability is None:
        return []
    chosen = [index.query(capability, top="100%", method=method) for method in METHODS]
    return [(one.ids, one.scores) for one in chosen]


def listing(root: Path) -> list[str]:
    """Name what lies in an index, but for what may differ from one run to another."""
    return sorted(path.name for path in root.iterdir())


def assert_sees(root: Path, expected: Path) -> None:
    """Check that readers see what they see of another index: rows with all their columns, counts, rankings."""
    samples, counts, ranked = _seen_of(expected)
    assert_same_samples(samples_of(root), samples)
    # What an interrupted run rejected may be listed already, lest it be lost.
    assert counts_of(root) | {"rejected": None, "sources": None} == counts | {"rejected": None, "sources": None}
    assert ranking(root) == ranked
    info = nait_index("info", root, "--json")
    assert (info.code, json.loads(info.out)["rows"]) == (0, counts["rows"]), info


def assert_same_samples(actual: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    """Check that rows are the same to the bit, but for the last bits of the lengths of their layers.

    The last shard of these corpora has one row, and products of so few rows round in one of two ways, by the process.
    """
    assert actual.keys() == expected.keys()
    for sample_id, row in expected.items():
        assert actual[sample_id] | {"pca_norms": b""} == row | {"pca_norms": b""}
        lengths = [np.frombuffer(rows[sample_id]["pca_norms"], np.float32) for rows in (actual, expected)]
        np.testing.assert_allclose(*lengths, rtol=1e-6)


@cache
def _seen_of(expected: Path) -> tuple[Any, Any, Any]:
    """Read what readers see of an index that stays as it is."""
    return samples_of(expected), counts_of(expected), ranking(expected)


def assert_same(root: Path, expected: Path) -> None:
    """Check that an index is another to the bit: rows, signatures, basis, counts, rejected rows, and nothing more."""
    assert_sees(root, expected)
    assert counts_of(root) == counts_of(expected)
    for name in ("basis.safetensors", "components.safetensors", "rejected.jsonl"):
        assert (root / name).read_bytes() == (expected / name).read_bytes(), name
    assert listing(root) == listing(expected)
    assert leftovers(root) == []


def assert_verified(root: Path) -> None:
    """Check that an index says of itself that it is whole."""
    outcome = nait_index("verify", root, "--sample", "4", "--json")
    assert outcome.code == 0, outcome
    assert [check for check in json.loads(outcome.out) if check["passed"] is False] == []


def leftovers(root: Path) -> list[str]:
    """Name the files that no version of the index has any use for.

    Lists of deleted rows are left out: of a deletion that failed, Lance keeps some hundred bytes until the version that
    it was to change is forgotten.
    """
    import lance

    from nait_index.store.dataset import files_of
    from nait_index.store.layout import Layout

    layout = Layout(root)
    left = [path for path in root.rglob("*") if path.name.endswith(".tmp") or "staging" in path.parts[-2:]]
    for uri in (layout.samples, layout.capabilities):
        if not Path(uri).is_dir():
            continue
        table = lance.dataset(uri)
        used = {
            path
            for version in table.versions()
            for path in files_of(uri, lance.dataset(uri, version=version["version"]))
        }
        left += sorted({path for path in Path(uri, "data").rglob("*") if path.is_file()} - used)
    return [str(path.relative_to(root)) for path in left]


def assert_last_version_is_seen(root: Path, before: Path | None, after: Path) -> str:
    """Check that readers of an index whose change was killed see it as it was before, or as it is after.

    :param before: an index as it was before, ``None`` where there was none. :returns: which of them.
    """
    if (root / "manifest.json").is_file():
        version = manifest_of(root).version
    else:
        version = -1
    if before is None and version < 1:
        for command in (["query", root, "-c", "own"], ["info", root], ["rows", root], ["verify", root]):
            outcome = nait_index(*command)
            assert (outcome.code, outcome.out) == (1, ""), outcome
            (line,) = outcome.err.splitlines()
            assert "was interrupted; run the same" in line or "is not an index" in line, line
        return "none"
    old = 0 if before is None else manifest_of(before).version
    assert version in (old, manifest_of(after).version)
    if version == old:
        assert before is not None
        assert_sees(root, before)
        return "before"
    assert_sees(root, after)
    return "after"
