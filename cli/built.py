"""What a build, an addition or a rebuild did, as it is shown."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from .output import fidelity_text, note, print_facts

if TYPE_CHECKING:
    from nait_index.index import NaitIndex


def show_built(built: "NaitIndex", as_json: bool) -> None:
    """Print the report of a build that was just finished."""
    report = built.report
    assert report is not None
    facts = asdict(report)
    if not as_json:
        facts["fidelity"] = fidelity_text(report.fidelity)
        shift = facts.pop("shift")
        if shift is not None:
            facts["left out by signatures"] = f"{shift['new']:.1%} of the new rows, {shift['first']:.1%} of the first"
    print_facts(facts, as_json)
    for warning in report.warnings:
        note(warning)
    if report.rejected:
        note(f"rejected rows, with reasons: {built.layout.rejected}")
    if report.truncated:
        note(f"truncated rows were cut at {built.manifest.fingerprint.max_length} tokens")
