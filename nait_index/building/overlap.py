"""What a build does beside the forward pass: the next shard is prepared, and the one before written, meanwhile.

Each has one thread and holds one shard, so memory stays bounded and shards are written in order. An error in a thread
is raised in the one that waits for it.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


@contextmanager
def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Iterator[Made]]:
    """Make something of each item in a thread, the next while the caller uses the last one."""
    with ThreadPoolExecutor(1, "ahead") as thread:

        def results() -> Iterator[Made]:
            current: Future[Made] | None = None
            for item in items:
                following = thread.submit(make, item)
                if current is not None:
                    yield current.result()
                current = following
            if current is not None:
                yield current.result()

        yield results()


class Behind:
    """Does one piece of work after another in a thread (context manager, which waits for the last)."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "behind")
        self._current: Future[None] | None = None

    def __enter__(self) -> "Behind":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            # After an error, what was begun comes to its end: it is a whole shard that need not be done again.
            self._thread.shutdown()

    def do(self, work: Callable[[], None]) -> None:
        """Begin it when the last one is done.

        :raises BaseException: what the last one raised; this one is not begun then.
        """
        self._wait()
        self._current = self._thread.submit(work)

    def _wait(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.result()
