"""A sentence or two to be put differently: another tense, voice, tone or point of view, or fewer words."""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tools.demo.skills.deeds import DEEDS
from tools.demo.skills.row import Row, compose, fill
from tools.demo.skills.words import PEOPLE, TOWNS, WEEKDAYS, Person, listed, upper_first


class _Change(NamedTuple):
    asks: tuple[str, ...]
    before: str
    after: str


_FRAMES = (
    "{ask}",
    "{ask}",
    "{ask}\n\n{text}",
    "{ask} {text}",
    "{text}\n\n{ask}",
    "Here is a passage from my draft:\n{text}\n\n{ask}",
    "Please edit the text. {ask}",
    "{ask} Change nothing else.",
    "{ask} Return only the new version.",
    "I am editing a short story. {ask}\n\nText: {text}",
    "You are a copy editor. {ask}",
    "Text: {text}\nTask: {ask}",
)

_DUTIES = tuple(deed for deed in DEEDS if deed.base not in ("break", "find", "forget", "steal"))
_ROLES = (
    "gardener,new manager,night guard,young engineer,baker,captain,art teacher,mechanic,mayor,student,head cook,"
    "librarian,volunteer,inspector"
).split(",")
_PLACES = (
    "at the office,before breakfast,after the storm,in the harbour,near the station,at the school,during the festival,"
    "in the village,without any help,after lunch"
).split(",")


def _subject(rng: Random) -> str:
    return rng.choice((f"the {rng.choice(_ROLES)}", rng.choice(PEOPLE).name))


def _tense(rng: Random) -> _Change:
    who, deeds = _subject(rng), rng.sample(DEEDS, rng.randint(2, 3))
    place = rng.choice(_PLACES)
    forms = {
        "present": listed(f"{deed.third} {deed.thing}" for deed in deeds),
        "past": listed(f"{deed.past} {deed.thing}" for deed in deeds),
        "future": "will " + listed(f"{deed.base} {deed.thing}" for deed in deeds),
    }
    source, target = rng.sample(list(forms), 2)
    before, after = (upper_first(f"{who} {forms[tense]} {place}.") for tense in (source, target))
    asks = (
        f"Rewrite it in the {target} tense.",
        f"Change the {source} tense to the {target} tense.",
        f"Put every verb into the {target} tense.",
        f"Tell it in the {target} instead of the {source}.",
    )
    return _Change(asks, before, after)


def _voice(rng: Random) -> _Change:
    role, deed, place = rng.choice(_ROLES), rng.choice(DEEDS), rng.choice(_PLACES[:5])
    active = f"The {role} {deed.past} {deed.thing} {place}."
    passive = upper_first(f"{deed.thing} {deed.was} {deed.participle} by the {role} {place}.")
    if rng.random() < 0.5:
        return _Change(("Use the passive voice.", "Turn the active sentence into a passive one."), active, passive)
    return _Change(("Use the active voice.", "Say who acts first: make it active."), passive, active)


def _denied(rng: Random) -> _Change:
    who, deeds, day = _subject(rng), rng.sample(DEEDS, 2), rng.choice(WEEKDAYS)
    before = upper_first(f"{who} {deeds[0].past} {deeds[0].thing} and {deeds[1].past} {deeds[1].thing} on {day}.")
    base = f"{deeds[0].base} {deeds[0].thing} {{}} {deeds[1].base} {deeds[1].thing} on {day}"
    if rng.random() < 0.5:
        asks = ("Make the statement negative.", "Say the opposite: deny both parts.", "Negate both verbs.")
        return _Change(asks, before, upper_first(f"{who} did not {base.format('or')}."))
    asks = ("Turn the statement into a yes-or-no question.", "Ask it as a question.", "Make it a question with 'did'.")
    return _Change(asks, before, f"Did {who} {base.format('and')}?")


_LETTERS = (
    ("Hey {name}, you gotta {base} by {day}, ok?", "Dear {name}, I would be grateful if you could {base} by {day}."),
    (
        "{name}, {base} now! I won't say it again. And I want to hear about it on {day}.",
        "{name}, could you please {base} now? I would appreciate it if you let me know how it went on {day}.",
    ),
    (
        "Why didn't you {base} on {day}, {name}? Not good!!",
        "Dear {name}, I noticed that you were not able to {base} on {day}. May I ask what happened?",
    ),
    (
        "No way I'm gonna {base} on {day}. Ask {name}.",
        "Unfortunately, I shall not be able to {base} on {day}. May I suggest that you ask {name}?",
    ),
    (
        "Can't {base} this week, sorry! Talk {day}? {name}",
        "I am sorry to say that I cannot {base} this week. Would you be available to discuss this on {day}? "
        "Kind regards, {name}",
    ),
    (
        "Thx for the tip, {name}! I'll {base} {day}.",
        "Dear {name}, thank you for your advice. I will {base} on {day}.",
    ),
)


def _polite(rng: Random) -> _Change:
    deed, name, day = rng.choice(_DUTIES), rng.choice(PEOPLE).name, rng.choice(WEEKDAYS)
    base = f"{deed.base} {deed.thing}"
    rude, kind = (fill(text, name=name, base=base, day=day) for text in rng.choice(_LETTERS))
    asks = (
        "Make this sound formal and polite.",
        "Rewrite it for a business e-mail.",
        "Keep the meaning but use a courteous tone.",
        "Too blunt! Make it professional.",
    )
    return _Change(asks, rude, kind)


_WORDY = (
    ("Due to the fact that", "Because"),
    ("In spite of the fact that", "Although"),
    ("At the point in time when", "When"),
    ("In view of the fact that", "Since"),
    ("In the event that", "If"),
    ("For the reason that", "Because"),
    ("Subsequent to the moment at which", "After"),
)
_PADDING = (
    "it is absolutely essential to note that",
    "it should be pointed out that",
    "as a matter of fact,",
    "in actual fact and in truth,",
    "there can be no doubt at all about the fact that",
)
_TAILS = (
    ("at this moment in time", "now"),
    ("on a daily basis", "daily"),
    ("in the near future", "soon"),
    ("at an early date", "early"),
)


def _concise(rng: Random) -> _Change:
    (long, short), padding = rng.choice(_WORDY), rng.choice(_PADDING)
    one, two, deeds = _subject(rng), rng.choice(PEOPLE).name, rng.sample(DEEDS, 2)
    tail_long, tail_short = rng.choice(_TAILS)
    clause = f"{one} {deeds[0].third} {deeds[0].thing}"
    other = f"{two} can {deeds[1].base} {deeds[1].thing}"
    asks = (
        "Make the sentence concise.",
        "Say the same in fewer words.",
        "Cut every word that is not needed.",
        "Tighten this sentence without losing its meaning.",
    )
    return _Change(asks, f"{long} {clause}, {padding} {other} {tail_long}.", f"{short} {clause}, {other} {tail_short}.")


_DIARY = (
    ("{I} missed {my} train to {town}, so {i} phoned {my} sister.", ("upset", "late", "tired")),
    ("{I} burned {my} tongue because {i} could not wait for the soup.", ("silly", "hungry", "amused")),
    ("{I} finished {my} first marathon in {town}, and {my} legs still hurt.", ("proud", "exhausted", "happy")),
    ("{I} left {my} umbrella on the bus from {town} and walked home in the rain.", ("wet", "annoyed", "cold")),
    ("{I} sold {my} old car to a man from {town}, although {i} had loved it.", ("sad", "relieved", "nervous")),
    ("{I} played {my} cello in front of a full hall in {town}.", ("nervous", "calm", "proud")),
    ("{I} spent {my} savings on a boat before {i} had learned to sail.", ("excited", "foolish", "free")),
    ("{I} met {my} old teacher in {town}, who still remembered {me}.", ("glad", "surprised", "moved")),
    ("{I} moved to {town} with {my} two cats and did not know anybody.", ("lonely", "curious", "brave")),
)


def _person(rng: Random) -> _Change:
    who, (story, moods), day = rng.choice(PEOPLE), rng.choice(_DIARY), rng.choice(WEEKDAYS)
    template = f"On {day} {story} {{I}} was {rng.choice(moods)} for the rest of the day."
    first = fill(template, I="I", i="I", my="my", me="me", town=(town := rng.choice(TOWNS)))
    head, _, tail = template.partition("{I}")
    third = head + who.name + fill(tail, I=upper_first(who.he), i=who.he, my=who.his, me=who.him, town=town)
    asks = (
        f"Rewrite this in the third person, about {who.name} ({who.he}).",
        f"Tell it about {who.name} ({who.he}/{who.him}) instead of 'I'.",
    )
    back = ("Rewrite this in the first person.", f"Let {who.name} tell the story as 'I'.")
    return _Change(asks, first, third) if rng.random() < 0.6 else _Change(back, third, first)


def _reported(rng: Random) -> _Change:
    who, deed, place = rng.choice(PEOPLE), rng.choice(DEEDS), rng.choice(_PLACES)
    direct, indirect, verb = rng.choice(
        (
            ("will", "would", deed.base),
            ("can", "could", deed.base),
            ("have", "had", deed.participle),
            ("am going to", "was going to", deed.base),
            ("must", "had to", deed.base),
        )
    )
    reported = rng.choice(("said", "explained", "announced", "admitted"))
    quoted = f'{who.name} {reported}: "I {direct} {verb} {deed.thing} {place}."'
    asks = (
        "Change the direct speech into reported speech.",
        "Report what was said, without quotation marks.",
        "Use indirect speech.",
    )
    return _Change(asks, quoted, f"{who.name} {reported} that {who.he} {indirect} {verb} {deed.thing} {place}.")


def _joined(rng: Random) -> _Change:
    who, other, deed = rng.choice(PEOPLE), _subject(rng), rng.choice(DEEDS)
    facts: Sequence[tuple[str, str, str]] = (
        ("Although", "it was very late", "stayed to"),
        ("Although", "nobody had asked for it", "hurried to"),
        ("Because", "the weather was so bad", "stayed inside to"),
        ("Because", "the others were ill", "had to"),
        ("Because", f"{other} had gone home", "came back to"),
        ("While", f"{other} was asleep", "managed to"),
        ("As soon as", f"{other} had left", "began to"),
        ("After", "the lights had gone out", "forgot to"),
    )
    word, first, verb = rng.choice(facts)
    second = f"{who.name} {verb} {deed.base} {deed.thing}"
    asks = (
        f"Join the two sentences with '{word.lower()}'.",
        f"Combine both into one sentence that starts with '{word}'.",
        f"Make one sentence of it, using '{word.lower()}' at the beginning.",
    )
    return _Change(asks, f"{upper_first(first)}. {second}.", f"{word} {first}, {second}.")


_BELONGINGS = (
    "the old piano,the bicycle,both lamps,the silver spoons,the blue vase,a second-hand camera,the garden chairs,"
    "the wooden boat,the spare key,the stamp collection,two carpets,the painting in the hall"
).split(",")
_FANCY = (
    ("purchase", "buy"), ("utilise", "use"), ("inspect", "check"), ("procure", "get"), ("relinquish", "give up"),
    ("discard", "throw away"), ("retain", "keep"), ("exhibit", "show"),
)  # fmt: skip
_FANCY_FRAMES = (
    (
        "{who} endeavoured to {verb} {thing} prior to commencing work.",
        "{who} tried to {verb} {thing} before starting work.",
    ),
    ("{who} requires assistance in order to {verb} {thing}.", "{who} needs help to {verb} {thing}."),
    (
        "Upon arrival, {who} shall {verb} {thing} without delay.",
        "When {he} arrives, {who} will {verb} {thing} at once.",
    ),
    ("{who} possesses sufficient means to {verb} {thing}.", "{who} has enough money to {verb} {thing}."),
    ("Kindly inform {who} of the necessity to {verb} {thing}.", "Please tell {who} to {verb} {thing}."),
)


def _plain(rng: Random) -> _Change:
    who: Person = rng.choice(PEOPLE)
    (hard, easy), (before, after), thing = rng.choice(_FANCY), rng.choice(_FANCY_FRAMES), rng.choice(_BELONGINGS)
    asks = (
        "Use plain, everyday words.",
        "Make this easy to understand for a ten-year-old.",
        "Replace the stiff words by simple ones.",
        "Simplify the language.",
    )
    after = fill(after, who=who.name, he=who.he, verb=easy, thing=thing)
    return _Change(asks, fill(before, who=who.name, verb=hard, thing=thing), after)


_KINDS: tuple[Callable[[Random], _Change], ...] = (
    _tense, _voice, _denied, _polite, _concise, _person, _reported, _joined, _plain,
)  # fmt: skip


def generate(rng: Random) -> Row:
    """Draw a text, what to change in it, and the changed text.

    :param rng: the source of chance.
    """
    change = rng.choice(_KINDS)(rng)
    return compose(fill(rng.choice(_FRAMES), ask=rng.choice(change.asks)), change.before, change.after)
