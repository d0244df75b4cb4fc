"""Load a model and its tokenizer: safetensors only, no remote code, no random weights; identified by content hashes."""

import hashlib
import inspect
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import BatchRule, pad
from nait_index.activations.device import device_of, settled_precision
from nait_index.config import BUNDLED_MODEL, ModelConfig, PaddingSide
from nait_index.errors import ModelError
from nait_index.files import hash_bytes
from nait_index.spelling import did_you_mean_path

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)

# Attention that torch itself computes. Transformers takes any other name for code on the hub, fetches it and runs it.
_ATTENTION = (None, "eager", "sdpa", "flex_attention")
# What saving and loading write into config.json without changing a single activation.
_INCIDENTAL = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "use_cache"})


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with its tokenizer, frozen and in evaluation mode.

    :param name: folder or hub name, as given.
    :param module: the bare transformer, or a causal language model with its head.
    :param positions: longest input in tokens that the model can read, or ``None`` where it sets no limit.
    :param first_position: position that its table assigns to a text's first token.
    :param vocabulary: number of tokens that the model has an embedding for, or ``None`` where it has no such table.
    :param weights_hash: of every parameter as loaded; :param config_hash: of ``config.json``;
        :param tokenizer_hash: of vocabulary, merges and normalisation; 32 hex digits each.
    """

    name: str
    module: "nn.Module"
    tokenizer: Any
    model_type: str
    device: "torch.device"
    dtype: "torch.dtype"
    positions: int | None
    first_position: int
    vocabulary: int | None
    weights_hash: str
    config_hash: str
    tokenizer_hash: str

    @property
    def parameters(self) -> int:
        """Number of parameters, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def is_mixture(self) -> bool:
        """Whether some layer sends each token to a few of its experts."""
        return any(re.search(r"(^|\.)experts$", path) for path, _ in self.module.named_modules())

    def batch_rule(self, tokens: int, side: PaddingSide = PaddingSide.RIGHT) -> BatchRule:
        """Make the rule that the model is tried with first.

        :param tokens: most tokens of a batch. :param side: the side that is padded.
        """
        full = str(self.dtype) == "torch.float32"
        remedy = "name another model with --model" if full else "try --dtype float32, or another model"
        return BatchRule(self.name, remedy, tokens, side=side)

    def takes(self, argument: str) -> bool:
        """Report whether the forward pass takes a keyword argument."""
        return argument in inspect.signature(self.module.forward).parameters

    def inputs(
        self, texts: Sequence[np.ndarray], token: int = 0, side: PaddingSide = PaddingSide.RIGHT
    ) -> dict[str, Any]:
        """Pad texts as :func:`pad` does, and return the keyword arguments of a forward pass, (B, T) each."""
        import torch

        ids, mask = (torch.from_numpy(array).to(self.device) for array in pad(texts, token, side))
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if side is PaddingSide.LEFT and self.takes("position_ids"):
            inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0) + self.first_position
        if self.takes("use_cache"):  # a cache of keys and values would take memory, and nothing reads it
            inputs["use_cache"] = False
        return inputs


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
    import torch
    import transformers

    path = model_path(config.name)
    _check_folder(path)
    device = device_of(config.device)
    dtype = getattr(torch, settled_precision(config.dtype, config.device, on_cpu=not causal))
    with _quiet_transformers():
        settings = _load_settings(path)
        auto = _auto_class(path, settings, causal)
        options = {"config": settings, "dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        module, report = _load_part("weights", path, auto, **options)
        _check_complete(path, report, causal)
        tokenizer = _load_part("tokenizer", path, transformers.AutoTokenizer)
    _check_tokenizer(path, tokenizer)
    tokenizer.truncation_side = "right"
    module = module.to(device).eval().requires_grad_(False)
    if causal:
        _check_causal(path, module)
    first_position = _first_position(module)
    table = getattr(module.get_input_embeddings(), "weight", None)
    loaded = LoadedModel(
        name=config.name,
        module=module,
        tokenizer=tokenizer,
        model_type=settings.model_type,
        device=device,
        dtype=dtype,
        positions=_longest_input(settings, tokenizer, first_position),
        first_position=first_position,
        vocabulary=None if table is None else len(table),
        weights_hash=_hash_weights(module, frozenset(report["missing_keys"])),
        config_hash=_hash_config(settings),
        tokenizer_hash=hash_tokenizer(tokenizer),
    )
    logger.info("model %s loaded in %.1f s, %s on %s", config.name, time.monotonic() - started, dtype, device)
    return loaded


def model_path(name: str) -> str:
    """Resolve ``bundled`` to the folder inside the package; every other name is returned unchanged."""
    return str(files("nait_index.demo").joinpath("model")) if name == BUNDLED_MODEL else name


def _check_folder(path: str) -> None:
    """Refuse a folder that holds no model; anything that may be a hub name is accepted.

    :raises ModelError: there is no such folder, or it has no configuration.
    """
    folder = Path(path)
    looks_local = folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1 or folder.exists()
    if looks_local and not folder.is_dir():
        near = did_you_mean_path(path, "config.json")
        raise ModelError(f"no model folder at {path}; give a folder saved by save_pretrained, or a hub name{near}")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelError(f"{path} holds no config.json, so it is not a model folder; save the model there first")


def _load_part(part: str, path: str, auto: Any, **options: Any) -> Any:  # noqa: ANN401 - classes of transformers
    """Load one part of a model with a class of transformers, and turn whatever that raises into one line.

    :raises ModelError: the part cannot be loaded.
    """
    try:
        # Without trust_remote_code, transformers asks on standard input whether to run code that the folder contains.
        return auto.from_pretrained(path, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"the {part} of model '{path}' cannot be loaded: {reason}") from error
    except Exception as error:  # safetensors raises its own, unrelated class for a damaged file
        raise ModelError(f"the {part} of model '{path}' cannot be read ({type(error).__name__}: {error})") from error


def _load_settings(path: str) -> Any:  # noqa: ANN401 - whatever transformers returns
    """Load a model's configuration, without any attention implementation that torch does not compute itself.

    :raises ModelError: there is none, or it needs code that comes with the model.
    """
    import transformers

    settings = _load_part("configuration", path, transformers.AutoConfig)
    for part in (settings, *(getattr(settings, name, None) for name in settings.sub_configs)):
        if getattr(part, "_attn_implementation", None) not in _ATTENTION:
            part._attn_implementation = None
    return settings


def _auto_class(path: str, settings: Any, causal: bool) -> Any:  # noqa: ANN401 - a class of transformers
    """Choose the class that loads the model.

    :raises ModelError: the model should be a causal language model, and its family has none.
    """
    import transformers

    if not causal:
        return transformers.AutoModelForTextEncoding if settings.is_encoder_decoder else transformers.AutoModel
    auto = transformers.AutoModelForCausalLM
    if settings.is_encoder_decoder or type(settings) not in auto._model_mapping:
        raise ModelError(
            f"model '{path}' of the family {settings.model_type} is not a causal language model; name one with --model"
        )
    return auto


def _check_complete(path: str, report: dict[str, Any], causal: bool) -> None:
    """Refuse a model with randomly initialised parts; a bare transformer uses no pooler, so that may be missing."""
    missing = sorted(key for key in report["missing_keys"] if causal or "pooler" not in key)
    if missing:
        more = f" and {len(missing) - 1} more parameters" if missing[1:] else ""
        consequence = (
            "what it predicts would be random: save it as a causal language model, with its head, or name another "
            "with --model"
            if causal
            else "its neurons would be random numbers"
        )
        raise ModelError(f"model '{path}' lacks the weights of {missing[0]}{more}; {consequence}")
    if report.get("mismatched_keys"):
        first = min(map(str, report["mismatched_keys"]))
        raise ModelError(f"weights of model '{path}' do not fit its config.json: {first}")


def _check_tokenizer(path: str, tokenizer: Any) -> None:  # noqa: ANN401
    """Refuse a tokenizer that has only special tokens: some families' classes invent one where files are missing.

    T5's class invents the word boundary as well.
    """
    if len(tokenizer.get_vocab()) - len(tokenizer.get_added_vocab()) <= 1:
        raise ModelError(f"the tokenizer of model '{path}' has no vocabulary; save the tokenizer's files there as well")


def _check_causal(path: str, model: "nn.Module") -> None:
    """Refuse a model whose predictions change with the tokens after them, such as BERT with its masked-word head."""
    import torch

    device = next(model.parameters()).device
    ids = torch.tensor([[3, 4, 5, 6, 7, 8], [3, 4, 9, 10, 11, 12]], device=device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, :2].float()
    # A mixture of experts rounds differently when other tokens share its experts; seeing them changes far more.
    if (logits[0] - logits[1]).abs().max() > 0.02 * logits.abs().max():
        raise ModelError(
            f"model '{path}' sees the tokens it predicts, so it is not a causal language model; name one with --model"
        )


def _first_position(body: "nn.Module") -> int:
    """Find the first position: after the padding row of a position table (RoBERTa, MPNet), or 0 if it has none."""
    from torch import nn

    for path, module in body.named_modules():
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    return 0


def _longest_input(settings: Any, tokenizer: Any, first: int) -> int | None:  # noqa: ANN401
    """Find the longest readable input: the smaller of the limits of position table and tokenizer."""
    text = settings.get_text_config() if hasattr(settings, "get_text_config") else settings
    limits = []
    table = getattr(text, "max_position_embeddings", None)
    if isinstance(table, int) and table > 0:
        limits.append(table - first)
    if isinstance(tokenizer.model_max_length, int) and 0 < tokenizer.model_max_length < 10**9:
        limits.append(tokenizer.model_max_length)
    return min(limits) if limits else None


def _hash_weights(body: "nn.Module", unset: frozenset[str]) -> str:
    """Hash every parameter as loaded, except those in ``unset``: 32 hex digits."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(body.state_dict().items()):
        if name in unset:
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _hash_config(settings: Any) -> str:  # noqa: ANN401
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
