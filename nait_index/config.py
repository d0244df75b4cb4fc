"""Settings of a build, as frozen data. Every field that changes a number enters the index's fingerprint."""

import re
from dataclasses import dataclass
from enum import StrEnum

from nait_index.errors import ModelError, NaitError

BUNDLED_MODEL = "bundled"
"""Name of the small model that comes with the package."""


class Device(StrEnum):
    """Where the model runs; ``AUTO`` is the GPU where torch sees one, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """What the model computes in; ``AUTO`` is bfloat16 on a GPU and on a CPU that multiplies in it, else float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class PaddingSide(StrEnum):
    """Where padding goes in a batch. The numbers do not depend on it."""

    RIGHT = "right"
    LEFT = "left"


class View(StrEnum):
    """Kinds of signature an index can hold.

    ``PCA`` is dense: the pooled activations, raw and per-layer normalised, each projected on its principal components.
    ``TOPK`` is sparse: the k neurons of every layer with the largest impact, the mean size of their up-projection.
    ``HIDDEN`` is dense: the last hidden states, their mean and their position-weighted mean.
    ``SAE`` is sparse: the codes of a sparse autoencoder, averaged over the tokens.
    ``GRAD`` is dense: the gradient of the loss with respect to low-rank adapters, randomly projected.
    """

    PCA = "pca"
    TOPK = "topk"
    HIDDEN = "hidden"
    SAE = "sae"
    GRAD = "grad"


class SearchMode(StrEnum):
    """How the dense signatures are searched."""

    EXACT = "exact"
    APPROXIMATE = "approximate"


class Trainer(StrEnum):
    """The trainers that rows are handed over to."""

    LLAMAFACTORY = "llamafactory"
    AXOLOTL = "axolotl"
    TRL = "trl"


class Combine(StrEnum):
    """How the rankings of several capabilities become one list."""

    UNION = "union"
    MEAN = "mean"
    ROUND_ROBIN = "round-robin"
    WEIGHTED = "weighted"


class RunnerKind(StrEnum):
    """What runs the rows of a build through the model: this process, or actors of a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Where a build's rows are run through the model. It changes no number.

    :param workers: encoders at work side by side, each with a model of its own; ``None`` is one for each GPU of the
        cluster, and where it has none, one for each machine.
    :param address: of a running Ray cluster that this machine is part of; ``None`` starts one here, and stops it again.
    """

    kind: RunnerKind = RunnerKind.LOCAL
    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.kind is RunnerKind.LOCAL and (self.workers, self.address) != (None, None):
            raise NaitError("--workers and --address are of --engine ray; the local engine is one process")
        if self.workers is not None and self.workers < 1:
            raise NaitError(f"--workers must be at least 1, not {self.workers}")
        if self.address is not None and self.address.startswith("ray://"):
            raise NaitError(
                f"--address {self.address} is that of a Ray client, which shares no machine with the cluster; run the "
                "build on one of its machines, with --address auto"
            )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which model to run, and how.

    :param name: folder or hub name of the model; ``bundled`` is the one inside the package.
    :param site: ``mlp`` finds the neurons by family; anything else is a module path with ``{i}`` for the layer.
    :param layers: ``all``, ``last``, or comma-separated layer numbers; negative numbers count from the end.
    :param gradient_dtype: what gradients are computed in; ``None`` settles it by ``dtype``, ``auto`` being float32 on
        every CPU.
    :param batch_tokens: most tokens of a batch, padding counted; ``None`` is 2,048 on a CPU, whose caches larger
        batches overflow (MiniLM on 2 cores runs a third faster than with 8,192), and 65,536 on a GPU.
    """

    name: str = BUNDLED_MODEL
    site: str = "mlp"
    layers: str = "all"
    template: str = "auto"
    max_length: int = 2048
    dtype: Precision = Precision.AUTO
    device: Device = Device.AUTO
    batch_tokens: int | None = None
    padding_side: PaddingSide = PaddingSide.RIGHT
    gradient_dtype: Precision | None = None

    def __post_init__(self) -> None:
        if self.max_length < 2:
            raise ModelError(f"--max-length {self.max_length} leaves no room for text; give at least 2 tokens")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise ModelError(f"--batch-tokens must be at least 1, not {self.batch_tokens}")
        if self.layers not in ("all", "last") and not re.fullmatch(r"-?\d+(,-?\d+)*", self.layers):
            raise ModelError(f"--layers '{self.layers}' is none of: all, last, numbers such as 8,16 or -1")


@dataclass(frozen=True, slots=True)
class SignatureConfig:
    """What is kept of every sample.

    :param pca_dim: numbers of a row that a dense search scans, a byte each; ``None`` keeps every neuron, exactly
        (``--pca-dim full``).
    :param fine_dim: numbers kept of a row's mean activations, by which ``nait`` scores the rows near the cut again.
    :param reservoir: how many samples the principal components are fitted on.
    :param topk: neurons kept of each layer by the ``topk`` view.
    :param sae: folder of the sparse autoencoder that the ``sae`` view needs; :param sae_keep: codes kept of a row.
    :param grad_dim: width of the projected gradients of the ``grad`` view.
    """

    views: tuple[View, ...] = (View.PCA, View.TOPK)
    pca_dim: int | None = 1024
    fine_dim: int = 2048
    topk: int = 20
    sae: str | None = None
    sae_keep: int = 256
    grad_dim: int = 1024
    reservoir: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if (View.SAE in self.views) != (self.sae is not None):
            raise NaitError("the view sae and the option --sae FOLDER go together; 'nait-index sae train' makes one")
        if self.sae_keep < 1 or self.grad_dim < 1:
            raise NaitError("--sae-keep and --grad-dim must be at least 1")
        if not self.views or len(set(self.views)) != len(self.views):
            raise NaitError(f"--views must name each view once: {', '.join(View)}")
        if self.pca_dim is not None and self.pca_dim < 1:
            raise NaitError(f"--pca-dim must be at least 1 or 'full', not {self.pca_dim}")
        if self.fine_dim < 1:
            raise NaitError(f"--fine-dim must be at least 1, not {self.fine_dim}")
        if self.topk < 1:
            raise NaitError(f"--topk must be at least 1, not {self.topk}")
        if not 0 <= self.seed < 2**64:
            raise NaitError(f"--seed must be from 0 to 2^64 - 1, not {self.seed}")
        if self.reservoir < 2:
            raise NaitError(f"a basis needs a reservoir of at least 2 samples, not {self.reservoir}")
