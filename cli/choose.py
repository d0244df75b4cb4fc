"""What ``query`` and ``core`` share: reading their options, showing and writing a selection."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from nait_index.config import SearchMode
from nait_index.methods.registry import MethodName

from .options import Place, require_some, row_format_of
from .output import PREVIEW_ROWS, note, preview, print_json, print_table, rejected_text

if TYPE_CHECKING:
    from nait_index.capabilities.capability import Capability
    from nait_index.handover.handover import OutputOptions
    from nait_index.index import NaitIndex
    from nait_index.selection.selection import Selection


@dataclass(frozen=True, slots=True)
class Output:
    """Where a selection is written, if anywhere, and whether it is printed as JSON."""

    options: "OutputOptions | None"
    as_json: bool

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> "Output":
        """Take what ``output_options`` added out of a command's options, and check it before any work is done."""
        from nait_index.handover.handover import OutputOptions

        path, as_json = options.pop("output"), options.pop("as_json")
        wishes = {
            "format": options.pop("target"),
            "trainers": options.pop("trainers"),
            "weights": options.pop("weighted"),
        }
        if path is None and any(wishes.values()):
            raise click.UsageError("--as, --for and --weights apply to what -o writes; add -o OUT")
        wishes |= {"scores": options.pop("scores"), "force": options.pop("force")}
        return cls(None if path is None else OutputOptions.parse(path, **wishes), as_json)

    def write(self, selection: "Selection") -> None:
        """Write a selection if that was asked for, and report the files."""
        if self.options is None:
            return
        written = selection.write_output(self.options)
        beside = [str(path) for path in (written.sidecar, *written.configurations)]
        note(f"wrote {written.path} ({written.rows:,} rows) and {', '.join(beside)}")
        for sentence in written.notes:
            note(sentence)


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
    decontaminate: bool
    output: Output

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Choice":
        """Read them, as click gives them, and refuse what cannot be done before any work is."""
        from nait_index.selection.blend import parse_weights
        from nait_index.selection.budget import Budget

        require_some(options["names"], options["files"])
        own = dict(options)
        Budget.parse(own["top"])
        output = Output.taken_from(own)
        blend = parse_weights(own["blend"]) if own["blend"] else {}
        return cls(**own | {"method": MethodName(own["method"]), "blend": blend, "output": output})

    def open(self, index: Place) -> "NaitIndex":
        """Open the index, and refuse a method that it lacks the view for."""
        opened = index.open(self.model, self.device)
        opened.check_method(self.method)
        return opened

    def capabilities(self, index: "NaitIndex") -> list["str | Capability"]:
        """Give the stored names, then a capability for each file of examples."""
        made = [index.make_capability(file, row_format=row_format_of(self.row_format)) for file in self.files]
        for own in made:
            cut = f", {own.truncated} truncated" if own.truncated else ""
            note(f"{own.name}: {len(own)} examples{cut}{rejected_text(own)}")
        return [*self.names, *made]

    def query(
        self,
        index: "NaitIndex",
        combine: str,
        weights: dict[str, float] | None,
        search: str = SearchMode.EXACT,
    ) -> "Selection":
        """Choose the rows."""
        return index.query(
            self.capabilities(index),
            top=self.top,
            method=self.method,
            where=self.where,
            combine=combine,
            weights=weights,
            blend=self.blend,
            search=search,
            decontaminate=self.decontaminate,
        )


def show_selection(selection: "Selection", output: Output, what: str) -> None:
    """Write a selection where it was asked for, and print it."""
    output.write(selection)
    if output.as_json:
        print_json(selection.provenance.to_dict() | {"rows": len(selection), "selected": selection.records()})
    elif output.options is None:
        details = list(selection.details)
        print_table(
            ("rank", "score", *details, "id", "row"),
            [
                (own["rank"], own["score"], *(own[name] for name in details), own["id"], preview(row))
                for own, row in zip(selection.records()[:PREVIEW_ROWS], selection.rows(PREVIEW_ROWS), strict=True)
            ],
        )
    provenance = selection.provenance
    if provenance.decontaminated is not None:
        removed = provenance.decontaminated.removed
        note(f"decontaminated: {removed:,} rows that are like an example were left out")
    more = f"; the first {PREVIEW_ROWS} are shown, -o writes all" if _cut(selection, output) else ""
    by = f" by {provenance.method}" if provenance.method else ""
    note(f"{len(selection):,} of {provenance.available:,} rows {what}{by}{more}")


def _cut(selection: "Selection", output: Output) -> bool:
    return output.options is None and not output.as_json and len(selection) > PREVIEW_ROWS
