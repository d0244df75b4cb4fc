"""Small programming tasks: what to write, how it is written, and an independent reference for what it returns."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple


class Task(NamedTuple):
    """One function to write. ``summary`` completes "a function that ..."; ``cases`` are argument tuples."""

    name: str
    parameters: str
    summary: str
    body: str
    cases: list[tuple[Any, ...]]
    reference: Callable[..., Any]


_WORDS = tuple(
    "river stone apple cloud level garden music noon yellow paper kayak winter ocean radar tiger piano".split()
)
_FIELDS = ("price", "weight", "score", "stock", "height", "rating", "age", "speed")
_RECORDS = ("items", "players", "products", "books", "runners", "orders", "parcels", "cities")
_LISTS = ("numbers", "values", "scores", "readings", "prices", "samples", "marks", "amounts")


def _ints(rng: Random, low: int = -9, high: int = 30, size: int = 6) -> list[int]:
    return [rng.randint(low, high) for _ in range(rng.randint(3, size))]


def _words(rng: Random, low: int = 3, high: int = 6) -> list[str]:
    return rng.sample(_WORDS, rng.randint(low, high))


def _count_beyond(rng: Random) -> Task:
    k, xs = rng.randint(0, 20), rng.choice(_LISTS)
    name, word, sign = rng.choice((("above", "greater", ">"), ("below", "smaller", "<")))
    return Task(
        f"count_{name}",
        f"{xs}: list[int], limit: int = {k}",
        f"counts how many of the given {xs} are strictly {word} than a limit, which is {k} by default",
        f"return sum(1 for value in {xs} if value {sign} limit)",
        [(_ints(rng),), (_ints(rng), rng.randint(0, 9)), ([],)],
        lambda v, m=k: len([x for x in v if (x > m if sign == ">" else x < m)]),
    )


def _sum_multiples(rng: Random) -> Task:
    k, xs = rng.randint(2, 9), rng.choice(_LISTS)
    return Task(
        rng.choice((f"sum_multiples_of_{k}", f"total_divisible_by_{k}")),
        f"{xs}: list[int]",
        f"adds up those {xs} that are divisible by {k}",
        f"total = 0\nfor value in {xs}:\n    if value % {k} == 0:\n        total += value\nreturn total",
        [(_ints(rng),), ([k, 2 * k, 2 * k + 1],), ([],)],
        lambda v: sum(x for x in v if x % k == 0),
    )


def _long_words(rng: Random) -> Task:
    k = rng.randint(3, 6)
    return Task(
        rng.choice(("long_words", "words_longer_than", "pick_long_words")),
        f"sentence: str, length: int = {k}",
        f"returns the words of a sentence that have more than {k} letters, or more than any length given, in order",
        "return [word for word in sentence.split() if len(word) > length]",
        [(" ".join(_words(rng)),), (" ".join(_words(rng)), rng.randint(2, 6))],
        lambda s, m=k: list(filter(lambda w: len(w) > m, s.split(" "))),
    )


def _clamp(rng: Random) -> Task:
    low = rng.randint(-10, 10)
    high = low + rng.randint(5, 90)
    return Task(
        rng.choice(("clamp", "limit_to_range", "keep_in_bounds")),
        "value: int",
        f"keeps a number within the range from {low} to {high}, replacing anything outside by the nearer end",
        f"if value < {low}:\n    return {low}\nif value > {high}:\n    return {high}\nreturn value",
        [(low - rng.randint(1, 9),), (high + rng.randint(1, 9),), (low + 2,)],
        lambda x: max(low, min(high, x)),
    )


def _caesar(rng: Random) -> Task:
    k = rng.randint(1, 12)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return Task(
        rng.choice(("caesar", "shift_letters", "encode")),
        "text: str",
        f"shifts every lower-case letter of a text forward by {k} in the alphabet, wrapping round after z, and leaves "
        "every other character alone",
        "shifted = []\nfor char in text:\n    if char.islower():\n"
        f"        char = chr((ord(char) - ord('a') + {k}) % 26 + ord('a'))\n    shifted.append(char)\n"
        "return ''.join(shifted)",
        [(rng.choice(_WORDS),), (f"{rng.choice(_WORDS)} {rng.randint(1, 99)}",), ("xyz!",)],
        lambda s: s.translate(str.maketrans(letters, letters[k:] + letters[:k])),
    )


def _running(rng: Random) -> Task:
    xs = rng.choice(_LISTS)
    what, step, fold = rng.choice((("total", "current + value", sum), ("maximum", "max(current, value)", max)))
    return Task(
        f"running_{what}",
        f"{xs}: list[int]",
        f"takes a list of {xs} and returns the {what} so far at each position",
        f"if not {xs}:\n    return []\ncurrent = {xs}[0]\nresult = [current]\nfor value in {xs}[1:]:\n"
        f"    current = {step}\n    result.append(current)\nreturn result",
        [(_ints(rng),), (_ints(rng, 0, 9),), ([],)],
        lambda v: [fold(v[: i + 1]) for i in range(len(v))],
    )


def _chunks(rng: Random) -> Task:
    k = rng.randint(2, 4)
    return Task(
        rng.choice(("chunks", "split_into_groups", "batches")),
        f"items: list[int], size: int = {k}",
        f"splits a list into consecutive pieces of {k} items (or of a given size), the last of which may be shorter",
        "return [items[start : start + size] for start in range(0, len(items), size)]",
        [(_ints(rng, 0, 20, 8),), ([1, 2, 3, 4, 5], rng.randint(1, 5))],
        lambda v, n=k: [[v[j] for j in range(len(v)) if j // n == i] for i in range(-(-len(v) // n))],
    )


def _most_common(rng: Random) -> Task:
    what = rng.choice(("word", "letter"))
    texts = [" ".join([w, *_words(rng), w]) if what == "word" else w * 2 for w in rng.sample(_WORDS, 2)]
    units = "text.split()" if what == "word" else "text"
    return Task(
        f"most_common_{what}",
        "text: str",
        f"finds the {what} that occurs most often in a text; if several do, the one that comes first alphabetically",
        f"counts = {{}}\nfor unit in {units}:\n    counts[unit] = counts.get(unit, 0) + 1\n"
        "return min(counts, key=lambda unit: (-counts[unit], unit))",
        [(text,) for text in texts],
        lambda s: sorted(Counter(s.split() if what == "word" else s).items(), key=lambda p: (-p[1], p[0]))[0][0],
    )


def _palindrome(rng: Random) -> Task:
    first = rng.choice(
        ("Level", "Noon", "Kayak", "Radar", "Never odd or even", "Step on no pets", "Was it a rat I saw")
    )
    return Task(
        rng.choice(("is_palindrome", "reads_both_ways", "is_mirror_text")),
        "text: str",
        "tells whether a text reads the same forwards and backwards, ignoring case and spaces",
        "letters = text.replace(' ', '').lower()\nreturn letters == letters[::-1]",
        [(first,), (" ".join(_words(rng, 1, 2)),)],
        lambda s: (t := "".join(s.lower().split())) == "".join(reversed(t)),
    )


def _group(rng: Random) -> Task:
    by, key, of = rng.choice(
        (
            ("length", "len(word)", len),
            ("first_letter", "word[0]", lambda w: w[0]),
            ("ending", "word[-1]", lambda w: w[-1]),
        )
    )
    phrase = {"length": "length", "first_letter": "first letter", "ending": "last letter"}[by]
    return Task(
        f"group_by_{by}",
        "words: list[str]",
        f"groups words by their {phrase} into a dictionary of lists, keeping their order",
        f"groups = {{}}\nfor word in words:\n    groups.setdefault({key}, []).append(word)\nreturn groups",
        [(_words(rng, 3, 5),), ([],)],
        lambda ws: {of(w): [x for x in ws if of(x) == of(w)] for w in ws},
    )


def _records(rng: Random) -> list[dict[str, Any]]:
    return [{"name": word, "amount": rng.randint(1, 60)} for word in rng.sample(_WORDS, 3)]


def _filter_records(rng: Random) -> Task:
    field, rows, k = rng.choice(_FIELDS), rng.choice(_RECORDS), rng.randint(5, 50)
    data = [{"name": row["name"], field: row["amount"]} for row in _records(rng)]
    word, sign = rng.choice((("at least", ">="), ("at most", "<=")))
    return Task(
        rng.choice((f"filter_{rows}", f"select_{rows}", f"{rows}_by_{field}")),
        f"{rows}: list[dict]",
        f"takes a list of {rows} as dictionaries and returns the names of those whose {field} is {word} {k}",
        f"return [entry['name'] for entry in {rows} if entry['{field}'] {sign} {k}]",
        [(data,), ([],)],
        lambda v: [d["name"] for d in v if not (d[field] < k if sign == ">=" else d[field] > k)],
    )


def _sort_records(rng: Random) -> Task:
    field, rows = rng.choice(_FIELDS), rng.choice(_RECORDS)
    numbers = rng.sample(range(1, 60), 3)
    data = [{"name": word, field: n} for word, n in zip(rng.sample(_WORDS, 3), numbers, strict=True)]
    down = rng.random() < 0.5
    order = "from the highest to the lowest" if down else "from the lowest to the highest"
    return Task(
        rng.choice((f"rank_{rows}", f"sort_by_{field}", f"order_{rows}")),
        f"{rows}: list[dict]",
        f"sorts {rows}, given as dictionaries, by their {field} {order} and returns their names",
        f"ordered = sorted({rows}, key=lambda entry: entry['{field}'], reverse={down})\n"
        "return [entry['name'] for entry in ordered]",
        [(data,)],
        lambda v: [d["name"] for d in sorted(v, key=lambda d: -d[field] if down else d[field])],
    )


def _sum_field(rng: Random) -> Task:
    field, rows = rng.choice(("price", "cost", "fee")), rng.choice(_RECORDS)
    data = [{field: rng.randint(1, 40), "quantity": rng.randint(1, 9)} for _ in range(rng.randint(2, 3))]
    return Task(
        rng.choice((f"total_{field}", f"sum_{rows}", f"{rows}_total")),
        f"{rows}: list[dict]",
        f"multiplies the {field} of each of the {rows} by its quantity and returns the sum",
        f"total = 0\nfor entry in {rows}:\n    total += entry['{field}'] * entry['quantity']\nreturn total",
        [(data,), ([],)],
        lambda v: sum(d[field] * d["quantity"] for d in v),
    )


def _fizz(rng: Random) -> Task:
    (one, two), (p, q) = rng.sample(_WORDS, 2), rng.sample((2, 3, 5, 7), 2)
    return Task(
        rng.choice(("count_game", "word_game", "fizz")),
        "number: int",
        f"returns '{one}' for multiples of {p}, '{two}' for multiples of {q}, both words joined for multiples of both, "
        "and the number as text otherwise",
        f"text = ''\nif number % {p} == 0:\n    text += '{one}'\nif number % {q} == 0:\n    text += '{two}'\n"
        "return text or str(number)",
        [(p,), (q,), (p * q,), (11,)],
        lambda n: one * (n % p == 0) + two * (n % q == 0) or f"{n}",
    )


def _rotate(rng: Random) -> Task:
    k = rng.randint(1, 4)
    side = rng.choice(("left", "right"))
    return Task(
        f"rotate_{side}",
        f"items: list[int], steps: int = {k}",
        f"rotates a list to the {side} by {k} places unless told otherwise, without changing the original",
        "if not items:\n    return []\ncut = " + ("steps" if side == "left" else "-steps") + " % len(items)\n"
        "return items[cut:] + items[:cut]",
        [(_ints(rng, 0, 20),), (_ints(rng, 0, 20), rng.randint(0, 3)), ([],)],
        lambda v, n=k: [v[(i + (n if side == "left" else -n)) % len(v)] for i in range(len(v))],
    )


def _parse_pairs(rng: Random) -> Task:
    outer, inner = rng.choice(((";", "="), (",", ":"), ("&", "="), ("|", ":")))
    pairs = [(word, str(rng.randint(1, 99))) for word in _words(rng, 2, 3)]
    text = outer.join(f"{key}{inner}{value}" for key, value in pairs)
    return Task(
        rng.choice(("parse_settings", "read_pairs", "to_dictionary")),
        "line: str",
        f"reads pairs such as '{text}' into a dictionary of strings, pairs being separated by '{outer}'",
        f"result = {{}}\nfor pair in line.split('{outer}'):\n    key, value = pair.split('{inner}')\n"
        "    result[key.strip()] = value.strip()\nreturn result",
        [(text,)],
        lambda _: dict(pairs),
    )


def _mask(rng: Random) -> Task:
    k, char = rng.randint(2, 5), rng.choice("*#x-")
    return Task(
        rng.choice(("mask", "hide_start", "redact")),
        "secret: str",
        f"replaces every character of a string by '{char}' except the last {k}",
        f"visible = secret[-{k}:]\nreturn '{char}' * (len(secret) - len(visible)) + visible",
        [(str(rng.randint(10**7, 10**9)),), (rng.choice(_WORDS),), ("ab",)],
        lambda s: "".join(char if i < len(s) - k else c for i, c in enumerate(s)),
    )


def _moving_average(rng: Random) -> Task:
    k, xs = rng.choice((2, 4)), rng.choice(_LISTS)
    data = [rng.randint(0, 30) for _ in range(k + rng.randint(1, 2))]
    return Task(
        rng.choice(("moving_average", "smooth", "rolling_mean")),
        f"{xs}: list[float]",
        f"computes the mean of every {k} neighbouring {xs}",
        f"means = []\nfor start in range(len({xs}) - {k - 1}):\n    window = {xs}[start : start + {k}]\n"
        f"    means.append(sum(window) / {k})\nreturn means",
        [(data,), ([1],)],
        lambda v: [sum(v[i - k : i]) / k for i in range(k, len(v) + 1)],
    )


def _duration(rng: Random) -> Task:
    return Task(
        rng.choice(("format_duration", "to_clock", "as_hours_minutes")),
        "seconds: int",
        "turns a number of seconds into text in the form h:mm:ss",
        "minutes, seconds = divmod(seconds, 60)\nhours, minutes = divmod(minutes, 60)\n"
        "return f'{hours}:{minutes:02}:{seconds:02}'",
        [(rng.randint(0, 20_000),), (rng.randint(0, 59),), (3600,)],
        lambda s: f"{s // 3600}:{s % 3600 // 60:02}:{s % 60:02}",
    )


TASKS: tuple[Callable[[Random], Task], ...] = (
    _count_beyond, _sum_multiples, _long_words, _clamp, _caesar, _running, _chunks, _most_common, _palindrome,
    _group, _filter_records, _sort_records, _sum_field, _fizz, _rotate, _parse_pairs, _mask, _moving_average,
    _duration,
)  # fmt: skip
