"""Word problems in several steps, each with its working and, on the last line, its answer."""

from random import Random

from tools.demo.skills.problems import KINDS
from tools.demo.skills.row import Row, compose

_ASKS = (
    "Solve this word problem and show your working.",
    "Work through the problem step by step, then give the answer on the last line.",
    "What is the answer? Show each step.",
    "Help me with my maths homework. {text}",
    "Read the problem below and solve it.",
    "{text}",
    "{text} Show how you get there.",
    "{text} Explain your reasoning briefly.",
    "{text}\n\nWrite down each calculation.",
    "Here is a question from a primary school test:\n\n{text}",
    "Solve: {text}",
    "My daughter is stuck on this one. {text} Please go slowly.",
    "Calculate the answer to the problem.",
    "Find the answer and write out the arithmetic.",
    "Can you solve this? {text}",
    "Question: {text}\nAnswer with the steps.",
    "Do the sums one at a time and finish with the result.",
    "I need to check my own result for this problem, so please solve it in full.\n\n{text}",
    "Give a worked solution.",
    "Think it through carefully: {text}",
)
_LAST_LINES = ("Answer: {}", "The answer is {}.", "So the answer is {}.", "Final answer: {}", "Result: {}")


def generate(rng: Random) -> Row:
    """Draw a word problem with its worked answer.

    :param rng: the source of chance.
    """
    problem = rng.choice(KINDS)(rng)
    last = rng.choice(_LAST_LINES).format(problem.answer)
    return compose(rng.choice(_ASKS), problem.story, "\n".join([*problem.steps, last]))
