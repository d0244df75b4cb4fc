"""How many cases are generated: a few in the ordinary suite, many with ``NAIT_FUZZ=long``."""

import os
from collections import Counter

from hypothesis import HealthCheck, Phase, settings

LONG = os.environ.get("NAIT_FUZZ") == "long"

COUNTED: Counter[str] = Counter()
"""Cases run, by kind; told at the end of the run."""


def cases(quick: int, long: int) -> settings:
    """Set how many cases a test generates. The quick form generates the same ones every time."""
    return settings(
        max_examples=long if LONG else quick,
        derandomize=not LONG,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=LONG,
    )
