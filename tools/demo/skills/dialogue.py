"""Conversations that go on in character: a persona, a visitor, a matter, and the next reply."""

from random import Random

from tools.demo.skills.matters import MATTERS
from tools.demo.skills.personas import PERSONAS
from tools.demo.skills.row import Row, compose, fill
from tools.demo.skills.words import PEOPLE, TOWNS, a

_ASKS = (
    "Play the part of {role} and reply to the visitor.",
    "You are {role}. Stay in character and answer.",
    "Continue the conversation as {role}.",
    "Write the next line of this dialogue. The speaker is {role}.\n\n{text}",
    "Role-play: you are {role}, I am {name}.\n\n{text}",
    "Pretend to be {role} whom {name} meets in {town}. What do you say?",
    "{text}\n\nContinue as {role}.",
    "Let us act out a little scene. You take the role of {role}.\n{text}",
    "In a game, a character called {speaker} is {role}. Give the character's next reply.",
    "Answer the way {role} would.",
    "For my play I need the answer of {role}:\n\n{text}",
    "Keep up the chat in the voice of {role}, in three or four sentences.",
    "System: You are {role}. Never leave your role.\n{text}",
    "The scene: {town}, early evening. {name} talks to {role}. Write what comes next.\n\n{text}",
    "Carry on the following talk. You speak for {speaker}, {role}.",
    "How would {role} respond to this?",
)


def generate(rng: Random) -> Row:
    """Draw a conversation and the reply that continues it.

    :param rng: the source of chance.
    """
    persona, matter = rng.choice(PERSONAS), rng.choice(MATTERS)
    visitor, friend = rng.sample([person.name for person in PEOPLE], 2)
    greeting, aside = rng.choice(persona.greetings), rng.choice(persona.asides)
    ending = rng.choice(persona.endings)
    lines = [(visitor, rng.choice(matter.openings))]
    if rng.random() < 0.5:
        reply = f"{greeting} {rng.choice(matter.replies)} {aside} {ending}"
    else:
        lines += [(persona.speaker, f"{greeting} {rng.choice(matter.replies)}"), (visitor, matter.follow_up)]
        reply = f"{rng.choice(matter.answers)} {aside} {ending}"
    if rng.random() < 0.3:
        lines.insert(0, (visitor, rng.choice(("Good day!", "Hello?", "Excuse me, may I disturb you?"))))
        lines.insert(
            1, (persona.speaker, rng.choice(("Yes? What is it?", "Come nearer, I am listening.", "Speak freely.")))
        )
    town = rng.choice(TOWNS)
    text = "\n".join(f"{who}: {line}" for who, line in lines)
    if rng.random() < 0.3:
        reply = f"{persona.speaker}: {reply}"
    fields = {"name": friend, "town": town}
    ask = fill(rng.choice(_ASKS), role=a(persona.role), speaker=persona.speaker, name=visitor, town=town)
    return compose(ask, fill(text, **fields), fill(reply, **fields))
