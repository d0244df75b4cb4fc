"""An index that was changed, damaged or made otherwise is refused by name, or mended where that is safe."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    announce,
    build_small,
    engine_of,
    manifest_of,
    nait_index,
    refusal,
    samples_of,
    small_rows,
    small_signatures,
    write_lines,
)

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, View
from nait_index.errors import FingerprintError
from nait_index.search.exact import ExactScan
from nait_index.signatures.features import Feature
from nait_index.store.fingerprint import Fingerprint
from nait_index.store.layout import Layout
from nait_index.store.manifest import save_manifest

pytestmark = pytest.mark.slow

ROWS = 24
OF_OTHER_VIEWS = ("sae", "grad_layers", "grad_checkpoints", "landmarks", "words_dim")
"""Settings that say nothing of an index without their view."""
FIELDS = [field.name for field in (*fields(Fingerprint), *fields(SignatureConfig)) if field.name != "signatures"]


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def built(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index, with its corpus and examples beside it; not to be changed."""
    folder = tmp_path_factory.mktemp("built")
    root = folder / "own.nait"
    build_small(root, write_lines(folder / "corpus.jsonl", small_rows(ROWS)), model=model)
    examples = write_lines(folder / "examples.jsonl", small_rows(4, first=100))
    assert nait_index("capability", "add", root, "own", examples).code == 0
    return root


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """Return a copy of the index that may be damaged."""
    return Path(shutil.copytree(built, tmp_path / "copy.nait"))


@pytest.fixture(scope="module")
def corpus(built: Path) -> Path:
    return built.parent / "corpus.jsonl"


@pytest.fixture(scope="module")
def examples(built: Path) -> Path:
    return built.parent / "examples.jsonl"


def _ranking(root: Path, method: str = "contrast", where: str | None = None) -> list[tuple[str, float]]:
    chosen = NaitIndex(root).query("own", top="100%", method=method, where=where)
    return list(zip(chosen.ids, chosen.scores, strict=True))


# ---- the fingerprint ----------------------------------------------------------------------------------------------


def _other(value: Any) -> Any:
    if isinstance(value, tuple):
        return value[:-1]
    if value in ("all", "chosen"):
        return {"all": "answer", "chosen": "both"}[value]
    return value + 1 if isinstance(value, int) else f"{value}x"


def _changed(fingerprint: Fingerprint, field: str) -> Fingerprint:
    """Return a fingerprint that differs in one field, wherever that is."""
    if field in fingerprint.__dataclass_fields__:
        return replace(fingerprint, **{field: _other(getattr(fingerprint, field))})
    settings: dict[str, Any] = {field: _other(getattr(fingerprint.signatures, field))}
    return replace(fingerprint, signatures=replace(fingerprint.signatures, **settings))


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in OF_OTHER_VIEWS])
def test_a_difference_in_any_one_field_is_refused_by_its_name_alone(
    field: str, index: Path, corpus: Path, model: Path
) -> None:
    manifest = manifest_of(index)
    changed = _changed(manifest.fingerprint, field)
    assert changed.digest != manifest.fingerprint.digest
    save_manifest(Layout(index), replace(manifest, fingerprint=changed))
    with pytest.raises(FingerprintError) as raised:
        build_small(index, corpus, model=model)
    message = str(raised.value)
    assert "\n" not in message
    assert [name for name in FIELDS if f" {name} (" in message] == [field]


def test_another_autoencoder_is_refused_by_its_name_alone(index: Path) -> None:
    fingerprint = manifest_of(index).fingerprint
    signatures = replace(fingerprint.signatures, views=(*fingerprint.signatures.views, View.SAE), sae="one")
    ours = replace(fingerprint, signatures=signatures)
    theirs = _changed(ours, "sae")
    assert ours.digest != theirs.digest
    with pytest.raises(FingerprintError) as raised:
        ours.require(theirs, "this")
    assert [name for name in FIELDS if f"{name} (" in str(raised.value)] == ["sae"]


@pytest.mark.parametrize("field", ["weights", "model_config", "tokenizer", "template", "widths", "layers"])
def test_a_model_that_differs_in_a_field_encodes_no_examples(field: str, index: Path, examples: Path) -> None:
    manifest = manifest_of(index)
    changed = replace(manifest.fingerprint, **{field: _other(getattr(manifest.fingerprint, field))})
    save_manifest(Layout(index), replace(manifest, fingerprint=changed))
    assert f"{field} (" in refusal("query", index, "-e", examples)
    assert "another index" in refusal("query", index, "-c", "own")


OPTIONS: list[tuple[str, list[str]]] = [
    ("template", ["--template", "alpaca"]),
    ("reasoning", ["--reasoning", "drop"]),
    ("max_length", ["--max-length", "64"]),
    ("dtype", ["--dtype", "bfloat16"]),
    ("layers", ["--layers", "last"]),
    ("site", ["--site", "layers.{i}.mlp.up_proj"]),
    ("views", ["--views", "pca"]),
    ("pca_dim", ["--pca-dim", "64"]),
    ("pca_dim", ["--pca-dim", "full"]),
    ("fine_dim", ["--fine-dim", "512"]),
    ("topk", ["--topk", "3"]),
    ("seed", ["--seed", "7"]),
]


@pytest.mark.parametrize(("field", "options"), OPTIONS, ids=[" ".join(options) for _, options in OPTIONS])
def test_another_setting_is_refused_by_name_and_changes_nothing(
    field: str, options: list[str], model: Path, tmp_path: Path
) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(4))
    command = ["build", tmp_path / "own.nait", corpus, "--model", model, "--device", "cpu"]
    assert nait_index(*command).code == 0
    before = manifest_of(tmp_path / "own.nait"), samples_of(tmp_path / "own.nait")
    write_lines(corpus, small_rows(6))
    assert f"{field} (" in refusal(*command, *options)
    assert (manifest_of(tmp_path / "own.nait"), samples_of(tmp_path / "own.nait")) == before


def _changed_model(model: Path, folder: Path, what: str) -> Path:
    """Copy a model with one weight, one setting or one token changed."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(model, folder)
    if what == "weights":
        arrays = load_file(folder / "model.safetensors")
        name = next(name for name in sorted(arrays) if "down_proj" in name)
        arrays[name].flat[0] += np.float32(0.001)
        save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    file = folder / ("config.json" if what == "model_config" else "tokenizer.json")
    value = json.loads(file.read_text(encoding="utf-8"))
    if what == "model_config":
        value["rms_norm_eps"] = 1e-3
    else:
        value["model"]["merges"] = value["model"]["merges"][:-1]
    file.write_text(json.dumps(value), encoding="utf-8")
    return folder


@pytest.mark.parametrize("what", ["weights", "model_config", "tokenizer"])
def test_a_model_changed_in_place_is_refused_by_what_changed(
    what: str, index: Path, corpus: Path, examples: Path, model: Path, tmp_path: Path
) -> None:
    changed = _changed_model(model, tmp_path / "model", what)
    with pytest.raises(FingerprintError, match=what) as raised:
        build_small(index, corpus, model=changed)
    assert [name for name in FIELDS if f"{name} (" in str(raised.value)] == [what]
    assert f"{what} (" in refusal("query", index, "-e", examples, "--model", changed)


def test_batch_size_and_device_are_no_part_of_the_fingerprint(index: Path, corpus: Path, model: Path) -> None:
    from nait_index.config import Device, ModelConfig

    for config in (ModelConfig(str(model), batch_tokens=64, device=Device.CPU), ModelConfig(str(model))):
        report = NaitIndex.build(index, corpus, model=config, signatures=small_signatures()).report
        assert report is not None
        assert report.present == ROWS


# ---- the manifest -------------------------------------------------------------------------------------------------


def _edit(index: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = index / "manifest.json"
    value = json.loads(file.read_text(encoding="utf-8"))
    change(value)
    file.write_text(json.dumps(value), encoding="utf-8")


def test_an_index_of_a_newer_version_is_refused_for_reading_and_writing(index: Path, corpus: Path, model: Path) -> None:
    _edit(index, lambda record: record.update(schema_version=record["schema_version"] + 1, future=True))
    for command in (["info", index], ["build", index, corpus, "--model", model]):
        line = refusal(*command)
        assert "newer" in line
        assert "upgrade" in line


@pytest.mark.parametrize("fields", [{}, {"fingerprint": {"weights": "x"}, "old": 1}], ids=["same", "other"])
@pytest.mark.parametrize("schema", [1, 2, 3, 4])
def test_an_index_of_an_older_version_is_refused_for_reading_and_writing(
    schema: int, fields: dict[str, Any], index: Path, corpus: Path, model: Path
) -> None:
    _edit(index, lambda record: record.update({"schema_version": schema} | fields))
    before = (index / "manifest.json").read_bytes()
    for command in (["info", index], ["query", index, "-c", "own"], ["build", index, corpus, "--model", model]):
        line = refusal(*command)
        assert str(index) in line
        assert "older" in line
        assert f"schema {schema}, not 5" in line
        assert "remove it and build it again" in line
    assert (index / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"{}", b"\xff\xfe", b'{"schema_version": "one"}'],
)
def test_a_damaged_manifest_is_named_in_one_line(content: bytes, index: Path, corpus: Path, model: Path) -> None:
    (index / "manifest.json").write_bytes(content)
    for command in (["info", index], ["query", index, "-c", "own"], ["build", index, corpus, "--model", model]):
        line = refusal(*command)
        assert str(index / "manifest.json") in line
        assert "damaged" in line


@pytest.mark.parametrize("field", FIELDS)
def test_a_manifest_edited_by_hand_is_refused(field: str, index: Path) -> None:
    _edit(index, lambda record: record["fingerprint"].update({field: "edited"}))
    assert "seal" in refusal("info", index)


@pytest.mark.parametrize("key", ["fingerprint", "fingerprint_digest", "schema_version", "model", "sources"])
def test_a_manifest_without_a_part_is_named(key: str, index: Path) -> None:
    _edit(index, lambda record: record.pop(key))
    assert str(index / "manifest.json") in refusal("info", index)


def test_no_manifest_is_ever_left_half_written(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (index / "manifest.json").read_bytes()

    def torn(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", torn)
    with pytest.raises(KeyboardInterrupt):
        save_manifest(Layout(index), replace(manifest_of(index), next_position=0))
    assert (index / "manifest.json").read_bytes() == before
    assert list(index.glob("*.tmp")) == []


# ---- the basis ----------------------------------------------------------------------------------------------------


def _flip(file: Path, place: float) -> None:
    """Flip one bit of a file, at a share of its length."""
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x10
    file.write_bytes(data)


def _remove(file: Path) -> None:
    file.unlink()


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _flip_first(file: Path) -> None:
    _flip(file, 0)


def _flip_last(file: Path) -> None:
    _flip(file, 1)


@pytest.mark.parametrize("damage", [_remove, _cut, _empty, _flip_first, _flip_last])
def test_a_damaged_basis_is_named_and_never_used(
    damage: Callable[[Path], None], index: Path, corpus: Path, model: Path
) -> None:
    damage(index / "basis.safetensors")
    more = write_lines(index.parent / "more.jsonl", small_rows(ROWS + 2))
    for command in (["info", index], ["query", index, "-c", "own"], ["build", index, more, "--model", model]):
        line = refusal(*command) if command[0] != "build" else _refused_small_build(index, more, model)
        assert str(index / "basis.safetensors") in line


def _refused_small_build(index: Path, corpus: Path, model: Path) -> str:
    from nait_index import NaitError

    with pytest.raises(NaitError) as raised:
        build_small(index, corpus, model=model)
    return str(raised.value)


def test_the_basis_of_another_index_is_refused(index: Path, corpus: Path, model: Path, tmp_path: Path) -> None:
    build_small(tmp_path / "other.nait", corpus, model=model, limit=20)
    shutil.copy(tmp_path / "other.nait" / "components.safetensors", index / "components.safetensors")
    assert "another index" in refusal("query", index, "-c", "own", "--method", "contrast")
    shutil.copy(tmp_path / "other.nait" / "basis.safetensors", index / "basis.safetensors")
    assert "another index" in refusal("info", index)


@pytest.mark.parametrize("damage", [_remove, _cut, _empty, _flip_first, _flip_last])
def test_damaged_components_are_named_when_they_are_needed_and_not_before(
    damage: Callable[[Path], None], index: Path, examples: Path, model: Path
) -> None:
    file = index / "components.safetensors"
    wanted = nait_index("query", index, "-c", "own", "--method", "probe", "--json").json
    damage(file)
    assert nait_index("info", index).code == 0
    assert nait_index("rows", index).code == 0
    assert nait_index("query", index, "-c", "own", "--method", "probe", "--json").json == wanted
    assert len(_ranking(index, "random")) == ROWS
    for command in (
        *(["query", index, "-c", "own", "--method", method] for method in ("contrast", "nait", "nait-drift", "nas")),
        ["query", index, "-e", examples, "--method", "probe"],
        ["capability", "add", index, "new", examples],
    ):
        line = refusal(*command)
        assert line.startswith(f"{file} is "), command
        assert line.endswith("build the index again")
    more = write_lines(index.parent / "more.jsonl", small_rows(ROWS + 2))
    before = manifest_of(index), samples_of(index)
    assert str(file) in _refused_small_build(index, more, model)
    assert (manifest_of(index), samples_of(index)) == before


@pytest.mark.parametrize("damage", [_remove, _flip_last])
def test_damaged_components_are_found_by_verify(damage: Callable[[Path], None], index: Path) -> None:
    damage(index / "components.safetensors")
    outcome = nait_index("verify", index, "--json")
    assert outcome.code == 1
    assert "components.safetensors" in outcome.out + outcome.err


def test_an_index_of_whole_vectors_has_no_components(model: Path, corpus: Path, examples: Path, tmp_path: Path) -> None:
    root = tmp_path / "full.nait"
    build_small(root, corpus, model=model, signatures=small_signatures(pca_dim=None))
    assert not (root / "components.safetensors").exists()
    for method in ("probe", "contrast", "nait"):
        assert nait_index("query", root, "-e", examples, "--method", method).code == 0
    assert nait_index("verify", root).code == 0


def test_the_same_basis_is_always_the_same_file(index: Path, tmp_path: Path) -> None:
    from nait_index.store.fitted import load_compressor, save_compressor

    compressor = load_compressor(Layout(index), manifest_of(index).basis_hash)
    (tmp_path / "copy").mkdir()
    hashes = {save_compressor(Layout(tmp_path / "copy"), compressor) for _ in range(30)}
    assert hashes == {manifest_of(index).basis_hash}


# ---- the table ----------------------------------------------------------------------------------------------------


def test_a_missing_table_is_named(index: Path) -> None:
    shutil.rmtree(index / "lance" / "samples.lance")
    for command in (["query", index, "-c", "own"], ["rows", index]):
        assert "samples.lance" in refusal(*command)


@pytest.mark.parametrize("row", ['{"id": "row-003", "instruction": "Altered", "output": "x"}', '["row"]', "no JSON"])
def test_rows_that_were_altered_in_the_table_are_found(row: str, index: Path) -> None:
    import lancedb

    table = lancedb.connect(str(index / "lance")).open_table("samples")
    table.update(where="id = 'row-003'", values={"row": row})
    announce(index)
    outcome = nait_index("verify", index, "--json")
    assert outcome.code == 1
    failed = {check["name"]: check["detail"] for check in json.loads(outcome.out) if check["passed"] is False}
    assert "'row-003'" in failed["content"]


def test_rows_that_are_gone_from_the_table_are_found(index: Path) -> None:
    import lancedb

    table = lancedb.connect(str(index / "lance")).open_table("samples")
    table.delete("id = 'row-003'")
    announce(index)
    outcome = nait_index("verify", index)
    assert outcome.code == 1
    assert "FAILED" in outcome.out


def test_signatures_that_belong_to_other_rows_are_found(index: Path) -> None:
    """Two rows change places, and so does nothing else."""
    import lancedb

    table = lancedb.connect(str(index / "lance")).open_table("samples")
    by_id = {row["id"]: row for row in table.search().where("id IN ('row-003', 'row-008')").limit(2).to_list()}
    for here, there in (("row-003", "row-008"), ("row-008", "row-003")):
        table.update(where=f"id = '{here}'", values={"pca_unit": list(map(float, by_id[there]["pca_unit"]))})
    announce(index)
    outcome = nait_index("verify", index, "--json")
    assert outcome.code == 1
    assert "encoding" in {check["name"] for check in json.loads(outcome.out) if check["passed"] is False}


# ---- the engine ---------------------------------------------------------------------------------------------------


def _files(index: Path) -> list[Path]:
    return sorted(engine_of(index).iterdir())


@pytest.mark.parametrize("damage", [_remove, _cut, _empty])
@pytest.mark.parametrize("name", ["pca_unit.npy", "pca_unit.json"])
def test_a_damaged_engine_is_made_again(damage: Callable[[Path], None], name: str, index: Path, built: Path) -> None:
    wanted, before = _ranking(built), (engine_of(index) / "pca_unit.npy").read_bytes()
    damage(engine_of(index) / name)
    assert _ranking(index) == wanted
    assert (engine_of(index) / "pca_unit.npy").read_bytes() == before
    assert _ranking(index, where="n_tokens > 0") == wanted
    assert nait_index("verify", index).code == 0


def test_a_deleted_engine_folder_is_made_again_for_every_method(index: Path) -> None:
    wanted = {method: _ranking(index, method) for method in ("contrast", "nait", "nait-drift", "probe-words")}
    names = [path.name for path in _files(index)]
    columns = ("pca_drift", "pca_mean", "pca_unit", "words_lsa")
    scans = [f"{column}.{kind}" for column in columns for kind in ("json", "npy", "rows.json", "sums")]
    assert [name for name in names if not name.startswith("cached-")] == scans
    shutil.rmtree(index / "engine")
    assert {method: _ranking(index, method) for method in wanted} == wanted
    assert [path.name for path in _files(index)] == names


def test_an_engine_that_cannot_be_written_is_made_in_memory(index: Path, built: Path) -> None:
    wanted = _ranking(built)
    shutil.rmtree(index / "engine")
    (index / "engine").write_bytes(b"in the way")
    assert _ranking(index) == wanted


def test_an_engine_holds_a_byte_for_every_number_that_is_scanned(index: Path) -> None:
    rows = np.load(engine_of(index) / "pca_unit.npy", allow_pickle=False)
    stored = {row_id: np.frombuffer(row["pca_unit"], np.int8) for row_id, row in samples_of(index).items()}
    assert (rows.dtype, len(rows)) == (np.int8, ROWS)
    assert sorted(row.tobytes() for row in rows) == sorted(row[: rows.shape[1]].tobytes() for row in stored.values())


def test_an_engine_of_an_older_version_of_the_table_is_made_again(index: Path, model: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(index / "engine", tmp_path / "engine"))
    build_small(index, write_lines(tmp_path / "corpus.jsonl", small_rows(ROWS + 8)), model=model)
    wanted = _ranking(index)
    assert len(wanted) == ROWS + 8
    shutil.rmtree(index / "engine")
    shutil.copytree(old, index / "engine")
    assert _ranking(index) == wanted


@pytest.mark.parametrize("place", [0.5, 0.8, 1])
def test_a_flipped_bit_in_the_engine_is_found(place: float, index: Path) -> None:
    _flip(engine_of(index) / "pca_unit.npy", place)
    outcome = nait_index("verify", index, "--json")
    assert outcome.code == 1
    assert [check["name"] for check in json.loads(outcome.out) if check["passed"] is False] == ["engine pca_unit"]


def test_a_flipped_bit_in_the_engine_is_found_whichever_rows_are_encoded_again(index: Path) -> None:
    _flip(engine_of(index) / "pca_unit.npy", 0.6)
    assert {nait_index("verify", index, "--sample", "1").code for _ in range(6)} == {1}


def test_rows_of_the_engine_that_changed_places_are_found(index: Path) -> None:
    file = engine_of(index) / "pca_unit.npy"
    rows = np.load(file)
    np.save(file, rows[::-1].copy())
    outcome = nait_index("verify", index, "--json")
    assert outcome.code == 1
    assert [check["name"] for check in json.loads(outcome.out) if check["passed"] is False] == ["engine pca_unit"]


@pytest.mark.parametrize("bits", [range(0, 8, 2), range(1, 8, 2)], ids=["even", "odd"])
def test_a_flipped_bit_in_the_header_of_the_engine_never_changes_a_ranking(bits: range, index: Path) -> None:
    """Every byte of what comes before the rows; by the index's own reader, since a query a bit would take minutes."""
    opened = NaitIndex(index)
    folder, stamp = engine_of(index), opened.columns.stamp(Feature.UNIT)
    file = folder / "pca_unit.npy"
    whole, rows = file.read_bytes(), np.load(file)
    assert len(whole) - rows.nbytes == 128
    for place in range(128):
        for bit in bits:
            data = bytearray(whole)
            data[place] ^= 1 << bit
            file.write_bytes(data)
            engine = ExactScan.open(folder, "pca_unit", stamp)
            assert engine is None or np.array_equal(engine.rows, rows), f"bit {bit} of byte {place}"


@pytest.mark.parametrize(
    ("place", "bit"), [(3, 0), (6, 1), (8, 1), (8, 4), (10, 0), (20, 2), (60, 3), (70, 0), (100, 3)]
)
def test_an_engine_of_a_damaged_header_is_made_again(place: int, bit: int, index: Path) -> None:
    wanted, file = _ranking(index), engine_of(index) / "pca_unit.npy"
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.write_bytes(data)
    assert _ranking(index) == wanted
    assert nait_index("verify", index).code == 0
