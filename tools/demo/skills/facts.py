"""Questions about the world, answered in full sentences from small tables of facts."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tools.demo.skills.fact_tables import ANIMALS, BOOKS, COUNTRIES, ELEMENTS, INVENTIONS, PLANETS, RIVERS
from tools.demo.skills.row import Row
from tools.demo.skills.words import PEOPLE, a, upper_first


class _Item(NamedTuple):
    """One question in several wordings, and its answer."""

    questions: tuple[str, ...]
    answer: str


_SINGLE = (
    "{q}",
    "{q} Answer in a full sentence.",
    "Quick question: {q}",
    "I am preparing a quiz. {q}",
    "Can you tell me something? {q}",
    "{name} asked me this at dinner: {q}",
    "General knowledge: {q}",
    "Please answer. {q}",
    "I always forget this one. {q}",
    "A pupil in my class wants to know: {q} What should I say?",
)
_SEVERAL = (
    "Answer these questions in full sentences.",
    "Here are some quiz questions. Please answer all of them.",
    "What are the answers?",
    "Help {name} with this sheet of questions.",
    "Reply to each question in turn.",
    "Pub quiz, next round! Give one sentence for each.",
    "Trivia time. Write an answer under the same number.",
    "Fill the gaps in my general knowledge.",
    "My flash cards have lost their backs. What was written there?",
)


def _capital(rng: Random) -> _Item:
    land = rng.choice(COUNTRIES)
    return _Item(
        (
            f"What is the capital of {land.name}?",
            f"Which city is the capital of {land.name}?",
            f"{upper_first(land.name)} has which capital?",
            f"{land.capital} is the capital of which country?",
        ),
        f"The capital of {land.name} is {land.capital}.",
    )


def _continent(rng: Random) -> _Item:
    land = rng.choice(COUNTRIES)
    return _Item(
        (
            f"On which continent does {land.capital} lie?",
            f"In what part of the world would I find {land.capital}?",
            f"Name the continent and the country of {land.capital}.",
        ),
        f"{land.capital} lies in {land.name}, which is in {land.continent}.",
    )


def _money(rng: Random) -> _Item:
    land = rng.choice(COUNTRIES)
    return _Item(
        (
            f"What currency do people use in {land.name}?",
            f"Which money do I need for a trip to {land.capital}?",
            f"How do people pay in {land.name}: what is the currency called?",
        ),
        f"In {land.name}, whose capital is {land.capital}, people pay with the {land.currency}.",
    )


def _same_continent(rng: Random) -> _Item:
    one, two = rng.sample(COUNTRIES, 2)
    same = one.continent == two.continent
    verdict = (
        f"Yes, both lie in {one.continent}."
        if same
        else (f"No, {one.capital} is in {one.continent}, while {two.capital} is in {two.continent}.")
    )
    return _Item(
        (
            f"Are {one.capital} and {two.capital} on the same continent?",
            f"Do {one.capital} and {two.capital} lie on one and the same continent?",
        ),
        verdict,
    )


def _element(rng: Random) -> _Item:
    element = rng.choice(ELEMENTS)
    return _Item(
        (
            f"What is the chemical symbol of {element.name}?",
            f"Which element has the atomic number {element.number}?",
            f"What does {element.symbol} stand for in the periodic table?",
            f"Tell me the symbol and the atomic number of {element.name}.",
        ),
        f"{upper_first(element.name)} has the symbol {element.symbol} and the atomic number {element.number}.",
    )


def _heavier(rng: Random) -> _Item:
    low, high = sorted(rng.sample(ELEMENTS, 2), key=lambda element: element.number)
    one, two = rng.sample((low, high), 2)
    return _Item(
        (
            f"Which atom has more protons, {one.name} or {two.name}?",
            f"Does {one.name} or {two.name} come later in the periodic table?",
        ),
        f"It is {high.name}: its atomic number is {high.number}, and that of {low.name} is {low.number}.",
    )


def _planet(rng: Random) -> _Item:
    planet = rng.choice(PLANETS)
    return _Item(
        (
            f"What kind of planet is {planet.name}?",
            f"Which planet is {planet.place} from the Sun?",
            f"Where in the solar system is {planet.name}, and what is it known for?",
            f"Tell me something about {planet.name}.",
        ),
        f"{planet.name} is the {planet.place} planet from the Sun, {a(planet.kind)}, and {planet.fame}.",
    )


def _animal(rng: Random) -> _Item:
    animal = rng.choice(ANIMALS)
    return _Item(
        (
            f"What kind of animal is {a(animal.name)}, and what does it eat?",
            f"What is a young {animal.name} called?",
            f"Tell me three things about the {animal.name}.",
            f"What does {a(animal.name)} feed on?",
        ),
        f"The {animal.name} is {a(animal.group)} that feeds mainly on {animal.food}, and its young is called "
        f"{a(animal.young)}.",
    )


def _is_group(rng: Random) -> _Item:
    animal = rng.choice(ANIMALS)
    group = rng.choice(("mammal", "bird", "reptile", "amphibian", "insect"))
    verdict = "Yes" if group == animal.group else "No"
    return _Item(
        (f"Is {a(animal.name)} {a(group)}?", f"Would a zoologist call the {animal.name} {a(group)}?"),
        f"{verdict}, the {animal.name} is {a(animal.group)}.",
    )


def _book(rng: Random) -> _Item:
    book = rng.choice(BOOKS)
    return _Item(
        (
            f'Who wrote "{book.title}"?',
            f'In which year was "{book.title}" first published, and by whom?',
            f'Name the author of "{book.title}".',
            f"Which famous book did {book.author} publish in {book.year}?",
        ),
        f'"{book.title}" was written by {book.author} and first published in {book.year}.',
    )


def _river(rng: Random) -> _Item:
    river = rng.choice(RIVERS)
    return _Item(
        (
            f"Into which water does the {river.name} flow?",
            f"Where does the {river.name} end, and which city lies on it?",
            f"Which river flows through {river.city}?",
        ),
        f"The {river.name} flows through {river.city} and ends in the {river.mouth}.",
    )


def _invention(rng: Random) -> _Item:
    made = rng.choice(INVENTIONS)
    return _Item(
        (
            f"What is {made.who} famous for?",
            f"Who {made.deed}?",
            f"What did {made.who} do, and in which year?",
        ),
        f"{made.who} {made.deed} in {made.year}.",
    )


_KINDS: tuple[Callable[[Random], _Item], ...] = (
    _capital, _continent, _money, _same_continent, _element, _heavier, _planet, _animal, _is_group, _book, _river,
    _invention,
)  # fmt: skip


def generate(rng: Random) -> Row:
    """Draw one to four questions of fact with their answers.

    :param rng: the source of chance.
    """
    number = rng.choice((1, 1, 2, 3, 3, 4))
    items = [kind(rng) for kind in rng.sample(_KINDS, number)]
    questions = [rng.choice(item.questions) for item in items]
    name = rng.choice(PEOPLE).name
    if number == 1:
        ask = rng.choice(_SINGLE).replace("{q}", questions[0]).replace("{name}", name)
        return Row(instruction=ask, input="", output=items[0].answer)
    answers = [item.answer for item in items]
    ask = rng.choice(_SEVERAL).replace("{name}", name)
    if rng.random() < 0.3:
        return Row(instruction=" ".join(questions), input="", output=" ".join(answers))
    sheet, reply = (
        "\n".join(f"{place}. {line}" for place, line in enumerate(lines, 1)) for lines in (questions, answers)
    )
    if rng.random() < 0.4:
        return Row(instruction=f"{ask}\n\n{sheet}", input="", output=reply)
    return Row(instruction=ask, input=sheet, output=reply)
