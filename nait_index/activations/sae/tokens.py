"""Activations of single tokens at one module of the model, to train a sparse autoencoder on."""

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import check_known, run_batches
from nait_index.activations.encoder import Encoder
from nait_index.errors import ArchitectureError, CorpusError, ModelError

if TYPE_CHECKING:
    from torch import nn

# Texts run together. Similar lengths are only batched within them, so that stopping between two favours no length.
_TEXTS = 64
# Few texts have fewer tokens than this, so a sample of count/8 texts has enough tokens.
_FEWEST_TOKENS = 8


class _Reached(Exception):
    """Raised with the module's output to stop the forward pass there: nothing after it is needed."""


def collect_tokens(
    encoder: Encoder,
    texts: Iterable[str],
    path: str,
    count: int,
    *,
    seed: int,
    add_special_tokens: bool,
    advance: Callable[[int], None] = lambda collected: None,
) -> np.ndarray:
    """Run a random sample of the texts and keep the activation of every token, until there are enough.

    The encoder's hooks are removed from the model first.

    :param path: module of the bare transformer whose output is kept; see :func:`site_module`.
    :param count: most tokens to keep; a surplus in the last texts is dropped at random.
    :param advance: called with the number of tokens collected so far.
    :returns: (m, H) float32, m ≤ ``count``: 4·H bytes a token. Tokens that are not finite are dropped.
    :raises CorpusError: the texts have no token. :raises ArchitectureError: the module is never called.
    :raises ModelError: no token's activation is finite.
    """
    encoder.close()
    sample = sample_texts(texts, max(1, count // _FEWEST_TOKENS), seed)
    parts: list[np.ndarray] = []
    total = seen = 0
    for start in range(0, len(sample), _TEXTS):
        tokens = encoder.tokenize(sample[start : start + _TEXTS], add_special_tokens=add_special_tokens)
        ids = [text.ids for text in tokens if len(text.ids)]
        check_known(ids, encoder.model.vocabulary, encoder.config.name)
        forward = partial(_activations, encoder, path, ids)
        parts += run_batches(np.array([len(text) for text in ids], dtype=np.int64), encoder.rule, forward)
        seen += sum(map(len, ids))
        total = sum(map(len, parts))
        advance(min(total, count))
        if total >= count:
            break
    if seen and not total:
        raise ModelError(
            f"the activations of model '{encoder.config.name}' at '{path}' are not finite for any text; "
            f"{encoder.rule.remedy}"
        )
    if not total:
        raise CorpusError("there is no token to train on: every text is empty")
    collected = np.concatenate(parts)
    kept = np.random.default_rng(seed).choice(len(collected), size=min(count, len(collected)), replace=False)
    return collected[np.sort(kept)]


def sample_texts(texts: Iterable[str], size: int, seed: int) -> list[str]:
    """Draw at most ``size`` texts with equal probability, in random order; in one pass with constant memory."""
    rng = random.Random(seed)
    sample: list[str] = []
    for number, text in enumerate(texts):
        if number < size:
            sample.append(text)
        elif (position := rng.randrange(number + 1)) < size:
            sample[position] = text
    rng.shuffle(sample)
    return sample


def _activations(encoder: Encoder, path: str, ids: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Run a batch of some texts, by their numbers, and return the activations (m, H) of its tokens that are finite."""
    import torch

    def stop(module: "nn.Module", args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401 - tensor or tuple
        raise _Reached(output[0] if isinstance(output, tuple) else output)

    handle = encoder.model.module.get_submodule(path).register_forward_hook(stop)
    try:
        with torch.inference_mode():
            inputs = encoder.inputs([ids[row] for row in rows])
            encoder.model.module(**inputs)
    except _Reached as reached:
        (output,) = reached.args
        mask = inputs["attention_mask"]
        # OPT's projections output (B·T, H).
        values = output.reshape(*mask.shape, -1)[mask.bool().to(output.device)].float().cpu().numpy()
        finite: np.ndarray = values[np.isfinite(values).all(axis=1)]
        return finite
    finally:
        handle.remove()
    raise ArchitectureError(f"no activation was seen at '{path}': the model computes without calling this module")
