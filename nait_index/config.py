"""Settings of a build, as frozen data. Every field that affects results enters the index's fingerprint."""

import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from nait_index.errors import ModelError, NaitError
from nait_index.types import Reading, ReadPart, Reasoning, Side

BUNDLED_MODEL = "bundled"
"""Name of the small model that comes with the package."""

NO_MODEL = "none"
"""Name in a manifest where there is no model, since the views need none."""


class Device(StrEnum):
    """Where the model runs; ``AUTO`` is the GPU if torch sees one, else the CPU, and ``SPLIT`` all GPUs together."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    SPLIT = "split"


class Precision(StrEnum):
    """Precision of the model; ``AUTO`` is bfloat16 on a GPU and on a CPU that computes in it, else float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class PaddingSide(StrEnum):
    """The side of a batch that is padded. Results do not depend on it."""

    RIGHT = "right"
    LEFT = "left"


class View(StrEnum):
    """Kinds of signature an index can hold.

    ``PCA`` is dense: the pooled activations, raw and per-layer normalised, each projected on its principal components.
    ``TOPK`` is sparse: the k neurons of every layer with the largest impact, the mean size of their up-projection.
    ``HIDDEN`` is dense: the last hidden states, their mean and their position-weighted mean.
    ``SAE`` is sparse: the codes of a sparse autoencoder, averaged over the tokens.
    ``GRAD`` is dense: the gradient of the answers' loss with respect to low-rank adapters, randomly projected.
    ``LANDMARKS`` are those gradients of a few rows alone, a random sample of the corpus.
    ``WORDS`` is dense: the words of the row's text, weighted and projected; it needs no model.
    """

    PCA = "pca"
    TOPK = "topk"
    HIDDEN = "hidden"
    SAE = "sae"
    GRAD = "grad"
    LANDMARKS = "landmarks"
    WORDS = "words"


class SearchMode(StrEnum):
    """How the dense signatures are searched."""

    EXACT = "exact"
    APPROXIMATE = "approximate"


class Selector(StrEnum):
    """Which of the best rows of one capability are taken."""

    TOP = "top"
    ROUND_ROBIN = "round-robin"
    COVERAGE = "coverage"
    GIP = "gip"


class Trainer(StrEnum):
    """The trainers that selections can be written for."""

    LLAMAFACTORY = "llamafactory"
    AXOLOTL = "axolotl"
    TRL = "trl"
    MS_SWIFT = "ms-swift"
    VERL = "verl"
    OPENRLHF = "openrlhf"
    UNSLOTH = "unsloth"


class Combine(StrEnum):
    """How the rankings of several capabilities become one list."""

    UNION = "union"
    MEAN = "mean"
    ROUND_ROBIN = "round-robin"
    WEIGHTED = "weighted"


class CoreRule(StrEnum):
    """How a core of exactly the requested size is chosen for several capabilities; see ``selection/core.py``."""

    BALANCED = "balanced"
    JOINT = "joint"
    WORST_RANK = "worst-rank"
    ROUND_ROBIN = "round-robin"


class Unanswered(StrEnum):
    """What becomes of corpus rows that have no answer: rejected, or indexed by their question.

    Either way, none is ever written as a training row.
    """

    REJECT = "reject"
    INDEX = "index"


class Media(StrEnum):
    """What becomes of corpus rows that carry images, video or audio: rejected, or indexed by their text."""

    REJECT = "reject"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class RowRules:
    """What becomes of rows that have no answer, or that cannot be read whole. A manifest records it."""

    unanswered: Unanswered = Unanswered.REJECT
    media: Media = Media.REJECT

    def changed(self, unanswered: Unanswered | None, media: Media | None) -> "RowRules":
        """Return the rules with those that are not ``None`` instead."""
        return RowRules(unanswered or self.unanswered, media or self.media)


class RunnerKind(StrEnum):
    """What runs the rows of a build through the model: this process, or actors of a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


_DEVICES = re.compile(r"cpu|\d+(\+\d+)*")


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Where a build runs its rows through the model, or a search scans them. Results do not depend on it.

    :param workers: that run in parallel: in a build each with its own model, in a search each with its share of the
        rows; ``None`` is as many as there are machines, but in a build one per GPU of the cluster, if it has any.
    :param address: of a running Ray cluster that this machine belongs to; ``None`` starts one here for the command.
    :param devices: of this machine, each for a process with its own model: the number of a GPU, several such as
        ``0+1`` for a model that is split over them, or ``cpu``. Without any, this process runs the model.
    """

    kind: RunnerKind = RunnerKind.LOCAL
    workers: int | None = None
    address: str | None = None
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_devices()
        if self.kind is RunnerKind.LOCAL and (self.workers, self.address) != (None, None):
            raise NaitError("--workers and --address need --engine ray; the local engine is one process")
        if self.workers is not None and self.workers < 1:
            raise NaitError(f"--workers must be at least 1, not {self.workers}")
        if self.address is not None and self.address.startswith("ray://"):
            raise NaitError(
                f"--address {self.address} is for Ray clients, which run outside the cluster; run the command on "
                "a machine of the cluster, with --address auto"
            )

    def _check_devices(self) -> None:
        if self.devices and self.kind is RunnerKind.RAY:
            raise NaitError("--devices is for this machine alone, without a cluster; leave out one of them")
        for device in self.devices:
            numbers = device.split("+")
            if not _DEVICES.fullmatch(device) or len(set(numbers)) < len(numbers):
                raise NaitError(
                    f"--devices: '{device}' is not cpu, the number of a GPU, or several such as 0+1 for one model"
                )
        if "cpu" in self.devices and {*self.devices} != {"cpu"}:
            raise NaitError("--devices names GPUs and the CPU, which round differently; name either alone")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which model to run, and how.

    :param name: folder or hub name of the model; ``bundled`` is the one inside the package.
    :param site: ``mlp`` finds the neurons by family; anything else is a module path with ``{i}`` for the layer.
    :param layers: ``all``, ``last``, or comma-separated layer numbers; negative numbers count from the end.
    :param reasoning: whether the model reads the reasoning of answers. :param read: which part of a row it reads.
    :param side: which answer it reads of a row that holds a preferred and a rejected one.
    :param columns: pairs of a field of a known format and the column that holds it.
    :param gradient_dtype: precision of gradients; ``None`` is that of ``dtype``.
    :param batch_tokens: most tokens per batch, with padding; ``None`` is 65,536 on a GPU and 2,048 on a CPU, whose
        caches overflow with larger batches (MiniLM on 2 cores runs a third faster than with 8,192).
    """

    name: str = BUNDLED_MODEL
    site: str = "mlp"
    layers: str = "all"
    template: str = "auto"
    reasoning: Reasoning = Reasoning.KEEP
    read: ReadPart = ReadPart.ALL
    side: Side = Side.CHOSEN
    columns: tuple[tuple[str, str], ...] = ()
    max_length: int = 2048
    dtype: Precision = Precision.AUTO
    device: Device = Device.AUTO
    batch_tokens: int | None = None
    padding_side: PaddingSide = PaddingSide.RIGHT
    gradient_dtype: Precision | None = None

    def __post_init__(self) -> None:
        if self.max_length < 2:
            raise ModelError(f"--max-length {self.max_length} leaves no room for text; use at least 2 tokens")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise ModelError(f"--batch-tokens must be at least 1, not {self.batch_tokens}")
        if self.layers not in ("all", "last") and not re.fullmatch(r"-?\d+(,-?\d+)*", self.layers):
            raise ModelError(f"--layers '{self.layers}' is not one of: all, last, layer numbers such as 8,16 or -1")
        if any("," in column for _, column in self.columns):
            raise ModelError("--columns cannot name a column with a comma in its name; rename that column")
        if self.read is ReadPart.ANSWER and self.template not in ("auto", "text"):
            raise ModelError(f"--template {self.template} needs a question, and --read answer reads none; leave it out")

    @property
    def reading(self) -> Reading:
        """What is read of rows."""
        return Reading(self.reasoning, self.read, self.side, self.columns)

    @property
    def template_name(self) -> str:
        """The template that rows are rendered with; answers alone are plain text."""
        return "text" if self.read is ReadPart.ANSWER else self.template


def _option(text: str, *, least: int | None = None, metavar: str | None = None) -> dict[str, Any]:
    """Describe a field of :class:`SignatureConfig` that is an option of ``build``."""
    return {"help": text, "least": least, "metavar": metavar}


@dataclass(frozen=True, slots=True)
class SignatureConfig:
    """What is stored of every sample. The metadata of a field holds its option's help and smallest value.

    :param pca_dim: numbers per row that a dense search scans, a byte each; ``None`` stores every neuron exactly
        (``--pca-dim full``).
    :param fine_dim: numbers stored of a row's mean activations, with which ``nait`` rescores the rows near the cut.
    :param topk: neurons per layer in the ``topk`` view.
    :param sae: folder of the sparse autoencoder that the ``sae`` view needs; in a fingerprint, its content hash.
    :param sae_keep: codes per row in the ``sae`` view.
    :param grad_dim: width of the projected gradients of the views ``grad`` and ``landmarks``.
    :param grad_layers: layers from the top whose weights gradients are taken of; 0 is all of them.
    :param grad_checkpoints: points of the warm-up at which gradients are taken, each at the cost of all the others.
    :param landmarks: how many rows the view ``landmarks`` takes gradients of.
    :param words_dim: numbers per row in the ``words`` view, a byte each.
    :param reservoir: how many samples the principal components are fitted on.
    """

    views: tuple[View, ...] = field(
        default=(View.PCA, View.TOPK, View.WORDS), metadata=_option(f"Kinds of signatures to store: {', '.join(View)}.")
    )
    pca_dim: int | None = field(
        default=1024, metadata=_option("Bytes per row that a search scans, or 'full'.", least=1)
    )
    fine_dim: int = field(
        default=2048,
        metadata=_option("Bytes per row that method nait uses to rescore rows near the cut.", least=1),
    )
    topk: int = field(default=20, metadata=_option("Neurons per layer in the topk view.", least=1))
    sae: str | None = field(
        default=None,
        metadata=_option("Sparse autoencoder for the sae view; 'nait-index sae train' makes one.", metavar="FOLDER"),
    )
    sae_keep: int = field(default=256, metadata=_option("Codes per row in the sae view.", least=1))
    grad_dim: int = field(
        default=8192, metadata=_option("Numbers per gradient and checkpoint in the views grad and landmarks.", least=1)
    )
    grad_layers: int = field(
        default=0, metadata=_option("Layers from the top that gradients are taken in; 0 is all of them.", least=0)
    )
    grad_checkpoints: int = field(
        default=1,
        metadata=_option("Checkpoints of the warm-up; gradients are taken at each.", least=1),
    )
    landmarks: int = field(default=2048, metadata=_option("Rows whose gradients the view landmarks takes.", least=2))
    words_dim: int = field(default=128, metadata=_option("Bytes per row in the words view.", least=1))
    reservoir: int = 4096
    seed: int = field(default=0, metadata=_option("Seed for the encoding order."))

    def __post_init__(self) -> None:
        if (View.SAE in self.views) != (self.sae is not None):
            raise NaitError("the view sae and the option --sae FOLDER go together; 'nait-index sae train' makes one")
        if View.LANDMARKS in self.views and View.PCA not in self.views:
            raise NaitError("the view landmarks needs the view pca beside it, as in --views pca,landmarks")
        if not self.views or len(set(self.views)) != len(self.views):
            raise NaitError(f"--views must name each view once: {', '.join(View)}")
        for setting in fields(self):
            value, least = getattr(self, setting.name), setting.metadata.get("least")
            if least is not None and value is not None and value < least:
                full = " or 'full'" if setting.name == "pca_dim" else ""
                raise NaitError(f"--{setting.name.replace('_', '-')} must be at least {least}{full}, not {value}")
        if not 0 <= self.seed < 2**64:
            raise NaitError(f"--seed must be from 0 to 2^64 - 1, not {self.seed}")
        if self.reservoir < 2:
            raise NaitError(f"the reservoir must hold at least 2 samples to fit a basis, not {self.reservoir}")

    @property
    def needs_model(self) -> bool:
        """Whether one of the views needs a model."""
        return set(self.views) != {View.WORDS}
