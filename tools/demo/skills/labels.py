"""The ways to label a text, and the sentences that give each label away.

``{thing}``, ``{device}``, ``{name}``, ``{town}`` and the like are filled in later.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Task(NamedTuple):
    """A way to label: what the label is called, openers for any label, and for each label its tell-tale sentences."""

    quality: str
    openers: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    why: Mapping[str, str]


_SENTIMENT = Task(
    "sentiment",
    (
        "We ordered the {thing} on {day}.",
        "I bought this {thing} for {name}.",
        "This was my second {thing} from the shop in {town}.",
        "Short review of the {thing}:",
        "After a month with the {thing}, here is my verdict.",
        "I stayed with the brand for my new {thing}.",
    ),
    {
        "positive": (
            "It works beautifully and feels solid.",
            "I could not be happier with it.",
            "Worth every penny!",
            "{name} has not stopped praising it.",
            "The quality is far better than I had hoped.",
            "Delivery was quick, and the support people were lovely.",
            "I would buy it again at once.",
        ),
        "negative": (
            "It broke after two days.",
            "The manual is useless, and so is the support line.",
            "I want my money back.",
            "{name} refuses to touch it again.",
            "It is loud, ugly and far too expensive.",
            "Never again will I order from this shop.",
            "The colour came off the first time we used it.",
        ),
        "neutral": (
            "It does what the box says.",
            "It comes in three sizes and two colours.",
            "It arrived on {day} as announced.",
            "I have no strong feelings about it.",
            "It is about as good as my old one.",
            "The instructions are printed in six languages.",
            "It weighs a little less than a kilo.",
        ),
    },
    {
        "positive": "the writer is pleased",
        "negative": "the writer is let down",
        "neutral": "nothing is praised or blamed",
    },
)
_TOPIC = Task(
    "topic",
    (
        "{town}, {day}.",
        "News in brief:",
        "From our correspondent in {city}.",
        "({city}) This was reported on {day}.",
        "{name} {surname} reports.",
        "Local paper, page {page}:",
    ),
    {
        "sport": (
            "The home side won by two goals in extra time.",
            "The coach praised a young goalkeeper.",
            "The sprinter missed the final because of an injury.",
            "The club has signed a striker from {city}.",
            "A late penalty decided the match.",
            "The marathon will start at the stadium again.",
        ),
        "politics": (
            "The council voted for a new mayor.",
            "The minister resigned after the debate in parliament.",
            "Voters in {town} go to the polls next month.",
            "The opposition demands a new election.",
            "The government has withdrawn the bill.",
            "Both parties agreed on a coalition.",
        ),
        "science": (
            "Researchers have found a new species of beetle.",
            "The telescope recorded light from a distant galaxy.",
            "A study explains how bats find their way.",
            "The laboratory tested the material at very low temperatures.",
            "Physicists measured the particle more precisely than ever.",
            "The probe sent back samples of dust.",
        ),
        "business": (
            "The company raised its profit forecast.",
            "Shares of the airline fell sharply.",
            "Two banks announced a merger.",
            "The start-up from {city} has found new investors.",
            "Exports rose for the third month in a row.",
            "The retailer will close forty branches.",
        ),
        "culture": (
            "The gallery shows early paintings by {name} {surname}.",
            "The orchestra opened its season with a symphony.",
            "The novel won the most important prize of the year.",
            "The theatre was sold out for the premiere.",
            "A film festival begins in {city}.",
            "The choir sang to a full cathedral.",
        ),
    },
    {
        "sport": "it is about matches and athletes",
        "politics": "it is about elections and government",
        "science": "it reports research",
        "business": "it is about companies and markets",
        "culture": "it is about the arts",
    },
)
_INTENT = Task(
    "intent",
    (
        "Hello!",
        "Hi there!",
        "Good morning, this is {name} {surname}.",
        "Customer number {number}.",
        "To the team in {town}:",
        "My name is {name} {surname} and I have a request.",
    ),
    {
        "refund": (
            "I sent back the {thing} and would like my money returned.",
            "You charged me twice; please pay one amount back.",
            "When will I see the money for the cancelled {thing}?",
            "Please credit the price of the {thing} to my card.",
        ),
        "order_status": (
            "Where is the {thing} I ordered on {day}?",
            "My order was due on {day}. Has it left the warehouse?",
            "Could you tell me when the {thing} will arrive?",
            "The tracking page has shown nothing since {day}.",
        ),
        "technical_help": (
            "The {device} does not switch on.",
            "I cannot log in, even with a new password.",
            "An error appears whenever I connect the {device}.",
            "How do I reset the {device}? The light blinks red.",
        ),
        "cancel": (
            "Please end my subscription.",
            "I no longer want the {thing}; stop the order.",
            "We are moving abroad and must close our account.",
            "Take me off the contract at the next possible date.",
        ),
        "praise": (
            "I only wanted to say thank you for the quick repair.",
            "{name} from your staff was wonderful on {day}.",
            "Your shop in {town} deserves a medal.",
            "Best service I have had in years, keep it up.",
        ),
    },
    {
        "refund": "the customer wants money back",
        "order_status": "the customer asks where the goods are",
        "technical_help": "something does not work and help is wanted",
        "cancel": "the customer wants to end something",
        "praise": "the customer is happy and wants nothing",
    },
)
_EMOTION = Task(
    "emotion",
    (
        "It is {day} night.",
        "Dear diary!",
        "Message to {name}:",
        "I am sitting on the train to {city}.",
        "{name} just left.",
        "Back in {town} at last.",
    ),
    {
        "joy": (
            "I have been smiling all day long.",
            "We danced in the kitchen until midnight.",
            "She said yes!",
            "I passed, and everybody cheered.",
            "I could hug the whole world.",
        ),
        "anger": (
            "How dare they read my letters!",
            "I slammed the door and I would do it again.",
            "They lied to my face.",
            "I am sick of being treated like that.",
            "This is the last time {name} makes a fool of me.",
        ),
        "fear": (
            "There are steps on the stairs, and I live alone.",
            "My hands will not stop shaking.",
            "I dare not open the envelope.",
            "What if the doctors find something?",
            "I checked the lock four times.",
        ),
        "sadness": (
            "The house is so empty without him.",
            "I could not even finish the cake.",
            "I keep looking at the old photographs.",
            "Nobody called on my birthday.",
            "We buried our old dog this morning.",
        ),
    },
    {
        "joy": "the writer celebrates",
        "anger": "the writer feels wronged and says so",
        "fear": "the writer expects something bad",
        "sadness": "the writer mourns a loss",
    },
)
_URGENCY = Task(
    "priority",
    (
        "Ticket {number}, opened by {name}:",
        "Report from the office in {city}.",
        "Message of {day}:",
        "{name} {surname} writes:",
        "From the {town} branch:",
        "Note to the caretaker:",
    ),
    {
        "high": (
            "Water is pouring through the ceiling onto the servers.",
            "Nobody can pay at the tills, and the queue is growing.",
            "There is a smell of gas in the stairwell.",
            "The lift is stuck with two people inside.",
            "All customers see a blank page since this morning.",
        ),
        "medium": (
            "The printer on the second floor jams several times a day.",
            "One of the two projectors has failed.",
            "The heating in the meeting room is too low.",
            "Some invoices show the old address.",
            "The gate only opens at the second try.",
        ),
        "low": (
            "When there is time, could the sign be repainted?",
            "The logo on page nine looks a bit blurred.",
            "It would be nice to have another plant in the hall.",
            "There is a spelling mistake in last year's archive.",
            "Perhaps the clock could be set; it is a minute slow.",
        ),
    },
    {
        "high": "people or the whole business are affected now",
        "medium": "work is disturbed but goes on",
        "low": "it can wait without harm",
    },
)
TASKS = (_SENTIMENT, _SENTIMENT, _TOPIC, _TOPIC, _INTENT, _EMOTION, _URGENCY)
