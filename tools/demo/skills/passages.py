"""Short passages with their summaries, made from the same facts."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tools.demo.skills.words import (
    CITIES,
    PEOPLE,
    SURNAMES,
    TOWNS,
    WEEKDAYS,
    a,
    clock,
    date,
    full_name,
    money,
    upper_first,
)


class Passage(NamedTuple):
    """A text in sentences with its summary, its headline and its points."""

    sentences: tuple[str, ...]
    summary: str
    headline: str
    points: tuple[str, ...]


_PLANS = (
    ("a new swimming pool", "schools"),
    ("a tram line to the station", "commuters"),
    ("free buses on Sundays", "families"),
    ("a larger library", "students"),
    ("a covered market hall", "traders"),
    ("more street lamps", "pedestrians"),
)


def _council(rng: Random) -> Passage:
    town, cost, yes = rng.choice(TOWNS), rng.randint(2, 90) * 10, rng.randint(9, 20)
    no, month = rng.randint(1, 8), date(rng)
    plan, use = rng.choice(_PLANS)
    return Passage(
        (
            f"After a debate of nearly four hours, the council of {town} has decided in favour of {plan}.",
            f"The vote was {yes} to {no}.",
            f"According to the finance committee, the project will cost {cost} thousand dollars, half of which "
            "comes from the state.",
            rng.choice(
                (
                    f"Opponents had called the plan too expensive, but the mayor argued that {use} had been "
                    "waiting for years.",
                    f"Several speakers asked how {use} were to be won over.",
                    "The gallery was full, and there was applause as well as whistling.",
                    f"The mayor thanked all {use} who had signed the petition.",
                )
            ),
            f"Work is to begin on {month}.",
        ),
        f"By {yes} votes to {no}, the council of {town} approved {plan} for {cost} thousand dollars; work starts on "
        f"{month}.",
        f"{town} says yes to {plan}",
        (f"Council of {town} approves {plan} ({yes} to {no})", f"Cost: {cost} thousand dollars", f"Start: {month}"),
    )


_HABITS = (
    ("took a walk before work", "slept better"),
    ("learned a poem by heart every week", "remembered names more easily"),
    ("kept a diary", "felt less stressed"),
    ("sang in a choir", "breathed more deeply"),
    ("drank no coffee after noon", "fell asleep sooner"),
    ("cooked at home every evening", "spent less money"),
)


def _study(rng: Random) -> Passage:
    city, people, weeks = rng.choice(CITIES), rng.randrange(60, 1200, 10), rng.randint(4, 30)
    (habit, effect), percent = rng.choice(_HABITS), rng.randint(11, 48)
    lead = full_name(rng)
    return Passage(
        (
            f"A team at the university of {city} has followed {people:,} volunteers for {weeks} weeks.",
            f"Half of them {habit}, while the others changed nothing in their daily life.",
            f"At the end, {percent} per cent more people in the first group {effect} than in the second.",
            f"{lead}, who led the study, was surprised by the size of the difference.",
            rng.choice(
                (
                    "The researchers warn, however, that the effect may fade, and they plan a second study "
                    "with older people.",
                    "The results appeared this week and have already drawn criticism, since the volunteers "
                    "reported on themselves.",
                    "The team now wants to find out whether the season plays a part.",
                )
            ),
        ),
        f"A {weeks}-week study from {city} with {people:,} volunteers found that {percent} per cent more of those "
        f"who {habit} {effect}.",
        f"Study: those who {habit} {effect}",
        (
            f"{people:,} volunteers, {weeks} weeks, led by {lead}",
            f"One half {habit}",
            f"{percent} per cent more of them {effect}",
        ),
    )


def _match(rng: Random) -> Passage:
    home, away = rng.sample(TOWNS, 2)
    goals, against = rng.randint(2, 6), rng.randint(0, 1)
    scorer, keeper, crowd, day = (
        rng.choice(SURNAMES),
        full_name(rng),
        rng.randrange(800, 19_000, 50),
        rng.choice(WEEKDAYS),
    )
    weather = rng.choice(
        ("in pouring rain", "in bright sunshine", "in thick fog", "on a frozen pitch", "in a strong wind")
    )
    return Passage(
        (
            f"On {day}, {weather}, {home} met its old rival {away} in front of {crowd:,} spectators.",
            rng.choice(
                (
                    "The first half was cautious, and neither side took a risk.",
                    "For a long time it looked like a draw.",
                    f"{away} had the better start and hit the post twice.",
                )
            ),
            f"Everything changed after the break, when {scorer} scored twice within five minutes.",
            f"{away} never recovered, and the game ended {goals}-{against} for {home}.",
            f"Goalkeeper {keeper} was carried off the field by cheering fans.",
        ),
        f"{home} beat {away} {goals}-{against} on {day} before {crowd:,} spectators, thanks to two quick goals by "
        f"{scorer} after the break.",
        f"{scorer} leads {home} to a {goals}-{against} win over {away}",
        (
            f"Result: {home} {goals}, {away} {against}",
            f"Two goals by {scorer} after the break",
            f"{crowd:,} spectators on {day}",
        ),
    )


def _company(rng: Random) -> Passage:
    firm, city = (
        f"{rng.choice(SURNAMES)} {rng.choice(('Foods', 'Motors', 'Optics', 'Textiles', 'Energy', 'Toys'))}",
        rng.choice(CITIES),
    )
    percent, sales, jobs, boss = rng.randint(3, 28), rng.randint(12, 400), rng.randrange(20, 600, 10), full_name(rng)
    grew = rng.random() < 0.5
    moved, verb, noun = ("rose", "create", "growth") if grew else ("fell", "cut", "decline")
    reason = (
        rng.choice(("strong demand abroad", "lower energy prices"))
        if grew
        else rng.choice(("weak demand abroad", "a long strike"))
    )
    return Passage(
        (
            f"{firm}, based in {city}, presented its figures for the past year on {rng.choice(WEEKDAYS)}.",
            f"Sales {moved} by {percent} per cent to {sales} million dollars.",
            f"The main reason for the {noun}, said chief executive {boss}, was {reason}.",
            f"The company intends to {verb} {jobs} jobs before the end of next year.",
            "A decision on a second factory has been put off, and the dividend stays as it is.",
        ),
        f"Sales of {firm} {moved} by {percent} per cent to {sales} million dollars because of {reason}, and the "
        "company will "
        f"{verb} {jobs} jobs.",
        f"{firm}: sales {'up' if grew else 'down'} {percent} per cent",
        (
            f"Sales {moved} {percent} per cent to {sales} million dollars",
            f"Cause: {reason}",
            f"{jobs} jobs to be {'created' if grew else 'cut'}",
        ),
    )


_TRADES = (
    ("painter", "harbour scenes"),
    ("botanist", "a guide to alpine flowers"),
    ("engineer", "a silent pump"),
    ("composer", "songs for children"),
    ("photographer", "portraits of farmers"),
    ("clockmaker", "a clock without hands"),
)


def _life(rng: Random) -> Passage:
    who, last, town, city = rng.choice(PEOPLE), rng.choice(SURNAMES), rng.choice(TOWNS), rng.choice(CITIES)
    born = rng.randint(1850, 1940)
    job, work = rng.choice(_TRADES)
    year, prize = born + rng.randint(19, 26), born + rng.randint(40, 60)
    he = upper_first(who.he)
    return Passage(
        (
            f"{who.name} {last} was born in {town} in {born}, the youngest of seven children.",
            f"{he} left school at fourteen to help in the family shop and taught {who.him}self at night.".replace(
                "hisself", "himself"
            ),
            f"In {year}, {who.he} moved to {city} and found work as {a(job)}.",
            f"Fame came late: it was only in {prize} that {who.his} best-known work, {work}, won a national prize.",
            rng.choice(
                (
                    f"Today a street in {town} bears {who.his} name.",
                    f"The family still keeps {who.his} letters.",
                    f"A small museum in {town} shows {who.his} tools and notebooks.",
                )
            ),
        ),
        f"{who.name} {last}, born in {town} in {born}, became {a(job)} in {city} and won a national prize for "
        f"{work} in {prize}.",
        f"{who.name} {last}, the self-taught {job} from {town}",
        (
            f"Born in {town} in {born}",
            f"{upper_first(job)} in {city} from {year}",
            f"National prize in {prize} for {work}",
        ),
    )


def _storm(rng: Random) -> Passage:
    town, homes, wind, hours = (
        rng.choice(TOWNS),
        rng.randrange(200, 9000, 100),
        rng.randint(90, 160),
        rng.randint(3, 30),
    )
    day, damage = rng.choice(WEEKDAYS), money(rng.randint(2, 60) * 10_000_000)
    what = rng.choice(("the roof of the sports hall", "two old bridges", "the harbour wall", "a row of greenhouses"))
    return Passage(
        (
            f"A storm with gusts of up to {wind} kilometres an hour swept over {town} on {day} night.",
            f"It destroyed {what} and left {homes:,} homes without electricity for {hours} hours.",
            rng.choice(
                (
                    "Fire crews were called out more than a hundred times, mostly to clear fallen trees.",
                    "Trains stood still until the morning, and schools stayed closed.",
                    "Older people felt reminded of the winter flood.",
                )
            ),
            f"Nobody was hurt, but first estimates put the damage at {damage}.",
            "The weather service expects the wind to drop by the weekend.",
        ),
        f"A storm hit {town} on {day} night, destroyed {what}, cut off power to {homes:,} homes and caused about "
        f"{damage} of damage, but "
        "hurt nobody.",
        f"Storm leaves {homes:,} homes in {town} without power",
        (
            f"Gusts of up to {wind} km/h over {town}",
            f"{homes:,} homes without power for {hours} hours",
            f"Damage about {damage}; nobody hurt",
        ),
    )


_AGENDA = (
    ("the summer party", "hold it in the courtyard", "order the tents"),
    ("the slow website", "change the provider", "compare three offers"),
    ("the noisy workshop", "move it to the ground floor", "talk to the landlord"),
    ("the old van", "sell it and lease a new one", "find a buyer"),
    ("the long opening hours", "close an hour earlier", "print new signs"),
    ("the empty storeroom", "turn it into a tea kitchen", "get a permit"),
)


def _minutes(rng: Random) -> Passage:
    one, two, three = (person.name for person in rng.sample(PEOPLE, 3))
    when, time = rng.choice(WEEKDAYS), clock(rng)
    topic, choice, task = rng.choice(_AGENDA)
    return Passage(
        (
            f"The team met to talk about {topic}.",
            f"{one} opened with a short review of last month, which everybody found sobering.",
            f"{two} first wanted to wait until next year, yet after some discussion all agreed to {choice}.",
            f"{three} will {task} and report back.",
            f"The question of costs was left open. The next meeting is on {when} at {time}.",
        ),
        f"The team agreed to {choice}; {three} will {task}, and the next meeting is on {when} at {time}.",
        f"Team decides on {topic}",
        (f"Topic: {topic}", f"Decision: {choice}", f"{three} will {task}", f"Next meeting: {when}, {time}"),
    )


_WAYS = (
    ("by bicycle", "a stolen saddle"),
    ("on foot", "a twisted ankle"),
    ("in an old bus", "a broken gearbox"),
    ("by canoe and train", "a leaking boat"),
    ("on a scooter", "three flat tyres"),
)


def _trip(rng: Random) -> Passage:
    who, (start, end) = rng.choice(PEOPLE), rng.sample(TOWNS, 2)
    days, km = rng.randint(9, 90), rng.randrange(400, 6000, 10)
    way, trouble = rng.choice(_WAYS)
    impression = rng.choice(("the kindness of strangers", "the silence of the mornings", "the food in small villages"))
    return Passage(
        (
            f"{who.name} had never been far from home before setting out from {start} to {end} {way}.",
            f"The journey of {km:,} kilometres took {days} days, a week more than planned, because of {trouble}.",
            f"{upper_first(who.he)} slept in barns, in hostels and twice under a bridge.",
            f"Asked what impressed {who.him} most, {who.he} speaks not of the sights but of {impression}.",
            f"A book about the journey is to appear in {rng.choice(('spring', 'summer', 'autumn'))}.",
        ),
        f"{who.name} travelled {km:,} kilometres from {start} to {end} {way} in {days} days and was impressed most "
        f"by {impression}.",
        f"From {start} to {end} {way}",
        (
            f"{km:,} kilometres from {start} to {end} {way}",
            f"{days} days, delayed by {trouble}",
            f"Best memory: {impression}",
        ),
    )


KINDS: tuple[Callable[[Random], Passage], ...] = (_council, _study, _match, _company, _life, _storm, _minutes, _trip)
