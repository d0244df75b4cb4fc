"""The questions SelectIT puts to a model: the same thing in different words, on a scale of 1 to :data:`LEVELS`."""

from pathlib import Path

from nait_index.errors import NaitError
from nait_index.spelling import did_you_mean_path

LEVELS = 5

RATING_PROMPTS = (
    "Rate from 1 to 5 how accurately the response follows the instruction; 5 is best.",
    "How good is this response to the instruction? Give a score between 1 (poor) and 5 (excellent).",
    "Judge the response below: is it correct, complete and to the point? Answer with a score from 1 to 5.",
    "On a scale of 1 to 5, where 5 means flawless, score how well the response does what the instruction asks for.",
    "Evaluate the quality of this training example with a single number from 1, the lowest, to 5, the highest.",
)


def read_rating_prompts(path: Path) -> tuple[str, ...]:
    """Read rating prompts from a file, one a line; empty lines do not count.

    :raises NaitError: the file cannot be read or holds none.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise NaitError(f"{path}: no such file{did_you_mean_path(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise NaitError(f"{path}: cannot be read as rating prompts: {error}") from error
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise NaitError(f"{path}: there is no rating prompt in it; write one a line, asking for a score from 1 to 5")
    return prompts
