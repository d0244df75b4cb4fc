"""Tells how many cases were generated."""

import pytest
from cases import COUNTED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTED:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(COUNTED.items()))
        terminalreporter.write_line(f"fuzz: {COUNTED.total():,} cases ({kinds})")
