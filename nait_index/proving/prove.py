"""``nait-index prove``: from an index and a capability to a proof, for the index's own model or another one."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nait_index.activations.batches import AnswerTokens
from nait_index.activations.device import settled_precision
from nait_index.activations.loaded import LoadedModel
from nait_index.activations.loading import load_model
from nait_index.config import Device, Precision
from nait_index.corpus import (
    SAMPLE_COLUMNS,
    asked_text,
    make_template,
    plain_text,
    question_of,
    read_examples,
    restore_sample,
)
from nait_index.errors import CapabilityError, NaitError, OutputExistsError
from nait_index.files import atomic_write
from nait_index.handover.contamination import Contamination
from nait_index.index import NaitIndex
from nait_index.methods.registry import DEFAULT_METHOD, MethodName
from nait_index.proving.choices import Choices, untrained
from nait_index.proving.lessons import LessonMaker
from nait_index.proving.picture import draw
from nait_index.proving.plan import BM25, RANDOM, Cost, Planned, ProofPlan, estimate_cost, plan_runs
from nait_index.proving.recipe import TuningRecipe
from nait_index.proving.results import Results, verdict
from nait_index.proving.runs import Bench, RunProgress, RunStore
from nait_index.search.rows import IndexRows
from nait_index.selection.budget import Budget, Top
from nait_index.spelling import normal_name
from nait_index.types import Reading, Rejected, RowFormat, Sample

logger = logging.getLogger(__name__)

_REPEATED = 0.8
"""Share of an example's words in a row that repeats it. Half of them may be the instruction alone, and teach fairly."""

PICTURE, RUNS = ".png", ".runs.jsonl"
"""What the files beside a proof end in."""


@dataclass(frozen=True, slots=True)
class ProofSettings:
    """What is compared, and how much is spent on it.

    :param methods: each of them is an arm, beside random rows and ``bm25``. :param top: rows that each of them chooses.
    :param seeds: runs of every arm; :param held_out: examples of a capability that are measured, at most.
    :param chrf: also generate their answers, and say how near these come to the right ones.
    """

    methods: tuple[MethodName, ...] = (DEFAULT_METHOD,)
    top: Top = "10%"
    where: str | None = None
    seeds: int = 3
    held_out: int = 32
    chrf: bool = False
    recipe: TuningRecipe = field(default_factory=TuningRecipe)

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.held_out < 2:
            raise NaitError("a proof needs at least 1 seed and 2 held-out examples")


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of a proof.

    :param sentence: whether the choice helps this model. :param model: that was fine-tuned.
    :param ratio: selection time ÷ tuning time, of the first method. :param left_out: rows that were chosen, and left
        out since they repeat an example.
    """

    results: Results
    settings: ProofSettings
    model: str
    sentence: str
    ratio: float
    left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        settings = asdict(self.settings) | {"methods": [str(method) for method in self.settings.methods]}
        settings["top"] = Budget.parse(self.settings.top).text
        return {
            "model": self.model,
            "verdict": self.sentence,
            "selection_time_over_tuning_time": round(self.ratio, 4),
            "left_out_like_an_example": self.left_out,
            "settings": settings,
            **self.results.to_dict(),
        }

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        with atomic_write(path) as file:
            file.write((json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())

    def draw(self, path: Path) -> Path | None:
        """Draw it, and return the path; ``None`` where matplotlib is not installed."""
        return draw(self.results, self.sentence, path)


class Prover:
    """Prepares and does the runs of a proof.

    :param samples: the examples of every capability, as training reads them. :param store: keeps finished runs.
    :param tune: folder or hub name of the model to fine-tune copies of; ``None`` for the index's own.
    :raises ModelError: it is not a causal language model.
    """

    def __init__(
        self,
        index: NaitIndex,
        samples: Mapping[str, Sequence[Sample]],
        settings: ProofSettings,
        store: RunStore,
        tune: str | None = None,
    ) -> None:
        self.settings = settings
        recorded, _ = index.recorded_settings()
        if recorded.device is Device.SPLIT:
            raise NaitError("copies of a model are trained on one device; leave out --device split")
        model = replace(recorded, name=tune or recorded.name, dtype=Precision.AUTO)
        model = replace(model, dtype=settled_precision(model.dtype, model.device))
        self.loaded: LoadedModel = load_model(model, causal=True)
        maker = LessonMaker(
            self.loaded.tokenizer, make_template(model.template, self.loaded.tokenizer), settings.recipe.max_length
        )
        choices = Choices(index, samples, settings.top, settings.where)
        methods = [method for method in settings.methods if method not in (BM25, MethodName.RANDOM)]
        arms = [untrained(), choices.random(), *map(choices.method, [*methods, MethodName.BM25])]
        generate = frozenset(samples if settings.chrf else ())
        self.plan = ProofPlan(tuple(arms), samples, settings.seeds, settings.held_out, generate=generate)
        read = LessonReader(index.columns, maker, index.manifest.reading.for_training, samples)
        self.planned: Planned = plan_runs(self.plan, len(index), settings.recipe, maker, read)
        self.left_out = len(read.left_out)
        self.bench = Bench(self.loaded, settings.recipe, store)

    def cost(self) -> Cost:
        """Estimate what the missing runs cost."""
        return estimate_cost(self.bench, self.planned)

    def run(self, progress: RunProgress | None = None) -> Proof:
        """Do the runs that are missing, and compare."""
        results = Results(self.plan, self.planned, list(self.bench.run_all(self.planned.runs, progress)))
        first = next((arm for arm in results.arms if arm in self.settings.methods and arm != RANDOM), BM25)
        trained = [run.train_seconds for name in results.capabilities for run in results.of(first, name)]
        ratio = self.planned.select_seconds[first] / max(sum(trained) / len(trained), 1e-9)
        return Proof(results, self.settings, self.loaded.name, verdict(results, first), ratio, self.left_out)


def open_prover(
    index: NaitIndex,
    capabilities: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    *,
    runs: str | Path,
    settings: ProofSettings | None = None,
    tune: str | None = None,
    row_format: RowFormat | None = None,
) -> Prover:
    """Prepare a proof that what an index chooses teaches a model more than random rows and word overlap do.

    :param capabilities: stored ones, by name; :param files: of examples, each a capability of its own.
    :param runs: a file of finished runs, which are not done again.
    :param tune: folder or hub name of the model to fine-tune copies of; by default the index's own.
    :raises CapabilityError: there are no examples, or too few with an answer.
    """
    reading, rules = index.manifest.reading.for_training, index.manifest.rules
    samples = {name: _answered(name, index.capability_samples(name)) for name in capabilities}
    for file in files:
        name = normal_name(Path(file).stem)
        if name in samples:
            raise CapabilityError(f"capability '{name}' is given twice")
        samples[name] = _answered(name, read_examples([file], row_format, reading, rules))
    if not samples:
        raise CapabilityError("name at least one capability with -c, or a file of examples with -e")
    return Prover(index, samples, settings or ProofSettings(), RunStore(Path(runs)), tune)


def check_output(path: Path) -> None:
    """Check that a proof may be written to a path: nothing is there, or an earlier proof.

    :raises OutputExistsError: something else is there.
    """
    picture = path.with_suffix(PICTURE)
    if path.exists():
        with suppress(OSError, ValueError):
            if "verdict" in json.loads(path.read_text(encoding="utf-8")):
                return
    taken = next((file for file in (path, picture) if file.exists()), None)
    if taken is not None:
        raise OutputExistsError(f"{taken} exists and is not of an earlier proof; choose another name with -o")


def _answered(name: str, items: Sequence[Sample | Rejected]) -> list[Sample]:
    """Return the examples that have an answer.

    :raises CapabilityError: there are fewer than two.
    """
    samples = [item for item in items if isinstance(item, Sample) and item.answered]
    if len(samples) < 2:
        there = "1 example" if len(samples) == 1 else f"{len(samples)} examples"
        raise CapabilityError(
            f"'{name}' has {there} with an answer; half of them are shown to the methods and half are held out, so "
            "give at least 2, better 64"
        )
    if left_out := len(items) - len(samples):
        logger.warning("%s: %d of %d examples are left out, without an answer or unusable", name, left_out, len(items))
    return samples


class LessonReader:
    """Reads rows of an index as lessons, each of them once.

    Nothing is learned of a row that repeats an example, shown or held out: what is measured must not be known by heart.

    :param reading: of the rows. :param samples: the examples of every capability.
    """

    def __init__(
        self, rows: IndexRows, maker: LessonMaker, reading: Reading, samples: Mapping[str, Sequence[Sample]]
    ) -> None:
        self._rows, self._maker, self._reading = rows, maker, reading
        asked = {name: [question_of(sample, reading) for sample in of_it] for name, of_it in samples.items()}
        self._examples = Contamination(asked, share=_REPEATED)
        self._known: dict[int, AnswerTokens] = {}
        #: Ordinals of the rows read that repeat an example.
        self.left_out: set[int] = set()

    def __call__(self, ordinals: Sequence[int]) -> list[AnswerTokens]:
        """Return the lessons of rows."""
        new = [ordinal for ordinal in dict.fromkeys(ordinals) if ordinal not in self._known]
        if new:
            columns = self._rows.take(new, SAMPLE_COLUMNS)
            records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            samples = [restore_sample(record, self._reading) for record in records]
            for ordinal, sample, lesson in zip(new, samples, self._maker.lessons(samples), strict=True):
                if self._examples.match(asked_text(sample.parts), plain_text(sample.parts)) is not None:
                    self.left_out.add(ordinal)
                    lesson.counts[:] = False
                self._known[ordinal] = lesson
        return [self._known[ordinal] for ordinal in ordinals]
