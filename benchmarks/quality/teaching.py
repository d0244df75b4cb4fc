"""Does it teach? ``python -m benchmarks.quality.teaching``; ``--quick`` is a trial.

Fresh copies of a small causal language model are fine-tuned, all with the same number of steps and tokens, on the tenth
of the real pool that a method chooses for a capability; on a random tenth, the lowest-scored tenth and the full pool;
and on rows chosen for all capabilities at once. Then the loss on held-out rows of every capability is measured, on the
answer given the prompt. The seed determines which half of a capability's rows are examples and which are held out, and
the order of the training rows; runs are compared with the random tenth of the same seed.

The model is the bundled one unless ``--model`` names another folder. The bundled model was trained on the pool's rows
of gsm8k_train and gpteacher_*, so grade-school mathematics, code, tool use and role play are partly known to it: they
have less to gain, and random rows make it forget some of them.
"""

import json
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import ROOT
from benchmarks.pool import GROUPS
from benchmarks.quality.arms import ArmKind, make_arms
from benchmarks.quality.fine_tune import Recipe
from benchmarks.quality.measuring import measure
from benchmarks.quality.settings import Settings, quick
from nait_index.config import View
from nait_index.errors import NaitError
from nait_index.methods.registry import DEFAULT_METHOD, MethodName

RESULTS = ROOT / "benchmarks" / "results"
KINDS = (ArmKind.FULL, ArmKind.CORE, ArmKind.ROUND_ROBIN)


class Listed(click.ParamType[list[str]]):
    """Comma-separated words, each one of those known; or numbers, if none are known."""

    name = "list"

    def __init__(self, *known: str) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:  # noqa: ANN401
        """Split and check them."""
        words = [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value
        for word in words:
            if self._known and word not in self._known:
                self.fail(f"{word!r} is not one of {', '.join(self._known)}", param, ctx)
            if not self._known and not word.isdecimal():
                self.fail(f"{word!r} is not a number", param, ctx)
        return list(words)


METHODS = Listed(*MethodName)


@click.command()
@click.option("--methods", type=METHODS, default=f"{DEFAULT_METHOD},nait", show_default=True)
@click.option(
    "--low", type=METHODS, default=f"{DEFAULT_METHOD},nait", show_default=True, help="Also their lowest tenth."
)
@click.option("--few", type=Listed(), default="16,64", show_default=True, help="Fewer examples, for the first method.")
@click.option("--kinds", type=Listed(*KINDS), default=",".join(KINDS), show_default=True, help="Arms without a target.")
@click.option("--capabilities", type=Listed(*GROUPS), default=",".join(GROUPS), show_default=True)
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=Recipe().steps, show_default=True, type=click.IntRange(1))
@click.option("--held-out", default=32, show_default=True, type=click.IntRange(1), help="Rows of each capability.")
@click.option("--model", default="bundled", show_default=True, help="Folder of a causal language model.")
@click.option("--views", type=Listed(*View), default="pca,topk", show_default=True, help="Of the index that is built.")
@click.option("--index", type=click.Path(exists=True, path_type=Path), help="Use this index of the pool instead.")
@click.option("--cache", default=ROOT / "benchmarks" / ".cache", type=click.Path(path_type=Path))
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1))
@click.option("--quick", "is_quick", is_flag=True, help="A trial of a minute; the result goes into the cache.")
def main(is_quick: bool, **options: Any) -> None:  # noqa: ANN401 - of any type
    """Measure what selections teach, and write results/teaching-MODEL.json."""
    settings = make_settings(options)
    settings = quick(settings) if is_quick else settings
    try:
        result = measure(settings)
    except NaitError as error:
        raise click.ClickException(str(error)) from error
    path = (settings.cache if is_quick else RESULTS) / f"teaching-{Path(settings.model).name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps({name: result[name] for name in ("relative_to_random", "claims")}, indent=1))
    click.echo(f"written to {path}", err=True)


def make_settings(options: dict[str, Any]) -> Settings:
    """Return the settings for the command's options."""
    few, kinds = [int(count) for count in options["few"]], [ArmKind(kind) for kind in options["kinds"]]
    taken = ("seeds", "held_out", "model", "index", "cache", "processes")
    return Settings(
        arms=tuple(make_arms(options["methods"], options["low"], few, kinds)),
        capabilities=tuple(options["capabilities"]),
        recipe=Recipe(steps=options["steps"]),
        views=tuple(View(view) for view in options["views"]),
        limit=None,
        **{name: options[name] for name in taken},
    )


if __name__ == "__main__":
    main()
