"""What the tests share. Nothing here imports torch, transformers, faiss or lancedb before a test asks for a model."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read once, when those libraries are first imported, in this process or in one that a test starts.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
# Numbers are compared with float32 ones computed by hand, on whatever processor.
os.environ["NAIT_INDEX_AUTO_DTYPE"] = "float32"
# Side by side, one thread each: more would wait for one another.
os.environ.setdefault(
    "OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else str(min(2, os.cpu_count() or 1))
)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Where Python may not store bytecode, every command that a test starts would compile all its modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import hypothesis
import pytest
from browser import browser, page  # noqa: F401 - fixtures
from tiny_models import save_family

if TYPE_CHECKING:
    from nait_index.activations.encoder import Encoder

# A slow example on a busy machine is no fault.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

TinyModels = Callable[[str], Path]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Return the folder of a family's tiny model, made on first use. Read-only: copy it to change it."""
    folders: dict[str, Path] = {}

    def folder_of(family: str) -> Path:
        if family not in folders:
            folders[family] = save_family(family, tmp_path_factory.mktemp(family))
        return folders[family]

    return folder_of


@pytest.fixture
def make_encoder() -> Iterator[Callable[..., "Encoder"]]:
    """Make encoders of a folder and settings of :class:`ModelConfig`, and close them after the test."""
    from nait_index.activations.encoder import Encoder
    from nait_index.config import Device, ModelConfig

    made: list[Encoder] = []

    def make(folder: Path | str, **settings: Any) -> Encoder:
        made.append(Encoder(ModelConfig(name=str(folder), **({"device": Device.CPU} | settings))))
        return made[-1]

    yield make
    for encoder in made:
        encoder.close()


@pytest.fixture(scope="session")
def bundled() -> Iterator["Encoder"]:
    """Load the model that comes with the package."""
    from nait_index.activations.encoder import Encoder
    from nait_index.config import Device, ModelConfig

    with Encoder(ModelConfig(device=Device.CPU)) as encoder:
        yield encoder


_LONGEST_FIRST = ("test_ray.py", "test_demo.py", "test_kills.py", "test_docs.py", "test_object_store.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest files first, so that neither of two processes is left with one of them at the end."""
    order = {name: position for position, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many cases the tests in ``fuzz`` have generated."""
    if "cases" in sys.modules:
        counted = sys.modules["cases"].COUNTED
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counted.items()))
        terminalreporter.write_line(f"fuzz: {counted.total():,} cases ({kinds})")
