"""Stories to calculate with, numbers and working included."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tools.demo.skills.words import PEOPLE, TOWNS, count, listed, money, plural, upper_first


class Problem(NamedTuple):
    """A story that ends in a question, the calculations in order, and the answer with its unit."""

    story: str
    steps: list[str]
    answer: str


_GOODS = (
    "notebook",
    "pen",
    "apple",
    "scarf",
    "candle",
    "mug",
    "ticket",
    "poster",
    "plant",
    "sandwich",
    "lamp",
    "puzzle",
)
_THINGS = ("marble", "stamp", "postcard", "sticker", "seashell", "coin", "badge", "bead", "card", "button", "shell")
_BAKES = ("muffin", "cookie", "pancake", "scone", "dumpling", "waffle", "pie", "cupcake", "bagel")
_WISHES = ("bicycle", "guitar", "camera", "tent", "telescope", "skateboard", "keyboard", "kayak", "sewing machine")


def _shopping(rng: Random) -> Problem:
    who, (one, two) = rng.choice(PEOPLE), rng.sample(_GOODS, 2)
    n, m = rng.randint(2, 9), rng.randint(2, 9)
    p, q = rng.randrange(50, 1000, 25), rng.randrange(50, 1000, 25)
    total = n * p + m * q
    paid = (total // 2000 + 1) * 2000
    story = (
        rng.choice(
            (
                f"{who.name} buys {count(n, one)} at {money(p)} each and {count(m, two)} at {money(q)} each. "
                f"{upper_first(who.he)} pays with {money(paid)}. How much change does {who.he} get?",
                f"A {one} costs {money(p)} and a {two} costs {money(q)}. {who.name} takes {count(n, one)} and "
                f"{count(m, two)} to the till and hands over {money(paid)}. What change is due?",
            )
        )
        .replace("A apple", "An apple")
        .replace("a apple", "an apple")
    )
    steps = [
        f"{upper_first(plural(one))}: {n} × {money(p)} = {money(n * p)}.",
        f"{upper_first(plural(two))}: {m} × {money(q)} = {money(m * q)}.",
        f"Together: {money(n * p)} + {money(m * q)} = {money(total)}.",
        f"Change: {money(paid)} - {money(total)} = {money(paid - total)}.",
    ]
    return Problem(story, steps, money(paid - total))


def _rate(rng: Random) -> Problem:
    maker = rng.choice(("machine", "printer", "workshop", "bakery oven", "robot arm", "packing line"))
    thing = rng.choice((*_BAKES[:3], "box", "bottle", "label", "brochure", "toy car", "brick"))
    per, minutes = rng.randint(3, 24), rng.choice((2, 3, 4, 5, 6))
    hours = rng.randint(2, 9)
    batches = 60 // minutes * hours
    broken = rng.randint(2, batches * per // 5)
    made = batches * per
    story = rng.choice(
        (
            f"A {maker} turns out {count(per, thing)} every {minutes} minutes. It runs for {hours} hours without a "
            f"stop, and {broken} of the {plural(thing)} are faulty. How many good {plural(thing)} are there?",
            f"In {minutes} minutes a {maker} makes {count(per, thing)}. If it works for {hours} hours and "
            f"{broken} must be thrown away, how many {plural(thing)} can be used?",
        )
    )
    steps = [
        f"Working time: {hours} × 60 = {hours * 60} minutes.",
        f"Rounds of work: {hours * 60} ÷ {minutes} = {batches}.",
        f"Made in all: {batches} × {per} = {made:,}.",
        f"Good ones: {made:,} - {broken} = {made - broken:,}.",
    ]
    return Problem(story, steps, count(made - broken, thing))


def _fraction(rng: Random) -> Problem:
    who, friend = rng.sample(PEOPLE, 2)
    thing = rng.choice(_THINGS)
    below, share = rng.choice((3, 4, 5, 6, 8)), rng.randint(6, 40)
    above = rng.randint(1, below - 1)
    total, more = below * share, rng.randint(3, 30)
    given = above * share
    story = rng.choice(
        (
            f"{who.name} has {count(total, thing)}. {upper_first(who.he)} gives {above}/{below} of them to "
            f"{friend.name} and then finds {more} more. How many {plural(thing)} does {who.name} have now?",
            f"Of the {count(total, thing)} in {who.name}'s collection, {above}/{below} go to {friend.name}. Later "
            f"{who.he} adds {more} new ones. How many {plural(thing)} are in the collection at the end?",
        )
    )
    steps = [
        f"One part: {total} ÷ {below} = {share}.",
        f"Given away: {above} × {share} = {given}.",
        f"Left over: {total} - {given} = {total - given}.",
        f"With the new ones: {total - given} + {more} = {total - given + more}.",
    ]
    return Problem(story, steps, count(total - given + more, thing))


def _ages(rng: Random) -> Problem:
    young, old, third = rng.sample(PEOPLE, 3)
    age, times, gap = rng.randint(4, 14), rng.randint(2, 4), rng.randint(2, 9)
    years = rng.randint(2, 12)
    elder = age * times
    other = elder - gap
    total = age + elder + other + 3 * years
    story = (
        f"{young.name} is {age} years old. {old.name} is {times} times as old as {young.name}, and {third.name} is "
        f"{gap} years younger than {old.name}. What will their ages add up to in {years} years?"
    )
    now = age + elder + other
    steps = [
        f"{old.name}: {times} × {age} = {elder}.",
        f"{third.name}: {elder} - {gap} = {other}.",
        f"Sum today: {age} + {elder} + {other} = {now}.",
        f"Three people grow older by {years} years: 3 × {years} = {3 * years}.",
        f"Sum then: {now} + {3 * years} = {total}.",
    ]
    return Problem(story, steps, f"{total} years")


def _discount(rng: Random) -> Problem:
    who, thing = rng.choice(PEOPLE), rng.choice((*_WISHES, "coat", "desk", "tennis racket", "suitcase", "blanket"))
    percent, price = rng.choice((5, 10, 15, 20, 25, 30, 40)), rng.randrange(40, 400, 20)
    extra = rng.randint(3, 25)
    off = price * percent // 100
    story = rng.choice(
        (
            f"A {thing} normally costs ${price}. In the sale it is {percent}% cheaper, but delivery adds ${extra}. "
            f"How much does {who.name} pay in total?",
            f"{who.name} has a voucher for {percent}% off a {thing} priced at ${price}. Delivery is ${extra} and is "
            f"not reduced. What is the full bill?",
        )
    )
    steps = [
        f"Discount: {price} × {percent} ÷ 100 = {off}.",
        f"Reduced price: ${price} - ${off} = ${price - off}.",
        f"With delivery: ${price - off} + ${extra} = ${price - off + extra}.",
    ]
    return Problem(story, steps, f"${price - off + extra}")


def _journey(rng: Random) -> Problem:
    who, (start, via, end) = rng.choice(PEOPLE), rng.sample(TOWNS, 3)
    vehicle, low, high = rng.choice((("car", 50, 110), ("bus", 40, 80), ("train", 80, 160), ("bicycle", 12, 24)))
    v, w = rng.randrange(low, high, 2), rng.randrange(low, high, 2)
    t, u = rng.randint(1, 5), rng.randint(1, 5)
    total = v * t + w * u
    story = rng.choice(
        (
            f"{who.name} travels by {vehicle} from {start} to {via} in {count(t, 'hour')} at {v} km/h, and on to {end} "
            f"in {count(u, 'hour')} at {w} km/h. How long is the whole journey in kilometres?",
            f"A {vehicle} takes {count(t, 'hour')} from {start} to {via} at an average of {v} km/h. The second leg, "
            f"from {via} to {end}, lasts {count(u, 'hour')} at {w} km/h. How many kilometres does it cover?",
        )
    )
    steps = [
        f"{start} to {via}: {v} × {t} = {v * t} km.",
        f"{via} to {end}: {w} × {u} = {w * u} km.",
        f"Whole way: {v * t} + {w * u} = {total} km.",
    ]
    return Problem(story, steps, f"{total} km")


def _sharing(rng: Random) -> Problem:
    group = rng.sample(PEOPLE, rng.randint(3, 5))
    thing = rng.choice((*_THINGS, *_BAKES))
    bags, each = rng.randint(3, 12), rng.randint(4, 15)
    less = bags * each % len(group) + len(group) * rng.randint(0, 2)
    total, people = bags * each, len(group)
    rest = total - less
    gone = rng.choice(("lose {} on the way", "keep {} for a neighbour", "throw {} away", "give {} to a friend"))
    story = (
        f"{listed(person.name for person in group)} have {bags} bags with {count(each, thing)} in each. "
        + (f"They {gone.format(count(less, thing))} and share the rest equally. " if less else "They share equally. ")
        + f"How many {plural(thing)} does each of them get?"
    )
    steps = [f"All bags: {bags} × {each} = {total}."]
    if less:
        steps.append(f"To be shared: {total} - {less} = {rest}.")
    steps.append(f"For each of the {people} people: {rest} ÷ {people} = {rest // people}.")
    return Problem(story, steps, count(rest // people, thing))


def _savings(rng: Random) -> Problem:
    who, wish = rng.choice(PEOPLE), rng.choice(_WISHES)
    weekly, weeks, start = rng.randint(6, 30), rng.randint(4, 20), rng.randint(10, 90)
    spent = rng.randint(2, weekly - 3)
    net = weekly - spent
    price = start + net * weeks
    job = rng.choice(("walking dogs", "delivering papers", "tutoring", "mowing lawns", "babysitting", "washing cars"))
    story = rng.choice(
        (
            f"{who.name} wants a {wish} that costs ${price:,} and already has ${start}. {upper_first(who.he)} earns "
            f"${weekly} a week {job} and spends ${spent} of it. After how many weeks can {who.he} buy the {wish}?",
            f"By {job}, {who.name} makes ${weekly} every week, of which ${spent} goes on bus fares. With ${start} "
            f"saved so far, how many weeks must {who.he} wait for a {wish} at ${price:,}?",
        )
    )
    steps = [
        f"Still needed: ${price:,} - ${start} = ${price - start:,}.",
        f"Saved a week: ${weekly} - ${spent} = ${net}.",
        f"Weeks: {price - start:,} ÷ {net} = {weeks}.",
    ]
    return Problem(story, steps, f"{weeks} weeks")


def _garden(rng: Random) -> Problem:
    who, plot = rng.choice(PEOPLE), rng.choice(("garden", "paddock", "vegetable plot", "playground", "courtyard"))
    long, wide, gate, price = rng.randint(8, 40), rng.randint(4, 25), rng.randint(1, 3), rng.randint(4, 18)
    around = 2 * (long + wide)
    story = (
        f"{who.name} is fencing a rectangular {plot} that is {long} metres long and {wide} metres wide, leaving "
        f"{count(gate, 'metre')} open for a gate. Fencing costs ${price} a metre. What will the fence cost?"
    )
    steps = [
        f"Length and width: {long} + {wide} = {long + wide} metres.",
        f"Perimeter: 2 × {long + wide} = {around} metres.",
        f"Without the gate: {around} - {gate} = {around - gate} metres.",
        f"Cost: {around - gate} × ${price} = ${(around - gate) * price:,}.",
    ]
    return Problem(story, steps, f"${(around - gate) * price:,}")


def _recipe(rng: Random) -> Problem:
    who, bake = rng.choice(PEOPLE), rng.choice(_BAKES)
    base, factor = rng.choice((4, 6, 8, 10, 12)), rng.randint(2, 7)
    stuff = rng.choice(("flour", "sugar", "butter", "oats"))
    grams = rng.randrange(60, 400, 10)
    have = rng.randrange(20, grams * factor, 10)
    event = rng.choice(("a school fair", "a birthday party", "the village market", "an office breakfast", "a picnic"))
    story = (
        f"A recipe for {base} {plural(bake)} uses {grams} grams of {stuff}. For {event}, {who.name} wants to bake "
        f"{base * factor} {plural(bake)}, and there are {have:,} grams of {stuff} in the cupboard. How many more grams "
        f"does {who.he} need?"
    )
    steps = [
        f"Times the recipe: {base * factor} ÷ {base} = {factor}.",
        f"{upper_first(stuff)} in all: {factor} × {grams} = {factor * grams:,} grams.",
        f"To buy: {factor * grams:,} - {have:,} = {factor * grams - have:,} grams.",
    ]
    return Problem(story, steps, f"{factor * grams - have:,} grams")


def _average(rng: Random) -> Problem:
    who = rng.choice(PEOPLE)
    what, unit = rng.choice((("quiz", "points"), ("training run", "minutes"), ("reading session", "pages")))
    scores = [rng.randint(12, 40) for _ in range(rng.randint(3, 5))]
    goal = sum(scores) // len(scores) + rng.randint(1, 3)
    tries = len(scores) + 1
    need = goal * tries - sum(scores)
    story = (
        f"In {len(scores)} {plural(what).replace('quizes', 'quizzes')}, {who.name} reached "
        f"{listed(map(str, scores))} {unit}. What must the next {what} bring for an average of {goal} {unit}?"
    )
    steps = [
        f"So far: {' + '.join(map(str, scores))} = {sum(scores)} {unit}.",
        f"Needed for the average: {tries} × {goal} = {goal * tries} {unit}.",
        f"Next one: {goal * tries} - {sum(scores)} = {need} {unit}.",
    ]
    return Problem(story, steps, f"{need} {unit}")


def _tickets(rng: Random) -> Problem:
    place = rng.choice(("museum", "zoo", "theatre", "swimming pool", "science centre", "castle"))
    adult, child = rng.randint(9, 25), rng.randint(3, 8)
    adults, children, costs = rng.randint(10, 80), rng.randint(10, 120), rng.randint(50, 150)
    taken = adult * adults + child * children
    day, town = rng.choice(("a rainy Saturday", "the first day of spring", "a public holiday")), rng.choice(TOWNS)
    story = (
        f"The {place} in {town} charges ${adult} for adults and ${child} for children. On {day}, {adults} adults and "
        f"{children} children come, and the day's running costs are ${costs}. How much is left after costs?"
    )
    steps = [
        f"Adults: {adults} × ${adult} = ${adults * adult:,}.",
        f"Children: {children} × ${child} = ${children * child:,}.",
        f"Takings: ${adults * adult:,} + ${children * child:,} = ${taken:,}.",
        f"After costs: ${taken:,} - ${costs} = ${taken - costs:,}.",
    ]
    return Problem(story, steps, f"${taken - costs:,}")


KINDS: tuple[Callable[[Random], Problem], ...] = (
    _shopping,
    _rate,
    _fraction,
    _ages,
    _discount,
    _journey,
    _sharing,
    _savings,
    _garden,
    _recipe,
    _average,
    _tickets,
)
