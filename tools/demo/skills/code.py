"""Small Python functions with a docstring and assertions that pass."""

from random import Random
from textwrap import indent
from typing import Any

from tools.demo.skills.code_tasks import TASKS, Task
from tools.demo.skills.row import Row, compose, fill
from tools.demo.skills.words import upper_first

_ASKS = (
    "Write a Python function `{name}` that {summary}.",
    "Implement `{name}` in Python. It {summary}. Add a docstring and a few assertions.",
    "I need a Python function called `{name}`. The function {summary}.",
    "Please write a small, tested Python function that {summary}.",
    "Create a function `{name}({parameters})` which {summary}.",
    "How would you write a Python function that {summary}?",
    "Python: define `{name}`, a function that {summary}. Check it with assert statements.",
    "Give me clean Python code for a helper that {summary}.",
    "Could you code this up? The helper, `{name}`, {summary}.",
    "Complete the function so that it {summary}.\n\n{text}",
    "Fill in the body of the function. It {summary}.",
    "Write the missing code, with tests. The function {summary}.",
    "Finish this Python function.\n\n{text}",
    "The function below has only a signature and a docstring. Implement it.",
    "Make the assertions pass by writing the function.\n\n{checks}",
    "Write a function so that this test succeeds:\n\n{checks}\n\nIt {summary}.",
    "For a beginners' course, show a Python function that {summary}.",
    "In our code base we miss a helper that {summary}. Call it `{name}`.",
    "Solve this exercise in Python 3 with the standard library only: write a function that {summary}.",
    "Write `{name}` with type hints: it {summary}.",
)
_CLOSINGS = (
    "The assertions at the end cover the usual cases.",
    "All of the checks pass.",
    "It needs nothing beyond the standard language.",
    "You can run the file as it is; it is silent when all is well.",
)


def generate(rng: Random) -> Row:
    """Draw a programming task with its tested solution.

    :param rng: the source of chance.
    """
    task = rng.choice(TASKS)(rng)
    returned = type(task.reference(*task.cases[0])).__name__
    head = f'def {task.name}({task.parameters}) -> {returned}:\n    """{upper_first(task.summary)}."""'
    checks = "\n".join(_check(task, case) for case in task.cases)
    program = f"{head}\n{indent(task.body, '    ')}\n\n\n{checks}"
    if rng.random() < 0.4:
        program = f"```python\n{program}\n```\n\n{rng.choice(_CLOSINGS)}"
    ask = rng.choice(_ASKS)
    given = head if any(word in ask for word in ("{text}", "Fill in", "missing code", "signature")) else ""
    fields = {"name": task.name, "parameters": task.parameters, "summary": task.summary, "checks": checks}
    return compose(fill(ask, **fields), given, program)


def _check(task: Task, case: tuple[Any, ...]) -> str:
    call, expected = f"{task.name}({', '.join(map(repr, case))})", task.reference(*case)
    if isinstance(expected, bool):
        return f"assert {call}" if expected else f"assert not {call}"
    return f"assert {call} == {expected!r}"
