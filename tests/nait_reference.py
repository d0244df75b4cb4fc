"""NAIT and contrast once more, slowly: one sample at a time, every neuron kept, straight from the formulas.

For models laid out like Llama. Independent of the package on purpose: nothing here may import it.

NAIT (Chen et al., arXiv 2603.13201), with A(t)[l] the neurons of layer l at token t of examples i:

    ΔA_i[l] = A_i[l](t_last) − A_i[l](t_first)
    v[l]    = first principal component of the ΔA_i[l], flipped where mean_i(ΔA_i[l]) · v[l] < 0
    s(y)    = Σ_l A_y[l] · v[l],        A_y[l] the candidate's mean over its tokens, or its drift

Contrast, with x the candidate's mean or drift (p), m the examples' average of it and c the corpus's:

    s(y)    = 1/(2·L) · Σ_p Σ_l cos(x[p, l] − c[p, l], m[p, l] − c[p, l])
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]
Layers = list[np.ndarray]
"""One array a layer."""


def reference_scores(
    model_folder: Path | str, corpus_rows: Iterable[Row], example_rows: Iterable[Row], candidate: str = "mean"
) -> dict[str, float]:
    """NAIT's score of every row of a corpus, by its id.

    :param candidate: ``mean`` or ``drift``, what a candidate's tokens are pooled to.
    """
    pooled_of = pooled_reader(model_folder)
    directions = principal_directions([pooled_of(text_of(row))["drift"] for row in example_rows])
    scores = {}
    for row in corpus_rows:
        pooled = pooled_of(text_of(row))[candidate]
        scores[row["id"]] = float(sum(a @ v for a, v in zip(pooled, directions, strict=True)))
    return scores


def reference_contrast(
    model_folder: Path | str, corpus_rows: Iterable[Row], example_rows: Iterable[Row]
) -> dict[str, float]:
    """Contrast's score of every row of a corpus, by its id; the corpus mean is over all its rows."""
    pooled_of = pooled_reader(model_folder)

    def blocks(row: Row) -> Layers:
        pooled = pooled_of(text_of(row))
        return pooled["mean"] + pooled["drift"]

    corpus = {row["id"]: blocks(row) for row in corpus_rows}
    center = average(list(corpus.values()))
    target = average([blocks(row) for row in example_rows])
    return {
        sample_id: float(np.mean([cosine(x - c, m - c) for x, m, c in zip(layers, target, center, strict=True)]))
        for sample_id, layers in corpus.items()
    }


def ranking(scores: Mapping[str, float]) -> list[str]:
    """Ids, highest score first; of equal scores the lower id first."""
    return sorted(scores, key=lambda sample_id: (-scores[sample_id], sample_id))


def principal_directions(drifts: list[Layers]) -> Layers:
    """Compute v[l] of every layer from the examples' drifts."""
    directions = []
    for layer in range(len(drifts[0])):
        deltas = np.stack([drift[layer] for drift in drifts])
        average_delta = deltas.mean(axis=0)
        v = np.linalg.svd(deltas - average_delta, full_matrices=False)[2][0]
        directions.append(-v if average_delta @ v < 0 else v)
    return directions


def average(samples: list[Layers]) -> Layers:
    """Average over samples, layer by layer."""
    return [np.mean([layers[layer] for layers in samples], axis=0) for layer in range(len(samples[0]))]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two vectors."""
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def text_of(row: Row) -> str:
    """Join the non-empty fields of an Alpaca row with newlines."""
    fields = (row.get(name) or "" for name in ("instruction", "input", "output"))
    return "\n".join(field for field in fields if field.strip())


@cache
def pooled_reader(model_folder: Path | str) -> Callable[[str], dict[str, Layers]]:
    """Return a reader of a text's mean over its tokens and its drift, layer by layer; every text is read once."""
    neurons_of = neuron_reader(model_folder)

    @cache
    def pooled_of(text: str) -> dict[str, Layers]:
        neurons = neurons_of(text)
        return {"mean": [layer.mean(axis=0) for layer in neurons], "drift": [layer[-1] - layer[0] for layer in neurons]}

    return pooled_of


def neuron_reader(model_folder: Path | str, max_length: int = 2048) -> Callable[[str], Layers]:
    """Load a model; return a function that reads the neurons (T, N) of every layer from one text, as float64."""
    import torch
    from torch.nn import functional
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    if tokenizer.chat_template:
        raise NotImplementedError("the reference reads rows as plain text, and this tokenizer has a chat template")
    model = AutoModel.from_pretrained(model_folder, dtype=torch.float32).eval()
    longest = min(max_length, model.config.max_position_embeddings, tokenizer.model_max_length)
    entering: dict[int, Any] = {}
    for number, layer in enumerate(model.layers):
        # What leaves the norm before a feed-forward block enters the block.
        layer.post_attention_layernorm.register_forward_hook(
            lambda _module, _args, out, number=number: entering.update({number: out[0]})
        )

    def neurons_of(text: str) -> Layers:
        ids = tokenizer(text)["input_ids"][:longest]
        layers = []
        with torch.no_grad():
            model(input_ids=torch.tensor([ids]), use_cache=False)
            for number, layer in enumerate(model.layers):
                gate = functional.linear(entering[number], layer.mlp.gate_proj.weight)
                up = functional.linear(entering[number], layer.mlp.up_proj.weight)
                layers.append((functional.silu(gate) * up).double().numpy())
        return layers

    return neurons_of
