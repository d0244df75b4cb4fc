"""Names, places and things that the skills share, and the few rules of English they need."""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple


class Person(NamedTuple):
    """A first name with its pronouns."""

    name: str
    he: str
    him: str
    his: str


_WOMEN = (
    "Alice Amara Beatriz Carmen Chloe Dina Elena Farah Grace Hana Ingrid Jasmine Keiko Leila Maria Nadia Olivia Priya "
    "Rosa Sofia Tamara Uma Vera Wendy Yasmin Zoe"
).split()
_MEN = (
    "Ahmed Ben Carlos Daniel Emil Felix George Hassan Ivan James Kofi Liam Marco Noah Omar Pavel Rafael Samuel Tomas "
    "Umberto Victor Walter Yusuf Zach Anders Diego"
).split()

PEOPLE = tuple(
    [Person(name, "she", "her", "her") for name in _WOMEN] + [Person(name, "he", "him", "his") for name in _MEN]
)

SURNAMES = tuple(
    (
        "Adams Bakker Castillo Dubois Eriksen Fischer Garcia Hughes Ito Jansen Kowalski Lindgren Moreau Novak Okafor "
        "Patel Quinn Rossi Silva Tanaka Ueda Vargas Weber Yilmaz Zhang Brennan Haddad Mensah Petrov Sandoval"
    ).split()
)

CITIES = tuple(
    (
        "Amsterdam,Athens,Barcelona,Berlin,Boston,Cairo,Chicago,Copenhagen,Dublin,Edinburgh,Geneva,Hamburg,Helsinki,"
        "Istanbul,Lisbon,London,Lyon,Madrid,Melbourne,Milan,Montreal,Nairobi,Oslo,Paris,Porto,Prague,Rome,Seattle,"
        "Stockholm,Sydney,Tokyo,Toronto,Vienna,Warsaw,Zurich"
    ).split(",")
)

TOWNS = tuple(
    (
        "Ashford,Brookfield,Clearwater,Dunmore,Eastbridge,Fairhaven,Glenwood,Harrow Bay,Ironville,Juniper Hill,"
        "Kingsport,Lakeside,Millbrook,Northgate,Oakdale,Pinecrest,Queensbury,Riverton,Stonefield,Thornbury,"
        "Westbrook,Willow Creek"
    ).split(",")
)

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = tuple("January February March April May June July August September October November December".split())

_IRREGULAR = {
    "child": "children",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "man": "men",
    "person": "people",
    "scarf": "scarves",
    "shelf": "shelves",
    "woman": "women",
}
_SILENT_OR_VOWEL_SOUND = ("hour", "honest", "heir")
_CONSONANT_SOUND = ("uni", "use", "eu", "one")
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def plural(noun: str) -> str:
    """Form the plural of a noun; in a compound the last word takes it, in "loaf of bread" the first.

    :param noun: a singular noun, perhaps with words before it or an "of" after it.
    """
    head, of, rest = noun.partition(" of ")
    before, space, last = head.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")) or last in ("potato", "tomato"):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return before + space + last + of + rest


def count(number: int, noun: str) -> str:
    """Join a number in digits and its noun, the noun plural unless the number is one.

    :param number: how many.
    :param noun: the singular noun.
    """
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def spelled(number: int) -> str:
    """Write a number up to twelve as a word, a larger one in digits.

    :param number: a number, not negative.
    """
    return _NUMBERS[number] if number < len(_NUMBERS) else f"{number:,}"


def a(noun: str) -> str:
    """Put the indefinite article before a noun phrase.

    :param noun: the phrase without its article.
    """
    lower = noun.lower()
    vowel = lower[0] in "aeiou" and not lower.startswith(_CONSONANT_SOUND)
    return f"{'an' if vowel or lower.startswith(_SILENT_OR_VOWEL_SOUND) else 'a'} {noun}"


def upper_first(text: str) -> str:
    """Make the first letter a capital and leave the rest as it is.

    :param text: any text.
    """
    return text[:1].upper() + text[1:]


def listed(items: Iterable[str], last: str = "and") -> str:
    """Join items as English lists them: "a", "a and b", "a, b and c".

    :param items: one or more items.
    :param last: the word before the last item.
    """
    *head, tail = items
    return f"{', '.join(head)} {last} {tail}" if head else tail


def money(cents: int) -> str:
    """Write an amount in dollars, with its cents only where there are any.

    :param cents: the amount in cents.
    """
    return f"${cents // 100:,}" if cents % 100 == 0 else f"${cents / 100:,.2f}"


def full_name(rng: Random) -> str:
    """Draw a first name and a surname.

    :param rng: the source of chance.
    """
    return f"{rng.choice(PEOPLE).name} {rng.choice(SURNAMES)}"


def clock(rng: Random, first: int = 8, last: int = 20) -> str:
    """Draw a time of day on a quarter of an hour, as "14:45".

    :param rng: the source of chance.
    :param first: earliest hour.
    :param last: latest hour.
    """
    return f"{rng.randint(first, last)}:{rng.choice(('00', '15', '30', '45'))}"


def date(rng: Random) -> str:
    """Draw a day and month, as "14 March".

    :param rng: the source of chance.
    """
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)}"
