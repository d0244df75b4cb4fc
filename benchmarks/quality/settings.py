"""What a measurement is of."""

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.quality.arms import Arm, Kind, make_arms
from benchmarks.quality.fine_tune import Recipe
from nait_index.config import View


@dataclass(frozen=True)
class Settings:
    """Everything that can be chosen.

    :param limit: only the first rows of the pool; :param held_out: rows of a capability to measure on.
    :param index: one that is there already, instead of one built into the cache.
    """

    arms: tuple[Arm, ...]
    capabilities: tuple[str, ...]
    seeds: int
    recipe: Recipe
    held_out: int
    limit: int | None
    model: str
    views: tuple[View, ...]
    index: Path | None
    cache: Path
    processes: int


def quick(settings: Settings) -> Settings:
    """Shrink a measurement to a minute: it shows that everything works, and no more."""
    methods = list(dict.fromkeys(arm.method for arm in settings.arms if arm.method))
    return replace(
        settings,
        arms=tuple(make_arms(methods, methods[:1], [16], [Kind.FULL, Kind.CORE, Kind.ROUND_ROBIN])),
        capabilities=("translation", "knowledge"),
        seeds=2,
        recipe=Recipe(longest=128, width=256, steps=6, warmup_steps=2),
        held_out=16,
        limit=2000,
    )
