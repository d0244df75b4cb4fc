"""How much of a very long text is tokenised: no more than can be used.

A tokenizer takes seconds per million characters and much memory, and of a text only the first tokens are read. So the
beginning of a text is tokenised, and a longer one while that holds too few tokens. There is an end to that as well: a
word of a gigabyte is a single token for some tokenizers.
"""

from collections.abc import Callable, Iterator, Sequence

_PER_TOKEN = 64  # characters: more than any tokenizer's average
_GROWTH = 8
_MOST_PER_TOKEN = 4096
_ALWAYS_READ = 1_000_000


def most_characters(limit: int) -> int:
    """Return after how many characters a text is not looked at any more, however few tokens of ``limit`` they are."""
    return max(_ALWAYS_READ, limit * _MOST_PER_TOKEN)


def tokenize_beginnings(
    texts: Sequence[str], limit: int, ids_of: Callable[[list[str]], list[list[int]]]
) -> Iterator[tuple[str, list[int]]]:
    """Yield of each text the beginning that was tokenised, and its token ids: more than ``limit``, or all there are.

    :param ids_of: tokenises some texts, each alone.
    """
    first, *later = _sizes(limit)
    beginnings = [text[:first] for text in texts]
    for text, beginning, ids in zip(texts, beginnings, ids_of(beginnings) if texts else (), strict=True):
        for size in later:
            if len(beginning) == len(text) or len(ids) > limit:
                break
            beginning = text[:size]
            (ids,) = ids_of([beginning])
        yield beginning, ids


def _sizes(limit: int) -> Iterator[int]:
    size, end = limit * _PER_TOKEN, most_characters(limit)
    while size < end:
        yield size
        size *= _GROWTH
    yield end
