"""Small disks, and folders that may not be written: what only root can make, and not everywhere."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)


@contextmanager
def _mounted(place: Path, *arguments: str | Path) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    made = _mount(*arguments, place)
    if made.returncode != 0:
        pytest.skip(f"mounting does not work here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


class SmallDisk:
    """A disk in memory whose size can be changed."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @property
    def used(self) -> int:
        """Bytes that are taken."""
        status = os.statvfs(self.place)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def resize(self, size: int) -> None:
        """Make it larger, or smaller down to what is used."""
        made = _mount("-o", f"remount,size={max(size, 4096)}", self.place)
        assert made.returncode == 0, made.stderr


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[SmallDisk]:
    """Mount a disk in memory; the test is skipped where that does not work."""
    with _mounted(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield SmallDisk(place)


@contextmanager
def read_only(folder: Path, place: Path) -> Iterator[Path]:
    """Show a folder at another place, where nobody may write it; the test is skipped where that does not work."""
    with _mounted(place, "--bind", folder):
        made = _mount("-o", "remount,ro,bind", place)
        assert made.returncode == 0, made.stderr
        yield place
