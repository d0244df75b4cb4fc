"""Load a transformer body and its tokenizer from a folder or hub name, and know them by their content."""

import logging
import time
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

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A transformer body (no language-model head) with its tokenizer, ready to run.

    :param positions: longest input in tokens that the model can read, or ``None`` where it sets no limit.
    :param first_position: number that its position table gives to a text's first token.
    :param vocabulary: how many tokens the model has an embedding for, or ``None`` where it has no such table.
    :param weights_hash: of every parameter as loaded; :param config_hash: of ``config.json``;
        :param tokenizer_hash: of vocabulary, merges and normalisation; 32 hex digits each.
    """

    body: "nn.Module"
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


def load(config: ModelConfig) -> LoadedModel:
    """Load model and tokenizer with plain ``from_pretrained`` calls; safetensors only, no remote code.

    :raises ModelError: the folder is missing, holds no weights or no tokenizer, or lacks part of the weights.
    """
    logger.info("loading the model %s", config.name)
    started = time.monotonic()
    import transformers

    path = model_path(config.name)
    check_folder(path)
    device = device_of(config.device)
    dtype = dtype_of(config.dtype, device)
    # Unless told not to, transformers asks on standard input whether it may run code that it finds in the folder.
    trust = {"trust_remote_code": False}
    with quiet_transformers():
        settings = load_settings(path)
        auto = transformers.AutoModelForTextEncoding if settings.is_encoder_decoder else transformers.AutoModel
        body, report = attempt(
            path,
            "weights",
            lambda: auto.from_pretrained(
                path, config=settings, dtype=dtype, use_safetensors=True, output_loading_info=True, **trust
            ),
        )
        tokenizer = attempt(path, "tokenizer", lambda: transformers.AutoTokenizer.from_pretrained(path, **trust))
    check_tokenizer(path, tokenizer)
    tokenizer.truncation_side = "right"
    unset = frozenset(report["missing_keys"])
    check_complete(path, unset, report)
    body = body.to(device).eval().requires_grad_(False)
    first_position = first_position_of(body)
    loaded = LoadedModel(
        body=body,
        tokenizer=tokenizer,
        model_type=settings.model_type,
        device=device,
        dtype=dtype,
        positions=longest_input(settings, tokenizer, first_position),
        first_position=first_position,
        vocabulary=vocabulary_of(body),
        weights_hash=hash_weights(body, unset),
        config_hash=hash_config(settings),
        tokenizer_hash=hash_tokenizer(tokenizer),
    )
    logger.info("model %s loaded in %.1f s, %s on %s", config.name, time.monotonic() - started, dtype, device)
    return loaded
