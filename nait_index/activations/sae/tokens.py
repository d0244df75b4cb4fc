"""Activations of single tokens at one place of the model, to train a sparse autoencoder on."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.encoder import Encoder, Tokens, check_known, plan_batches
from nait_index.errors import ArchitectureError, CorpusError

if TYPE_CHECKING:
    from torch import nn

# Texts run together: similar lengths are batched within them, so that a stop between two favours no length.
_TEXTS = 64
# Fewer tokens than that few texts have, so that a sample of count/8 texts is large enough for the count.
_FEWEST_TOKENS = 8


class _Reached(Exception):
    """Raised inside the forward pass at the place: nothing after it is needed."""


def collect_tokens(
    encoder: Encoder,
    texts: Iterable[str],
    path: str,
    count: int,
    *,
    seed: int,
    add_special_tokens: bool,
    advance: Callable[[int], None] = lambda found: None,
) -> np.ndarray:
    """Run a random sample of the texts and keep the activation of every token, until there are enough.

    The encoder's own hooks are taken off the model first.

    :param path: module of the model body whose output is the place; see :func:`site_module`.
    :param count: most tokens to keep; what goes beyond in the last texts is left out at random.
    :param advance: told how many there are.
    :returns: (m, H) float32, m ≤ ``count``: 4·H bytes a token. Tokens that are not finite are left out.
    :raises CorpusError: the texts hold no token. :raises ArchitectureError: the module is never called.
    """
    encoder.close()
    sample = sample_texts(texts, max(1, count // _FEWEST_TOKENS), seed)
    parts: list[np.ndarray] = []
    total = 0
    for start in range(0, len(sample), _TEXTS):
        tokens = encoder.tokenize(sample[start : start + _TEXTS], add_special_tokens=add_special_tokens)
        parts += _run(encoder, [own for own in tokens if len(own.ids)], path)
        total = sum(map(len, parts))
        advance(min(total, count))
        if total >= count:
            break
    if not total:
        raise CorpusError("not one token to train on: every text is empty")
    found = np.concatenate(parts)
    kept = np.random.default_rng(seed).choice(len(found), size=min(count, len(found)), replace=False)
    return found[np.sort(kept)]


def sample_texts(texts: Iterable[str], size: int, seed: int) -> list[str]:
    """Draw at most ``size`` texts, each with the same chance, in random order; one pass, constant memory."""
    rng = random.Random(seed)
    kept: list[str] = []
    for number, text in enumerate(texts):
        if number < size:
            kept.append(text)
        elif (place := rng.randrange(number + 1)) < size:
            kept[place] = text
    rng.shuffle(kept)
    return kept


def _run(encoder: Encoder, tokens: Sequence[Tokens], path: str) -> Iterator[np.ndarray]:
    """Give the activations (m, H) of the texts' own tokens, batch by batch."""
    check_known(tokens, encoder.model.vocabulary, encoder.config.name)
    lengths = np.array([len(own.ids) for own in tokens], dtype=np.int64)
    for rows in plan_batches(lengths, encoder._batch_tokens):
        values = _activations(encoder, [tokens[row].ids for row in rows], path)
        yield values[np.isfinite(values).all(axis=1)]


def _activations(encoder: Encoder, batch: list[np.ndarray], path: str) -> np.ndarray:
    import torch

    seen: list[torch.Tensor] = []

    def keep(module: "nn.Module", args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401 - tensor or tuple
        seen.append(output[0] if isinstance(output, tuple) else output)
        raise _Reached

    handle = encoder.model.body.get_submodule(path).register_forward_hook(keep)
    try:
        with torch.inference_mode():
            inputs, mask = encoder._pad(batch)
            encoder.model.body(**inputs, **encoder._extras)
    except _Reached:
        # OPT's projections give (B·T, H).
        values: np.ndarray = seen[0].reshape(*mask.shape, -1)[mask.bool()].float().cpu().numpy()
        return values
    finally:
        handle.remove()
    raise ArchitectureError(f"no activation was seen at '{path}': the model computes without calling this module")
