"""What ``query`` and ``core`` share: reading their options, showing and writing a selection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from nait_index.config import SearchMode
from nait_index.methods.names import MethodName

from .options import Place, require_some, row_format_of
from .output import PREVIEW_ROWS, note, preview, print_json, print_table, rejected_text

if TYPE_CHECKING:
    from nait_index.capabilities.capability import Capability
    from nait_index.index import NaitIndex
    from nait_index.selection.selection import Selection


@dataclass(frozen=True, slots=True)
class Output:
    """Where a selection goes, and how."""

    path: str | None
    target: str | None
    trainers: tuple[str, ...]
    scores: bool
    weights: bool
    force: bool
    as_json: bool

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> "Output":
        """Take what ``output_options`` added out of a command's options, and refuse what is in the way."""
        from nait_index.config import Trainer
        from nait_index.handover.handover import Wanted, check_output

        own = cls(
            path=options.pop("output"),
            target=options.pop("target"),
            trainers=options.pop("trainers"),
            scores=options.pop("scores"),
            weights=options.pop("weighted"),
            force=options.pop("force"),
            as_json=options.pop("as_json"),
        )
        if own.path is not None:
            trainers = tuple(Trainer(one) for one in own.trainers)
            check_output(own.path, Wanted(row_format_of(own.target), trainers, own.scores, own.weights, own.force))
        elif own.target or own.trainers or own.weights:
            raise click.UsageError("--as, --for and --weights are of what is written; say where with -o OUT")
        return own

    def write(self, selection: "Selection") -> None:
        """Write a selection where it was asked for, and say so."""
        if self.path is None:
            return
        written = selection.write(
            self.path,
            format=self.target,
            trainers=self.trainers,
            scores=self.scores,
            weights=self.weights,
            force=self.force,
        )
        beside = [str(own) for own in (written.sidecar, *written.configurations)]
        note(f"wrote {self.path} ({written.rows:,} rows) and {', '.join(beside)}")
        for own in written.notes:
            note(own)


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
    _say_removed(facts)
    more = f"; the first {PREVIEW_ROWS} are shown, -o writes all" if _cut(selection, output) else ""
    by = f" by {facts['method']}" if facts["method"] else ""
    note(f"{len(selection):,} of {facts['available']:,} rows {what}{by}{more}")


def _say_removed(facts: Mapping[str, Any]) -> None:
    if "decontaminated" in facts:
        note(f"decontaminated: {facts['decontaminated']['removed']:,} rows that are like an example were left out")


def _cut(selection: "Selection", output: Output) -> bool:
    return output.path is None and not output.as_json and len(selection) > PREVIEW_ROWS
