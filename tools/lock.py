"""Print a lock of all that the package and its extras install: ``python -m tools.lock > requirements.lock``.

pip resolves, and installs nothing. The versions are those for the Python and the system that run this.
"""

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EXTRAS = "explore,export,gradients,prove,remote,report,s3"


def main() -> None:
    """Resolve, and print a line a package."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report), *sys.argv[1:]]
        subprocess.run([sys.executable, "-m", "pip", *words, f".[{EXTRAS}]"], check=True, stdout=sys.stderr)
        installed: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    facts = ((package["metadata"]["name"].lower(), package["metadata"]["version"]) for package in installed)
    system = f"Python {platform.python_version_tuple()[0]}.{platform.python_version_tuple()[1]}, {platform.system()}"
    sys.stdout.write(f"# What nait-index[{EXTRAS}] installs with {system}; made by tools/lock.py.\n")
    for name, version in sorted(facts):
        if name != "nait-index":
            sys.stdout.write(f"{name}=={version.partition('+')[0]}\n")


if __name__ == "__main__":
    main()
