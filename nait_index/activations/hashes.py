"""Hashes of what makes a model's numbers: its weights, its configuration and its tokenizer."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from nait_index.activations.split import stored
from nait_index.files import hash_bytes

if TYPE_CHECKING:
    from torch import nn

# What saving and loading write into config.json without changing a single activation.
_INCIDENTAL = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "use_cache"})


def hash_weights(body: "nn.Module", unset: frozenset[str]) -> str:
    """Hash every parameter as loaded, except those in ``unset``: 32 hex digits."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(body.state_dict().items()):
        if name in unset:
            continue
        tensor = stored(body, name) if tensor.is_meta else tensor
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_config(settings: Any) -> str:  # noqa: ANN401
    """Hash the settings of ``config.json`` that change an activation: 32 hex digits."""
    diff = {key: value for key, value in settings.to_diff_dict().items() if key not in _INCIDENTAL}
    return _hash_text(json.dumps(diff, sort_keys=True, default=str))


def hash_tokenizer(tokenizer: Any) -> str:  # noqa: ANN401
    """Hash vocabulary, merges and normalisation: 32 hex digits."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return _hash_text(
            json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.special_tokens_map], default=str)
        )
    state = json.loads(backend.to_str())
    # Every call sets these, so they are not properties of the tokenizer.
    state.pop("truncation", None)
    state.pop("padding", None)
    return _hash_text(json.dumps(state, sort_keys=True))


def _hash_text(text: str) -> str:
    return hash_bytes(text.encode("utf-8", "surrogatepass"))
