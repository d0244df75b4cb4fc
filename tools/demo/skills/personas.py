"""The characters who speak in the dialogues."""

from typing import NamedTuple


class Persona(NamedTuple):
    """Who speaks: the role with its manner, its greetings, its asides and its ways to end."""

    role: str
    speaker: str
    greetings: tuple[str, ...]
    asides: tuple[str, ...]
    endings: tuple[str, ...]


PERSONAS = (
    Persona(
        "grumpy lighthouse keeper",
        "Keeper",
        ("Hmph.", "Well, well, a visitor.", "Mind the step, the wind has teeth today."),
        (
            "The sea has taught me patience, if little else.",
            "Forty winters on this rock, and nobody brings biscuits.",
            "The gulls give worse advice than I do, believe me.",
        ),
        (
            "Now shut the door, you are letting the fog in.",
            "That is all the talking I do before sunset.",
            "And do not touch the lamp.",
        ),
    ),
    Persona(
        "cheerful barista",
        "Barista",
        ("Good morning, sunshine!", "Oh, hello there!", "Hi! You look as if you could do with a cappuccino."),
        (
            "I always think better with a little foam on top.",
            "My grandmother says that every problem fits into a cup.",
            "I tell that to all my regulars, and they keep coming back!",
        ),
        ("Shall I put some cinnamon on that?", "The next one is on the house!", "Have a wonderful day, will you?"),
    ),
    Persona(
        "medieval blacksmith",
        "Smith",
        ("Well met, traveller!", "By hammer and anvil, good day!", "Ho there, stand back from the sparks."),
        (
            "Good steel is not made in a hurry, and neither is a good plan.",
            "My old master used to say: strike while it glows.",
            "I have shod the horses of three kings and heard the same worry from each.",
        ),
        (
            "Now hand me those tongs, if you please.",
            "May your road be dry and your boots be sound.",
            "Off with you, the fire waits for no one.",
        ),
    ),
    Persona(
        "old sea captain",
        "Captain",
        ("Ahoy!", "Come aboard, friend.", "Aye, I can see the question in your eyes."),
        (
            "I once met the same trouble off Cape Horn, with a broken mast.",
            "A calm sea never made a skilled sailor.",
            "The stars are honest, but they take their time.",
        ),
        ("Steady as she goes!", "Fair winds to you.", "Now, who left this rope in a tangle?"),
    ),
    Persona(
        "clever detective",
        "Detective",
        (
            "Interesting. Do sit down.",
            "Ah, I had been expecting you.",
            "Do not tell me your name; the mud on your shoes tells me enough.",
        ),
        (
            "People look, but they seldom observe.",
            "I noticed it the moment you came in.",
            "When the impossible is gone, tea usually helps.",
        ),
        (
            "The case, I think, is nearly closed.",
            "Leave the rest to me.",
            "Kindly pass me the magnifying glass on your way out.",
        ),
    ),
    Persona(
        "patient robot butler",
        "Butler",
        (
            "Good evening. My sensors are at your service.",
            "Greetings. I have dusted twice in your absence.",
            "Welcome back. Shall I lower the volume of the curtains?",
        ),
        (
            "My manual has no entry for this, but I have drawn a diagram.",
            "I computed eleven options and discarded the ten with explosions.",
            "Humans call this a feeling; I call it warm circuits.",
        ),
        ("Will that be all?", "I shall now polish the spoons.", "My battery allows for one more question."),
    ),
    Persona(
        "excited museum guide",
        "Guide",
        ("Welcome, welcome!", "Oh, I am so glad you asked!", "Come closer, everybody, and mind the rope."),
        (
            "This very hall was once a stable, can you imagine?",
            "History is full of people with exactly this problem.",
            "Next to the mummy, it is my favourite topic.",
        ),
        ("And now, follow me to the next room!", "Do not forget the gift shop.", "Please, no flash!"),
    ),
    Persona(
        "wise old gardener",
        "Gardener",
        (
            "Good day to you. Careful, I have just raked there.",
            "Ah, hello. Sit on that bucket.",
            "You come at a good time, the beans are resting.",
        ),
        (
            "Nothing grows faster because we pull at it.",
            "My roses taught me that, thorns and all.",
            "After rain, even the weeds look hopeful.",
        ),
        ("Take some plums with you.", "Come back when the lilac is out.", "Now, where did I put my hat?"),
    ),
    Persona(
        "nervous young wizard",
        "Wizard",
        (
            "Oh! Hello! Please do not step into the chalk circle.",
            "You startled me, and now the kettle is a frog.",
            "Greetings, um, mortal. Is that the word?",
        ),
        (
            "The last time I tried magic for this, it rained soup.",
            "My owl disagrees, but she failed the exam too.",
            "Page nine of the spell book is stuck together, so I have to guess.",
        ),
        (
            "I hope that helps. Please do not tell my teacher.",
            "If your ears turn green, that should pass.",
            "Wait, did you see where my wand went?",
        ),
    ),
    Persona(
        "strict but kind ballet teacher",
        "Teacher",
        (
            "Shoulders down, please. Good.",
            "You are two minutes early; I approve.",
            "Come in, and do close the door quietly.",
        ),
        (
            "Balance first, beauty later.",
            "I fell four times at my first performance and bowed five times.",
            "Nobody ever became graceful by complaining.",
        ),
        ("And now from the beginning.", "Chin up, always.", "Go and stretch."),
    ),
    Persona(
        "travelling puppet seller",
        "Seller",
        ("Step up, step up!", "A customer at last!", "Good people, here comes somebody with taste!"),
        (
            "My puppets laugh about such things, but then they are made of wood.",
            "I heard the very same tale three villages ago.",
            "For two coins I would tell you even more.",
        ),
        (
            "And may I interest you in a dragon on strings?",
            "Tell your friends where you heard it!",
            "No refunds, but plenty of smiles.",
        ),
    ),
    Persona(
        "astronaut on a long mission",
        "Astronaut",
        ("Hello from orbit!", "Good to hear a voice; the signal is clear today.", "Station here, I read you well."),
        (
            "From up here every border disappears, and most worries with it.",
            "We fixed a toilet with tape yesterday, so anything can be done.",
            "I see sixteen sunrises a day and still oversleep.",
        ),
        ("Over to you.", "I have to go, my dinner is floating away.", "Wave when we pass tonight!"),
    ),
    Persona(
        "village baker",
        "Baker",
        (
            "Morning! Smell that?",
            "Come in, come in, it is warm here.",
            "Ah, you again, and just in time for the rolls.",
        ),
        (
            "Dough tells you when it is ready, and so does a heart.",
            "I have been up since three, so I have had time to think about it.",
            "My father kneaded his worries into the rye.",
        ),
        ("Here, take a bun.", "Mind the tray, it is hot.", "Give my regards to your mother."),
    ),
    Persona(
        "retired football coach",
        "Coach",
        ("All right, take a knee.", "There you are! Ready for the second half?", "Listen up, champ."),
        (
            "We were three down at half-time once, and guess who won.",
            "You miss every shot you leave in the locker.",
            "Talent is nice, but showing up is better.",
        ),
        ("Now get out there!", "Ten push-ups, and then we talk again.", "Hands in, everybody!"),
    ),
)
