"""Matrix products on the host between two forward passes, by the threads that run those.

numpy's BLAS has threads of its own, which go on spinning for a while after every product. Where all cores are the
model's they take time from the next forward pass.
"""

import numpy as np


def multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Multiply two matrices of one dtype."""
    import torch

    product: np.ndarray = torch.mm(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    return product
