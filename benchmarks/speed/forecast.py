"""Forecasts of builds against what came: ``python -m benchmarks.speed.forecast NAME --model …``.

Writes ``results/forecast-NAME.json``. Without a corpus, the demo's rows are built.
"""

import json
import tempfile
from pathlib import Path

import click

from benchmarks.environment import ROOT, environment
from nait_index import NaitIndex
from nait_index.config import BUNDLED_MODEL, ModelConfig
from nait_index.demo.data import write
from nait_index.upkeep.describe import size_on_disk


@click.command()
@click.argument("name")
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--corpus", type=click.Path(path_type=Path), help="Default: the demo's rows.")
@click.option("--rows", type=int, help="Read at most this many.")
@click.option("--max-length", default=2048, show_default=True)
def main(name: str, model: str, corpus: Path | None, rows: int | None, max_length: int) -> None:
    """Forecast one build, build it, and compare."""
    config = ModelConfig(model, max_length=max_length)
    with tempfile.TemporaryDirectory() as folder:
        corpus = corpus or write(Path(folder)).corpus
        forecast = NaitIndex.estimate(corpus, model=config, limit=rows)
        index = NaitIndex.build(Path(folder) / "my.nait", corpus, model=config, limit=rows)
        assert index.report is not None
        pairs = {
            "seconds": (60 * forecast.minutes, index.report.seconds),
            "bytes": (forecast.index_bytes, size_on_disk(index.layout)),
            "tokens": (forecast.tokens, index.report.tokens),
        }
    result = {
        "environment": environment(),
        "rows": index.report.rows,
        "forecast": {what: round(expected, 1) for what, (expected, _) in pairs.items()},
        "came": {what: round(came, 1) for what, (_, came) in pairs.items()},
        "forecast_over_came": {what: round(expected / came, 3) for what, (expected, came) in pairs.items()},
    }
    path = ROOT / "benchmarks" / "results" / f"forecast-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
