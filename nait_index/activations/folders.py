"""What a model's folder must hold, checked before anything is loaded, so that each refusal can say what to do."""

import json
from pathlib import Path
from typing import Any

from nait_index.errors import ModelError, one_line
from nait_index.spelling import did_you_mean_path

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
_POINTER = b"version https://git-lfs.github.com/spec/"
_VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model",
    "tekken.json", "vocab.bpe",
)  # fmt: skip
_OTHER_WEIGHTS = {
    ".bin": "PyTorch", ".pt": "PyTorch", ".pth": "PyTorch", ".ckpt": "PyTorch", ".h5": "TensorFlow",
    ".msgpack": "Flax", ".onnx": "ONNX",
}  # fmt: skip
_MAX_HEADER = 100 << 20


def check_folder(path: str) -> None:
    """Refuse what cannot be a model; anything that may be a hub name is accepted.

    :raises ModelError: there is no such folder, or it holds no model that can be read: in one sentence with the remedy.
    """
    folder = Path(path)
    looks_local = folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1 or folder.exists()
    if folder.is_file() and folder.suffix == ".gguf":
        raise ModelError(f"{path} {_GGUF}")
    if looks_local and not folder.is_dir():
        near = did_you_mean_path(path, "config.json")
        raise ModelError(f"no model folder at {path}; give a folder saved by save_pretrained, or a hub name{near}")
    if folder.is_dir():
        _check_kind(folder)
        check_configuration(path, folder / "config.json")
        _check_weights(folder)
        for name in _VOCABULARIES:
            if (folder / name).is_file():
                with (folder / name).open("rb") as stream:
                    _refuse_pointer(folder / name, stream.read(len(_POINTER)))


_GGUF = (
    "holds weights in GGUF format, which are not read; name the model they were made from, or save it as safetensors: "
    "AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=FILE).save_pretrained(OTHER)"
)


def _check_kind(folder: Path) -> None:
    """Refuse a folder without a configuration, and one with an adapter instead of a model."""
    if (folder / "adapter_config.json").is_file():
        if (folder / "config.json").is_file() and weight_files(folder):
            raise ModelError(
                f"{folder} holds a model and an adapter (adapter_config.json); if the adapter is merged into the model "
                "already, move its files away, else merge it"
            )
        raise ModelError(adapter_refusal(str(folder)))
    if (folder / "config.json").is_file():
        return
    if not any(folder.iterdir()):
        raise ModelError(f"{folder} is empty, so it is not a model folder; save the model there first")
    if any(folder.glob("*.gguf")):
        raise ModelError(f"{folder} {_GGUF}")
    if any(folder.glob("consolidated*")) or (folder / "params.json").is_file():
        raise ModelError(
            f"{folder} holds a model in its maker's format, without config.json; name its version for transformers"
        )
    # Other parts of a model, such as 1_Pooling, have a config.json as well, but no family.
    files = [file for pattern in ("*/config.json", "snapshots/*/config.json") for file in folder.glob(pattern)]
    inside = [file.parent for file in files if b'"model_type"' in file.read_bytes()]
    hint = f"; did you mean {max(inside, key=lambda path: path.stat().st_mtime)}?" if inside else ""
    raise ModelError(f"{folder} holds no config.json, so it is not a model folder; save the model there first{hint}")


def adapter_refusal(name: str) -> str:
    """Describe why an adapter is not read, and what to do."""
    return (
        f"{name} is an adapter (adapter_config.json), not a whole model; merge it and name the merged folder: "
        "AutoPeftModelForCausalLM.from_pretrained(ADAPTER).merge_and_unload().save_pretrained(FOLDER)"
    )


def check_configuration(name: str, file: Path) -> dict[str, Any]:
    """Read ``config.json``, and refuse one that names no family that transformers has.

    :param name: of the model.
    """
    refused = f"the configuration of model '{name}' cannot be used"
    data = file.read_bytes()
    _refuse_pointer(file, data)
    try:
        record = json.loads(data)
    except ValueError as error:
        raise ModelError(
            f"{refused}: {file.name} is not JSON ({one_line(error)}); download or save it again"
        ) from error
    if not isinstance(record, dict):
        raise ModelError(f"{refused}: {file.name} is not a JSON object; download it again")
    family = record.get("model_type")
    if not isinstance(family, str) or not family:
        raise ModelError(
            f"{refused}: {file.name} has no model_type; save the model with save_pretrained of transformers"
        )
    if not _is_known(family):
        if record.get("auto_map"):
            raise ModelError(
                f"{refused}: the family '{family}' needs code that comes with the model, and code of a model is never "
                "run; name a model of a family that transformers itself has"
            )
        raise ModelError(
            f"{refused}: this version of transformers knows no family '{family}'; upgrade transformers, or name "
            "another model"
        )
    return record


def _is_known(family: str) -> bool:
    from transformers import CONFIG_MAPPING

    return family in CONFIG_MAPPING


def _check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are in another format, in part missing, or damaged."""
    files = weight_files(folder)
    if not files:
        _refuse_other_weights(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(
            f"the weights of model '{folder}' cannot be loaded: {missing[0]} is missing, {len(missing)} of "
            f"{len(files)} files in all; download or copy the whole model again"
        )
    for file in files:
        read_header(file)


def weight_files(folder: Path) -> list[Path]:
    """Return the files of weights that transformers reads from a folder, whether or not they are there."""
    if (folder / WEIGHTS).is_file() or (folder / WEIGHTS).is_symlink():
        return [folder / WEIGHTS]
    index = folder / WEIGHTS_INDEX
    if not index.is_file():
        return []
    data = index.read_bytes()
    _refuse_pointer(index, data)
    try:
        names = sorted(set(json.loads(data)["weight_map"].values()))
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
            raise ValueError("it names files outside the folder")
        return [folder / name for name in names]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"the weights of model '{folder}' cannot be loaded: {WEIGHTS_INDEX} is damaged; download the model again"
        ) from error


def _refuse_other_weights(folder: Path) -> None:
    refused = f"the weights of model '{folder}' cannot be loaded"
    if any(folder.glob("*.gguf")):
        raise ModelError(f"{folder} {_GGUF}")
    others = sorted(file for file in folder.iterdir() if file.suffix in _OTHER_WEIGHTS and "training" not in file.name)
    if stray := sorted(folder.glob("*.safetensors")):
        raise ModelError(
            f"{refused}: there is {stray[0].name}, but neither {WEIGHTS} nor {WEIGHTS_INDEX}; download the whole "
            f"model, or rename the file to {WEIGHTS} if it is all of it"
        )
    if others:
        kind = _OTHER_WEIGHTS[others[0].suffix]
        remedy = f"convert them where you trust the file: {conversion(folder)}"
        remedy = remedy if kind == "PyTorch" else "name a version of the model that has them"
        raise ModelError(
            f"{refused}: they are in {kind} format ({others[0].name}), and only safetensors are read; {remedy}"
        )
    raise ModelError(f"{refused}: there is no {WEIGHTS}; save the model there with save_pretrained")


def conversion(source: str | Path) -> str:
    """Return the line of Python that converts a model's pickled weights to safetensors."""
    return (
        f"AutoModelForCausalLM.from_pretrained('{source}').save_pretrained('NEW_FOLDER'), AutoModel for an encoder, "
        "and the tokenizer alike"
    )


def read_header(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read the header of a safetensors file: the dtype, as safetensors names it, and shape of every tensor.

    :raises ModelError: the file is something else, or cut off.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(len(_POINTER))
        _refuse_pointer(file, start)
        stream.seek(8)
        length = int.from_bytes(start[:8], "little")
        header = stream.read(length) if 0 < length <= min(size - 8, _MAX_HEADER) else b""
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        described = {name: (str(tensor["dtype"]), tuple(tensor["shape"])) for name, tensor in tensors.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(_damage(file, "is not a whole safetensors file")) from error
    if 8 + length + end != size:
        raise ModelError(_damage(file, f"has {size:,} of {8 + length + end:,} bytes"))
    return described


def _damage(file: Path, what: str) -> str:
    return f"the weights of model '{file.parent}' cannot be read: {file.name} {what}; download or copy the file again"


def _refuse_pointer(file: Path, data: bytes) -> None:
    if data.startswith(_POINTER):
        raise ModelError(
            f"{file} is a Git LFS pointer instead of the file itself; run 'git lfs pull' in {file.parent}, or download "
            "the model again"
        )


def has_vocabulary(folder: Path) -> bool:
    """Report whether a folder holds the vocabulary of a tokenizer."""
    return any((folder / name).is_file() for name in _VOCABULARIES)


def hub_file(name: str, file: str) -> Path | None:
    """Return the local copy of a file of a model on the hub, fetched if necessary; ``None`` if there is none."""
    from transformers.utils.hub import cached_file

    try:
        path = cached_file(
            name,
            file,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except (OSError, ValueError):
        return None
    return None if path is None else Path(path)
