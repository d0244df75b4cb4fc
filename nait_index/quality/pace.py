"""How fast requests may go out: so many a minute, and none while the server asks for patience."""

import threading
import time


class Pace:
    """Shared by all workers.

    :param per_minute: most requests a minute, spread evenly; ``None`` for no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def wait(self) -> bool:
        """Wait for this request's turn; ``False`` where everything was stopped meanwhile."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap
        return not self._stopped.wait(turn - now)

    def hold(self, seconds: float) -> None:
        """Let no request go out for some seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, unless everything is stopped."""
        self._stopped.wait(seconds)

    def stop(self) -> None:
        """Wake everyone who waits; no request goes out any more."""
        self._stopped.set()
