"""The devices of this machine that processes of a build run on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from nait_index.config import Device
from nait_index.errors import NaitError


@dataclass(frozen=True, slots=True)
class Seat:
    """What one process runs its model on.

    :param name: as the user calls it. :param visible: the GPUs that the process sees, in the words of the driver.
    """

    name: str
    visible: tuple[str, ...]

    @property
    def device(self) -> Device:
        """The device that the process asks for, of those that it sees."""
        return Device.CPU if not self.visible else Device.SPLIT if self.visible[1:] else Device.CUDA

    def take(self) -> None:
        """Hide all other GPUs from this process, before torch looks for them."""
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self.visible)


def seats_of(devices: Sequence[str], gpus: int) -> tuple[Seat, ...]:
    """Find what the names of devices stand for.

    :param devices: as :class:`~nait_index.config.RunnerConfig` takes them. :param gpus: how many torch sees here.
    :raises NaitError: there is no such GPU.
    """
    # Where some GPUs are hidden already, numbers count those that are not.
    shown = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    seats = []
    for name in devices:
        numbers = [] if name == "cpu" else [int(number) for number in name.split("+")]
        if absent := [number for number in numbers if number >= gpus]:
            which = f"numbers 0 to {gpus - 1}" if gpus else "so use --devices cpu"
            raise NaitError(f"--devices {name}: there is no GPU {absent[0]}; torch sees {gpus} here, {which}")
        seats.append(Seat(name, tuple(shown[number] if shown else str(number) for number in numbers)))
    return tuple(seats)
