"""What can be asked for: one frozen request for every kind of score, and the scorer made of it."""

from dataclasses import dataclass, field
from pathlib import Path

from nait_index.config import Device, ModelConfig, Precision
from nait_index.errors import NaitError
from nait_index.quality.endpoint import Endpoint
from nait_index.quality.ifd import IfdScorer
from nait_index.quality.imported import ImportedScorer
from nait_index.quality.judge import JudgeScorer
from nait_index.quality.rating_prompts import RATING_PROMPTS, read_rating_prompts
from nait_index.quality.score import Scorer
from nait_index.quality.selectit import ALPHA, SelectItScorer


@dataclass(frozen=True, slots=True)
class Ifd:
    """IFD of a causal model; what is ``None`` is the index's own.

    :param template: of the question, as for building; :param max_length: longest input in tokens.
    """

    model: str | None = None
    template: str | None = None
    max_length: int | None = None
    batch_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class SelectIt:
    """SelectIT of one model or several; without any, the index's own.

    :param prompts: a file of rating prompts, one a line, instead of those that come with the package.
    """

    models: tuple[str, ...] = ()
    prompts: Path | None = None
    alpha: float = ALPHA
    max_length: int | None = None
    batch_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge behind an endpoint; prices are of a million tokens."""

    endpoint: Endpoint
    workers: int = 4
    rate: float | None = None
    price_in: float | None = None
    price_out: float | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """A file of ids and values."""

    file: Path


QualitySpec = Ifd | SelectIt | Judge | Imported


@dataclass(frozen=True, slots=True)
class Home:
    """What scorers take from the index where they are not told otherwise: its model's settings, and where to run."""

    model: str
    template: str
    max_length: int
    device: Device = field(default=Device.AUTO)

    def config(self, name: str | None, template: str | None, max_length: int | None, batch: int | None) -> ModelConfig:
        """Settle the settings of one model."""
        return ModelConfig(
            name=name or self.model,
            template=template or self.template,
            max_length=self.max_length if max_length is None else max_length,
            dtype=Precision.AUTO,
            device=self.device,
            batch_tokens=batch,
        )


def default_name(spec: QualitySpec) -> str:
    """Name a score that was given no name.

    :raises NaitError: it is imported from a file whose name would not do.
    """
    match spec:
        case Ifd():
            return "ifd"
        case SelectIt():
            return "selectit"
        case Judge():
            return "judge"
        case Imported(file):
            if not file.stem.isidentifier():
                raise NaitError(f"the file name {file.name} makes no name for a column; give one with --name")
            return file.stem.lower()


def open_scorer(spec: QualitySpec, home: Home) -> Scorer:
    """Make the scorer of a request; models are loaded here.

    :raises NaitError: of the kind that says what is wrong with model, file or settings.
    """
    match spec:
        case Ifd(model, template, max_length, batch):
            return IfdScorer(home.config(model, template, max_length, batch))
        case SelectIt(models, prompts, alpha, max_length, batch):
            own = RATING_PROMPTS if prompts is None else read_rating_prompts(prompts)
            configs = [home.config(name, None, max_length, batch) for name in models or (None,)]
            return SelectItScorer(configs, own, alpha)
        case Judge(endpoint, workers, rate):
            return JudgeScorer(endpoint, workers=workers, rate=rate)
        case Imported(file):
            return ImportedScorer(file)
