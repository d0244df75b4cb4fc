"""The promises of SECURITY.md: no input is executed, nothing is written elsewhere, and the key stays secret."""

import json
import os
import pickle
import shutil
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from helpers import announce, interrupt_call, nait_index, read_lines, refusal, small_rows, small_shards, write_lines

from nait_index.corpus import read_corpus
from nait_index.errors import CorpusError, NaitError
from nait_index.quality.endpoint import Endpoint, Pace

pytestmark = pytest.mark.slow

LENGTH = ("--max-length", "32")
KEY = "sk-dont-tell-anyone-0123456789"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sign),)


@pytest.fixture
def sign(tmp_path: Path) -> Iterator[Path]:
    """Yield the folder that code which must not run would make, and check in the end that it did not."""
    yield tmp_path / "ran"
    assert not (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def built(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index with a capability and a score, and files to go with it; tests must not change them."""
    folder = tmp_path_factory.mktemp("built")
    corpus = write_lines(folder / "corpus.jsonl", small_rows(20))
    assert nait_index("build", folder / "own.nait", corpus, "--model", model, *LENGTH).code == 0
    examples = write_lines(folder / "examples.jsonl", small_rows(4, first=100))
    assert nait_index("capability", "add", folder / "own.nait", "letters", examples).code == 0
    assert nait_index("capability", "export", folder / "own.nait", "letters", folder / "letters.capability").code == 0
    (folder / "good.csv").write_text("id,value\nrow-001,0.5\n")
    assert nait_index("score", folder / "own.nait", "import", folder / "good.csv").code == 0
    assert nait_index("query", folder / "own.nait", "-c", "letters").code == 0
    write_lines(folder / "more.jsonl", small_rows(5, first=50))
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """Return a copy of these files, which may be changed."""
    return Path(shutil.copytree(built, tmp_path / "work"))


def use(folder: Path, model: Path) -> None:
    """Run everything that reads an index, whether it succeeds or not."""
    index = folder / "own.nait"
    for command in (
        ["info", index],
        ["rows", index],
        ["query", index, "-c", "letters", "--method", "nait"],
        ["query", index, "-e", folder / "examples.jsonl", "--where", "good > 0"],
        ["capability", "import", index, folder / "letters.capability", "--force"],
        ["score", index, "import", folder / "good.csv"],
        ["verify", index, "--model", model],
        ["build", index, folder / "more.jsonl", "--model", model, *LENGTH],
    ):
        with suppress(Exception):
            nait_index(*command)


def pickled(place: str, bomb: Bomb) -> bytes:
    """Return a pickle in the form that a file of this name would have."""
    import io

    file = io.BytesIO()
    if place.endswith(".npy"):
        np.save(file, np.array([bomb], dtype=object), allow_pickle=True)
    elif place.endswith(".npz"):
        np.savez(file, topk_neurons=np.array([bomb], dtype=object))
    else:
        pickle.dump(bomb, file)
        file.write(b"\n")  # a journal's last line must have its end
    return file.getvalue()


# ---- pickles ------------------------------------------------------------------------------------------------------

PLACES = (
    "manifest.json", "basis.safetensors", "components.safetensors", "rejected.jsonl", "scores/good.jsonl",
    "engine/pca_unit.npy", "engine/pca_unit.json", "engine/pca_unit.cells", "../letters.capability",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_pickle_in_an_index_is_not_loaded(place: str, folder: Path, model: Path, sign: Path) -> None:
    (folder / "own.nait" / place).write_bytes(pickled(place, Bomb(sign)))
    use(folder, model)


@pytest.mark.parametrize("place", ["pooled.npy", "columns.npz", "facts.json"])
def test_a_pickle_in_what_an_interrupted_build_left_is_not_loaded(
    place: str, model: Path, tmp_path: Path, sign: Path
) -> None:
    index, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(20))
    command = ["build", index, corpus, "--model", model, *LENGTH]
    with pytest.MonkeyPatch.context() as patch, small_shards():
        interrupt_call(patch, "nait_index.building.builder.fit_basis")
        assert nait_index(*command).code == 130
    staged = list(index.glob(f"staging/shard-*/{place}"))
    assert staged
    for path in staged:
        path.write_bytes(pickled(place, Bomb(sign)))
    with suppress(Exception), small_shards():
        nait_index(*command)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "pytorch_model-00001-of-00001.bin"])
@pytest.mark.parametrize("command", ["build", "score"])
def test_a_model_of_pickled_weights_is_refused(
    name: str, command: str, folder: Path, model: Path, sign: Path, tmp_path: Path
) -> None:
    import torch

    copy = Path(shutil.copytree(model, tmp_path / "model"))
    (copy / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Bomb(sign)}, copy / name)
    if "00001" in name:
        index = {"metadata": {}, "weight_map": {"model.norm.weight": name}}
        (copy / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert "cannot be loaded" in refusal(*_with_model(command, folder, copy))


def test_a_pickled_adapter_beside_a_model_is_not_loaded(folder: Path, model: Path, sign: Path, tmp_path: Path) -> None:
    import torch

    copy = Path(shutil.copytree(model, tmp_path / "model"))
    torch.save({"base_model.model.x": Bomb(sign)}, copy / "adapter_model.bin")
    (copy / "adapter_config.json").write_text(
        json.dumps(
            {"peft_type": "LORA", "base_model_name_or_path": str(model), "r": 2, "target_modules": ["down_proj"]}
        )
    )
    for command in ("build", "score"):
        nait_index(*_with_model(command, folder, copy))


def test_a_pickled_sparse_autoencoder_is_refused(folder: Path, model: Path, sign: Path) -> None:
    import torch

    sae = folder / "layers.1"
    sae.mkdir()
    (sae / "cfg.json").write_text('{"k": 4}')
    torch.save({"W_dec": Bomb(sign)}, sae / "sae.safetensors")
    command = _with_model("build", folder, model)
    assert "sae.safetensors" in refusal(*command, "--views", "pca,sae", "--sae", sae)


def test_a_pickled_type_in_an_arrow_file_is_not_loaded(tmp_path: Path, sign: Path) -> None:
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Bomb(sign))}
    schema = pa.schema([pa.field("text", pa.string(), metadata=metadata)])
    path = tmp_path / "corpus.arrow"
    with pa.ipc.new_file(path, schema) as writer:
        writer.write_table(pa.table([pa.array(["a"])], schema=schema))
    with suppress(CorpusError):
        list(read_corpus([path]))


# ---- code of others -----------------------------------------------------------------------------------------------


def _with_model(command: str, folder: Path, model: Path) -> list[str | Path]:
    if command == "build":
        return ["build", folder / "new.nait", folder / "corpus.jsonl", "--model", model, *LENGTH]
    return ["score", folder / "own.nait", "ifd", "--model", model]


def _with_code(model: Path, copy: Path, sign: Path, model_type: str) -> Path:
    """Copy a model and add code that its files refer to."""
    shutil.copytree(model, copy)
    code = f"import os\nos.mkdir({str(sign)!r})\nclass Own: pass\n"
    for name in ("own.py", "modeling_own.py", "__init__.py", "setup.py", "custom_generate/generate.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(code)
    autos = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer", "AutoProcessor")
    for name in ("config.json", "tokenizer_config.json"):
        settings = json.loads((copy / name).read_text())
        settings["auto_map"] = {
            auto: ["own.Own", "own.Own"] if auto == "AutoTokenizer" else "own.Own" for auto in autos
        }
        if model_type:
            settings |= {"model_type": model_type, "tokenizer_class": "Own"}
        (copy / name).write_text(json.dumps(settings))
    return copy


@pytest.mark.parametrize("model_type", ["", "own"])
@pytest.mark.parametrize("command", ["build", "score"])
def test_code_in_a_model_folder_is_never_run(
    model_type: str, command: str, folder: Path, model: Path, sign: Path, tmp_path: Path
) -> None:
    """No option allows it: a model that works without such code is used, any other is refused."""
    copy = _with_code(model, tmp_path / "model", sign, model_type)
    if model_type:
        assert str(copy) in refusal(*_with_model(command, folder, copy))
    else:
        assert nait_index(*_with_model(command, folder, copy)).code == 0


@pytest.mark.parametrize("field", ["attn_implementation", "_attn_implementation", "use_kernels"])
@pytest.mark.parametrize("kernel", ["some/kernel", "kernels-community/flash-attn2", "flash_attention_2"])
def test_a_kernel_that_a_model_names_is_not_fetched(
    field: str, kernel: str, folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration can name an attention kernel, which is code, and transformers would get it from the hub."""
    copy, asked = Path(shutil.copytree(model, tmp_path / "model")), []
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {field: kernel}))
    monkeypatch.setattr("transformers.integrations.hub_kernels.is_kernels_available", lambda: True)
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", lambda *names, **_: asked.append(names))
    for command in ("build", "score"):
        assert nait_index(*_with_model(command, folder, copy)).code == 0
    assert asked == []


ESCAPES = (
    "{{{{ cycler.__init__.__globals__.os.mkdir('{sign}') }}}}",
    "{{{{ lipsum.__globals__['os'].mkdir('{sign}') }}}}",
    "{{{{ parts[0].__class__.__init__.__globals__ }}}}",
    "{{{{ (messages | attr('__class__')).__mro__ }}}}",
    "{{{{ parts | map(attribute='__class__') | list | first | attr('mro') }}}}",
    "{{{{ '{{0.__class__.__mro__}}'.format(messages) }}}}",
    "{{{{ self.__init__.__globals__.__builtins__.__import__('os').mkdir('{sign}') }}}}",
    "{{{{ messages.append(1) }}}}",
    "{{% include '/etc/passwd' %}}",
    "{{% import '/etc/passwd' as x %}}",
)


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("kind", ["file", "chat"])
def test_a_template_does_not_get_out_of_its_sandbox(
    escape: str, kind: str, folder: Path, model: Path, sign: Path, tmp_path: Path
) -> None:
    """A file or a model's own chat template: no attribute that leads to code is given, and no file is included."""
    source, copy, template = escape.format(sign=sign), Path(shutil.copytree(model, tmp_path / "model")), "chat"
    if kind == "file":
        (tmp_path / "own.jinja").write_text(source)
        template = str(tmp_path / "own.jinja")
    else:
        (copy / "chat_template.jinja").write_text(source)
    outcome = nait_index(*_with_model("build", folder, copy), "--template", template)
    assert "root:" not in outcome.out + outcome.err
    if outcome.code == 0:  # a sandbox may give nothing instead of refusing
        assert "<class" not in "".join(path.read_text("utf-8", "replace") for path in folder.rglob("*.jsonl"))
    else:
        assert len(outcome.errors) == 1


# ---- indexes of strangers -----------------------------------------------------------------------------------------


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Note the path of every file that Python code opens."""
    noted: list[str] = []
    active = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            noted.append(os.fsdecode(arguments[0]))

    sys.addaudithook(hook)  # cannot be taken away again
    try:
        yield noted
    finally:
        active = False


def test_looking_at_a_strangers_index_reads_nothing_outside_it(
    folder: Path, model: Path, sign: Path, tmp_path: Path
) -> None:
    """The model, template and autoencoder that its manifest names are read only when something is encoded."""
    stranger = _with_code(model, tmp_path / "stranger", sign, "own")
    (stranger / "own.jinja").write_text(ESCAPES[0].format(sign=sign))
    path = folder / "own.nait" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["model"] |= {"name": str(stranger), "template": str(stranger / "own.jinja"), "sae": str(stranger)}
    path.write_text(json.dumps(sealed(manifest)))
    index = folder / "own.nait"
    with opened_files() as opened:
        assert nait_index("info", index).code == 0
        assert nait_index("rows", index).code == 0
        assert nait_index("query", index, "-c", "letters").code == 0
    assert str(path) in opened
    assert [name for name in opened if name.startswith(str(stranger))] == []
    assert nait_index("query", index, "-e", folder / "examples.jsonl").code == 1


MANIFESTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "list": lambda manifest: [manifest],
    "schema text": lambda manifest: manifest | {"schema_version": "3"},
    "more fields": lambda manifest: manifest | {"run": "rm -rf /"},
    "digest": lambda manifest: manifest | {"fingerprint_digest": "0" * 16},
    "no fingerprint": lambda manifest: manifest | {"fingerprint": None},
    "other fingerprint": lambda manifest: manifest | {"fingerprint": {"weights": "x"}},
    "basis": lambda manifest: manifest | {"basis_hash": "../" * 40},
    "unfinished": lambda manifest: manifest | {"history": []},
    "version": lambda manifest: manifest | {"history": [manifest["history"][0] | {"table_version": -1}]},
    "huge version": lambda manifest: manifest | {"history": [manifest["history"][0] | {"table_version": 2**70}]},
    "version of text": lambda manifest: manifest | {"history": [manifest["history"][0] | {"rows": "many"}]},
    "history": lambda manifest: manifest | {"history": {"a": 1}},
    "names of capabilities": lambda manifest: (
        manifest | {"history": [manifest["history"][0] | {"capability_names": [5]}]}
    ),
    "tags": lambda manifest: manifest | {"tags": ["a"]},
    "model": lambda manifest: manifest | {"model": None},
    "part of the model": lambda manifest: manifest | {"model": manifest["model"] | {"name": 5}},
    "libraries": lambda manifest: manifest | {"libraries": 5},
    "fidelity": lambda manifest: manifest | {"fidelity": {}},
    "true for a number": lambda manifest: manifest | {"next_position": True},
    "dtype": lambda manifest: manifest | {"model": manifest["model"] | {"dtype": "float99"}},
    "view": lambda manifest: manifest | {"fingerprint": manifest["fingerprint"] | {"views": ["pca", "rm"]}},
}


def sealed(manifest: Any) -> Any:
    """Seal a manifest, as its author can."""
    from nait_index.store.sealed import seal

    if not isinstance(manifest, dict):
        return manifest
    return seal({name: value for name, value in manifest.items() if name != "seal"})


@pytest.mark.parametrize("change", MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_of_odd_values_is_refused(change: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    path = folder / "own.nait" / "manifest.json"
    path.write_text(json.dumps(sealed(change(json.loads(path.read_text())))))
    refusal("query", folder / "own.nait", "-e", folder / "examples.jsonl")


@pytest.mark.parametrize("table", ["samples", "capabilities"])
def test_a_table_that_names_an_embedding_function_runs_nothing(
    table: str, folder: Path, model: Path, tmp_path: Path
) -> None:
    import lance

    index, sign, stranger = folder / "own.nait", tmp_path / "ran", tmp_path / "stranger"
    shutil.copytree(model, stranger)
    settings = json.loads((stranger / "config.json").read_text())
    settings |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (stranger / "config.json").write_text(json.dumps(settings))
    (stranger / "own.py").write_text(f"import os\nos.mkdir({str(sign)!r})\n")
    function = {
        "name": "huggingface",
        "model": {"name": str(stranger), "trust_remote_code": True},
        "source_column": "row",
        "vector_column": "v",
    }
    path = str(index / "lance" / f"{table}.lance")
    lance.dataset(path).update_schema_metadata({"embedding_functions": json.dumps([function])})
    announce(index, **({} if table == "samples" else {"capabilities_version": lance.dataset(path).version}))
    use(folder, model)
    assert not sign.exists()


CAPABILITIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda metadata: metadata | {"name": 5},
    "created": lambda metadata: metadata | {"created": 5},
    "counts": lambda metadata: metadata | {"truncated": "x"},
    "no rows": lambda metadata: metadata | {"rows": [], "formats": []},
    "format": lambda metadata: metadata | {"formats": ["own"] * len(metadata["rows"])},
    "rows that are no text": lambda metadata: metadata | {"rows": [5] * len(metadata["rows"])},
    "rows that are no JSON": lambda metadata: metadata | {"rows": ["x"] * len(metadata["rows"])},
    "more": lambda metadata: metadata | {"run": "rm"},
}


def _altered(path: Path, change: Callable[[dict[str, Any]], Any], arrays: dict[str, np.ndarray] | None = None) -> None:
    """Change a capability file, and seal it as its author can."""
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    from nait_index.store.capabilities import _hash

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    stored = load_file(path) if arrays is None else arrays
    text = json.dumps(change(json.loads(metadata["capability"])))
    save_file(stored, path, metadata=metadata | {"capability": text, "hash": _hash(text, stored)})


@pytest.mark.parametrize("change", CAPABILITIES.values(), ids=CAPABILITIES)
def test_a_capability_file_of_odd_values_is_refused(change: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    path = folder / "own.capability"
    assert nait_index("capability", "export", folder / "own.nait", "letters", path).code == 0
    _altered(path, change)
    refusal("capability", "import", folder / "own.nait", path, "--force")
    assert nait_index("query", folder / "own.nait", "-c", "letters").code == 0


@pytest.mark.parametrize("less", ["all", "first", "short"])
def test_examples_of_a_capability_file_without_fitting_arrays_are_encoded_again(less: str, folder: Path) -> None:
    from safetensors.numpy import load_file

    index, path = folder / "own.nait", folder / "own.capability"
    wanted = nait_index("query", index, "-c", "letters", "--json").json["selected"]
    assert nait_index("capability", "export", index, "letters", path).code == 0
    arrays = load_file(path)
    if less == "short":
        arrays = {name: value[:1].copy() for name, value in arrays.items()}
    else:
        arrays = {} if less == "all" else dict(list(arrays.items())[1:])
    _altered(path, lambda facts: facts, arrays)
    assert nait_index("capability", "import", index, path, "--force").code == 0
    assert nait_index("query", index, "-c", "letters", "--json").json["selected"] == wanted


# ---- paths --------------------------------------------------------------------------------------------------------


def outside(folder: Path) -> dict[str, bytes | None]:
    """Read the files in a folder, but not those of its index."""
    paths = [path for path in folder.rglob("*") if "own.nait" not in path.relative_to(folder).parts]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.mark.parametrize("name", ["../x", "../../x.jsonl", "/tmp/x", "a/b", "..", "x\\..\\y", "~/x"])
def test_names_and_ids_that_are_paths_write_nothing_outside_the_index(name: str, folder: Path, model: Path) -> None:
    index = folder / "own.nait"
    write_lines(folder / "more.jsonl", [{"id": name, "text": "an id"}, {"id": f"{name}2", "text": "another"}])
    before = outside(folder)
    assert nait_index("build", index, folder / "more.jsonl", "--model", model, *LENGTH).code == 0
    assert nait_index("rows", index, name, "--json").json["id"] == name
    allowed = name == ".."  # of capabilities, only names of letters, digits, spaces and - _ . : are
    assert nait_index("capability", "add", index, name, folder / "examples.jsonl").code == (0 if allowed else 1)
    assert nait_index("query", index, "-c", name).code == (0 if allowed else 1)
    assert "--name" in refusal("score", index, "import", folder / "good.csv", "--name", name)
    assert outside(folder) == before


def _saved(folder: Path, row: str) -> Path:
    """Write the files of ``save_to_disk``: one shard, and the file that names it."""
    folder.mkdir(parents=True)
    table = pa.table({"text": [row]})
    with pa.ipc.new_stream(folder / "data.arrow", table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    return folder


@pytest.mark.parametrize(
    "name", ["../secret/data.arrow", "{root}/secret/data.arrow", "in/../../secret/data.arrow", "..", ".", ""]
)
def test_a_saved_folder_cannot_name_files_outside_it(name: str, tmp_path: Path) -> None:
    _saved(tmp_path / "secret", "a secret")
    dataset = _saved(tmp_path / "own", "a row")
    assert len(list(read_corpus([dataset]))) == 1
    shards = {"_data_files": [{"filename": "data.arrow"}, {"filename": name.format(root=tmp_path)}]}
    (dataset / "state.json").write_text(json.dumps(shards))
    with pytest.raises(CorpusError, match="not a file in this folder"):
        list(read_corpus([dataset]))
    splits = tmp_path / "splits"
    _saved(splits / "train", "a row")
    (splits / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert len(list(read_corpus([splits]))) == 1
    parent = str(Path(name.format(root=tmp_path)).parent) if "secret" in name else name
    (splits / "dataset_dict.json").write_text(json.dumps({"splits": ["train", parent]}))
    with pytest.raises(CorpusError, match="not a file in this folder"):
        list(read_corpus([splits]))


@pytest.mark.parametrize("there", [True, False])
def test_an_output_replaces_a_link_and_not_what_it_leads_to(there: bool, folder: Path) -> None:
    target, out = folder / "target.jsonl", folder / "out.jsonl"
    out.symlink_to(target)
    if there:
        target.write_text("mine")
        assert "already exists" in refusal("query", folder / "own.nait", "-c", "letters", "-o", out)
    assert nait_index("query", folder / "own.nait", "-c", "letters", "-o", out, "--force").code == 0
    assert not out.is_symlink()
    assert (target.read_text() == "mine") if there else not target.exists()


@pytest.mark.parametrize("place", ["scores", "scores/good.jsonl", "scores/good.rejected.jsonl", "rejected.jsonl"])
def test_a_link_in_an_index_is_not_written_through(place: str, folder: Path, model: Path) -> None:
    _link_outside(folder, place, model)


@pytest.mark.parametrize("place", [".lock", "staging", "engine", "lance"])
def test_a_link_in_the_store_of_an_index_is_not_written_through(place: str, folder: Path, model: Path) -> None:
    _link_outside(folder, place, model)


def _link_outside(folder: Path, place: str, model: Path) -> None:
    link, target = folder / "own.nait" / place, folder / "target"
    if link.is_dir():
        link.rename(target)
    elif place == "staging":
        target.mkdir()
        (target / "rows.jsonl").write_text("mine")
    else:
        link.unlink(missing_ok=True)
        target.write_text("mine")
    link.symlink_to(target)
    before = outside(folder)
    for command in (
        ["score", folder / "own.nait", "import", folder / "good.csv", "--force"],
        ["score", folder / "own.nait", "import", folder / "good.csv", "--name", "other"],
        ["capability", "add", folder / "own.nait", "new", folder / "examples.jsonl"],
        ["build", folder / "own.nait", folder / "more.jsonl", "--model", model, *LENGTH],
        ["query", folder / "own.nait", "-c", "letters"],
    ):
        with suppress(Exception):
            nait_index(*command)
    assert outside(folder) == before


# ---- the judge's key ----------------------------------------------------------------------------------------------


class Echo(BaseHTTPRequestHandler):
    """Repeats the key it received in every part of its answers."""

    code = 200
    body = '{"choices": [{"message": {"content": "KEY"}}]}'
    location = "/KEY"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Authorization"].removeprefix("Bearer ")
        self.send_response(self.code, f"no {key}")
        self.send_header("Location", self.location.replace("KEY", key))
        self.end_headers()
        self.wfile.write(self.body.replace("KEY", key).encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def echo(code: int, body: str, **more: Any) -> Iterator[str]:
    """Run such a server, and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Echo,), {"code": code, "body": body, **more}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("code", [200, 302, 400, 401, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        Echo.body,
        '{"error": {"message": "wrong key: KEY"}}',
        '{"error": "' + "x" * 175 + ' KEY"}',
        "KEY",
        "",
        "[" * 60_000,
    ],
    ids=["answer", "object", "long", "text", "nothing", "deep"],
)
def test_the_key_is_in_no_file_and_no_message(
    code: int, body: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a server repeats it, neither the key nor a large part of it is shown or kept."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with echo(code, body) as url:
        asked = ["--url", url, "--judge-model", "large", "--key-env", "JUDGE_KEY", "--yes", "--retries", "0"]
        outcome = nait_index("score", folder / "own.nait", "judge", *asked)
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert (folder / "own.nait" / "scores" / "judge.jsonl").exists()
    for part in (KEY, KEY[:12]):
        assert part not in outcome.out + outcome.err
        assert part.encode() not in written
    assert KEY not in repr(Endpoint(url, "large", KEY))


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is sent only to the given address."""
    monkeypatch.setenv("no_proxy", "*")
    asked: list[str] = []
    with echo(200, Echo.body, asked=asked) as other, echo(code, "", location=f"{other}/chat/completions") as url:
        with pytest.raises(NaitError, match=str(code)):
            Endpoint(url, "large", KEY, retries=0).ask([], Pace(None))
    assert asked == []


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r", f"{KEY}é", f"a {KEY}"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    asked = ["--url", "http://127.0.0.1:1", "--judge-model", "large", "--key-env", "JUDGE_KEY", "--yes"]
    assert KEY not in refusal("score", folder / "own.nait", "judge", *asked)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(NaitError) as error:
        Endpoint(f"https://me:{KEY}@api.example.com/v1", "large")
    assert KEY not in str(error.value)


# ---- terminals ----------------------------------------------------------------------------------------------------

STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m\x7f\u202e\r\x08"


def test_rows_cannot_steer_the_terminal(model: Path, tmp_path: Path) -> None:
    """Control characters of ids, texts and file names are replaced on both streams."""
    index, corpus = tmp_path / "own.nait", tmp_path / f"corpus{STEERING}.jsonl"
    rows = [
        {"id": f"{number}{STEERING}", "instruction": f"{STEERING}{number}", "output": STEERING} for number in range(5)
    ]
    write_lines(corpus, [*rows, {"id": rows[0]["id"], "instruction": "twice", "output": "no"}])
    shown = [
        nait_index("build", index, corpus, "--model", model, *LENGTH),
        nait_index("info", index),
        nait_index("info", index, "--json"),
        nait_index("rows", index),
        nait_index("rows", index, "--where", "n_tokens < 0 OR true", "--json"),
        nait_index("rows", index, f"none{STEERING}"),
        nait_index("rows", index, "--where", STEERING),
        nait_index("rows", index, f"--none{STEERING}"),
        nait_index("query", index, "-e", corpus, "--method", "length"),
        nait_index("query", index, "-c", STEERING),
        nait_index("capability", "add", index, "letters", corpus),
        nait_index("capability", "show", index, "letters"),
        nait_index("build", tmp_path / "new.nait", tmp_path / STEERING),
    ]
    assert [outcome.code for outcome in shown] == [0, 0, 0, 0, 0, 1, 1, 2, 0, 1, 0, 0, 1]
    for outcome in shown:
        assert [
            character
            for character in outcome.out + outcome.err
            if unicodedata.category(character) == "Cc" and character != "\n"
        ] == []
    listed = [json.loads(line) for line in shown[4].out.splitlines()]
    assert [row["row"] for row in listed] == rows
    assert read_lines(index / "rejected.jsonl")[0]["reason"].startswith("duplicate id")
