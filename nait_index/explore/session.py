"""One index and the questions asked about it so far: pasted examples, rankings, choices. No HTTP.

Encoding takes the most time, so pasted examples are encoded once, and recent results are kept. A session is used by
one caller at a time; while one is encoding (:meth:`Session.encode`, :meth:`Session.load_model`), another may choose.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from nait_index.capabilities.capability import Capability
from nait_index.capabilities.examples import EncodingProgress
from nait_index.errors import CapabilityError, CapabilityExistsError, NaitError, UnknownCapabilityError
from nait_index.explore.display import CorpusGroups, curve, shown_row
from nait_index.explore.thumbs import Thumbs, as_examples, refined, refusal_of
from nait_index.files import hash_bytes
from nait_index.index import NaitIndex
from nait_index.methods.base import Examples
from nait_index.methods.registry import DEFAULT_METHOD, MethodName, method_of
from nait_index.selection.budget import Budget
from nait_index.selection.selection import Selection

MAX_EXAMPLES = 1_000
"""Pasted examples that are encoded at most; a few dozen are enough."""

CURVE_ROWS = 200_000
"""Rows whose scores are drawn at most, or twice as many as are chosen."""

BORDER = 5
"""Rows that are shown on each side of the cut."""

PASTED = "examples"
"""The name of pasted examples until they are stored under another."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ChoiceRequest:
    """What is to be chosen.

    :param names: stored capabilities. :param pasted: the key of pasted examples, as :meth:`Session.encode` returned it.
    :param thumbs: rows that refine the examples.
    """

    names: tuple[str, ...] = ()
    pasted: str | None = None
    top: str = "10%"
    method: str = str(DEFAULT_METHOD)
    where: str | None = None
    thumbs: Thumbs = field(default_factory=Thumbs)

    def each(self) -> list["ChoiceRequest"]:
        """Return the same request for each set of examples alone."""
        stored = [replace(self, names=(name,), pasted=None) for name in self.names]
        return stored if self.pasted is None else [*stored, replace(self, names=())]


class Session:
    """The state of one exploration of an index.

    :param index: opened for reading and, if it is the latest version, for storing capabilities.
    """

    def __init__(self, index: NaitIndex) -> None:
        self.index = index
        self._encoded: _Recent[Capability] = _Recent(16)
        self._rankings: _Recent[Selection] = _Recent(4)
        self._choices: _Recent[Selection] = _Recent(8)
        self._marked: _Recent[Examples] = _Recent(4)
        self._refined: _Recent[Capability] = _Recent(8)
        self._allowed: _Recent[Any] = _Recent(4)
        self._corpus: CorpusGroups | None = None

    def methods(self) -> list[dict[str, str]]:
        """List the methods that the index has the views for: what each one's score is, and why it takes no thumbs."""
        usable = []
        for name in MethodName:
            try:
                self.index.check_method(name)
            except NaitError:
                continue
            score = (method_of(name).__doc__ or "").split("\n")[0].rstrip(".")
            usable.append({"name": str(name), "score": score, "refusal": refusal_of(name)})
        return usable

    def capabilities(self) -> list[dict[str, Any]]:
        """List the stored capabilities."""
        shown = ("name", "examples", "created")
        return [{key: capability[key] for key in shown} for capability in self.index.capabilities()]

    def load_model(self) -> None:
        """Load the model, so that the first pasted examples need not wait for it."""
        self.index.load_model()

    def encode(self, text: str, progress: EncodingProgress | None = None) -> dict[str, Any]:
        """Encode pasted examples, unless they were encoded recently.

        :param progress: called with the numbers of encoded and of all examples; it may raise, to stop.
        :returns: the key to choose by, and how many examples were used, cut, without an answer and rejected, and
            what to know of them.
        :raises NaitError: they cannot be read, there are too many, or none can be used.
        """
        key = hash_bytes(text.encode("utf-8", "surrogatepass"))

        def encode() -> Capability:
            capability = self.index.make_capability_from(text, PASTED, limit=MAX_EXAMPLES, progress=progress)
            return replace(capability, pooled=None)  # the activations take the most memory and are not needed again

        encoded = self._encoded.get_or_make(key, encode)
        return {
            "pasted": key,
            "examples": len(encoded),
            "truncated": encoded.truncated,
            "questions": encoded.questions,
            "rejected": encoded.rejected,
            "reasons": list(encoded.reasons[:3]),
            "warnings": encoded.warnings,
        }

    def store(self, pasted: str, name: str, *, force: bool = False) -> dict[str, Any]:
        """Store pasted examples as a capability, which makes a new version of the index.

        :raises CapabilityError: the name is taken or unusable. :raises StoreError: the index is an old version.
        """
        name = name.strip()
        rows = self.index.columns
        try:
            stored = self.index.store_capability(self._pasted(pasted), name, force=force)
        except CapabilityExistsError:
            message = f"a capability '{name}' is stored already; tick Replace, or choose another name"
            raise CapabilityExistsError(message) from None
        # Choices name the version of the index, and a stored capability may have been replaced.
        for recent in (self._choices, self._rankings, self._refined):
            recent.clear()
        if self.index.columns is not rows:  # another process has changed them
            self._marked.clear()
            self._allowed.clear()
            self._corpus = None
        return {"name": stored.name, "examples": len(stored), "version": self.index.manifest.version}

    def describe(self, request: ChoiceRequest) -> dict[str, Any]:
        """Choose rows, and return counts, curves of scores, rows near the cut, and what is over-represented.

        :raises NaitError: the budget, method or filter cannot be used, or the pasted examples are no longer held.
        """
        choice = self.choose(request)
        if self._corpus is None:
            self._corpus = CorpusGroups(self.index)
        allowed = self._allowed.get_or_make(request.where, lambda: self.index.columns.allowed(request.where))
        return {
            "rows": len(choice),
            "available": choice.provenance.available,
            "version": choice.provenance.version,
            "reasons": list(choice.provenance.reasons or ()),
            "skills": [self._describe_one(single) for single in request.each()],
            "balance": self._corpus.compare(choice.ordinals, allowed),
        }

    def rows(self, request: ChoiceRequest, first: int, count: int) -> list[dict[str, Any]]:
        """Return some of the chosen rows, best first; ``first`` counts from 0."""
        choice = self.choose(request)
        return self._ranked_rows(choice, range(len(choice))[first : first + count])

    def row(self, sample_id: str) -> dict[str, Any]:
        """Return one row with all of its text."""
        row = shown_row(self.index.rows([sample_id])[0], self.index.manifest.reading, whole=True)
        return row | {"read": self.index.row_read(sample_id).to_dict()}

    def write(self, request: ChoiceRequest, folder: Path) -> tuple[Path, Path]:
        """Write the chosen rows and their sidecar into a folder, as ``query -o`` does."""
        words = "-".join([*(request.names or (PASTED,)), request.top.replace("%", "pct")])
        path = folder / (re.sub(r"[^A-Za-z0-9_.-]", "_", words)[:120] + ".jsonl")
        return path, self.choose(request).to_jsonl(path)

    def choose(self, request: ChoiceRequest) -> Selection:
        """Choose rows as :meth:`NaitIndex.query` does.

        :raises NaitError: the budget, method, filter or thumbs cannot be used, or the pasted examples are no longer
            held.
        """
        return self._choices.get_or_make(request, lambda: self._choose(request))

    def _choose(self, request: ChoiceRequest) -> Selection:
        budget = Budget.parse(request.top)
        self.index.check_method(request.method)
        request.thumbs.check(MethodName(request.method))
        is_linear = method_of(MethodName(request.method)).feature is not None
        if len(request.each()) == 1 and not budget.is_auto and not is_linear:
            # Each row's score is independent of the budget: the choice is the beginning of the whole ranking.
            whole = self._ranking(replace(request, top="100%"))
            chosen = whole.first(budget.resolve(whole.provenance.available))
            return replace(chosen, provenance=replace(whole.provenance, budget=budget.text))
        return self._query(request)

    def _query(self, request: ChoiceRequest) -> Selection:
        capabilities = self._capabilities(request)
        selection = self.index.query(capabilities, top=request.top, method=request.method, where=request.where)
        return replace(selection, provenance=request.thumbs.record(selection.provenance))

    def _ranking(self, request: ChoiceRequest) -> Selection:
        """Rank rows for one set of examples, beyond those that are chosen."""
        return self._rankings.get_or_make(request, lambda: self._query(request))

    def _describe_one(self, request: ChoiceRequest) -> dict[str, Any]:
        """Describe what one set of examples chooses: the curve of scores, and the rows on both sides of the cut."""
        choice = self.choose(request)
        cut, depth = len(choice), max(CURVE_ROWS, 2 * len(choice))
        is_whole = depth >= choice.provenance.available
        ranking = self._ranking(replace(request, top="100%" if is_whole else str(depth)))
        # Compared by id, since methods that rescore the rows near the cut may order them differently.
        chosen, near = set(choice.ids), range(max(0, cut - BORDER), min(len(ranking), cut + 2 * BORDER))
        return {
            "name": request.names[0] if request.names else PASTED,
            "curve": curve(ranking.scores, cut),
            "cut": cut,
            "score": choice.scores[-1],
            "depth": len(ranking),
            "last": self._ranked_rows(choice, range(cut)[-BORDER:]),
            "next": self._ranked_rows(ranking, [rank for rank in near if ranking.ids[rank] not in chosen][:BORDER]),
        }

    def _ranked_rows(self, selection: Selection, ranks: Sequence[int]) -> list[dict[str, Any]]:
        """Return the rows at some ranks, counted from 0, each with its rank from 1, its score and its details."""
        rows = self.index.rows([selection.ids[rank] for rank in ranks]) if ranks else []
        return [
            {"rank": rank + 1, "score": selection.scores[rank]}
            | {name: values[rank] for name, values in selection.details.items()}
            | shown_row(row, self.index.manifest.reading)
            for rank, row in zip(ranks, rows, strict=True)
        ]

    def _capabilities(self, request: ChoiceRequest) -> list[str | Capability]:
        if not request.names and request.pasted is None:
            raise CapabilityError("paste some examples, or pick a stored capability")
        if request.thumbs:
            return [self._refine(single) for single in request.each()]
        return [*request.names] if request.pasted is None else [*request.names, self._pasted(request.pasted)]

    def _refine(self, single: ChoiceRequest) -> Capability:
        """Return one set of examples, refined; the same object again, which keeps the query that was made of it."""
        method, thumbs = MethodName(single.method), single.thumbs

        def examples(ids: frozenset[str]) -> Examples:
            return self._marked.get_or_make((ids, method), lambda: as_examples(self.index.columns, ids, method))

        def refine() -> Capability:
            key, names = single.pasted, single.names
            plain = self.index.capability(names[0]) if key is None else self._pasted(key)
            return refined(plain, examples(thumbs.liked), examples(thumbs.disliked))

        return self._refined.get_or_make((single.names, single.pasted, method, thumbs), refine)

    def _pasted(self, key: str) -> Capability:
        capability = self._encoded.get(key)
        if capability is None:
            raise UnknownCapabilityError("these examples are no longer held; press 'Find rows' again")
        return capability


class _Recent(OrderedDict[Hashable, Value]):
    """The most recently used values.

    :param most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key; make it if it is not held, in place of the one unused for longest."""
        if key not in self:
            self[key] = make()
            while len(self) > self._most:
                self.popitem(last=False)
        self.move_to_end(key)
        return self[key]
