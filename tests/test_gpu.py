"""On a GPU the numbers are those of the CPU, to rounding."""

from pathlib import Path

import numpy as np
import pytest
from helpers import samples_of, small_shards, small_signatures, write_lines

from nait_index import NaitIndex
from nait_index.activations.encoder import Encoder
from nait_index.activations.products import TorchProducts
from nait_index.config import Device, ModelConfig, Precision, RunnerConfig, View
from nait_index.methods.contrast import Contrast
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.placement import Placed
from nait_index.search.row_products import scan, whole
from nait_index.signatures.features import Feature, feature_vectors
from tools.demo.corpus import Split, generate

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

TEXTS = ["\n".join([row["instruction"], row["input"], row["output"]]) for row in generate(Split.CORPUS)[:600]]
EXAMPLES = [row["instruction"] + "\n" + row["output"] for row in generate(Split.EXAMPLES) if row["skill"] == "code"]


def encode(texts: list[str], device: Device, dtype: Precision) -> tuple[np.ndarray, tuple[int, ...]]:
    with Encoder(ModelConfig(device=device, dtype=dtype)) as encoder:
        values = np.zeros((len(texts), 2, sum(encoder.widths)), np.float32)
        for batch in encoder.encode(encoder.tokenize(texts, add_special_tokens=True)):
            values[batch.rows] = batch.values
        return values, encoder.widths


def top_tenth(corpus: np.ndarray, examples: np.ndarray, widths: tuple[int, ...]) -> set[int]:
    center = corpus.mean(axis=0)
    summary = Contrast().summarise(examples, widths)
    scores = (
        feature_vectors(corpus, center, Feature.UNIT, widths) @ Contrast().direction(summary, center, widths).vector
    )
    return set(np.argsort(-scores, kind="stable")[: len(corpus) // 10].tolist())


def test_float32_on_the_gpu_equals_float32_on_the_cpu() -> None:
    on_cpu, _ = encode(TEXTS[:200], Device.CPU, Precision.FLOAT32)
    on_gpu, _ = encode(TEXTS[:200], Device.CUDA, Precision.FLOAT32)
    assert np.abs(on_gpu - on_cpu).max() <= 1e-3 * np.abs(on_cpu).max()


def test_bfloat16_chooses_nearly_the_same_rows() -> None:
    chosen = []
    for device, dtype in ((Device.CPU, Precision.FLOAT32), (Device.CUDA, Precision.BFLOAT16)):
        corpus, widths = encode(TEXTS, device, dtype)
        examples, _ = encode(EXAMPLES, device, dtype)
        chosen.append(top_tenth(corpus, examples, widths))
    assert len(chosen[0] & chosen[1]) >= 0.95 * len(chosen[0])


def test_auto_takes_the_gpu_and_bfloat16() -> None:
    with Encoder(ModelConfig()) as encoder:
        assert encoder.model.device.type == "cuda"
        assert encoder.model.dtype == torch.bfloat16


def test_a_model_split_over_the_gpus_that_there_are_has_the_numbers_of_one() -> None:
    whole, _ = encode(TEXTS[:100], Device.CUDA, Precision.FLOAT32)
    split, _ = encode(TEXTS[:100], Device.SPLIT, Precision.FLOAT32)
    assert np.abs(split - whole).max() <= 1e-5 * np.abs(whole).max()


def test_a_build_in_a_process_with_a_gpu_is_that_of_this_process(tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", generate(Split.CORPUS)[:64])
    built = []
    for name, runner in (("here", RunnerConfig()), ("apart", RunnerConfig(devices=("0",)))):
        signatures = small_signatures(views=(View.PCA,))
        with small_shards():
            NaitIndex.build(tmp_path / name, corpus, model=ModelConfig(), signatures=signatures, runner=runner)
        built.append(samples_of(tmp_path / name))
    here, apart = built
    assert [*here] == [*apart]
    for row, columns in here.items():
        for column in ("pca_mean", "pca_drift", "pca_unit"):
            codes, others = (np.frombuffer(part[column], np.int8) for part in (columns, apart[row]))
            # The rows that the basis is fitted on are projected on the CPU, whose rounding is another.
            assert np.abs(codes.astype(int) - others).max() <= 1


def test_a_scan_on_the_gpu_returns_the_bits_of_the_cpu() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (100_000, 1024)).astype(np.int8)
    engine = ExactScan.build([codes], ScanStamp(1, *codes.shape, "int8"))
    queries = rng.standard_normal((40, 1024)).astype(np.float32)
    expected = engine.scores(queries)
    gpu = TorchProducts()
    numbers, _ = whole(queries, engine.longest)
    assert (gpu.multiply(codes, numbers) == scan(codes, numbers, 1)).all(), (
        "so that nothing falls back to the processor"
    )
    engine.products = Placed(gpu, Device.CUDA)
    assert engine.scores(queries).tobytes() == expected.tobytes()
