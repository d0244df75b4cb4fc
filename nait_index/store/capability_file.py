"""A capability as one file, to be carried to another index: safetensors, with the examples and settings as metadata."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from nait_index.errors import CapabilityError
from nait_index.files import atomic_write
from nait_index.spelling import did_you_mean_path
from nait_index.store.capabilities import StoredCapability
from nait_index.store.typed import check_types

_FORMAT = "nait-index capability 1"


def write_capability(path: Path, capability: StoredCapability, basis: str) -> None:
    """Write it, whole or not at all.

    :param basis: stands for what the signatures among its arrays were fitted on.
    """
    from safetensors.numpy import save

    facts = {name: own for name, own in asdict(capability).items() if name != "arrays"}
    arrays = {name: np.ascontiguousarray(array) for name, array in capability.arrays.items()}
    text = json.dumps(facts | {"basis": basis})
    metadata = {"format": _FORMAT, "capability": text, "hash": _hash(text, arrays)}
    with atomic_write(path) as file:
        file.write(save(arrays, metadata=metadata))


def read_capability(path: Path) -> tuple[StoredCapability, str]:
    """Read it, and the basis it was written with.

    :raises CapabilityError: the file is missing, damaged, or something else.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CapabilityError(
            f"{path}: no such file; 'nait-index capability export' writes one{did_you_mean_path(path)}"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise CapabilityError(f"{path} is no capability that 'nait-index capability export' wrote")
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        if metadata["hash"] != _hash(metadata["capability"], arrays):
            raise CapabilityError(f"{path} is damaged (its hash differs); export the capability again")
        facts = json.loads(metadata["capability"])
        basis = str(facts.pop("basis"))
        own = facts | {"rows": tuple(facts["rows"]), "formats": tuple(facts["formats"]), "arrays": arrays}
        stored = StoredCapability(**own)
        check_types(stored)
        if not stored.rows or len(stored.rows) != len(stored.formats):
            raise ValueError("it has no examples, or not the format of each")
        return stored, basis
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CapabilityError(f"{path} is damaged, or no exported capability ({error})") from error


def _hash(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Give 32 hex digits that stand for everything in the file."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
