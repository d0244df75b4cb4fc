"""Questions on a small table, in CSV or Markdown, with computed answers."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tools.demo.skills.row import Row, compose, fill
from tools.demo.skills.words import MONTHS, PEOPLE, SURNAMES, TOWNS, listed


class _Table(NamedTuple):
    """``label`` heads the first column of names, ``groups`` the second, and every further column holds numbers."""

    label: str
    names: list[str]
    group: str
    groups: list[str]
    columns: dict[str, list[int]]

    def rows(self) -> list[list[str]]:
        head = [self.label, self.group, *self.columns]
        numbers = [list(map(str, values)) for values in self.columns.values()]
        return [head, *(list(row) for row in zip(self.names, self.groups, *numbers, strict=True))]


class _Subject(NamedTuple):
    """What a table may be about: labels, possible names and groups, and number columns with their ranges."""

    label: str
    names: tuple[str, ...]
    group: str
    groups: tuple[str, ...]
    columns: dict[str, tuple[int, int]]


_SUBJECTS = (
    _Subject(
        "month",
        MONTHS,
        "season",
        ("high", "low", "middle"),
        {"visitors": (120, 980), "guided tours": (4, 60), "school groups": (0, 25)},
    ),
    _Subject(
        "employee",
        tuple(p.name for p in PEOPLE),
        "department",
        ("Sales", "Support", "Finance", "Design"),
        {"years of service": (1, 30), "days off": (10, 35), "projects": (1, 14)},
    ),
    _Subject(
        "product",
        ("kettle", "lamp", "chair", "mirror", "basket", "clock", "vase", "rug", "shelf", "candle"),
        "warehouse",
        ("North", "South", "Harbour"),
        {"pieces in stock": (0, 400), "price in dollars": (5, 180), "returns": (0, 30)},
    ),
    _Subject(
        "town",
        TOWNS,
        "climate",
        ("mild", "dry", "wet"),
        {"rainy days": (20, 190), "hours of sunshine": (900, 3000), "hotels": (15, 480)},
    ),
    _Subject(
        "student",
        tuple(p.name for p in PEOPLE),
        "class",
        ("9A", "9B", "10C"),
        {"maths": (35, 100), "history": (35, 100), "biology": (35, 100)},
    ),
    _Subject(
        "train",
        tuple(f"{t} Express" for t in TOWNS),
        "line",
        ("red", "blue", "green"),
        {"passengers": (40, 620), "stops": (2, 19), "delay in minutes": (0, 45)},
    ),
    _Subject("club", TOWNS, "league", ("East", "West"), {"wins": (2, 28), "goals": (14, 90), "members": (60, 900)}),
    _Subject(
        "farm",
        tuple(f"{s} Farm" for s in SURNAMES),
        "soil",
        ("clay", "sand", "loam"),
        {"hectares": (8, 240), "cows": (0, 180), "workers": (1, 22)},
    ),
    _Subject(
        "library branch",
        TOWNS,
        "district",
        ("Inner", "Outer"),
        {"loans": (300, 5200), "staff": (2, 26), "new books": (15, 400)},
    ),
)
_FRAMES = (
    "{q}",
    "{q}\n\n{text}",
    "Look at the table. {q}",
    "{text}\n\n{q}",
    "Use the data to answer: {q}",
    "Here is an export from our database:\n\n{text}\n\n{q}",
    "Answer from the table only. {q}",
    "I pasted part of a spreadsheet below. {q}\n\n{text}",
    "Read the following data and answer the question.\n{text}\nQuestion: {q}",
    "{q} Show the calculation if there is one.",
    "A colleague sent me these figures. {q}",
    "Table:\n{text}\n\n{q} Please reply in a full sentence.",
    "Please help me with the report. {q}",
    "Given the table, tell me: {q}",
    "Data question. {q}\n{text}",
)


class _Question(NamedTuple):
    text: str
    answer: str


def _extreme(rng: Random, table: _Table) -> _Question:
    column, values = rng.choice(list(table.columns.items()))
    word, value = rng.choice((("highest", max(values)), ("lowest", min(values))))
    question = rng.choice(
        (
            f"Which {table.label} has the {word} value for {column}?",
            f"Find the {table.label} with the {word} number under '{column}'.",
        )
    )
    who = [name for name, number in zip(table.names, values, strict=True) if number == value]
    return _Question(question, f"The {word} value for {column} is {value}, and it belongs to {listed(who)}.")


def _total(rng: Random, table: _Table) -> _Question:
    column, values = rng.choice(list(table.columns.items()))
    question = rng.choice(
        (f"What is the total of the column '{column}'?", f"Add up all values for {column}. What is the total?")
    )
    return _Question(question, f"The total for {column} is {' + '.join(map(str, values))} = {sum(values)}.")


def _mean(rng: Random, table: _Table) -> _Question:
    column, values = rng.choice(list(table.columns.items()))
    question = rng.choice(
        (f"What is the average of '{column}', to one decimal?", f"Compute the average for {column} (one decimal).")
    )
    total, number = sum(values), len(values)
    mean = f"{total / number:.1f}"
    return _Question(question, f"The sum is {total}, and {total} ÷ {number} gives an average of {mean} for {column}.")


def _lookup(rng: Random, table: _Table) -> _Question:
    column, values = rng.choice(list(table.columns.items()))
    row = rng.randrange(len(values))
    question = rng.choice(
        (
            f"What does the table say about {table.names[row]} under '{column}'?",
            f"Look up the value for {column} of {table.names[row]}.",
        )
    )
    return _Question(question, f"For {table.names[row]}, the value for {column} is {values[row]}.")


def _above(rng: Random, table: _Table) -> _Question:
    column, values = rng.choice(list(table.columns.items()))
    limit = sorted(values)[rng.randrange(1, len(values) - 1)]
    names = [name for name, value in zip(table.names, values, strict=True) if value > limit]
    question = rng.choice(
        (
            f"How many rows have more than {limit} for {column}, and which are they?",
            f"Which rows exceed {limit} for {column}? Count them as well.",
        )
    )
    if not names:
        return _Question(question, f"No row has more than {limit} for {column}.")
    return _Question(question, f"{len(names)} of {len(values)}: {listed(names)}.")


def _difference(rng: Random, table: _Table) -> _Question:
    column, values = rng.choice(list(table.columns.items()))
    one, two = rng.sample(range(len(values)), 2)
    question = f"What is the difference between {table.names[one]} and {table.names[two]} for {column}?"
    high, low = sorted((values[one], values[two]), reverse=True)
    return _Question(question, f"The difference for {column} is {high} - {low} = {high - low}.")


def _grouped(rng: Random, table: _Table) -> _Question:
    column, values = rng.choice(list(table.columns.items()))
    group = rng.choice(table.groups)
    members = [value for value, other in zip(values, table.groups, strict=True) if other == group]
    question = rng.choice(
        (
            f"Take only the rows whose {table.group} is {group}. What is the sum for {column}?",
            f"What is the sum for {column} over the rows whose {table.group} is {group}?",
        )
    )
    working = f"{' + '.join(map(str, members))} = {sum(members)}" if len(members) > 1 else str(sum(members))
    return _Question(question, f"Over the rows with {group} under '{table.group}', the sum for {column} is {working}.")


def _ranked(rng: Random, table: _Table) -> _Question:
    column, values = rng.choice(list(table.columns.items()))
    order = [name for name, _ in sorted(zip(table.names, values, strict=True), key=lambda pair: (-pair[1], pair[0]))]
    question = rng.choice(
        (
            f"Sort the rows by {column}, largest first, and list the names.",
            f"Rank them by {column} from largest to smallest.",
        )
    )
    return _Question(question, "\n".join(f"{place}. {name}" for place, name in enumerate(order, 1)))


_KINDS: tuple[Callable[[Random, _Table], _Question], ...] = (
    _extreme, _extreme, _total, _mean, _lookup, _above, _difference, _grouped, _ranked,
)  # fmt: skip


def generate(rng: Random) -> Row:
    """Draw a table, a question on it and the answer.

    :param rng: the source of chance.
    """
    table = _table(rng)
    question = rng.choice(_KINDS)(rng, table)
    written = rng.choice((_csv, _csv, _semicolons, _markdown, _markdown))(table.rows())
    return compose(fill(rng.choice(_FRAMES), q=question.text), written, question.answer)


def _table(rng: Random) -> _Table:
    subject = rng.choice(_SUBJECTS)
    size = rng.randint(3, 6)
    names = rng.sample(subject.names, size)
    if subject.names is MONTHS:
        names.sort(key=MONTHS.index)
    chosen = rng.sample(list(subject.columns.items()), rng.randint(2, 3))
    columns = {column: [rng.randint(low, high) for _ in names] for column, (low, high) in chosen}
    return _Table(subject.label, names, subject.group, [rng.choice(subject.groups) for _ in names], columns)


def _csv(rows: list[list[str]]) -> str:
    return "\n".join(",".join(row) for row in rows)


def _semicolons(rows: list[list[str]]) -> str:
    return "\n".join("; ".join(row) for row in rows)


def _markdown(rows: list[list[str]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])
