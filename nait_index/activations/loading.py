"""Load a model and its tokenizer: safetensors only, no remote code, no random weights; identified by content hashes."""

import inspect
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import is_out_of_memory, library_errors
from nait_index.activations.device import device_of, settled_precision
from nait_index.activations.folders import (
    adapter_refusal,
    check_configuration,
    check_folder,
    conversion,
    has_vocabulary,
    hub_file,
)
from nait_index.activations.hashes import hash_config, hash_tokenizer, hash_weights
from nait_index.activations.loaded import LoadedModel, embeddings_of, first_position_of, longest_input_of
from nait_index.activations.split import first_device, split_options
from nait_index.activations.weights import check_complete, check_plain, check_used, read_tensors
from nait_index.config import BUNDLED_MODEL, Device, ModelConfig
from nait_index.errors import ModelError, NaitError, one_line

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)

# Attention that torch itself computes. Transformers takes any other name for code on the hub, fetches it and runs it.
_ATTENTION = (None, "eager", "sdpa", "flex_attention")

_NO_CODE = "it needs code that comes with the model, and code of a model is never run"


def load_model(config: ModelConfig, *, causal: bool = False) -> LoadedModel:
    """Load model and tokenizer with plain ``from_pretrained`` calls.

    :param config: only name, dtype and device matter here.
    :param causal: load a causal language model with its head instead of the bare transformer. The dtype ``auto`` is
        then never bfloat16 on a CPU.
    :raises ModelError: the folder is missing, holds no weights or no tokenizer, or lacks part of the weights; or the
        model should be a causal language model and is not.
    """
    logger.info("loading the %s %s", "causal model" if causal else "model", config.name)
    started = time.monotonic()
    try:
        loaded = _load(model_path(config.name), config, causal)
        if causal:
            _check_causal(loaded)
    except NaitError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ModelError(f"model '{config.name}' cannot be opened ({reason}); name another with --model") from error
    taken = time.monotonic() - started
    logger.info("model %s loaded in %.1f s, %s on %s", config.name, taken, loaded.dtype, loaded.device)
    return loaded


def _load(path: str, config: ModelConfig, causal: bool) -> LoadedModel:
    """Load a model from a folder or the hub."""
    import torch

    folder = _folder_of(path)
    device, is_split = device_of(config.device), config.device is Device.SPLIT
    dtype = getattr(torch, settled_precision(config.dtype, config.device, on_cpu=not causal))
    with _quiet_transformers():
        settings = _load_settings(path)
        auto = _auto_class(path, settings, causal)
        check_plain(path, read_tensors(folder), settings)
        options = {"config": settings, "dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        options |= split_options() if is_split else {}
        # Transformers would name no weight that does not fit; these are refused by name below.
        module, report = _load_part("weights", path, auto, ignore_mismatched_sizes=True, **options)
        check_complete(path, report, causal)
        check_used(path, read_tensors(folder), report["unexpected_keys"], module, settings)
        tokenizer = _load_tokenizer(path, folder)
    tokenizer.truncation_side = "right"
    module = _moved(path, module, None if is_split else device)
    first_position = first_position_of(module)
    table = embeddings_of(module)
    return LoadedModel(
        name=config.name,
        module=module,
        tokenizer=tokenizer,
        model_type=settings.model_type,
        device=first_device(module) if is_split else device,
        dtype=dtype,
        positions=longest_input_of(settings, tokenizer, first_position),
        first_position=first_position,
        vocabulary=None if table is None else len(table),
        weights_hash=hash_weights(module, frozenset(report["missing_keys"])),
        config_hash=hash_config(settings),
        tokenizer_hash=hash_tokenizer(tokenizer),
    )


def load_tokenizer(name: str) -> Any:  # noqa: ANN401 - a tokenizer of transformers
    """Load the tokenizer of a model alone.

    :raises ModelError: the folder is missing, or holds no tokenizer.
    """
    path = model_path(name)
    folder = _folder_of(path)
    with _quiet_transformers():
        tokenizer = _load_tokenizer(path, folder)
    tokenizer.truncation_side = "right"
    return tokenizer


def model_path(name: str) -> str:
    """Resolve ``bundled`` to the folder inside the package; every other name is returned unchanged."""
    return str(files("nait_index.demo").joinpath("model")) if name == BUNDLED_MODEL else name


def _folder_of(path: str) -> Path | None:
    """Check a model's folder, or the files of a hub's model that are fetched first, and return where they are.

    :raises ModelError: it holds no model that can be read.
    """
    check_folder(path)
    if Path(path).is_dir():
        return Path(path)
    file = hub_file(path, "config.json")
    if hub_file(path, "adapter_config.json") is not None:
        raise ModelError(adapter_refusal(path))
    if file is None:
        return None
    check_configuration(path, file)
    return file.parent


def _load_part(part: str, path: str, auto: Any, **options: Any) -> Any:  # noqa: ANN401 - classes of transformers
    """Load one part of a model with a class of transformers, and turn whatever that raises into one line.

    :raises ModelError: the part cannot be loaded.
    """
    try:
        # Without trust_remote_code, transformers asks on standard input whether to run code that the folder contains.
        return auto.from_pretrained(path, trust_remote_code=False, **options)
    except Exception as error:
        reason = _sentences(error)
        if part == "weights" and isinstance(error, OSError) and "safetensors" in str(error):
            reason = f"there are no safetensors; convert them where you trust the file: {conversion(path)}"
        elif is_out_of_memory(error):
            reason = "out of memory; try --dtype bfloat16, --device cpu or a smaller model"
        elif "couldn't connect" in str(error):
            reason = "there is no such folder, no such model was downloaded before, and the hub cannot be reached"
        elif "trust_remote_code" in str(error):
            reason = f"{_NO_CODE}; name a model of a family that transformers itself has"
        raise ModelError(f"the {part} of model '{path}' cannot be loaded: {reason}") from error


def _sentences(error: Exception) -> str:
    """Return the whole sentences at the beginning of an error's message that fit on a line."""
    text = " ".join(str(error).split())
    if not text:
        return type(error).__name__
    if isinstance(error, LookupError):  # its message is a key alone
        return f"{type(error).__name__}: {text}"[:300]
    if len(text) <= 300:
        return text
    cut = text[:300]
    end = max(cut.rfind(mark) for mark in (". ", "; ", ": "))
    return cut[:end] if end > 40 else f"{cut[:299]}…"


def _load_settings(path: str) -> Any:  # noqa: ANN401 - whatever transformers returns
    """Load a model's configuration, without any attention implementation that torch does not compute itself.

    :raises ModelError: there is none, or it needs code that comes with the model.
    """
    import transformers

    settings = _load_part("configuration", path, transformers.AutoConfig)
    for part in (settings, *(getattr(settings, name, None) for name in settings.sub_configs)):
        if getattr(part, "_attn_implementation", None) not in _ATTENTION:
            part._attn_implementation = None
    if getattr(settings, "attention_type", None) == "block_sparse":
        # Big Bird switches to full attention at the first short text and never back.
        settings.attention_type = "original_full"
    return settings


def _auto_class(path: str, settings: Any, causal: bool) -> Any:  # noqa: ANN401 - a class of transformers
    """Choose the class that loads the model.

    :raises ModelError: the model should be a causal language model, and its family has none.
    """
    import transformers

    if not causal:
        # What was saved as an encoder alone says so by its class only.
        is_encoder = any(name.endswith("EncoderModel") for name in settings.architectures or ())
        encodes = settings.is_encoder_decoder or is_encoder
        auto: Any = transformers.AutoModelForTextEncoding if encodes else transformers.AutoModel
        if type(settings) in auto._model_mapping:
            return auto
        reason = (
            "is an encoder–decoder model, and of those only the encoders of the T5 family are read"
            if settings.is_encoder_decoder
            else "has no model of text that can be read"
        )
        raise ModelError(f"model '{path}' of the family {settings.model_type} {reason}; name another with --model")
    auto = transformers.AutoModelForCausalLM
    fills_gaps: Any = transformers.AutoModelForMaskedLM
    fills = type(settings) in fills_gaps._model_mapping and not settings.is_encoder_decoder
    if fills and getattr(settings, "is_decoder", None) is False:
        raise ModelError(
            f"model '{path}' is an encoder ({settings.model_type}), which predicts no next word, so it is not a causal "
            "language model; name one with --model"
        )
    if settings.is_encoder_decoder or type(settings) not in auto._model_mapping:
        raise ModelError(
            f"model '{path}' of the family {settings.model_type} is not a causal language model; name one with --model"
        )
    return auto


def _load_tokenizer(path: str, folder: Path | None) -> Any:  # noqa: ANN401
    """Load a model's tokenizer.

    :raises ModelError: there is none, it is damaged, or it has only special tokens: some families' classes invent one
        where files are missing, and T5's class invents the word boundary as well.
    """
    import transformers

    missing = (
        f"the tokenizer of model '{path}' is missing; save its files there as well: "
        f"AutoTokenizer.from_pretrained(BASE_MODEL).save_pretrained({path!r})"
    )
    try:
        tokenizer = _load_part("tokenizer", path, transformers.AutoTokenizer)
    except ModelError as error:
        if folder is not None and not has_vocabulary(folder) and _NO_CODE not in str(error):
            raise ModelError(missing) from error
        raise
    if len(tokenizer.get_vocab()) - len(tokenizer.get_added_vocab()) <= 1:
        raise ModelError(missing)
    return tokenizer


def _moved(path: str, module: "nn.Module", device: "torch.device | None") -> "nn.Module":
    """Return the model on its device, frozen and in evaluation mode.

    :param device: ``None`` where it lies on several already.
    :raises ModelError: it does not fit there, or reads no text.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    arguments = [part.name for part in parameters if part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)]
    if arguments and "input_ids" not in arguments:
        raise ModelError(f"model '{path}' reads no text, but {arguments[0]}; name another with --model")
    try:
        return (module if device is None else module.to(device)).eval().requires_grad_(False)
    except Exception as error:
        remedy = "; try --dtype bfloat16, --device cpu or a smaller model" if is_out_of_memory(error) else ""
        raise ModelError(f"model '{path}' cannot be moved to {device}: {_sentences(error)}{remedy}") from error


def _check_causal(loaded: LoadedModel) -> None:
    """Refuse a model whose predictions change with the tokens after them, such as BERT with its masked-word head."""
    import torch

    texts = [np.array([3, 4, 5, 6, 7, 8]), np.array([3, 4, 9, 10, 11, 12])]
    with torch.inference_mode(), library_errors(loaded.batch_rule(1)):
        logits = loaded.module(**loaded.inputs(texts)).logits[:, :2].float()
    # A mixture of experts rounds differently when other tokens share its experts; seeing them changes far more.
    if (logits[0] - logits[1]).abs().max() > 0.02 * logits.abs().max():
        raise ModelError(
            f"model '{loaded.name}' sees the tokens it predicts, so it is not a causal language model; name one with "
            "--model"
        )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off our streams; their contents are checked here instead."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    # The hub logs every retry; the final error has the outcome.
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
