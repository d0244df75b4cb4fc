"""Activations to signatures, on the device that the model runs on: only the signatures leave it.

The formulas are those of :mod:`nait_index.signatures.features`; a CPU is one device of several.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nait_index.signatures.features import POOLINGS, Feature, layer_slices
from nait_index.signatures.pca import BASIS_OF, LEVELS, Compressor
from nait_index.signatures.views import dense_column

if TYPE_CHECKING:
    import torch

_RAW = (Feature.MEAN, Feature.DRIFT)
"""The feature of one pooling alone, by the number of the pooling."""

_HOST_ROWS = 256
"""Rows of an array that are projected at a time."""


class Projector:
    """The compressor of an index on one device.

    :param device: of torch.
    """

    def __init__(self, compressor: Compressor, device: "torch.device | str" = "cpu") -> None:
        import torch

        def put(values: np.ndarray) -> "torch.Tensor":
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        self._device = device
        self._layers = layer_slices(compressor.widths)
        self._total = sum(compressor.widths)
        self._center = put(compressor.center)
        self._components = {name: put(basis.components) for name, basis in compressor.bases.items()}
        self._steps = {feature: put(compressor.steps[feature]) for feature in POOLINGS}

    def columns(self, pooled: "torch.Tensor") -> "dict[str, torch.Tensor]":
        """Turn pooled activations (n, 2, D) into the columns of their signatures: (n, d) each, by name."""
        import torch

        if not self._components:
            return {dense_column(feature): self._vectors(pooled, feature) for feature in POOLINGS}
        sums = {feature: pooled.new_zeros(len(pooled), len(self._steps[feature])).float() for feature in POOLINGS}
        for pooling, raw in enumerate(_RAW):
            for start, centered in self._centered(pooled, pooling):
                self._add(sums[raw], centered, raw, start)
                self._add(sums[Feature.UNIT], self._scaled(centered), Feature.UNIT, pooling * self._total + start)
        codes = {feature: torch.round(total / self._steps[feature]) for feature, total in sums.items()}
        return {dense_column(feature): code.clamp(-LEVELS, LEVELS).to(torch.int8) for feature, code in codes.items()}

    def columns_of(self, pooled: np.ndarray) -> dict[str, np.ndarray]:
        """Turn an array (n, 2, D) float32, which may be a mapped file, into columns."""
        import torch

        parts = []
        for start in range(0, max(len(pooled), 1), _HOST_ROWS):
            block = torch.from_numpy(np.array(pooled[start : start + _HOST_ROWS])).to(self._device)
            parts.append({name: values.cpu().numpy() for name, values in self.columns(block).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _add(self, total: "torch.Tensor", block: "torch.Tensor", feature: Feature, start: int) -> None:
        """Add to coordinates (n, d) what a block (n, N) of vectors contributes, whose neurons begin at ``start``."""
        components = self._components[BASIS_OF[feature]][: total.shape[1], start : start + block.shape[1]]
        total.addmm_(block, components.float().T)

    def _vectors(self, pooled: "torch.Tensor", feature: Feature) -> "torch.Tensor":
        """Return whole vectors (n, F)."""
        import torch

        blocks = [block for pooling in POOLINGS[feature] for _, block in self._centered(pooled, pooling)]
        return torch.cat([self._scaled(block) if feature is Feature.UNIT else block for block in blocks], dim=1)

    def _centered(self, pooled: "torch.Tensor", pooling: int) -> "Iterator[tuple[int, torch.Tensor]]":
        """Yield each layer of one pooling less the corpus mean (n, N), and the number of its first neuron."""
        for neurons in self._layers:
            yield neurons.start, pooled[:, pooling, neurons].float() - self._center[pooling, neurons]

    def _scaled(self, centered: "torch.Tensor") -> "torch.Tensor":
        """Scale the rows of a block to length 1/√(2L); a row of zeros stays zero."""
        import torch

        lengths = torch.linalg.vector_norm(centered, dim=1, keepdim=True) * float(np.sqrt(2 * len(self._layers)))
        return torch.where(lengths > 0, centered / lengths, 0)
