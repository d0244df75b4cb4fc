"""The benchmarks of retrieval and of capture: draws, paired differences, and similarities computed part by part."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from benchmarks.pool import FinishedProcess
from benchmarks.quality import captured as captured_module
from benchmarks.quality.capture import (
    DEFAULT,
    WITH_FEW,
    TrainedOnCoordinates,
    TrainedOnSimilarities,
    precision,
    summary,
    variants,
)
from benchmarks.quality.captured import Captured, CaptureSettings, CaptureSite, capture, sub_pool
from benchmarks.quality.draws import Draw, DrawKind, DrawPlan
from benchmarks.quality.kernels import Kind, Part, Resamples, combined, leading_coordinates, part_sums, unit_cosines
from benchmarks.quality.retrieval_figures import differences, figures_of, means, merged
from benchmarks.quality.retrieval_tables import compared_table, few_table, layers_table, rest_table
from nait_index.activations.encoder import Encoder
from nait_index.config import ModelConfig
from nait_index.methods.contrast import Contrast
from nait_index.methods.probe import train
from nait_index.signatures.features import Feature, feature_vectors

WIDTHS = (6, 5, 4)
PLAN = DrawPlan(4, (2,), 2)


def test_few_examples_are_the_first_of_more_and_redraws_repeat_some() -> None:
    four, sixteen = (Draw(DrawKind.FEW, 1, count).rows(40) for count in (4, 16))
    assert four.tolist() == sixteen[:4].tolist()
    assert len(set(sixteen.tolist())) == 16
    redrawn = Draw(DrawKind.REDRAW, 0).rows(40)
    assert len(redrawn) == 40 > len(set(redrawn.tolist()))
    assert [str(draw) for draw in PLAN] == [
        "all", "redraw 0", "redraw 1", "redraw 2", "redraw 3", "few 2 0", "few 2 1"
    ]  # fmt: skip
    assert len(PLAN) == 7


def _measured(shift: float, seed: int, noise: float = 0.0) -> dict[str, Any]:
    rng, plan = np.random.default_rng(seed), DrawPlan(50, (4,), 2)
    shared_noise = np.random.default_rng(99)
    records = {
        draw: {"precision": rng.uniform(0.2, 0.8) + shift + noise * shared_noise.standard_normal(), "auc": 0.5}
        for draw in plan
    }
    return figures_of(records, plan)


def test_a_difference_is_paired_over_the_same_resamples() -> None:
    measured = {
        name: {
            "probe": _measured(0.0, seed),
            "steady": _measured(0.1, seed),
            "noisy": _measured(0.1, seed, noise=0.05),
            "strange": _measured(0.1, seed + 50),
        }
        for seed, name in enumerate(("gsm8k", "bbh"))
    }
    against = differences(measured, ["probe", "steady", "noisy", "strange"])["probe"]
    assert against["steady"] == {"difference": pytest.approx(0.1, abs=2e-4), "interval": pytest.approx(0, abs=1e-3)}
    assert 0.01 < against["noisy"]["interval"] < against["strange"]["interval"]
    assert means(measured, "probe")["few"].keys() == {"4"}
    assert means(measured, "probe")["precision_clear"] == measured["gsm8k"]["probe"]["precision"]


def test_new_results_of_one_method_are_compared_with_earlier_ones_of_another() -> None:
    def result(*methods: str) -> dict[str, Any]:
        measured = {"gsm8k": {method: _measured(0.1 * len(method), 3) for method in methods}}
        return {
            "environment": {"commit": "c"},
            "few": {"examples": [4]},
            "capabilities": measured,
            "means": {method: means(measured, method) for method in methods},
            "differences": differences(measured, methods),
        }

    both = merged(result("nas"), result("probe", "less"))
    assert both["differences"]["probe"].keys() == {"nas", "less"}
    assert both["earlier"] == [{"commit": "c", "methods": ["probe", "less"]}]
    header, rows = compared_table(both)
    assert header[-2:] == ["4 examples", "against `probe`"]
    assert dict(rows)["`nas`"][-1] == "−0.200 ± 0.000"
    assert dict(rows)["`probe`"][-1] == "–"


def _captured(tokens: bool = True) -> Captured:
    """Make rows of known activations token by token, every row with the same first token."""
    rng, width = np.random.default_rng(0), 2 * sum(WIDTHS)
    start = rng.standard_normal(width).astype(np.float32) * 20
    texts = [
        np.vstack([start, rng.standard_normal((length, width)) + row % 3]) for row, length in enumerate([3, 1] * 20)
    ]
    ends = np.cumsum(np.repeat(WIDTHS, 2)).tolist()
    slices = [slice(end - size, end) for end, size in zip(ends, np.repeat(WIDTHS, 2).tolist(), strict=True)]
    return Captured(
        pooled=np.stack([np.stack([text.mean(axis=0), text[-1] - text[0]]) for text in texts]),
        hidden=rng.standard_normal((len(texts), 2, 3)),
        lengths=np.array([len(text) for text in texts]),
        first=np.stack([text[1] for text in texts]),
        start=start if tokens else np.zeros_like(start),
        columns={CaptureSite.NEURONS: slices[::2], CaptureSite.RESIDUAL: slices[1::2]},
        groups=["math"] * 15 + ["code"] * 15,
        examples={"gsm8k": np.arange(30, 40)},
        identity="",
    )


def _resamples(captured: Captured) -> Resamples:
    counts = [np.bincount(30 + draw.rows(10), minlength=40) for draw in PLAN]
    return Resamples([("gsm8k", str(draw)) for draw in PLAN], np.stack([count / count.sum() for count in counts]))


def test_activations_without_the_first_token_are_those_of_the_text_alone() -> None:
    captured = _captured()
    mean, drift = captured.without_start(slice(0, 2), slice(0, 4))
    assert np.allclose(mean[1], captured.first[1, :4], atol=1e-4)  # a text of one token
    assert np.allclose(drift[1], 0, atol=1e-4)
    whole = captured.pooled[0, 0, :4] * 4 - captured.start[:4]
    assert np.allclose(mean[0], whole / 3, atol=1e-4)
    assert np.allclose(drift[0] + captured.first[0, :4], captured.pooled[0, 1, :4] + captured.start[:4], atol=1e-4)


def test_parts_add_up_to_what_the_package_computes_from_whole_vectors() -> None:
    captured = _captured()
    resamples = _resamples(captured)
    cosines, contrasts = combined(part_sums(captured, resamples), dict(variants())[DEFAULT])
    columns = np.concatenate([np.arange(part.start, part.stop) for part in captured.columns[CaptureSite.NEURONS]])
    pooled = captured.pooled[:, :, columns].astype(np.float32)
    center = pooled[:30].mean(axis=0)
    units = feature_vectors(pooled, center, Feature.UNIT, WIDTHS)
    assert np.allclose(cosines, units @ units[:30].T, atol=1e-5)
    assert np.allclose(unit_cosines(captured), units @ units.T, atol=1e-5)
    drawn = 30 + Draw(DrawKind.REDRAW, 2).rows(10)
    query = Contrast().direction(Contrast().summarise(pooled[drawn], WIDTHS), center, WIDTHS)
    scores = resamples.scores_of(contrasts)("gsm8k", "redraw 2", drawn)
    assert np.allclose(scores, units[:30] @ query.vector, atol=1e-5)
    whole = TrainedOnSimilarities(captured, unit_cosines(captured)).scores("gsm8k", "redraw 2", drawn - 30)
    expected = units[:30] @ train(units[drawn], units[:30]).vector
    assert np.allclose(whole, expected, atol=1e-3 * np.abs(expected).max())
    projected = TrainedOnCoordinates(captured, lambda: leading_coordinates(cosines, 9)).scores("gsm8k", "", drawn - 30)
    _, _, components = np.linalg.svd(units[:30], full_matrices=False)
    short = units @ components[:9].T
    assert np.allclose(projected, short[:30] @ train(short[drawn], short[:30]).vector, atol=1e-2)


def test_variants_without_the_first_token_need_a_token_that_begins_every_row() -> None:
    for tokens in (True, False):
        parts = part_sums(_captured(tokens), _resamples(_captured()))
        assert (Part(CaptureSite.NEURONS, *_first_of(parts), Kind.TEXT_ONLY) in parts) is tokens


def _first_of(parts: Any) -> tuple[Any, Any]:
    return next((part.pooling, part.third) for part in parts)


def test_precision_is_the_share_of_right_rows_among_the_first_tenth() -> None:
    right = np.arange(40) < 3
    assert precision(-np.arange(40.0), right) == 1
    assert precision(np.arange(40.0), right) == 0
    assert precision(np.zeros(40), np.arange(40) % 2 == 0) == 0.5


def _rows(count: int, source: str) -> list[str]:
    row = {"instruction": f"Add numbers of {source}", "input": "", "output": "They are four.", "group": "math"}
    return [json.dumps(row | {"id": f"{source}-{number}", "source": source}) for number in range(count)]


def test_a_sub_pool_is_even_over_sources_and_part_of_a_larger_one(tmp_path: Path) -> None:
    corpus = tmp_path / "pool.jsonl"
    corpus.write_text("\n".join(_rows(4, "rare") + _rows(40, "common") + _rows(40, "other")) + "\n")
    small, large = ([sample.id for sample in sub_pool(corpus, rows)] for rows in (12, 24))
    assert [sum(row.startswith(source) for row in large) for source in ("rare", "common", "other")] == [4, 10, 10]
    assert [row for row in large if row in small] == small


def test_an_interrupted_capture_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "capabilities").mkdir()
    (tmp_path / "pool.jsonl").write_text("\n".join(_rows(9, "a")) + "\n")
    (tmp_path / "capabilities" / "gsm8k.jsonl").write_text("\n".join(_rows(5, "b")) + "\n")
    monkeypatch.setattr(captured_module, "shared_data", lambda: tmp_path)
    monkeypatch.setattr(captured_module, "_CHUNK", 4)
    settings = CaptureSettings("bundled", str(tmp_path / "pool.jsonl"), 8, 3, 64)
    whole = capture(settings, tmp_path / "whole", ["gsm8k"])
    assert whole.pooled.shape[:2] == (11, 2)
    assert whole.start.any()
    encode, batches = Encoder.encode, []

    def stop(self: Encoder, tokens: Any) -> Any:
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(len(tokens))
        return encode(self, tokens)

    with monkeypatch.context() as patched:
        patched.setattr(Encoder, "encode", stop)
        with pytest.raises(KeyboardInterrupt):
            capture(settings, tmp_path / "part", ["gsm8k"])
    with monkeypatch.context() as patched:
        patched.setattr(Encoder, "encode", lambda self, tokens: batches.append(len(tokens)) or encode(self, tokens))
        resumed = capture(settings, tmp_path / "part", ["gsm8k"])
    assert batches == [4, 4, 3, 2]  # the last call encodes what the rows begin with
    assert np.array_equal(resumed.pooled, whole.pooled)
    assert np.array_equal(resumed.hidden, whole.hidden)
    with Encoder(ModelConfig("bundled", max_length=64)) as encoder:
        assert sum(part.stop - part.start for part in whole.columns[CaptureSite.NEURONS]) == sum(encoder.widths)


def test_an_earlier_build_is_read_from_what_it_and_time_printed(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text('{"tokens": 5}')
    log = tmp_path / "build.log"
    log.write_text(
        "encoding: 10 of 10 rows\n"
        "\tUser time (seconds): 40.50\n"
        "\tSystem time (seconds): 1.50\n"
        "\tElapsed (wall clock) time (h:mm:ss or m:ss): 1:02:03\n"
        "\tMaximum resident set size (kbytes): 2097152\n"
    )
    process = FinishedProcess.read(tmp_path / "build.json", log)
    assert process == FinishedProcess(3723.0, 42.0, 2048.0, '{"tokens": 5}')
    log.write_text(log.read_text().replace("1:02:03", "16:01.50"))
    assert FinishedProcess.read(tmp_path / "build.json", log).seconds == 961.5
    log.write_text("encoding: 10 of 10 rows\n")
    with pytest.raises(click.ClickException, match=r"build\.log does not hold"):
        FinishedProcess.read(tmp_path / "build.json", log)


def test_tables_of_capture_name_every_variant_once() -> None:
    rng, plan = np.random.default_rng(1), DrawPlan(3, (4, 16), 1)

    def precisions(few: bool) -> dict[str, dict[str, float]]:
        draws = [str(draw) for draw in plan if few or draw.kind is not DrawKind.FEW]
        return {name: {draw: rng.uniform() for draw in draws} for name in ("gsm8k", "bbh")}

    measured = {
        variant: {method: precisions(variant in WITH_FEW) for method in ("probe", "contrast")}
        for variant, _ in variants()
    }
    measured[f"{DEFAULT}, 256 bytes"] = {"probe": precisions(True)}
    result = {"variants": summary(measured), "few": {"examples": [4, 16]}}
    (_, layers), (_, rest), (header, few) = layers_table(result), rest_table(result), few_table(result)
    assert [name for name, _ in layers] == [
        f"{site}, {which} layers" for site in CaptureSite for which in ("all", "early", "middle", "late")
    ]
    assert len(measured) == 3 * len(layers) + len(rest)
    assert layers[0][1][0].endswith(" (–)")
    assert dict(rest)[f"{DEFAULT}, 256 bytes"][1] == "–"
    assert header == [
        "examples",
        *(f"`{method}`, {count}" for method in ("probe", "contrast") for count in (4, 16, "all")),
    ]
    assert [name for name, _ in few] == [*WITH_FEW, f"{DEFAULT}, 256 bytes"]
    assert dict(few)[DEFAULT][2] == f"{result['variants'][DEFAULT]['probe']['precision']:.3f}"
