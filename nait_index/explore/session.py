"""One index and what was asked of it so far: pasted examples, rankings, choices. No HTTP.

Encoding is what takes time, so a pasted set is encoded once, and what was asked lately is kept. A session is used by
one caller at a time; while one is encoding (:meth:`Session.paste`, :meth:`Session.load_model`), another may choose.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from nait_index.capabilities.capability import Capability
from nait_index.capabilities.examples import EncodingProgress
from nait_index.errors import CapabilityError, NaitError
from nait_index.explore.balance import Balance
from nait_index.explore.curve import curve
from nait_index.explore.rows import ranked_rows, shown_row
from nait_index.files import hash_bytes
from nait_index.index import NaitIndex
from nait_index.methods.registry import DEFAULT_METHOD, MethodName, method_of
from nait_index.selection.budget import Budget
from nait_index.selection.selection import Selection

MAX_EXAMPLES = 1_000
"""Pasted examples that are encoded at most; a few dozen already work."""

CURVE_ROWS = 200_000
"""Rows whose scores are drawn at most, or twice as many as are chosen."""

BORDER = 5
PASTED = "examples"
"""What pasted examples are called until they are stored under a name."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be chosen.

    :param names: stored capabilities. :param pasted: the key of a pasted set, which :meth:`Session.paste` gave.
    """

    names: tuple[str, ...] = ()
    pasted: str | None = None
    top: str = "10%"
    method: str = str(DEFAULT_METHOD)
    where: str | None = None

    def each(self) -> list["Ask"]:
        """Ask the same of each example set by itself."""
        stored = [replace(self, names=(name,), pasted=None) for name in self.names]
        return stored if self.pasted is None else [*stored, replace(self, names=())]


class Session:
    """What one index was asked.

    :param index: opened for reading, and where it is its last version, for storing capabilities.
    """

    def __init__(self, index: NaitIndex) -> None:
        self.index = index
        self._pasted: _Recent[Capability] = _Recent(16)
        self._rankings: _Recent[Selection] = _Recent(4)
        self._choices: _Recent[Selection] = _Recent(8)
        self._allowed: _Recent[Any] = _Recent(4)
        self._balance: Balance | None = None

    # ---- what there is ----------------------------------------------------------------------------------------------

    def methods(self) -> list[dict[str, str]]:
        """Give the methods that the index has the views for, each with what its score is."""
        found = []
        for name in MethodName:
            try:
                self.index.check_method(name)
            except NaitError:
                continue
            found.append({"name": str(name), "score": (method_of(name).__doc__ or "").split("\n")[0].rstrip(".")})
        return found

    def capabilities(self) -> list[dict[str, Any]]:
        """Give the stored capabilities."""
        return [
            {"name": own["name"], "examples": own["examples"], "created": own["created"]}
            for own in self.index.capabilities()
        ]

    def load_model(self) -> None:
        """Load the model, so that the first pasted examples need not wait for it."""
        self.index.load_model()

    # ---- examples ---------------------------------------------------------------------------------------------------

    def paste(self, text: str, progress: EncodingProgress | None = None) -> dict[str, Any]:
        """Encode pasted examples, unless they were before.

        :param progress: told how many are encoded, and of how many; it may raise, to stop.
        :returns: the key to choose by, and what became of the examples.
        :raises NaitError: they cannot be read, are too many, or none can be used.
        """
        key = hash_bytes(text.encode("utf-8", "surrogatepass"))
        made = self._pasted.get(key)
        if made is None:
            made = self.index.make_capability_from(text, PASTED, limit=MAX_EXAMPLES, progress=progress)
            # The activations are what is large, and nothing here asks for them again.
            made = self._pasted.put(key, replace(made, pooled=None))
        return {
            "pasted": key,
            "examples": len(made),
            "truncated": made.truncated,
            "rejected": made.rejected,
            "reasons": list(made.reasons[:3]),
        }

    def keep(self, pasted: str, name: str, *, force: bool = False) -> dict[str, Any]:
        """Store a pasted set as a capability; the index's version moves on.

        :raises CapabilityError: the name is taken or unusable. :raises StoreError: the index is an old version.
        """
        name = name.strip()
        if not force and name in {own["name"] for own in self.capabilities()}:
            raise CapabilityError(f"a capability '{name}' is stored already; tick Replace, or choose another name")
        kept = self.index.store_capability(self._made(pasted), name, force=force)
        # Choices say which version of the index they are of, and a stored capability may have become another one.
        for recent in (self._choices, self._rankings):
            recent.clear()
        return {"name": kept.name, "examples": len(kept), "version": self.index.manifest.version}

    # ---- choosing ---------------------------------------------------------------------------------------------------

    def look(self, ask: Ask) -> dict[str, Any]:
        """Choose, and say what was chosen: counts, curves of scores, the rows near the cut, what is over-represented.

        :raises NaitError: the budget, method or filter cannot be used, or an example set is not there any more.
        """
        choice = self.choose(ask)
        if self._balance is None:
            self._balance = Balance(self.index)
        allowed = self._allowed.of(ask.where, lambda: self.index.columns.allowed(ask.where))
        return {
            "rows": len(choice),
            "available": choice.provenance.available,
            "version": choice.provenance.version,
            "reasons": list(choice.provenance.reasons or ()),
            "skills": [self._skill(one) for one in ask.each()],
            "balance": self._balance.of(choice.ordinals, allowed),
        }

    def page(self, ask: Ask, first: int, count: int) -> list[dict[str, Any]]:
        """Give some of the chosen rows, best first; ``first`` counts from 0."""
        choice = self.choose(ask)
        places = range(len(choice))[first : first + count]
        return self._shown(choice, places)

    def row(self, sample_id: str) -> dict[str, Any]:
        """Give all of one row."""
        return shown_row(self.index.rows([sample_id])[0], whole=True)

    def write(self, ask: Ask, folder: Path) -> tuple[Path, Path]:
        """Write what is chosen to a folder as ``query -o`` does: the rows, and beside them what they are."""
        words = "-".join([*(ask.names or (PASTED,)), ask.top.replace("%", "pct")])
        path = folder / (re.sub(r"[^A-Za-z0-9_.-]", "_", words)[:120] + ".jsonl")
        return path, self.choose(ask).to_jsonl(path)

    def choose(self, ask: Ask) -> Selection:
        """Choose as :meth:`NaitIndex.query` does.

        :raises NaitError: the budget, method or filter cannot be used, or an example set is not there any more.
        """
        return self._choices.of(ask, lambda: self._choose(ask))

    def _choose(self, ask: Ask) -> Selection:
        budget = Budget.parse(ask.top)
        self.index.check_method(ask.method)
        capabilities = self._capabilities(ask)
        linear = method_of(MethodName(ask.method)).feature is not None
        if len(capabilities) == 1 and not budget.is_auto and not linear:
            # It scores every row by itself, whatever the budget: the whole ranking begins with what is chosen.
            whole = self._ranking(replace(ask, top="100%"))
            provenance = replace(whole.provenance, budget=budget.text)
            return whole.first(budget.resolve(provenance.available), provenance)
        return self.index.query(capabilities, top=ask.top, method=ask.method, where=ask.where)

    def _ranking(self, ask: Ask) -> Selection:
        """Rank for one example set, further than what is chosen."""
        return self._rankings.of(
            ask, lambda: self.index.query(self._capabilities(ask), top=ask.top, method=ask.method, where=ask.where)
        )

    def _skill(self, ask: Ask) -> dict[str, Any]:
        """Describe what is chosen for one example set: the curve of scores, and the rows on both sides of the cut."""
        choice = self.choose(ask)
        cut, deep = len(choice), max(CURVE_ROWS, 2 * len(choice))
        whole = deep >= choice.provenance.available
        ranking = self._ranking(replace(ask, top="100%" if whole else str(deep)))
        # By their ids, since methods that look twice at the rows near the cut may order them differently in the end.
        chosen, near = set(choice.ids), range(max(0, cut - BORDER), min(len(ranking), cut + 2 * BORDER))
        return {
            "name": ask.names[0] if ask.names else PASTED,
            "curve": curve(ranking.scores, cut),
            "cut": cut,
            "score": choice.scores[-1],
            "depth": len(ranking),
            "last": self._shown(choice, range(cut)[-BORDER:]),
            "next": self._shown(ranking, [at for at in near if ranking.ids[at] not in chosen][:BORDER]),
        }

    def _shown(self, selection: Selection, places: Sequence[int]) -> list[dict[str, Any]]:
        rows = self.index.rows([selection.ids[at] for at in places]) if places else []
        details = {name: [own[at] for at in places] for name, own in selection.details.items()}
        return ranked_rows(rows, [at + 1 for at in places], [selection.scores[at] for at in places], details)

    def _capabilities(self, ask: Ask) -> list[str | Capability]:
        if not ask.names and ask.pasted is None:
            raise CapabilityError("paste some examples, or pick a stored capability")
        return [*ask.names] if ask.pasted is None else [*ask.names, self._made(ask.pasted)]

    def _made(self, pasted: str) -> Capability:
        made = self._pasted.get(pasted)
        if made is None:
            raise CapabilityError("these examples are not held any more; press 'Find rows' once more")
        return made


class _Recent(OrderedDict[Hashable, Value]):
    """What was made lately.

    :param most: how much is kept.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def of(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Give what was made for a key, or make it."""
        if key in self:
            self.move_to_end(key)
            return self[key]
        return self.put(key, make())

    def put(self, key: Hashable, value: Value) -> Value:
        """Keep something in place of the oldest."""
        self[key] = value
        while len(self) > self._most:
            self.popitem(last=False)
        return value
