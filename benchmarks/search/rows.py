"""Rows and capabilities that look like a corpus's signatures: clusters in a space of falling variance."""

import os
from pathlib import Path

import numpy as np

from nait_index.methods.probe import SAMPLE, train

_SKILLS = 1000
_BLOCK = 20_000


def make_rows(path: Path, rows: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Write rows (n, d) int8 to a file: each near one of 1,000 skills. Give them, mapped, and their steps (d,)."""
    rng = np.random.default_rng(0)
    spread = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    spread /= np.linalg.norm(spread)
    skills = rng.standard_normal((_SKILLS, dim), dtype=np.float32) * spread
    steps = spread * np.float32(5 / 127)
    codes = np.lib.format.open_memmap(path, mode="w+", dtype=np.int8, shape=(rows, dim))
    for at in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - at)
        own = 0.8 * skills[rng.integers(_SKILLS, size=count)]
        own += 0.6 * spread * rng.standard_normal((count, dim), dtype=np.float32)
        codes[at : at + count] = np.rint(own / np.linalg.norm(own, axis=1, keepdims=True) / steps).clip(-127, 127)
    codes.flush()
    return np.load(path, mmap_mode="r"), steps


def make_queries(codes: np.ndarray, steps: np.ndarray, count: int) -> np.ndarray:
    """Train the default method on rows near some rows: (q, d) float32, in the units of the codes."""
    sample = codes[:SAMPLE] * steps
    near = np.argsort(-(sample[-count:] @ sample.T), axis=1)[:, :16]
    return np.stack([train(sample[own], sample).weights * steps for own in near])


def resident_mib() -> float:
    """Give the memory of this process that is its own, files mapped into it not counted."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def threads() -> int:
    """Give the number of threads that read."""
    return os.cpu_count() or 1
