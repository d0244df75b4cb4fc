"""Load a causal language model, head included: what scores the likelihood of text, by the rules of :mod:`loading`.

Safetensors only, no remote code, no random weights, and none that is told what it is to predict.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nait_index.activations.loading import (
    attempt,
    check_complete,
    check_folder,
    check_tokenizer,
    device_of,
    dtype_of,
    first_position_of,
    hash_config,
    hash_tokenizer,
    hash_weights,
    load_settings,
    longest_input,
    model_path,
    quiet_transformers,
    vocabulary_of,
)
from nait_index.config import ModelConfig
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedCausal:
    """A causal language model with its tokenizer, frozen and in evaluation mode.

    :param positions: longest input in tokens that it can read, or ``None`` where it sets no limit.
    :param vocabulary: how many tokens it has an embedding for, or ``None`` where it has no such table.
    :param parameters: how many numbers it has learned, shared ones counted once.
    :param weights_hash: of every parameter as loaded; :param config_hash: of ``config.json``;
        :param tokenizer_hash: of vocabulary, merges and normalisation; 32 hex digits each.
    """

    model: "nn.Module"
    tokenizer: Any
    model_type: str
    device: "torch.device"
    dtype: "torch.dtype"
    positions: int | None
    vocabulary: int | None
    parameters: int
    weights_hash: str
    config_hash: str
    tokenizer_hash: str


def load_causal(config: ModelConfig) -> LoadedCausal:
    """Load model and tokenizer; of the settings only name, dtype and device matter.

    :raises ModelError: the folder is missing or holds no weights or no tokenizer, part of the weights is not there,
        or the model is not a causal language model.
    """
    path = model_path(config.name)
    check_folder(path)
    logger.info("loading the causal model %s", config.name)
    device = device_of(config.device)
    dtype = dtype_of(config.dtype, device, on_cpu=False)
    with quiet_transformers():
        settings, model, tokenizer = _parts(path, dtype)
    check_tokenizer(path, tokenizer)
    model = model.to(device).eval().requires_grad_(False)
    _check_causal(path, model)
    return LoadedCausal(
        model=model,
        tokenizer=tokenizer,
        model_type=settings.model_type,
        device=device,
        dtype=dtype,
        positions=longest_input(settings, tokenizer, first_position_of(model)),
        vocabulary=vocabulary_of(model),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_hash=hash_weights(model, frozenset()),
        config_hash=hash_config(settings),
        tokenizer_hash=hash_tokenizer(tokenizer),
    )


def _parts(path: str, dtype: "torch.dtype") -> tuple[Any, Any, Any]:
    import transformers

    # Unless told not to, transformers asks on standard input whether it may run code that it finds in the folder.
    trust = {"trust_remote_code": False}
    settings = load_settings(path)
    auto = transformers.AutoModelForCausalLM
    if settings.is_encoder_decoder or type(settings) not in auto._model_mapping:
        raise ModelError(f"model '{path}' is of the family {settings.model_type}, which {_WANTED}")
    model, report = attempt(
        path,
        "weights",
        lambda: auto.from_pretrained(
            path, config=settings, dtype=dtype, use_safetensors=True, output_loading_info=True, **trust
        ),
    )
    _check_head(path, report)
    return (
        settings,
        model,
        attempt(path, "tokenizer", lambda: transformers.AutoTokenizer.from_pretrained(path, **trust)),
    )


_WANTED = "is no causal language model; give one with --model"


def _check_head(path: str, report: dict[str, Any]) -> None:
    """Refuse a model of which anything is random: a body saved without its head, or without some layer."""
    missing = sorted(report["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more parameters" if len(missing) > 1 else ""
        raise ModelError(
            f"model '{path}' lacks the weights of {missing[0]}{more}; what it predicts would be random: save it as a "
            "causal language model, with its head, or name another with --model"
        )
    check_complete(path, frozenset(), report)


def _check_causal(path: str, model: "nn.Module") -> None:
    """Refuse a model whose predictions change with the tokens after them, such as BERT with its masked-word head."""
    import torch

    device = next(model.parameters()).device
    ids = torch.tensor([[3, 4, 5, 6, 7, 8], [3, 4, 9, 10, 11, 12]], device=device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, :2].float()
    # A mixture of experts rounds differently when other tokens share its experts; seeing them is larger by far.
    if (logits[0] - logits[1]).abs().max() > 0.02 * logits.abs().max():
        raise ModelError(f"model '{path}' sees the tokens it is to predict, so it {_WANTED}")
