"""Does it teach? ``python -m benchmarks.quality.teaching NAME --model MODEL --index INDEX``; ``--quick`` is a trial.

``nait-index prove`` over many arms: copies of a causal language model are fine-tuned on the tenth of the real pool that
each arm chooses for a capability, with equally many tokens of answers, and measured on held-out examples of it. The
halves of the examples that each seed shows are stored in the index as capabilities, so they are encoded once; runs are
stored by their content, so a measurement can be stopped and resumed, and ``--part 1/2`` does every second run, so that
two processes can share the work.

``--epoch`` compares as the papers do instead: every arm chooses among the landmarks of the index alone, a random
sample of a few thousand rows, and a run reads what it chose once, however many tokens these are; ``full`` reads all of
them once. There, ``less`` needs no view of its own: the gradients of landmarks are in the index.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.pool import GROUPS, build_index
from nait_index import NaitIndex
from nait_index.activations.device import settled_precision
from nait_index.activations.loading import load_model
from nait_index.config import Device, ModelConfig, Precision, Selector
from nait_index.corpus import make_template, read_corpus
from nait_index.methods.less import Less
from nait_index.methods.registry import DEFAULT_METHOD, MethodName
from nait_index.proving.choices import fixed, untrained
from nait_index.proving.heldout import split
from nait_index.proving.lessons import LessonMaker, plan_course, plan_epoch
from nait_index.proving.plan import RANDOM, Arm, ProofPlan, estimate_cost, plan_runs
from nait_index.proving.prove import LessonReader
from nait_index.proving.recipe import TuningRecipe
from nait_index.proving.results import Results
from nait_index.proving.runs import Bench, RunStore
from nait_index.selection.selection import Selection
from nait_index.signatures.views import GRADIENT
from nait_index.types import Sample

RESULTS = ROOT / "benchmarks" / "results"
SHARE, VOTING_SHARE = "10%", "30%"
CAPABILITIES = ("translation", "multilingual_qa", "knowledge", "bbh", "gsm8k")
ARMS = (
    "untrained,random,probe,bm25,core:balanced,core:round-robin,probe-neurons,probe-words,nait,contrast,embedding,"
    "low:probe,full,core:joint,core:worst-rank,core:votes"
)


class Teacher:
    """Makes arms from their names.

    ``METHOD`` is what a method chooses, ``METHOD+METHOD`` what several do by the mean of their ranks, ``METHOD@NAME``
    what one does with another index, ``METHOD/SELECTOR`` what a selector takes of a method's best rows, ``low:METHOD``
    the rows it ranks lowest, and ``core:RULE`` one choice for all capabilities together; ``core:votes`` are the rows
    that more than half of them have among their best 30 %, and ``core:METHOD`` the same by another method.

    :param indexes: of the same rows, by name; the first is the one without a name.
    :param among: ordinals of the rows to choose from; ``None`` for all.
    """

    def __init__(
        self,
        indexes: Mapping[str, NaitIndex],
        samples: Mapping[str, Sequence[Sample]],
        seeds: int,
        among: np.ndarray | None = None,
    ) -> None:
        self._indexes = indexes
        self._index = indexes[""]
        self._capabilities = list(samples)
        self._among = np.arange(len(self._index)) if among is None else np.sort(among)
        self._size = max(1, len(self._among) // 10)
        self._by_landmarks = among is not None
        self._ordinals = {sample_id: place for place, sample_id in enumerate(self._index.columns.ids())}
        for name, index in indexes.items():
            stored = {row["name"] for row in index.capabilities()}
            for capability, of_it in samples.items():
                for seed in range(seeds):
                    if f"{capability}.{seed}" not in stored:
                        click.echo(f"encoding {capability}, seed {seed} {name}", err=True)
                        _store(index, f"{capability}.{seed}", [of_it[row] for row in split(len(of_it), seed)[0]])

    def arm(self, name: str) -> Arm:
        """Make an arm."""
        if name == "untrained":
            return untrained()
        if name == RANDOM:
            return fixed(name, self._random)
        if name == "full":
            return fixed(name, lambda _, seed: self._among)
        if name.startswith("core:"):
            return fixed(name, lambda _, seed: self._core(name.removeprefix("core:"), seed))
        method, _, index = name.removeprefix("low:").partition("@")
        return Arm(name, lambda capability, seed: self._rows(method, index, f"{capability}.{seed}", name[:4] == "low:"))

    def _random(self, _: str | None, seed: int) -> np.ndarray:
        return np.random.default_rng([seed, 11]).choice(self._among, self._size, replace=False)

    def _rows(self, method: str, index: str, capability: str, low: bool) -> np.ndarray:
        places = np.zeros(len(self._index))
        for name in method.split("+"):
            place = np.full(len(self._index), len(self._among))  # of rows that a method does not rank
            order = self._order(name, index, capability)
            place[order] = np.arange(len(order))
            places += place
        ranked = self._among[np.argsort(places[self._among], kind="stable")]
        return ranked[-self._size :] if low else ranked[: self._size]

    def _order(self, method: str, index: str, capability: str) -> np.ndarray:
        """Return the rows that may be chosen, best first."""
        if method == MethodName.LESS and self._by_landmarks:
            return self._by_gradients(capability)
        method, _, selector = method.partition("/")
        top, select = (self._size, Selector(selector)) if selector else ("100%", Selector.TOP)
        ranked = self._ordered(self._indexes[index].query(capability, method=method, top=top, select=select))
        return ranked[np.isin(ranked, self._among)]

    def _by_gradients(self, capability: str) -> np.ndarray:
        """Return the landmarks as ``less`` orders them."""
        ordinals, gradients = self._index.columns.landmarks()
        examples = self._index.capability(capability).examples.signatures[GRADIENT].astype(np.float32)
        scores = gradients.astype(np.float32) @ Less().targets(examples)[0]
        return np.asarray(ordinals[np.argsort(-scores, kind="stable")])

    def _core(self, rule: str, seed: int) -> np.ndarray:
        names = [f"{capability}.{seed}" for capability in self._capabilities]
        if rule == "votes" or rule in list(MethodName):
            method = DEFAULT_METHOD if rule == "votes" else rule
            chosen = self._index.core(names, method=method, top=VOTING_SHARE, votes=len(names) // 2 + 1, bootstrap=0)
            return self._ordered(chosen)[: self._size]
        return self._ordered(self._index.core(names, top=SHARE, rule=rule, bootstrap=0))

    def _ordered(self, chosen: Selection) -> np.ndarray:
        return np.array([self._ordinals[sample_id] for sample_id in chosen.ids])


def _store(index: NaitIndex, name: str, samples: Sequence[Sample]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shown.jsonl"
        file.write_text("".join(sample.row + "\n" for sample in samples), encoding="utf-8")
        index.add_capability(name, file)


@click.command()
@click.argument("name", default="bundled")
@click.option("--model", default="bundled", show_default=True, help="Folder of a causal language model.")
@click.option("--index", help="An index of the pool, in which capabilities are stored; by default one is built.")
@click.option("--beside", multiple=True, metavar="NAME=INDEX", help="Another index of the same rows, for METHOD@NAME.")
@click.option("--arms", default=ARMS, show_default=True, help="Comma-separated.")
@click.option("--capabilities", default=",".join(CAPABILITIES), show_default=True)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--held-out", default=24, show_default=True, type=click.IntRange(2))
@click.option("--answer-tokens", default=2000, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=10, show_default=True, type=click.IntRange(1))
@click.option("--max-length", default=192, show_default=True, type=click.IntRange(8))
@click.option("--layers", default=6, show_default=True, help="Adapters in this many upper layers; 0 for all.")
@click.option("--rate", default=5e-4, show_default=True, help="Learning rate.")
@click.option("--generate", default="", help="Capabilities whose answers are also generated, and compared by chrF.")
@click.option("--epoch", is_flag=True, help="Read once what is chosen among the landmarks, however long it is.")
@click.option("--part", default="1/1", show_default=True, help="Do this part of the runs, and write no result.")
@click.option("--cache", default=ROOT / "benchmarks" / ".cache", type=click.Path(path_type=Path))
@click.option("--suffix", default="", help="Of the result's name, for a check of one setting.")
@click.option("--quick", is_flag=True, help="Two capabilities, one seed, few tokens; write nothing.")
def main(name: str, quick: bool, part: str, suffix: str, cache: Path, **options: Any) -> None:  # noqa: ANN401
    """Measure what choices teach, and write results/teaching-NAME.json."""
    if quick:
        options |= {
            "capabilities": "translation,knowledge",
            "seeds": 1,
            "held_out": 8,
            "answer_tokens": 400,
            "steps": 4,
            "layers": 0,
        }
    recipe = TuningRecipe(
        answer_tokens=options["answer_tokens"],
        steps=options["steps"],
        max_length=options["max_length"],
        layers=options["layers"],
        learning_rate=options["rate"],
    )
    path = options["index"] or cache / f"pool-{Path(options['model']).name}-{2000 if quick else None}.nait"
    index = NaitIndex(path) if options["index"] else build_index(path, options["model"], 2000 if quick else None)
    plan = make_plan(index, options)
    bench, maker = open_bench(index, plan, options["model"], recipe, RunStore(cache / "teaching-runs.jsonl"))
    read = LessonReader(index.columns, maker, index.manifest.reading.for_training, plan.capabilities)
    planned = plan_runs(plan, len(index), recipe, maker, read)
    number, parts = map(int, part.split("/"))
    cost = estimate_cost(bench, planned)
    click.echo(f"{len(planned.runs)} runs, {cost.runs} missing: about {cost.seconds / 60:.0f} min", err=True)
    mine = planned.runs[number - 1 :: parts]
    outcomes = []
    for done, outcome in enumerate(bench.run_all(mine), 1):
        outcomes.append(outcome)
        click.echo(
            f"{done}/{len(mine)} {mine[done - 1]}: {outcome.train_seconds + outcome.measure_seconds:.0f} s", err=True
        )
    if parts > 1:
        return
    results = Results(plan, planned, outcomes)
    result = {
        "environment": environment(),
        "model": Path(options["model"]).name,
        "pool_rows": len(index.columns.landmarks()[0]) if options["epoch"] else len(index),
        "share": SHARE,
        "epoch": options["epoch"],
        "held_out": options["held_out"],
        "recipe": asdict(recipe),
        "run_seconds": round(sum(one.train_seconds + one.measure_seconds for one in outcomes)),
        **results.to_dict(),
        "full_minus": _against_full(results),
    }
    path = (cache if quick else RESULTS) / f"teaching-{name}{suffix}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result["against_random"], indent=1))
    click.echo(f"written to {path}", err=True)


def _against_full(results: Results) -> dict[str, Any]:
    """Compare every arm with the whole pool, for the claim that a tenth is enough."""
    if "full" not in results.arms:
        return {}
    return {arm: results.mean(arm, "full").interval().to_dict() for arm in results.arms if arm != "full"}


def make_plan(index: NaitIndex, options: Mapping[str, Any]) -> ProofPlan:
    """Read the examples, store what each seed shows of them, and make the arms."""
    names = options["capabilities"].split(",")
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]} is not one of {', '.join(GROUPS)}", param_hint="--capabilities")
    samples = {name: _samples(shared_data() / "capabilities" / f"{name}.jsonl") for name in names}
    beside = (pair.partition("=") for pair in options["beside"])
    indexes = {"": index} | {name: NaitIndex(path) for name, _, path in beside}
    among = index.columns.landmarks()[0] if options["epoch"] else None
    teacher = Teacher(indexes, samples, options["seeds"], among)
    arms = tuple(map(teacher.arm, options["arms"].split(",")))
    kinds = {name: [json.loads(sample.row)["source"] for sample in of_it] for name, of_it in samples.items()}
    generated = frozenset(filter(None, options["generate"].split(",")))
    course = plan_epoch if options["epoch"] else plan_course
    return ProofPlan(arms, samples, options["seeds"], options["held_out"], kinds, generated, course)


def open_bench(
    index: NaitIndex, plan: ProofPlan, model: str, recipe: TuningRecipe, store: RunStore
) -> tuple[Bench, LessonMaker]:
    """Load the model that copies are fine-tuned of, to predict the words of all answers."""
    config = ModelConfig(model, dtype=settled_precision(Precision.AUTO, Device.AUTO))
    loaded = load_model(config, causal=True)
    maker = LessonMaker(loaded.tokenizer, make_template(config.template, loaded.tokenizer), recipe.max_length)
    return Bench(loaded, recipe, store, _answer_vocabulary(index, plan.capabilities, maker)), maker


def _answer_vocabulary(index: NaitIndex, samples: Mapping[str, Sequence[Sample]], maker: LessonMaker) -> np.ndarray:
    """Return the tokens that occur in any answer of the pool or of the examples."""
    read = LessonReader(index.columns, maker, index.manifest.reading.for_training, samples)
    lessons = [*read(range(len(index))), *(lesson for of_it in samples.values() for lesson in maker.lessons(of_it))]
    return np.unique(np.concatenate([lesson.ids[lesson.counts] for lesson in lessons]))


def _samples(path: Path) -> list[Sample]:
    return [item for item in read_corpus([path]) if isinstance(item, Sample)]


if __name__ == "__main__":
    main()
