"""Which of my samples teach this skill? Instruction-data selection by neuron activations, as a vector search.

>>> from nait_index import NaitIndex                                    # doctest: +SKIP
>>> index = NaitIndex.build("my.nait", "corpus.jsonl", model="Qwen/Qwen2.5-0.5B")
>>> math = index.add_capability("math", "gsm8k.jsonl")
>>> index.query(math, top="10%").to_jsonl("math-10pct.jsonl")
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from nait_index.errors import NaitError

if TYPE_CHECKING:
    from nait_index.capabilities.capability import Capability
    from nait_index.config import ModelConfig, SignatureConfig
    from nait_index.index import NaitIndex
    from nait_index.methods.registry import MethodName
    from nait_index.selection.selection import Selection

__all__ = ["Capability", "MethodName", "ModelConfig", "NaitError", "NaitIndex", "Selection", "SignatureConfig"]
__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # the application decides what is shown of the log

# Imported when first used, so that neither `import nait_index` nor `nait-index --help` waits for them.
_HOMES = {
    "Capability": "nait_index.capabilities.capability",
    "MethodName": "nait_index.methods.registry",
    "ModelConfig": "nait_index.config",
    "NaitIndex": "nait_index.index",
    "Selection": "nait_index.selection.selection",
    "SignatureConfig": "nait_index.config",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'nait_index' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
