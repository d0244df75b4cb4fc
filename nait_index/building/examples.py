"""Example files to pooled activations, rendered and encoded exactly like the corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nait_index.activations.encoder import Encoder
from nait_index.building.shards import ArraySink, run_shard
from nait_index.corpus import RowTemplateError, Template, read_corpus
from nait_index.errors import CapabilityError, CorpusError
from nait_index.types import Rejected, RowFormat, Sample


@dataclass(frozen=True, slots=True)
class Examples:
    """Encoded examples.

    :param samples: the usable ones, in the order of their files; :param pooled: (n, 2, D) float32.
    :param truncated: how many were cut; :param rejected: the rows that could not be used, with reasons.
    """

    samples: tuple[Sample, ...]
    pooled: np.ndarray
    truncated: int
    rejected: tuple[Rejected, ...]


def encode_examples(
    files: Sequence[str | Path], row_format: RowFormat | None, encoder: Encoder, template: Template
) -> Examples:
    """Read and encode examples.

    :raises CapabilityError: not one of them can be used. :raises CorpusError: a file cannot be read.
    """
    samples: list[Sample] = []
    texts: list[str] = []
    rejected: list[Rejected] = []
    for item in read_corpus(files, row_format):
        if isinstance(item, Rejected):
            rejected.append(item)
            continue
        try:
            texts.append(template.render(item.parts))
            samples.append(item)
        except RowTemplateError as error:
            rejected.append(Rejected(item.origin, str(error), item.row))
    pooled = np.zeros((len(samples), 2, sum(encoder.widths)), dtype=np.float32)
    facts = run_shard(encoder, texts, template.adds_special_tokens, ArraySink(pooled))
    rejected += [Rejected(samples[i].origin, reason, samples[i].row) for i, reason in facts.reasons.items()]
    usable = facts.usable
    if len(usable) == 0:
        reason = f"{rejected[0].origin}: {rejected[0].reason}" if rejected else "it is empty"
        raise CapabilityError(f"{files[0]} holds no usable example ({reason})")
    return Examples(
        tuple(samples[i] for i in usable), pooled[usable], int(facts.truncated[usable].sum()), tuple(rejected)
    )


def encode_samples(samples: Sequence[Sample], encoder: Encoder, template: Template) -> np.ndarray:
    """Encode samples that were encoded before: (n, 2, D) float32.

    :raises CorpusError: one of them cannot be used any more.
    """
    pooled = np.zeros((len(samples), 2, sum(encoder.widths)), dtype=np.float32)
    texts = [template.render(sample.parts) for sample in samples]
    facts = run_shard(encoder, texts, template.adds_special_tokens, ArraySink(pooled))
    if facts.reasons:
        number, reason = next(iter(facts.reasons.items()))
        raise CorpusError(f"{samples[number].origin}: {reason}")
    return pooled
