"""What a worker must know to run rows as the builder would, and how it loads the builder's model."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from nait_index.activations.device import use_threads
from nait_index.building.encoder import IndexEncoder
from nait_index.config import Device, ModelConfig, SignatureConfig
from nait_index.corpus import Template
from nait_index.errors import ModelError, NaitError
from nait_index.signatures.pca import Compressor
from nait_index.store.fingerprint import Fingerprint
from nait_index.types import Part


def require_model(signatures: SignatureConfig, option: str) -> None:
    """Refuse to share out a build that runs no model.

    :param option: by which it would be shared out.
    :raises NaitError: none of the views needs a model.
    """
    if not signatures.needs_model:
        raise NaitError(f"the view words needs no model; leave out {option}")


def refuse_to_render(parts: Sequence[Part]) -> str:
    """Stand in for the rendering of the builder's template in a worker, which receives rendered texts."""
    raise NotImplementedError("a worker receives rendered texts")


def ignore_progress(rows: int, tokens: int) -> None:
    """Report no progress: the builder follows it by the shards that arrive."""


def portable(compressor: Compressor) -> Compressor:
    """Return a compressor that can be sent: its components may still be in a file, which is read.

    Signatures of words are left to the builder, since workers receive rendered texts.
    """
    return replace(compressor, bases=dict(compressor.bases), vocabulary=None)


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a worker must know.

    :param model: with a name that means the same on every machine, and a precision that does not depend on it.
    :param fingerprint: of the builder's model.
    :param threads: that a worker computes with; with another number the last bit may differ.
    """

    model: ModelConfig
    signatures: SignatureConfig
    template: Template
    fingerprint: Fingerprint
    threads: int

    @classmethod
    def of(cls, encoder: IndexEncoder, device: Device, threads: int) -> "WorkerTask":
        """Describe the builder's model in terms that hold on every machine; workers start in folders of their own."""
        model, signatures = encoder.model_encoder.config, encoder.signatures
        name = str(Path(model.name).resolve()) if Path(model.name).is_dir() else model.name
        sae = None if signatures.sae is None else str(Path(signatures.sae).resolve())
        return cls(
            model=replace(model, name=name, device=device),
            signatures=replace(signatures, sae=sae),
            template=replace(encoder.template, render=refuse_to_render),
            fingerprint=encoder.fingerprint,
            threads=threads,
        )

    def open(self) -> IndexEncoder:
        """Load the model.

        :raises NaitError: it cannot be loaded here, or is not the builder's.
        """
        use_threads(self.threads)
        encoder = IndexEncoder(self.model, self.signatures, self.template)
        ours, theirs = encoder.fingerprint, self.fingerprint
        different = [field.name for field in fields(ours) if getattr(ours, field.name) != getattr(theirs, field.name)]
        if different:
            raise ModelError(
                f"the model '{self.model.name}' on {socket.gethostname()} is not the one that the build was started "
                f"with: they differ in {', '.join(different)}; put the same files there"
            )
        encoder.load_gradients()
        return encoder
