"""What loading a model goes by, with its head or without: safetensors only, no remote code, known by its content."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.config import BUNDLED_MODEL, Device, Precision
from nait_index.errors import ModelError
from nait_index.spelling import did_you_mean_path, parse_enum

if TYPE_CHECKING:
    import torch
    from torch import nn


_ATTENTION = (None, "eager", "sdpa", "flex_attention")
AUTO_DTYPE = "NAIT_INDEX_AUTO_DTYPE"
"""Environment variable that says what ``--dtype auto`` is, for machines that must agree on it."""


def model_path(name: str) -> str:
    """Resolve ``bundled`` to the folder inside the package; every other name stays as it is."""
    if name != BUNDLED_MODEL:
        return name
    return str(files("nait_index.demo").joinpath("model"))


def check_folder(path: str) -> None:
    """Refuse a path that holds no model; what may be a hub name passes.

    :raises ModelError: no folder is there, or it has no configuration.
    """
    folder = Path(path)
    looks_local = folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1 or folder.exists()
    if looks_local and not folder.is_dir():
        near = did_you_mean_path(path, "config.json")
        raise ModelError(f"no model folder at {path}; give a folder saved by save_pretrained, or a hub name{near}")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelError(f"{path} holds no config.json, so it is no model folder; save the model there first")


def attempt(path: str, what: str, load_part: Any) -> Any:  # noqa: ANN401 - whatever transformers returns
    """Load one part of a model, whatever transformers makes of it.

    :param what: name of the part.
    :raises ModelError: in one line, why it cannot be loaded.
    """
    try:
        return load_part()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"the {what} of model '{path}' cannot be loaded: {reason}") from error
    except Exception as error:  # safetensors raises its own, unrelated class for a damaged file
        raise ModelError(f"the {what} of model '{path}' cannot be read ({type(error).__name__}: {error})") from error


def load_settings(path: str) -> Any:  # noqa: ANN401 - whatever transformers returns
    """Load a model's configuration.

    Of what it says about attention only what torch itself computes counts: transformers takes any other name for code
    on the hub, which it would fetch and run.

    :raises ModelError: there is none, or it needs code of its own.
    """
    import transformers

    load = partial(transformers.AutoConfig.from_pretrained, path, trust_remote_code=False)
    settings = attempt(path, "configuration", load)
    for own in (settings, *(getattr(settings, name, None) for name in settings.sub_configs)):
        if getattr(own, "_attn_implementation", None) not in _ATTENTION:
            own._attn_implementation = None
    return settings


def check_complete(path: str, unset: frozenset[str], report: dict[str, Any]) -> None:
    """Refuse a body with randomly initialised parts; poolers and heads are not used and may be missing."""
    needed = sorted(key for key in unset if "pooler" not in key)
    if needed:
        raise ModelError(
            f"model '{path}' lacks the weights of {needed[0]}"
            + (f" and {len(needed) - 1} more parameters" if len(needed) > 1 else "")
            + "; its neurons would be random numbers"
        )
    if report.get("mismatched_keys"):
        first = min(map(str, report["mismatched_keys"]))
        raise ModelError(f"weights of model '{path}' do not fit its config.json: {first}")


def check_tokenizer(path: str, tokenizer: Any) -> None:  # noqa: ANN401
    """Refuse a tokenizer of nothing but special tokens, which some families' classes make up where files are missing.

    T5's makes up the word boundary as well.
    """
    if len(tokenizer.get_vocab()) - len(tokenizer.get_added_vocab()) <= 1:
        raise ModelError(f"the tokenizer of model '{path}' has no vocabulary; save the tokenizer's files there as well")


def device_of(device: Device) -> "torch.device":
    """Give where the model runs.

    :raises ModelError: a GPU was asked for, and torch sees none.
    """
    import torch

    if device is Device.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device is Device.CUDA and not torch.cuda.is_available():
        raise ModelError("--device cuda was asked for, but torch sees no GPU here; use --device cpu")
    return torch.device(device.value)


def dtype_of(dtype: Precision, device: "torch.device", *, on_cpu: bool = True) -> "torch.dtype":
    """Give what the model computes in.

    :param on_cpu: whether ``auto`` may take bfloat16 on a CPU too, where the processor multiplies in it.
    """
    import torch

    if dtype is Precision.AUTO:
        dtype = _auto()
    if dtype is Precision.AUTO:
        native = device.type == "cuda" or (on_cpu and device.type == "cpu" and cpu_multiplies_bfloat16())
        return torch.bfloat16 if native else torch.float32
    resolved: torch.dtype = getattr(torch, dtype.value)
    return resolved


def settled_precision(dtype: Precision, device: Device, *, on_cpu: bool = True) -> Precision:
    """Give by name what the model computes in, like :func:`dtype_of`, on a device that another machine may have."""
    import torch

    own = device_of(device) if device is Device.AUTO else torch.device(device.value)
    return Precision(str(dtype_of(dtype, own, on_cpu=on_cpu)).removeprefix("torch."))


def _auto() -> Precision:
    return parse_enum(Precision, os.environ.get(AUTO_DTYPE, Precision.AUTO), f"{AUTO_DTYPE} value", ModelError)


def cpu_multiplies_bfloat16() -> bool:
    """Tell whether the processor has instructions for it; without, bfloat16 is slower than float32."""
    import torch

    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(known.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def first_position_of(body: "nn.Module") -> int:
    """Where a position table keeps a row for padding (RoBERTa, MPNet), positions begin after it; elsewhere at 0."""
    from torch import nn

    for path, module in body.named_modules():
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    return 0


def vocabulary_of(body: Any) -> int | None:  # noqa: ANN401
    """Count the tokens that the model has an embedding for; ``None`` where it has no such table."""
    table = getattr(body.get_input_embeddings(), "weight", None)
    return None if table is None else len(table)


def longest_input(settings: Any, tokenizer: Any, first: int) -> int | None:  # noqa: ANN401
    """Longest readable input: the shorter of what the position table and the tokenizer allow."""
    text = settings.get_text_config() if hasattr(settings, "get_text_config") else settings
    limits = []
    table = getattr(text, "max_position_embeddings", None)
    if isinstance(table, int) and table > 0:
        limits.append(table - first)
    if isinstance(tokenizer.model_max_length, int) and 0 < tokenizer.model_max_length < 10**9:
        limits.append(tokenizer.model_max_length)
    return min(limits) if limits else None


def hash_weights(body: "nn.Module", unset: frozenset[str]) -> str:
    """Hash every parameter as loaded, but those in ``unset``: 32 hex digits."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(body.state_dict().items()):
        if name in unset:
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# What saving and loading write into config.json without changing a single activation.
_INCIDENTAL = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "use_cache"})


def hash_config(settings: Any) -> str:  # noqa: ANN401
    """Hash what of ``config.json`` changes an activation: 32 hex digits."""
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
    # Set anew by every call, so no property of the tokenizer.
    state.pop("truncation", None)
    state.pop("padding", None)
    return _hash_text(json.dumps(state, sort_keys=True))


def _hash_text(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off our streams; what they say is checked here instead."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    # The hub's retries are told line by line; what came of them is in the error.
    hub_logging.set_verbosity_error()
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(50)  # critical
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
