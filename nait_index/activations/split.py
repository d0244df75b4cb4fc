"""Models too large for one GPU: accelerate spreads their layers over all GPUs that this process sees.

What does not fit there either waits in main memory, and is moved whenever it is used; such weights have no numbers
where the model itself looks for them.
"""

import logging
from typing import TYPE_CHECKING, Any

from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)

_NOT_GPUS = ("cpu", "disk")


def split_options() -> dict[str, Any]:
    """Return the options of transformers that split a model by the memory of the GPUs.

    :raises ModelError: accelerate is not installed.
    """
    try:
        import accelerate  # noqa: F401
    except ImportError as error:
        raise ModelError(f"--device split needs accelerate ({error}): pip install 'nait-index[split]'") from error
    # It warns of weights that have no numbers yet; :func:`first_device` does so in this package's words.
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)
    return {"device_map": "auto"}


def first_device(module: "nn.Module") -> "torch.device":
    """Return the device that takes the inputs of a model which was split, and returns its outputs."""
    import torch

    devices = [*getattr(module, "hf_device_map", {}).values()]
    if waiting := sum(device in _NOT_GPUS for device in devices):
        logger.warning(
            "%d of the %d parts of the model do not fit on the GPUs and wait in main memory, which is slow; name "
            "more GPUs, or try --dtype bfloat16",
            waiting,
            len(devices),
        )
    first = next((device for device in devices if device not in _NOT_GPUS), "cpu")
    return torch.device("cuda", first) if isinstance(first, int) else torch.device(first)


def stored(module: "nn.Module", name: str) -> "torch.Tensor":
    """Return a parameter of a model with its numbers, wherever they wait.

    :param name: of the parameter, as in the model's state.
    """
    from accelerate.utils import align_module_device

    path, _, last = name.rpartition(".")
    holder = module.get_submodule(path)
    with align_module_device(holder, execution_device="cpu"):
        tensor: torch.Tensor = getattr(holder, last).detach().clone()
    return tensor
