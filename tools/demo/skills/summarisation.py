"""Short generated passages, each to be cut down to a sentence, a headline or a few points."""

from random import Random

from tools.demo.skills.passages import KINDS
from tools.demo.skills.row import Row, compose

_SENTENCE_ASKS = (
    "Summarise the text in one sentence.",
    "What is the gist of this?",
    "Give me a one-sentence summary.\n\n{text}",
    "TL;DR?\n\n{text}",
    "Boil the passage down to a single sentence.",
    "I have no time to read all this. What does it say?\n\n{text}",
    "Sum up the article briefly for a newsletter.",
    "{text}\n\nSummarise the above.",
    "Write an abstract of one sentence.",
    "Shorten the following to the essential facts: {text}",
    "Condense this for a reader in a hurry.",
)
_HEADLINE_ASKS = (
    "Write a headline for this text.",
    "Find a short title.\n\n{text}",
    "What would be a good headline? {text}",
    "Give the piece a title of at most twelve words.",
)
_POINT_ASKS = (
    "List the key points.",
    "Summarise in bullet points.\n\n{text}",
    "Extract the main facts as a short list of bullet points.",
    "Make a few notes on the text: one line a fact.\n\n{text}",
    "Turn the passage into bullet points for a slide.",
)


def generate(rng: Random) -> Row:
    """Draw a passage and a short form of it.

    :param rng: the source of chance.
    """
    passage = rng.choice(KINDS)(rng)
    text = " ".join(passage.sentences)
    asks, answer = rng.choice(
        (
            (_SENTENCE_ASKS, passage.summary),
            (_SENTENCE_ASKS, passage.summary),
            (_HEADLINE_ASKS, passage.headline),
            (_POINT_ASKS, "\n".join(f"- {point}" for point in passage.points)),
        )
    )
    return compose(rng.choice(asks), text, answer)
