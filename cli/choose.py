"""What ``query`` and ``core`` share: reading their options, showing and writing a selection."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.methods.names import MethodName

from .options import Place, require_some, row_format_of
from .output import PREVIEW_ROWS, note, preview, print_json, print_table

if TYPE_CHECKING:
    from nait_index.capability import Capability
    from nait_index.index import NaitIndex
    from nait_index.selection.selection import Selection


@dataclass(frozen=True, slots=True)
class Output:
    """Where a selection goes."""

    path: Path | None
    scores: bool
    force: bool
    as_json: bool

    def check(self, top: str) -> None:
        """Refuse a budget that cannot be read and an output that is in the way, before any work is done."""
        from nait_index.selection.budget import Budget
        from nait_index.selection.selection import check_outputs

        Budget.parse(top)
        if self.path is not None:
            check_outputs(self.path, force=self.force)


@dataclass(frozen=True, slots=True)
class Choice:
    """The options of a choosing command."""

    names: tuple[str, ...]
    files: tuple[str, ...]
    method: MethodName
    top: str
    where: str | None
    blend: dict[str, float]
    row_format: str | None
    model: str | None
    device: str
    output: Output

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Choice":
        """Read them, as click gives them, and refuse what cannot be done before any work is."""
        from nait_index.selection.blend import parse_weights

        require_some(options["names"], options["files"])
        own = dict(options)
        output = Output(own.pop("output"), own.pop("scores"), own.pop("force"), own.pop("as_json"))
        output.check(own["top"])
        blend = parse_weights(own["blend"]) if own["blend"] else {}
        return cls(**own | {"method": MethodName(own["method"]), "blend": blend, "output": output})

    def open(self, index: Place) -> "NaitIndex":
        """Open the index, and refuse a method that it lacks the view for."""
        opened = index.open(self.model, self.device)
        opened.check_method(self.method)
        return opened

    def capabilities(self, index: "NaitIndex") -> list["str | Capability"]:
        """Give the stored names, then a capability for each file of examples."""
        made = [index.examples(file, row_format=row_format_of(self.row_format)) for file in self.files]
        for own in made:
            cut = f", {own.truncated} truncated" if own.truncated else ""
            lost = f", {own.rejected} rejected" if own.rejected else ""
            note(f"{own.name}: {len(own)} examples{cut}{lost}")
        return [*self.names, *made]


def show_selection(selection: "Selection", output: Output, what: str) -> None:
    """Write a selection where it was asked for, and print it."""
    if output.path is not None:
        beside = selection.to_jsonl(output.path, force=output.force, scores=output.scores)
        note(f"wrote {output.path} ({len(selection):,} rows) and {beside}")
    if output.as_json:
        print_json(dict(selection.provenance) | {"rows": len(selection), "selected": selection.records()})
    elif output.path is None:
        details = list(selection.details)
        print_table(
            ("rank", "score", *details, "id", "row"),
            [
                (own["rank"], own["score"], *(own[name] for name in details), own["id"], preview(row))
                for own, row in zip(selection.records()[:PREVIEW_ROWS], selection.rows(PREVIEW_ROWS), strict=True)
            ],
        )
    facts = selection.provenance
    more = f"; the first {PREVIEW_ROWS} are shown, -o writes all" if _cut(selection, output) else ""
    note(f"{len(selection):,} of {facts['available']:,} rows {what} by {facts['method']}{more}")


def _cut(selection: "Selection", output: Output) -> bool:
    return output.path is None and not output.as_json and len(selection) > PREVIEW_ROWS
