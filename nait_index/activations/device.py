"""Where a model runs: device, dtype and threads."""

import os
from typing import TYPE_CHECKING, Any

from nait_index.config import Device, Precision
from nait_index.errors import ModelError
from nait_index.spelling import parse_enum

if TYPE_CHECKING:
    import torch

AUTO_DTYPE = "NAIT_INDEX_AUTO_DTYPE"
"""Environment variable that sets the meaning of ``--dtype auto``, for machines that must agree on it."""


def device_of(device: Device) -> "torch.device":
    """Resolve the device setting.

    :raises ModelError: a GPU was asked for, and torch sees none.
    """
    import torch

    if device is Device.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device is not Device.CPU and not torch.cuda.is_available():
        raise ModelError(f"--device {device} was asked for, but torch sees no GPU here; use --device cpu")
    return torch.device("cpu" if device is Device.CPU else "cuda")


def gpu_count() -> int:
    """Return how many GPUs torch sees."""
    import torch

    return torch.cuda.device_count()


def settled_precision(dtype: Precision, device: Device, *, on_cpu: bool = True) -> Precision:
    """Resolve the dtype setting, for a device that this machine or another one has.

    :param on_cpu: whether ``auto`` may mean bfloat16 on a CPU too, if the processor multiplies in it.
    """
    if dtype is Precision.AUTO:
        dtype = parse_enum(Precision, os.environ.get(AUTO_DTYPE, Precision.AUTO), f"{AUTO_DTYPE} value", ModelError)
    if dtype is not Precision.AUTO:
        return dtype
    target = device_of(device).type if device is Device.AUTO else device
    native = target in (Device.CUDA, Device.SPLIT) or (on_cpu and target == Device.CPU and cpu_multiplies_bfloat16())
    return Precision.BFLOAT16 if native else Precision.FLOAT32


def cpu_multiplies_bfloat16() -> bool:
    """Report whether the processor has bfloat16 instructions; without them bfloat16 is slower than float32."""
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def thread_count() -> int:
    """Return the number of threads torch computes with: the order of a sum, and so its last bit, can depend on it."""
    import torch

    return torch.get_num_threads()


def use_threads(count: int) -> None:
    """Set the number of threads torch computes with in this process."""
    import torch

    torch.set_num_threads(count)
