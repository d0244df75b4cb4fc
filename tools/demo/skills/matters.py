"""What the visitors in the dialogues want, and possible replies.

``{town}`` and ``{name}`` stand for a place and for a friend of the visitor.
"""

from typing import NamedTuple


class Matter(NamedTuple):
    """Opening lines, replies to them, a follow-up, and answers to it."""

    openings: tuple[str, ...]
    replies: tuple[str, ...]
    follow_up: str
    answers: tuple[str, ...]


MATTERS = (
    Matter(
        ("I have lost my way. How do I get to {town}?", "Is this the road to {town}? I have no map."),
        (
            "Go down to the stream, keep it on your left, and you will see the towers of {town} before dark.",
            "You have passed the turning. Walk back to the crooked oak, and from there {town} is an hour away.",
        ),
        "What if it gets dark before I arrive?",
        (
            "Then stop at the inn by the bridge; it is plain but safe.",
            "Take a lantern and stay on the main road, whatever you hear.",
        ),
    ),
    Matter(
        (
            "I have to give a speech tomorrow and I am terrified.",
            "Tomorrow I speak in front of the whole of {town}. My knees are shaking.",
        ),
        (
            "Learn your first sentence by heart and let the rest follow it.",
            "Look for one friendly face and speak to that person only.",
        ),
        "And if I forget everything?",
        (
            "Breathe, smile and tell them so; people love an honest speaker.",
            "Keep three words on a card in your pocket; they will bring back the rest.",
        ),
    ),
    Matter(
        (
            "My best friend {name} is not speaking to me any more.",
            "{name} and I had a quarrel about money. What shall I do?",
        ),
        (
            "Go and say that you miss {name}, before you explain who was right.",
            "Somebody has to knock first, so let it be you.",
        ),
        "But I was not the one who started it!",
        (
            "Perhaps not, but you can be the one who ends it.",
            "That may be so, and yet being right is a lonely business.",
        ),
    ),
    Matter(
        ("Do you think it will rain on my trip to {town}?", "What weather shall I expect on the way to {town}?"),
        (
            "The swallows fly low, so I would take a good coat.",
            "Clear until noon, I should say, and after that a shower or two.",
        ),
        "I do not own a coat. Is that a problem?",
        ("Borrow one, for nobody ever regretted a dry back.", "Wear two jumpers and walk quickly between the drops."),
    ),
    Matter(
        ("I want to learn your trade. Am I too old to begin?", "Could somebody like me ever do what you do?"),
        (
            "I have seen beginners of seventy do better than lazy boys of twelve.",
            "You have two hands and a question, and that is how I started as well.",
        ),
        "Where should I start?",
        (
            "Watch for a week, say little, and ask one good question each evening.",
            "With the dullest task of all, done properly, a hundred times.",
        ),
    ),
    Matter(
        ("I need a present for {name}, who already has everything.", "What would you give to {name} for a birthday?"),
        (
            "Give {name} an afternoon of your time; nobody has enough of that.",
            "Make something small with your own hands, and let it be a bit crooked.",
        ),
        "Is that not rather cheap?",
        (
            "It costs more than money, and {name} will know it.",
            "Cheap is what one forgets within a week, and this will be remembered.",
        ),
    ),
    Matter(
        ("I cannot sleep at night. What do you do about that?", "It has been a week since I slept well."),
        (
            "Put your worries on paper, fold it twice and leave it in another room.",
            "Get up, look at the stars for a while, and go back when you are cold.",
        ),
        "I have tried that already.",
        (
            "Then try it again, but without counting the hours.",
            "In that case, warm milk and a very boring book will have to do.",
        ),
    ),
    Matter(
        ("Tell me about the strangest guest you have ever had.", "Have you ever seen anything truly odd around here?"),
        (
            "A man came in with a goose under his arm and asked for a room for two.",
            "One night a stranger paid me with a coin that nobody has been able to read.",
        ),
        "What happened next?",
        (
            "In the morning both of them were gone, and the bill was paid to the penny.",
            "I still have it in a drawer, and on some evenings it hums.",
        ),
    ),
    Matter(
        (
            "I have been offered a job in {town}, but I would have to leave my family.",
            "Should I move to {town} for better work?",
        ),
        (
            "Ask yourself which of the two you would regret at eighty.",
            "Go for three months, and then you decide with your own eyes.",
        ),
        "And what will my family say?",
        ("They will grumble, and then they will visit you.", "Ask them tonight; the answer may surprise you."),
    ),
    Matter(
        ("Somebody has stolen my bicycle!", "My bicycle was here a minute ago, and now it is gone!"),
        (
            "Then we look for the tracks first and shout afterwards.",
            "Who knew that you would be here? Start with that list.",
        ),
        "Only {name} knew about it.",
        (
            "Then let us pay {name} a friendly visit, without accusing anybody.",
            "Be careful with quick conclusions; {name} may just have borrowed it.",
        ),
    ),
    Matter(
        (
            "May I ask you for a simple recipe? I have guests tonight.",
            "Six guests, one pot, and no idea. Can you help me?",
        ),
        (
            "Onions, potatoes, a handful of herbs, and time; that makes friends of any guests.",
            "A big soup, fresh bread and one good story will do.",
        ),
        "And if they do not like it?",
        (
            "Then serve the pudding early and laugh about it.",
            "Hungry guests always like it, so let them wait a little.",
        ),
    ),
    Matter(
        ("I failed my exam again. I think I shall give up.", "They told me that I am not good enough."),
        (
            "Then you know two ways that do not work, which is more than yesterday.",
            "Somebody once told me the same, and I keep the letter to light my stove.",
        ),
        "Do you really believe I can do it?",
        (
            "I do, provided that you rest tonight and start afresh tomorrow.",
            "I believe in work, and I have seen you work.",
        ),
    ),
)
