"""The settings of a measurement."""

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.quality.arms import Arm, ArmKind, make_arms
from benchmarks.quality.fine_tune import Recipe
from nait_index.config import View


@dataclass(frozen=True)
class Settings:
    """Everything that can be set.

    :param limit: rows of the pool at most; :param held_out: rows of a capability to measure on.
    :param index: an existing one, instead of one built in the cache.
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
    """Shrink a measurement to a minute, only to check that everything works."""
    methods = list(dict.fromkeys(arm.method for arm in settings.arms if arm.method))
    return replace(
        settings,
        arms=tuple(make_arms(methods, methods[:1], [16], [ArmKind.FULL, ArmKind.CORE, ArmKind.ROUND_ROBIN])),
        capabilities=("translation", "knowledge"),
        seeds=2,
        recipe=Recipe(longest=128, width=256, steps=6, warmup_steps=2),
        held_out=16,
        limit=2000,
    )
