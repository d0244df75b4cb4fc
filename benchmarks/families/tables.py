"""Tables of what became of every family of transformers."""

from collections import Counter, defaultdict
from typing import Any

Rows = list[tuple[str, list[str]]]

_MARKS = {"whole": "", "found, not run": " (found, not run)", "by hand": " (`--site`)"}


def counts_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Count the families by what became of them."""
    families = result["families"].values()
    counts = Counter(each["outcome"] for each in families)
    whole = [each for each in families if each["outcome"] == "whole"]
    mixtures = [each for each in whole if each["experts_difference"] is not None]
    worst = max(each["difference"] for each in whole)
    worst_output = max(each["experts_difference"] for each in mixtures)
    meaning = {
        "whole": f"captured whole and checked; mean and drift differ from a hook of its own by at most {worst:.0e} of "
        f"the largest value; {len(mixtures)} are mixtures of experts, whose output was rebuilt to {worst_output:.0e}",
        "found, not run": "all neurons found in a model of default size; no tiny model could be made to run it",
        "by hand": "captured whole with the pattern that the refusal proposes",
        "refused": "refused in one line",
        "not tried": "no model could be made of the default configuration",
    }
    return ["", "families", "meaning"], [
        (key, [str(counts[key]), text]) for key, text in meaning.items() if counts[key]
    ]


def whole_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Tabulate the families that are captured whole, by where their neurons are."""
    by_names: dict[str, list[str]] = defaultdict(list)
    for family, each in result["families"].items():
        if each["outcome"] in _MARKS:
            mark = _MARKS[each["outcome"]] if each["padded"] else "¹"
            by_names["<br>".join(f"`{name}`" for name in each["names"])].append(f"{family}{mark}")
    rows = sorted(by_names.items(), key=lambda item: (-len(item[1]), item[0]))
    return ["input of", "families"], [(names, [", ".join(families)]) for names, families in rows]


def refused_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Tabulate the families that are refused or could not be tried, by the reason."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for family, each in result["families"].items():
        if each["outcome"] in ("refused", "not tried"):
            reason = each["why"].replace(f"a '{family}' model", "the model").split("; ")[0].replace("|", "\\|")
            by_reason[("not tried: " if each["outcome"] == "not tried" else "") + reason].append(family)
    rows = sorted(by_reason.items(), key=lambda item: (item[0].startswith("not tried"), -len(item[1]), item[0]))
    return ["reason", "families"], [(reason, [", ".join(families)]) for reason, families in rows]
