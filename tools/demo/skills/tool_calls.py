"""A list of functions that may be called, a user's wish, and the call that grants it as JSON."""

import json
from random import Random
from typing import Any

from tools.demo.skills.row import Row, compose, fill
from tools.demo.skills.tools import TOOLS

_ASKS = (
    "You can call these functions:\n{tools}\n\nUser: {wish}\nAnswer with the function call as JSON.",
    "Choose the right function and fill in its arguments.\n\n{tools}\n\nRequest: {wish}",
    "Available tools:\n{tools}\n\nReturn only the JSON call for the user's message.",
    "You are an assistant with access to the tools below. Reply with the JSON of the call.\n{tools}",
    "Given the functions\n{tools}\nwhich call serves this request? {wish}",
    "{wish}\n\nTools you may use (answer in JSON):\n{tools}",
    "Translate the user's wish into a function call.\n\nFunctions:\n{tools}",
    "Use a tool to help.\n{tools}\n\n{wish}",
    "# Functions\n{tools}\n\n# Message\n{wish}\n\n# Call",
    "Respond with a JSON object holding the name and the arguments of the function to call.\n\n{tools}",
    "The home and office assistant knows these commands:\n{tools}\nSomebody says: {wish}",
    "Pick one tool and produce its arguments, copied from the message.\n{tools}",
    "{tools}\n\nWhich of these would you call, and how? User message: {wish}",
    "Decide on the call. Output JSON, nothing else.\nTools: {tools}\nUser: {wish}",
    "Here is your tool list.\n{tools}\n\nNow handle this: {wish}",
)
_TWO_ASKS = (
    "Two things are wanted. Return a JSON list with both function calls.\n\n{tools}\n\nUser: {wish}",
    "Tools:\n{tools}\n\nAnswer the message with a JSON list of calls, in the order of the wishes.",
    "Make every call that is needed, as a JSON array.\n{tools}\n\n{wish}",
)


def generate(rng: Random) -> Row:
    """Draw the functions on offer, a wish, and the one or two calls that grant it.

    :param rng: the source of chance.
    """
    two = rng.random() < 0.2
    names = rng.sample(list(TOOLS), rng.randint(2, 4))
    pairs = [_call(rng, name) for name in names[: 2 if two else 1]]
    wish = rng.choice((" Also: ", " And then: ", " ")).join(wish for wish, _ in pairs)
    calls: list[dict[str, Any]] = [call for _, call in pairs]
    rng.shuffle(names)
    tools = _catalogue(rng, names)
    ask = rng.choice(_TWO_ASKS if two else _ASKS)
    given = wish if "{wish}" not in ask else ""
    answer = json.dumps(calls if two else calls[0], ensure_ascii=False, indent=2 if rng.random() < 0.25 else None)
    return compose(fill(ask, tools=tools, wish=wish), given, answer)


def _call(rng: Random, name: str) -> tuple[str, dict[str, Any]]:
    tool = TOOLS[name]
    arguments = {key: make(rng) for key, make in tool.parameters.items()}
    wish = rng.choice(tool.wishes).format(**arguments)
    return wish, {"name": name, "arguments": arguments}


def _catalogue(rng: Random, names: list[str]) -> str:
    """Describe the functions as signatures, as JSON or as a list with bullets."""
    style = rng.randrange(3)
    if style == 0:
        return "\n".join(f"{name}({', '.join(TOOLS[name].parameters)}): {TOOLS[name].purpose}" for name in names)
    if style == 1:
        shown = [
            {"name": name, "description": TOOLS[name].purpose, "parameters": list(TOOLS[name].parameters)}
            for name in names
        ]
        return json.dumps(shown)
    return "\n".join(f"- {name}: {TOOLS[name].purpose}. Takes {', '.join(TOOLS[name].parameters)}." for name in names)
