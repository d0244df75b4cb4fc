"""Where the activations of tokens lie and how far they spread, told robustly: a few tokens lie very far off."""

from dataclasses import dataclass

import numpy as np

from nait_index.errors import ModelError

# Attention sinks lie a hundred times as far off as other tokens; nothing else lies so far.
_FAR = 10.0
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Spread:
    """Centre c (H,) float32, the geometric median, and scale s, the median distance from it over √H."""

    center: np.ndarray
    scale: float

    @classmethod
    def of(cls, sample: np.ndarray) -> "Spread":
        """Find them by Weiszfeld's iteration on some tokens (m, H).

        :raises ModelError: the tokens are all the same.
        """
        center = np.median(sample, axis=0)
        for _ in range(20):
            weights = 1 / np.maximum(np.linalg.norm(sample - center, axis=1), 1e-6)
            center = (weights @ sample) / weights.sum()
        scale = float(np.median(np.linalg.norm(sample - center, axis=1))) / sample.shape[1] ** 0.5
        if not scale > 0:
            raise ModelError("the activations are all the same; nothing can be learned from them")
        return cls(center.astype(np.float32), scale)

    def near(self, tokens: np.ndarray) -> np.ndarray:
        """Tell which tokens (m,) bool lie within ten times the median distance."""
        limit = _FAR * self.scale * tokens.shape[1] ** 0.5
        chunks = (tokens[start : start + _CHUNK] for start in range(0, len(tokens), _CHUNK))
        return np.concatenate([np.linalg.norm(own - self.center, axis=1) < limit for own in chunks])
