"""Stored capabilities: asked by every method without their examples, carried between indexes, refused where wrong."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from helpers import build_small, nait_index, refusal, small_rows, small_signatures, write_lines

from nait_index import NaitIndex
from nait_index.capabilities.capability import Capability
from nait_index.config import Device, View
from nait_index.errors import CapabilityError, NaitError, OutputExistsError
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName
from nait_index.store.capabilities import read_capability
from nait_index.store.layout import Layout

ROWS = 26
EXAMPLES = 5

Ranking = list[tuple[str, float]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """Make a model and a sparse autoencoder, and two indexes of every view: one fingerprint, different rows.

    The first has the capability ``adding``.
    """
    from nait_index.activations.sae.training import SaeSettings
    from nait_index.building.autoencoder import train_sae

    folder = tmp_path_factory.mktemp("capabilities")
    model = Path(shutil.copytree(tiny_model("llama"), folder / "model"))
    write_lines(folder / "here.jsonl", small_rows(ROWS))
    write_lines(folder / "there.jsonl", small_rows(ROWS, first=40))
    write_lines(folder / "adding.jsonl", [*small_rows(2 * EXAMPLES, first=100)[1::2], "not json"])
    settings = SaeSettings(latents=64, k=4, passes=1)
    train_sae(folder / "sae", [folder / "here.jsonl"], model=str(model), settings=settings, device=Device.CPU)
    signatures = small_signatures(views=tuple(View), sae=str(folder / "sae"), grad_dim=64)
    for name in ("here", "there"):
        build_small(folder / f"{name}.nait", folder / f"{name}.jsonl", model=model, signatures=signatures)
    added = NaitIndex(folder / "here.nait").add_capability("adding", folder / "adding.jsonl")
    assert (len(added), added.rejected) == (EXAMPLES, 1)
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path) -> Path:
    """Return the file of the capability; tests must not change it."""
    return NaitIndex(folder / "here.nait").export_capability("adding", folder / "adding.capability")


@pytest.fixture
def here(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the first index, which may be changed."""
    return Path(shutil.copytree(folder / "here.nait", tmp_path / "here.nait"))


@pytest.fixture
def there(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the index of other rows, which may be changed."""
    return Path(shutil.copytree(folder / "there.nait", tmp_path / "there.nait"))


@contextmanager
def _away(path: Path) -> Iterator[Path]:
    """Move a file or folder away for a while, and yield where it is meanwhile."""
    away = path.rename(path.with_name(f"{path.name}-away"))
    try:
        yield away
    finally:
        away.rename(path)


def _rankings(index: NaitIndex, name: str) -> dict[str, Ranking]:
    selections = {method: index.query(name, top="100%", method=method) for method in MethodName}
    return {
        str(method): list(zip(selection.ids, selection.scores, strict=True)) for method, selection in selections.items()
    }


def test_every_method_can_be_asked_from_what_is_stored_alone(folder: Path) -> None:
    index = NaitIndex(folder / "here.nait")
    fresh = index.make_capability(folder / "adding.jsonl", "fresh")
    of_file = {str(method): index.query(fresh, top="100%", method=method) for method in MethodName}
    with _away(folder / "adding.jsonl"), _away(folder / "model"), _away(folder / "sae"):
        stored = _rankings(NaitIndex(folder / "here.nait"), "adding")
    assert stored.keys() == of_file.keys() == set(MethodName)
    for method, ranking in stored.items():
        assert len(ranking) == ROWS
        assert ranking == list(zip(of_file[method].ids, of_file[method].scores, strict=True)), method


def test_the_command_line_asks_a_stored_capability_like_its_file(folder: Path) -> None:
    asked = ["--top", "8", "--json"]
    for method in MethodName:
        arguments = ["query", folder / "here.nait", "--method", str(method), *asked]
        of_file = nait_index(*arguments, "-e", folder / "adding.jsonl").json["selected"]
        with _away(folder / "adding.jsonl"):
            assert nait_index(*arguments, "-c", "adding").json["selected"] == of_file


def test_the_examples_are_kept_as_they_were(folder: Path, exported: Path, there: Path) -> None:
    rows = (folder / "adding.jsonl").read_text(encoding="utf-8").splitlines()[:EXAMPLES]
    assert NaitIndex(folder / "here.nait").capability_rows("adding") == rows
    index = NaitIndex(there)
    index.import_capability(exported)
    assert index.capability_rows("adding") == rows
    assert index.capabilities() == NaitIndex(folder / "here.nait").capabilities()


def test_an_import_ranks_other_rows_like_the_examples_added_there(folder: Path, exported: Path, there: Path) -> None:
    outcome = nait_index("capability", "import", there, exported, "--name", "carried")
    assert (outcome.code, outcome.errors) == (0, ["stored 'carried': 5 examples"])
    index = NaitIndex(there)
    index.add_capability("added", folder / "adding.jsonl")
    with _away(folder / "model"):
        carried, added = _rankings(NaitIndex(there), "carried"), _rankings(NaitIndex(there), "added")
    for method in MethodName:
        assert [row_id for row_id, _ in carried[method]] == [row_id for row_id, _ in added[method]]
        assert [score for _, score in carried[method]] == pytest.approx([score for _, score in added[method]], rel=1e-6)
        assert {row_id for row_id, _ in carried[method]} == {f"row-{number:03}" for number in range(40, 40 + ROWS)}


def test_an_import_into_other_rows_needs_the_model_and_says_so(folder: Path, exported: Path, there: Path) -> None:
    with _away(folder / "model") as away:
        line = refusal("capability", "import", there, exported)
        assert str(folder / "model") in line
        assert NaitIndex(there).capabilities() == []
        assert nait_index("capability", "import", there, exported, "--model", away).code == 0
    assert [capability["name"] for capability in NaitIndex(there).capabilities()] == ["adding"]


def test_an_import_into_the_same_index_needs_no_model(folder: Path, exported: Path, here: Path) -> None:
    wanted = _rankings(NaitIndex(here), "adding")
    assert nait_index("capability", "remove", here, "adding").code == 0
    with _away(folder / "model"):
        assert nait_index("capability", "import", here, exported).code == 0
        assert _rankings(NaitIndex(here), "adding") == wanted


def test_an_index_of_another_fingerprint_refuses_an_import(folder: Path, exported: Path, tmp_path: Path) -> None:
    root = tmp_path / "other.nait"
    build_small(root, folder / "here.jsonl", model=folder / "model", signatures=small_signatures(views=(View.PCA,)))
    line = refusal("capability", "import", root, exported)
    assert str(exported) in line
    assert "another fingerprint" in line
    assert "capability add" in line
    assert NaitIndex(root).capabilities() == []


def _damaged(data: bytes) -> dict[str, bytes]:
    def flipped(place: int) -> bytes:
        changed = bytearray(data)
        changed[place] ^= 0x10
        return bytes(changed)

    header = int.from_bytes(data[:8], "little")
    return {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "a byte less": data[:-1],
        "length": flipped(0),
        "header": flipped(8),
        "examples": data.replace(b"Add 1", b"Add 2", 1),
        "first number": flipped(8 + header),
        "a number": flipped((8 + header + len(data)) // 2),
        "last number": flipped(len(data) - 1),
    }


def test_a_damaged_file_is_refused_and_named(exported: Path, here: Path, tmp_path: Path) -> None:
    whole = exported.read_bytes()
    file = tmp_path / "own.capability"
    for damage, data in _damaged(whole).items():
        assert data != whole, damage
        file.write_bytes(data)
        line = refusal("capability", "import", here, file, "--name", "new")
        assert str(file) in line, damage
        assert "damaged" in line, damage
    file.write_bytes(whole)
    assert nait_index("capability", "import", here, file, "--name", "new").code == 0


def test_a_file_that_is_something_else_is_refused(folder: Path, here: Path, tmp_path: Path) -> None:
    assert "was not written by" in refusal("capability", "import", here, here / "basis.safetensors")
    assert "not an exported capability" in refusal("capability", "import", here, folder / "adding.jsonl")
    assert "no such file" in refusal("capability", "import", here, tmp_path / "none.capability")
    assert "no such file" in refusal("capability", "import", here, folder)
    assert [capability["name"] for capability in NaitIndex(here).capabilities()] == ["adding"]


def test_a_name_that_is_taken_is_replaced_when_forced_alone(exported: Path, folder: Path, here: Path) -> None:
    index = NaitIndex(here)
    index.add_capability("adding", folder / "there.jsonl", force=True)
    line = refusal("capability", "import", here, exported)
    assert "'adding'" in line
    assert "--force" in line
    assert len(NaitIndex(here).capability("adding")) == ROWS
    assert nait_index("capability", "import", here, exported, "--force").code == 0
    assert len(NaitIndex(here).capability("adding")) == EXAMPLES


@pytest.mark.parametrize(
    "name",
    [
        "", " ", " a", "a ", "a\nb", "a\tb", "a\u00a0b", "../../../evil", "<script>", "a'b", "a\0b",
        "x" * 201, "x" * 100_000, "\u200bmath", "ma\u200dth", "\u202emath", "😀", "½", "a,b", "a=b", "\ud800",
    ],
)  # fmt: skip
def test_a_name_that_breaks_the_rule_is_refused_wherever_it_enters(name: str, exported: Path, here: Path) -> None:
    index, rows = NaitIndex(here), small_rows(2)
    entries = (
        lambda: index.import_capability(exported, name),
        lambda: index.add_capability(name, exported),
        lambda: index.make_capability(exported, name),
        lambda: index.make_capability_from(rows, name),
        lambda: index.store_capability(Capability("x", Examples((), {}, {}), 0, 0, ""), name),
    )
    for enter in entries:
        with pytest.raises(CapabilityError, match="use letters of any script, digits") as refused:
            enter()
        assert len(str(refused.value)) < 250
    assert [capability["name"] for capability in index.capabilities()] == ["adding"]


@pytest.mark.parametrize("name", ["x" * 200, "math 2.1:a_b-c", "हिन्दी", "العَرَبِيَّة", "数学", "-a", "٣", "né"])
def test_a_name_that_keeps_the_rule_is_stored_and_read(name: str, exported: Path, here: Path) -> None:
    import unicodedata

    index = NaitIndex(here)
    assert index.import_capability(exported, unicodedata.normalize("NFD", name)).name == name
    for form in ("NFC", "NFD"):
        assert index.capability(unicodedata.normalize(form, name)).name == name
    index.remove_capability(unicodedata.normalize("NFD", name))
    assert [capability["name"] for capability in index.capabilities()] == ["adding"]


def test_an_export_overwrites_nothing_unasked(folder: Path, exported: Path, tmp_path: Path) -> None:
    export = partial(refusal, "capability", "export", folder / "here.nait")
    file = tmp_path / "own.capability"
    file.write_text("mine")
    line = export("adding", file)
    assert str(file) in line
    assert "--force" in line
    assert file.read_text() == "mine"
    assert nait_index("capability", "export", folder / "here.nait", "adding", file, "--force").code == 0
    written, basis = read_capability(file)
    assert (written.name, len(written.rows), basis) == ("adding", EXAMPLES, read_capability(exported)[1])
    assert list(tmp_path.iterdir()) == [file]
    assert "there is no capability 'ading'" in export("ading", tmp_path / "new")
    assert "no folder" in export("adding", tmp_path / "none" / "new")
    with pytest.raises(OutputExistsError):
        NaitIndex(folder / "here.nait").export_capability("adding", tmp_path)
    with pytest.raises(NaitError):
        NaitIndex(folder / "here.nait").export_capability("adding", tmp_path, force=True)
    assert list(tmp_path.iterdir()) == [file]


def test_the_core_of_stored_capabilities_can_be_redrawn(folder: Path, here: Path) -> None:
    index = NaitIndex(here)
    index.add_capability("naming", write_lines(here.parent / "naming.jsonl", small_rows(8, first=60)[::2]))
    for method in (MethodName.CONTRAST, MethodName.RDS, MethodName.LESS):
        core = index.core(["adding", "naming"], top="50%", method=method, bootstrap=3)
        assert all(0 <= share <= 1 for share in core.details["stability"])
    with _away(folder / "model"):
        NaitIndex(here).core(["adding", "naming"], top="50%")
        asked = ["core", here, "-c", "adding", "-c", "naming", "--bootstrap", "2"]
        assert nait_index(*asked, "--method", "probe").code == 0, "its query is made of signatures alone"
        assert "model" in refusal(*asked, "--method", "contrast")


def test_a_missing_warm_up_is_named(folder: Path, here: Path) -> None:
    """The adapters are needed for new examples only, not for stored ones."""
    Layout(here).warmup.unlink()
    assert len(NaitIndex(here).query("adding", top=3, method=MethodName.LESS)) == 3
    assert str(Layout(here).warmup) in refusal("query", here, "-e", folder / "adding.jsonl")
