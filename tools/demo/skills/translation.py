"""Sentences in English, French, German and Spanish, built in parallel so that each is the translation of the others."""

from collections.abc import Callable
from random import Random

from tools.demo.skills import lexicon
from tools.demo.skills.lexicon import Adjective, Noun, Phrase, Subject, Verb
from tools.demo.skills.row import Row, compose, fill
from tools.demo.skills.words import a, upper_first

_LANGUAGES = {"fr": "French", "de": "German", "es": "Spanish"}
_ASKS = (
    "Translate into {target}.",
    "Translate the text from {source} into {target}.",
    'How do you say "{text}" in {target}?',
    "What is the {target} for this?",
    "{target}, please: {text}",
    "Please give me the {target} version of the following {source} sentences.",
    "I am writing to a friend who only reads {target}. Can you translate my note?\n\n{text}",
    "Put this into good {target}: {text}",
    "{text}\n\nTranslate the above into {target}.",
    "You are a professional translator. Render the {source} text in natural {target}, without comments.",
    "My {target} is not good enough for this. Can you help? {text}",
    "Write the same in {target}.",
    "For my {target} class I have to translate these sentences: {text}",
    "Convert the {source} message to {target} and keep the punctuation close to the original.",
    "Could you turn the following into {target}?\n\n{text}",
    "{source} to {target}: {text}",
    "Subtitle this line in {target}.",
    "A customer sent this in {source}. What would it be in {target}?\n{text}",
    "Give the {target} translation only.",
    "Translate sentence by sentence from {source} to {target}.",
)


def generate(rng: Random) -> Row:
    """Draw one to four sentences with their translation.

    :param rng: the source of chance.
    """
    sentences = [_sentence(rng) for _ in range(rng.choice((1, 2, 2, 3, 3, 4)))]
    source, target = rng.choice(
        [("en", code) for code in _LANGUAGES] * 2 + [(code, "en") for code in _LANGUAGES] + [("fr", "es"), ("de", "fr")]
    )
    names = {"en": "English", **_LANGUAGES}
    separator = "\n" if rng.random() < 0.25 else " "
    text, output = (separator.join(getattr(s, code) for s in sentences) for code in (source, target))
    return compose(fill(rng.choice(_ASKS), source=names[source], target=names[target]), text, output)


def _sentence(rng: Random) -> Phrase:
    kind = rng.choice(_KINDS)
    phrase = kind(rng)
    return Phrase(*(upper_first(text) if text[0] != "¿" else "¿" + upper_first(text[1:]) for text in phrase))


def _present(rng: Random) -> Phrase:
    who, verb, time = rng.choice(lexicon.SUBJECTS), rng.choice(lexicon.VERBS), rng.choice(lexicon.TIMES)
    thing = _some(rng.choice(lexicon.NOUNS), rng.choice(lexicon.ADJECTIVES))
    fr, de, es = verb.fr.split()[who.form], verb.de.split()[who.form], verb.es.split()[who.form]
    return Phrase(
        f"{who.en} {_english(verb, who)} {thing.en} {time.en}.".replace(" often.", " quite often."),
        f"{_je(who.fr, fr)} {thing.fr} {time.fr}.".replace(" souvent.", " assez souvent."),
        f"{who.de} {de} {time.de} {thing.de}.".replace(" oft ", " ziemlich oft "),
        f"{who.es} {es} {thing.es} {time.es}.".replace(" a menudo.", " bastante a menudo."),
    )


def _past(rng: Random) -> Phrase:
    who, verb, time = rng.choice(lexicon.SUBJECTS), rng.choice(lexicon.VERBS), rng.choice(lexicon.PAST_TIMES)
    thing = _some(rng.choice(lexicon.NOUNS), rng.choice(lexicon.ADJECTIVES))
    have = ("ai", "a", "avons", "ont")[who.form]
    habe = ("habe", "hat", "haben", "haben")[who.form]
    return Phrase(
        f"{who.en} {verb.en.split()[2]} {thing.en} {time.en}.",
        f"{_je(who.fr, have)} {verb.fr.split()[5]} {thing.fr} {time.fr}.",
        f"{who.de} {habe} {time.de} {thing.de} {verb.de.split()[5]}.",
        f"{who.es} {verb.es.split()[5 + who.form]} {thing.es} {time.es}.",
    )


def _negated(rng: Random) -> Phrase:
    who, verb, thing = rng.choice(lexicon.SUBJECTS), rng.choice(lexicon.VERBS), _the(rng.choice(lexicon.NOUNS))
    fr, de, es = verb.fr.split()[who.form], verb.de.split()[who.form], verb.es.split()[who.form]
    not_ = "does not" if who.form == 1 else "do not"
    return Phrase(
        f"{who.en} {not_} {verb.en.split()[0]} {thing.en}.",
        f"{who.fr} {_elide('ne', fr)} pas {thing.fr}.",
        f"{who.de} {de} {_accusative(thing.de)} nicht.",
        f"{who.es} no {es} {thing.es}.",
    )


def _wanted(rng: Random) -> Phrase:
    who = rng.choice(lexicon.SUBJECTS)
    verb = rng.choice([verb for verb in lexicon.VERBS if not verb.en.startswith("lose")])
    thing = _some(rng.choice(lexicon.NOUNS), rng.choice(lexicon.ADJECTIVES))
    en, fr, de, es = rng.choice(_MODALS)
    return Phrase(
        f"{who.en} {en.split()[who.form].replace('_', ' ')} {verb.en.split()[0]} {thing.en}.",
        f"{who.fr} {fr.split()[who.form]} {verb.fr.split()[4]} {thing.fr}.",
        f"{who.de} {de.split()[who.form]} {thing.de} {verb.de.split()[4]}.",
        f"{who.es} {es.split()[who.form]} {verb.es.split()[4]} {thing.es}.",
    )


_MODALS = (
    ("want_to wants_to want_to want_to", "veux veut voulons veulent", "will will wollen wollen",
     "quiero quiere queremos quieren"),
    ("can can can can", "peux peut pouvons peuvent", "kann kann können können", "puedo puede podemos pueden"),
    ("must must must must", "dois doit devons doivent", "muss muss müssen müssen", "debo debe debemos deben"),
)  # fmt: skip


def _described(rng: Random) -> Phrase:
    noun, adjective = rng.choice(lexicon.NOUNS), rng.choice(lexicon.ADJECTIVES[lexicon.COLOURS :])
    thing = _the(noun)
    very = rng.choice((("very", "très", "sehr", "muy"), ("too", "trop", "zu", "demasiado")))
    fr, es = _french(adjective, noun), _spanish(adjective, noun)
    ist = "está" if adjective.en in ("clean", "dirty") else "es"
    return Phrase(
        f"{thing.en} is {very[0]} {adjective.en}.",
        f"{thing.fr} est {very[1]} {fr}.",
        f"{thing.de} ist {very[2]} {adjective.de}.",
        f"{thing.es} {ist} {very[3]} {es}.",
    )


def _placed(rng: Random) -> Phrase:
    place, thing = rng.choice(lexicon.PLACES), _the(rng.choice(lexicon.NOUNS))
    return Phrase(
        f"{thing.en} is {place.en}.",
        f"{thing.fr} est {place.fr}.",
        f"{thing.de} ist {place.de}.",
        f"{thing.es} está {place.es}.",
    )


def _asked(rng: Random) -> Phrase:
    noun, adjective = rng.choice(lexicon.NOUNS), rng.choice(lexicon.ADJECTIVES[: lexicon.COLOURS])
    thing = _the(noun)
    fr, es = _french(adjective, noun), _spanish(adjective, noun)
    article, name = thing.de.split(" ", 1)
    return Phrase(
        f"where is the {adjective.en} {noun.en}?",
        f"où est {thing.fr} {fr} ?",
        f"wo ist {article} {adjective.de}e {name}?",
        f"¿dónde está {thing.es} {es}?",
    )


def _fixed(rng: Random) -> Phrase:
    return rng.choice(lexicon.FIXED)


_KINDS: tuple[Callable[[Random], Phrase], ...] = (
    _present,
    _present,
    _past,
    _past,
    _negated,
    _wanted,
    _wanted,
    _described,
    _placed,
    _asked,
    _fixed,
)


def _english(verb: Verb, who: Subject) -> str:
    return verb.en.split()[1 if who.form == 1 else 0]


def _elide(word: str, following: str) -> str:
    """French "je", "ne", "le" and "la" lose their vowel before another: "j'achète", "l'image"."""
    return f"{word[:-1]}'{following}" if following[0] in "aeéèiouh" else f"{word} {following}"


def _je(subject: str, verb: str) -> str:
    return _elide("je", verb) if subject == "je" else f"{subject} {verb}"


def _accusative(phrase: str) -> str:
    return phrase.replace("der ", "den ", 1) if phrase.startswith("der ") else phrase


def _french(adjective: Adjective, noun: Noun) -> str:
    masculine, feminine = adjective.fr.lstrip("<").replace("_", "-").split()
    return (masculine if noun.fr[0] == "m" else feminine).replace("bon-marché", "bon marché")


def _spanish(adjective: Adjective, noun: Noun) -> str:
    masculine, feminine = adjective.es.split()
    return masculine if noun.es[0] == "m" else feminine


def _the(noun: Noun) -> Phrase:
    """Put the definite article before a thing, in the nominative."""
    fr, de, es = noun.fr[2:], noun.de[2:], noun.es[2:]
    return Phrase(
        f"the {noun.en}",
        _elide({"m": "le", "f": "la"}[noun.fr[0]], fr),
        f"{ {'m': 'der', 'f': 'die', 'n': 'das'}[noun.de[0]] } {de}",
        f"{ {'m': 'el', 'f': 'la'}[noun.es[0]] } {es}",
    )


def _some(noun: Noun, adjective: Adjective) -> Phrase:
    """Put an indefinite article and an adjective before a thing, as the object of a verb."""
    fr, de, es = noun.fr[2:], noun.de[2:], noun.es[2:]
    un = {"m": "un", "f": "une"}[noun.fr[0]]
    french = _french(adjective, noun)
    einen, ending = {"m": ("einen", "en"), "f": ("eine", "e"), "n": ("ein", "es")}[noun.de[0]]
    stem = "teur" if adjective.de == "teuer" else adjective.de
    return Phrase(
        a(f"{adjective.en} {noun.en}"),
        f"{un} {french} {fr}" if adjective.fr[0] == "<" else f"{un} {fr} {french}",
        f"{einen} {stem}{ending} {de}",
        f"{ {'m': 'un', 'f': 'una'}[noun.es[0]] } {es} {_spanish(adjective, noun)}",
    )
