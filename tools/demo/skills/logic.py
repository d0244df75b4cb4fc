"""Small deductions whose answer the code derives by going through the cases."""

from collections.abc import Callable
from itertools import pairwise, permutations, product
from random import Random
from typing import NamedTuple

from tools.demo.skills.row import Row, compose
from tools.demo.skills.words import PEOPLE, WEEKDAYS, listed, plural, spelled, upper_first


class _Puzzle(NamedTuple):
    premises: str
    question: str
    reasoning: str
    answer: str


_FRAMES = (
    "{text}",
    "Solve this riddle. {text}",
    "Think step by step, then answer.\n\n{text}",
    "Use only the facts given.",
    "Reason carefully and answer the question at the end.",
    "Logic puzzle: {text}",
    "What follows from these statements?",
    "{text} Explain your conclusion in a few sentences.",
    "Can you work this out? {text}",
    "Draw a conclusion from the premises and say why.",
    "{text}\n\nGive the reasoning first and the answer last.",
    "I came across this brain-teaser: {text}",
    "Answer the question by deduction.",
    "Consider the following and answer without guessing.\n\n{text}",
    "Is there enough information? If so, answer. {text}",
    "My quiz partner and I disagree about this one. {text}",
    "Deduce the answer and justify it.",
    "Puzzle of the day:\n{text}",
)
_ENDINGS = ("Answer: {}", "So the answer is: {}", "Therefore: {}", "Conclusion: {}")


def _names(rng: Random, number: int) -> list[str]:
    return [person.name for person in rng.sample(PEOPLE, number)]


def _ordering(rng: Random) -> _Puzzle:
    more, less, most, least = rng.choice(
        (
            ("is taller than", "is shorter than", "the tallest", "the shortest"),
            ("is older than", "is younger than", "the oldest", "the youngest"),
            ("ran faster than", "ran slower than", "the fastest", "the slowest"),
            ("scored more points than", "scored fewer points than", "the best scorer", "the weakest scorer"),
            ("arrived before", "arrived after", "the first to arrive", "the last to arrive"),
            ("lives higher up than", "lives lower down than", "the one at the top", "the one at the bottom"),
        )
    )
    order = _names(rng, rng.randint(3, 5))
    clues = [
        f"{high} {more} {low}." if rng.random() < 0.5 else f"{low} {less} {high}." for high, low in pairwise(order)
    ]
    rng.shuffle(clues)
    place = rng.choice((0, -1, 1))
    asked = {0: most, -1: least}.get(place, "second when we start from " + most)
    who, reasoning = (
        order[place],
        f"Put together, the clues give one order, from {most} to {least}: {', '.join(order)}.",
    )
    return _Puzzle(" ".join(clues), f"Who is {asked}?", reasoning, f"{who}.")


_KINDS_OF_THINGS = (
    ("rose", "flower", "plant"),
    ("whale", "mammal", "animal"),
    ("violin", "string instrument", "instrument"),
    ("novel", "book", "printed work"),
    ("baker", "craftsman", "worker"),
    ("sparrow", "bird", "creature"),
    ("square", "rectangle", "polygon"),
    ("ferry", "ship", "vehicle"),
    ("blip", "zarg", "plonk"),
    ("wug", "dax", "fep"),
    ("poodle", "dog", "pet"),
    ("copper coin", "coin", "metal object"),
    ("tulgey", "mome", "borogove"),
)


def _people(noun: str) -> str:
    return "craftsmen" if noun == "craftsman" else plural(noun)


def _syllogism(rng: Random) -> _Puzzle:
    a, b, c = map(_people, rng.choice(_KINDS_OF_THINGS))
    trait = rng.choice(
        ("blue", "noisy", "expensive", "fragile", "made of glass", "older than a year", "heavy", "in the cellar")
    )
    first, second, claim, reason, holds = rng.choice(
        (
            (f"All {a} are {b}.", f"All {b} are {c}.", f"all {a} are {c}",
             f"Every one of the {a} is among the {b}, and these are all among the {c}", True),
            (f"All {a} are {b}.", f"All {c} are {b}.", f"all {a} are {c}",
             f"Both groups lie within the {b}, but they need not overlap", False),
            (f"All {a} are {b}.", f"No {b} are {trait}.", f"no {a} are {trait}",
             f"The {a} are part of the {b}, none of which are {trait}", True),
            (f"Some {b} are {trait}.", f"All {a} are {b}.", f"some {a} are {trait}",
             f"The {b} that are {trait} may be quite different from the {a}", False),
            (f"Some {a} are {trait}.", f"All {a} are {b}.", f"some {b} are {trait}",
             f"Those {a} that are {trait} are {b} too, so such {b} exist", True),
            (f"No {a} are {trait}.", f"All {a} are {b}.", f"no {b} are {trait}",
             f"There may be other {b}, besides the {a}, that are {trait}", False),
        )
    )  # fmt: skip
    question = rng.choice(("Does it follow that {}?", "Can we be sure that {}?", "Is it certain that {}?")).format(
        claim
    )
    verdict = "Yes, it follows." if holds else "No, it does not follow."
    return _Puzzle(f"{first} {second}", question, f"{reason}.", verdict)


_CLAIMS: tuple[tuple[str, Callable[[bool, bool, bool], bool]], ...] = (
    ("{other} is a liar", lambda me, other, third: not other),
    ("{other} tells the truth", lambda me, other, third: other),
    ("{other} and I are of the same kind", lambda me, other, third: me == other),
    ("at least one of us three is a liar", lambda me, other, third: not (me and other and third)),
    ("{other} and {third} are both liars", lambda me, other, third: not other and not third),
    ("{third} tells the truth, but {other} does not", lambda me, other, third: third and not other),
    ("exactly one of us three tells the truth", lambda me, other, third: me + other + third == 1),
)


def _truthful(rng: Random) -> _Puzzle:
    place = rng.choice(("On an island", "In a strange village", "At a masked ball", "In a card club"))
    while True:
        names = _names(rng, 3)
        claims = [rng.choice(_CLAIMS) for _ in names]
        worlds = [
            world
            for world in product((True, False), repeat=3)
            if all(claims[i][1](world[i], world[i - 2], world[i - 1]) == world[i] for i in range(3))
        ]
        if len(worlds) == 1:
            break
    lines = [
        f'{names[i]} says: "{upper_first(claims[i][0].format(other=names[i - 2], third=names[i - 1]))}."'
        for i in range(3)
    ]
    honest = [name for name, true in zip(names, worlds[0], strict=True) if true]
    liars = [name for name in names if name not in honest]
    reasoning = (
        "Of the eight ways to call each of them honest or a liar, only one makes every honest statement true and every "
        f"lie false: {_verbs(honest, 'tells', 'tell')} the truth and {_verbs(liars, 'lies', 'lie')}."
    )
    premises = f"{place}, everybody either always tells the truth or always lies. {' '.join(lines)}"
    answer = f"{listed(honest)}." if honest else "Nobody."
    return _Puzzle(premises, "Who tells the truth?", reasoning, answer)


def _verbs(names: list[str], one: str, many: str) -> str:
    return f"{listed(names)} {one if len(names) == 1 else many}" if names else f"nobody {one}"


_MATTERS = (
    ("drink", "orders", ("tea", "coffee", "juice", "water")),
    ("pet", "owns", ("a cat", "a dog", "a parrot", "a rabbit")),
    ("sport", "plays", ("tennis", "football", "chess", "hockey")),
    ("instrument", "plays", ("the piano", "the violin", "the drums", "the flute")),
    ("vehicle", "comes by", ("bus", "bicycle", "car", "train")),
    ("colour", "wears", ("red", "blue", "green", "yellow")),
)


def _matching(rng: Random) -> _Puzzle:
    what, verb, things = rng.choice(_MATTERS)
    names, values = _names(rng, 3), rng.sample(things, 3)
    base = {"orders": "order", "owns": "own", "plays": "play", "comes by": "come by", "wears": "wear"}[verb]
    truth = dict(zip(names, values, strict=True))
    denials = [(name, value) for name in names for value in values if truth[name] != value]
    while True:
        clues = rng.sample(denials, 3)
        fits = [p for p in permutations(values) if all(p[names.index(name)] != value for name, value in clues)]
        if len(fits) == 1:
            break
    who = rng.choice(names)
    shown = listed(values)
    premises = f"{listed(names)} each have a different {what}: {shown}, in some order. " + " ".join(
        f"{name} does not {base} {value}." for name, value in clues
    )
    reasoning = (
        "Only one way to match them fits all the clues: " + listed(f"{n} {verb} {truth[n]}" for n in names) + "."
    )
    question = rng.choice((f"Which {what} belongs to {who}?", f"What can we say about {who}?"))
    return _Puzzle(premises, question, reasoning, f"{who} {verb} {truth[who]}.")


_RULES = (
    ("it rains", "it does not rain", "the match is called off", "the match is not called off"),
    ("the alarm rings", "the alarm does not ring", "{name} leaves the building", "{name} does not leave the building"),
    ("the lamp is red", "the lamp is not red", "the door is locked", "the door is not locked"),
    ("{name} is ill", "{name} is not ill", "{other} teaches the class", "{other} does not teach the class"),
    ("the shop is open", "the shop is not open", "{name} buys bread", "{name} does not buy bread"),
    ("the tide is high", "the tide is not high", "the ferry sails", "the ferry does not sail"),
    ("{name} wins", "{name} does not win", "{other} pays for dinner", "{other} does not pay for dinner"),
    ("the soup boils", "the soup does not boil", "{name} turns down the heat", "{name} does not turn down the heat"),
)  # fmt: skip


def _conditional(rng: Random) -> _Puzzle:
    name, other = _names(rng, 2)
    p, not_p, q, not_q = (text.format(name=name, other=other) for text in rng.choice(_RULES))
    fact, claim, reason, answer = rng.choice(
        (
            (p, q, "The condition of the rule is met, so its result follows", f"Yes, {q}."),
            (not_q, p, "If the condition were met, the result would have come about, and it has not", f"No, {not_p}."),
            (q, p, "The rule does not say that this is the only way to the result", "It cannot be known."),
            (not_p, q, "The rule says nothing about the case where its condition is not met", "It cannot be known."),
        )
    )
    day = rng.choice(WEEKDAYS)
    premises = f"The rule for {day} is: if {p}, then {q}. This {day}, {fact}."
    return _Puzzle(premises, f"Is it true that {claim}?", f"{reason}.", answer)


def _calendar(rng: Random) -> _Puzzle:
    start, ahead, back = rng.randrange(7), rng.randint(3, 40), rng.randint(1, 12)
    what = rng.choice(("the dentist", "the concert", "the exam", "the wedding", "the boat trip", "the inspection"))
    name = _names(rng, 1)[0]
    day, net = WEEKDAYS[(start + ahead - back) % 7], ahead - back
    premises = (
        f"Today is {WEEKDAYS[start]}. {name} had planned {what} for {ahead} days from now, but the date was moved "
        "forward "
        f"so that it comes {back} {'day' if back == 1 else 'days'} earlier."
    )
    if net <= 0:
        return _calendar(rng)
    reasoning = (
        f"The new date is {ahead} - {back} = {net} {'day' if net == 1 else 'days'} away. Whole weeks change "
        "nothing, and "
        f"{net} leaves {net % 7} when divided by 7, so count {spelled(net % 7)} from {WEEKDAYS[start]}."
    )
    return _Puzzle(premises, f"On which weekday is {what} now?", reasoning, f"{day}.")


def _boxes(rng: Random) -> _Puzzle:
    things = rng.sample(("gold", "silver", "tea", "salt", "pearls", "letters", "seeds", "buttons"), 3)
    seen = rng.randrange(3)
    inside = [things[1], things[2], things[0]] if rng.random() < 0.5 else [things[2], things[0], things[1]]
    asked = rng.choice([i for i in range(3) if i != seen])
    other = 3 - seen - asked
    kind = rng.choice(("boxes", "jars", "sacks", "drawers"))
    one = {"boxes": "box"}.get(kind, kind.removesuffix("s"))
    premises = (
        f"Three {kind} are labelled {listed(things)}, but every label is wrong. Each thing is in exactly one {one}. "
        f"You open the {one} labelled {things[seen]} and find {inside[seen]} in it."
    )
    reasoning = (
        f"The {one} labelled {things[seen]} holds {inside[seen]}. That leaves {inside[asked]} and {inside[other]} "
        "for the "
        f"other two, and neither may hold what its label says, so there is only one way to place them."
    )
    question = f"What is in the {one} labelled {things[asked]}?"
    return _Puzzle(premises, question, reasoning, f"{upper_first(inside[asked])}.")


_KINDS: tuple[Callable[[Random], _Puzzle], ...] = (
    _ordering, _ordering, _syllogism, _truthful, _matching, _conditional, _calendar, _boxes,
)  # fmt: skip


def generate(rng: Random) -> Row:
    """Draw a puzzle with its reasoning and its answer.

    :param rng: the source of chance.
    """
    puzzle = rng.choice(_KINDS)(rng)
    ending = rng.choice(_ENDINGS).format(puzzle.answer)
    output = f"{puzzle.reasoning}{rng.choice((' ', chr(10)))}{ending}"
    return compose(rng.choice(_FRAMES), f"{puzzle.premises} {puzzle.question}", output)
