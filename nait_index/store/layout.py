"""Where everything lies inside an index directory."""

from pathlib import Path


class Layout:
    """Paths of one index.

    The database is the truth; ``engine`` can be made from it again; ``staging`` serves a running build.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.manifest = self.root / "manifest.json"
        self.database = self.root / "lance"
        self.samples = self.database / "samples.lance"
        self.capabilities = self.database / "capabilities.lance"
        self.basis = self.root / "basis.safetensors"
        self.components = self.root / "components.safetensors"
        self.warmup = self.root / "warmup.safetensors"
        self.engine = self.root / "engine"
        self.rejected = self.root / "rejected.jsonl"
        self.staging = self.root / "staging"
        self.lock = self.root / ".lock"
