"""Short texts to be given a label: how they feel, what they are about, or what their writer wants."""

from random import Random

from tools.demo.skills.labels import TASKS, Task
from tools.demo.skills.row import Row, compose, fill
from tools.demo.skills.words import CITIES, PEOPLE, SURNAMES, TOWNS, WEEKDAYS, listed

_THINGS = (
    "kettle",
    "phone case",
    "desk",
    "vacuum cleaner",
    "raincoat",
    "printer",
    "board game",
    "toaster",
    "tent",
    "watch",
)
_DEVICES = ("printer", "router", "camera", "smart lock", "thermostat", "scanner", "tablet", "speaker")
_ASKS = (
    "Classify the {quality} of the text. Labels: {labels}.",
    "What is the {quality} of this text: {either}?",
    "Choose one label ({labels}).\n\n{text}",
    'Text: "{text}"\n{Quality}?\nOptions: {labels}',
    "Which {quality} fits best, {either}? Give the label and a short reason.",
    "Label the {quality}. Possible values are {labels}.",
    "Read the text and decide: {either}?\n\n{text}",
    "Assign exactly one of these classes: {labels}. Answer with one word.",
    "{text}\n\nQuestion: is the {quality} {either}?",
    "I am sorting messages by {quality} ({labels}). Where does this one go?\n\n{text}",
    "Determine the {quality} and justify it in one sentence. Choices: {labels}.",
    "You label data. Task: {quality}. Allowed labels: {labels}.\nItem: {text}",
    "{Quality} detection. Pick from {labels}.",
    "Would you say that the {quality} here is {either}? Explain briefly.",
    "Tag this with its {quality} [{labels}]: {text}",
    "Sort the following into one of {number} groups by {quality}: {labels}.",
)
_COUNTS = {3: "three", 4: "four", 5: "five"}


def generate(rng: Random) -> Row:
    """Draw a text and its label, with a reason where one is asked for.

    :param rng: the source of chance.
    """
    task = rng.choice(TASKS)
    label = rng.choice(list(task.labels))
    sentences = [rng.choice(task.openers), *rng.sample(task.labels[label], rng.randint(1, 3))]
    labels = list(task.labels)
    rng.shuffle(labels)
    ask = fill(
        rng.choice(_ASKS),
        quality=task.quality,
        Quality=task.quality.capitalize(),
        labels=", ".join(labels),
        either=listed(labels, "or"),
        number=_COUNTS[len(labels)],
    )
    return compose(ask, _filled(rng, " ".join(sentences)), _answer(rng, ask, task, label))


def _filled(rng: Random, text: str) -> str:
    return fill(
        text,
        thing=rng.choice(_THINGS),
        device=rng.choice(_DEVICES),
        name=rng.choice(PEOPLE).name,
        surname=rng.choice(SURNAMES),
        day=rng.choice(WEEKDAYS),
        town=rng.choice(TOWNS),
        city=rng.choice(CITIES),
        page=str(rng.randint(2, 24)),
        number=str(rng.randint(1000, 99_999)),
    )


def _answer(rng: Random, ask: str, task: Task, label: str) -> str:
    if any(word in ask for word in ("reason", "justify", "Explain")):
        because = task.why[label]
        return rng.choice(
            (f"{label}, because {because}.", f"Label: {label}\nReason: {because}.", f"{label}: {because}.")
        )
    if "Answer with one word" in ask:
        return label
    return rng.choice((label, label, f"{task.quality.capitalize()}: {label}"))
