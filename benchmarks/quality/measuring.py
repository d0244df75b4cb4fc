"""A measurement from data to report: estimated cost, rankings, runs, findings."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import environment, shared_data
from benchmarks.quality.findings import Runs, findings
from benchmarks.quality.materials import Materials, read_materials
from benchmarks.quality.plan import Planner, RunSpec, run_specs
from benchmarks.quality.rankings import Rankings
from benchmarks.quality.run_cache import RunCache, digest
from benchmarks.quality.settings import Settings
from benchmarks.quality.work import Cost, Task, estimate_cost, run_all
from nait_index import ModelConfig, NaitIndex, SignatureConfig


def measure(settings: Settings) -> dict[str, Any]:
    """Announce the cost, rank, do the runs that are missing, and report."""
    materials = read_materials(
        shared_data(), settings.capabilities, settings.model, settings.limit, settings.recipe.longest
    )
    planned = run_specs(settings.arms, settings.capabilities, settings.seeds)
    cost = estimate_cost(materials, settings.model, settings.recipe, materials.held_out(0, settings.held_out))
    announce(planned, cost, len(materials.pool.ids), settings)
    planner = Planner(materials, _rankings(settings, materials), settings.recipe, settings.held_out)
    tasks = plan(planned, planner)
    cache = RunCache(settings.cache / "runs.jsonl")
    spent = work(list(tasks.values()), cache, materials, settings)
    records = {spec: cache[task.key] for spec, task in tasks.items()}
    runs = Runs(records, settings.arms, settings.capabilities, settings.seeds)
    return _described(settings, records, spent) | findings(runs)


def plan(planned: Sequence[RunSpec], planner: Planner) -> dict[RunSpec, Task]:
    """Make the tasks, grouped by capability, so that its examples are encoded once."""
    grouped = sorted(
        planned, key=lambda spec: (spec.seed, not spec.capability, spec.capability, spec.arm.examples or 0)
    )
    tasks = {spec: planner.task(spec) for spec in grouped}
    return {spec: tasks[spec] for spec in planned}


def announce(planned: Sequence[RunSpec], cost: Cost, pool_tokens: int, settings: Settings) -> None:
    """Announce the cost of a measurement before it starts."""
    runs = len(planned) * cost.run / settings.processes
    targeted = [spec for spec in planned if spec.arm.targeted]
    rankings = {(spec.arm.method, spec.arm.examples, spec.capability, spec.seed) for spec in targeted}
    click.echo(
        f"{len(planned)} runs of {settings.recipe.tokens:,} tokens, {cost.run:.1f} s of a core each: at most "
        f"{_minutes(runs)} in {settings.processes} processes with a core each; before them, unless they are "
        f"cached, an index of {pool_tokens:,} tokens, at least {_minutes(cost.token * pool_tokens)} of a "
        f"core, and {len(rankings)} rankings",
        err=True,
    )


def work(tasks: Sequence[Task], cache: RunCache, materials: Materials, settings: Settings) -> float:
    """Do the runs that are not in the cache, and return the seconds taken."""
    missing = list({task.key: task for task in tasks if task.key not in cache}.values())
    click.echo(f"{len(tasks)} runs, {len(missing)} of them missing", err=True)
    if not missing:
        return 0.0
    started = time.monotonic()
    files = _saved(materials, settings.cache)
    for done, record in enumerate(run_all(missing, files, settings.model, settings.recipe, settings.processes), 1):
        cache.add(record)
        click.echo(f"{done}/{len(missing)} {record['label']}: {record['seconds']:.1f} s", err=True)
    return round(time.monotonic() - started, 1)


def _rankings(settings: Settings, materials: Materials) -> Rankings:
    name = digest(materials.sources, list(settings.views), settings.recipe.longest)
    path = settings.index or settings.cache / f"{name}.nait"

    def open_index() -> NaitIndex:
        if settings.index:
            return NaitIndex(settings.index)
        click.echo(f"index of {len(materials.ids):,} rows, {len(materials.pool.ids):,} tokens", err=True)
        return NaitIndex.build(
            path,
            shared_data() / "pool.jsonl",
            model=ModelConfig(name=settings.model, max_length=settings.recipe.longest),
            signatures=SignatureConfig(views=settings.views),
            limit=settings.limit,
        )

    return Rankings(open_index, settings.cache / "rankings", str(path), materials.ids)


def _saved(materials: Materials, cache: Path) -> tuple[Path, Path]:
    """Save the tokens for the processes to load."""
    cache.mkdir(parents=True, exist_ok=True)
    pool, held = (cache / f"{name}-{materials.sources}.npz" for name in ("pool", "held"))
    materials.pool.save(pool)
    materials.held.save(held)
    return pool, held


def _described(settings: Settings, records: dict[RunSpec, dict[str, Any]], spent: float) -> dict[str, Any]:
    return {
        "environment": environment(),
        "model": Path(settings.model).name,
        "recipe": asdict(settings.recipe),
        "tokens_a_run": settings.recipe.tokens,
        "pool_rows": settings.limit or "all",
        "held_out_rows": settings.held_out,
        "seeds": settings.seeds,
        "capabilities": list(settings.capabilities),
        "runs": len(records),
        "run_seconds": round(sum(record["seconds"] for record in records.values()), 1),
        "wall_seconds_of_runs_done_now": spent,
    }


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"
