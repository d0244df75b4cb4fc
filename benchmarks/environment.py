"""The machine, versions and command of a measurement."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nait_index.store.manifest import library_versions

ROOT = Path(__file__).parent.parent

_MEASURED = ("nait_index", "cli", "benchmarks/*.py")


def environment() -> dict[str, Any]:
    """Return commit, machine, versions and the command that is running."""
    status = _git("status", "--porcelain", "--untracked-files=no", "--", *_MEASURED)
    return {
        "commit": _git("rev-parse", "HEAD") + (" with changes" if status else ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python -m " + " ".join([_module(), *(_short(word) for word in sys.argv[1:])]),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "versions": library_versions(),
    }


def shared_data() -> Path:
    """Return the folder of real data: ``$NAIT_SHARED/data``, by default beside the project."""
    folder = Path(os.environ.get("NAIT_SHARED") or ROOT.parent / "shared") / "data"
    if not (folder / "pool.jsonl").is_file():
        sys.exit(f"no data at {folder}; point NAIT_SHARED at the folder that holds data/pool.jsonl")
    return folder


def _module() -> str:
    path = Path(sys.argv[0]).resolve()
    relative = path.relative_to(ROOT).with_suffix("") if path.is_relative_to(ROOT) else Path(path.parent.name)
    return ".".join(relative.parts)


def _short(word: str) -> str:
    """Shorten absolute paths, which differ between machines."""
    name, equals, path = word.rpartition("=")
    return f"{name}{equals}{Path(path).name}" if path.startswith("/") else word


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
