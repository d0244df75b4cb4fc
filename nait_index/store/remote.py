"""An index's small files in an object store, and the lock of whoever writes there."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from nait_index.errors import IndexBusyError, NaitError, StoreError, one_line

logger = logging.getLogger(__name__)

LOCK = ".lock"
BEAT = 20.0
"""Seconds after which a writer renews its lock."""
_STALE = 6 * BEAT
_PATIENCE = 3
"""Beats without a renewal after which a lock that seems to be left behind is taken over."""

_CLIENT_OPTIONS = ("allow_http", "allow_invalid_certificates", "connect_timeout", "timeout", "proxy_url")


class Remote:
    """A prefix in an object store.

    :param options: as LanceDB takes them: ``region``, ``endpoint``, ``aws_access_key_id``, ``allow_http``, …
    :raises NaitError: obstore is not installed, or the URI or options are of no known kind.
    """

    def __init__(self, uri: str, options: Mapping[str, str]) -> None:
        self.uri = uri
        self.options = dict(options)
        self._store = _connect(uri, self.options)
        self._tag: str | None = None  # of the lock this process holds; empty if another process took it over
        self._renewed = 0.0  # when it was, by the clock that goes on while a machine sleeps
        self._renewing = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Read an object, ``None`` if there is none."""
        try:
            with self._explained("cannot be read"):
                return bytes(self._store.get(key).bytes())
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Write an object; readers see either the old one or the new one.

        :raises IndexBusyError: as for :meth:`require_lock`.
        """
        self.require_lock()
        with self._explained("cannot be written"):
            self._store.put(key, data)

    def require_lock(self) -> None:
        """Refuse to go on if this process held the lock and lost it.

        :raises IndexBusyError: this process was suspended for so long that another one took its lock.
        """
        if self._tag and time.time() - self._renewed > 2 * BEAT:  # it was suspended
            self._renew_now()
        if self._tag == "":
            raise IndexBusyError(
                f"{self.uri}: another process has begun to write there; run the command again when it is done"
            )

    def others(self) -> list[str]:
        """List the first few objects besides the lock, enough to know whether the prefix is empty."""
        with self._explained("cannot be read"):
            first: list[Any] = list(next(iter(self._store.list(chunk_size=8)), []))
        return sorted(entry["path"] for entry in first if entry["path"] != LOCK)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the index for writing; the lock of a writer that no longer renews it expires after two minutes.

        It is taken over by a process that then sees no renewal for another minute.

        :raises IndexBusyError: another process holds it.
        """
        self._tag, self._renewed = self._acquire(), time.time()
        ended = threading.Event()
        thread = threading.Thread(target=self._renew, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._renew_now()  # which shows whether it is another's by now
            tag, self._tag = self._tag, None
            if tag:
                with self._explained("cannot be written"):
                    self._store.delete(LOCK)

    def _acquire(self) -> str:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._explained("cannot be written"):
            try:
                return str(self._store.put(LOCK, _holder(), mode="create")["e_tag"])
            except AlreadyExistsError:
                pass
            try:
                held = self._store.head(LOCK)
                if time.time() - held["last_modified"].timestamp() > _STALE:
                    # The store may have another clock; but whoever writes there goes on giving the lock other tags.
                    holder, patience = self._written_by(), _PATIENCE * BEAT
                    logger.warning(
                        "%s is locked by %s; waiting %.0f s to see whether it runs", self.uri, holder, patience
                    )
                    time.sleep(patience)
                    return str(self._store.put(LOCK, _holder(), mode={"e_tag": held["e_tag"]})["e_tag"])
            except (PreconditionError, FileNotFoundError):
                pass  # it runs, or another process was faster
        raise IndexBusyError(
            f"{self.uri} is being written by {self._written_by()}; wait until it is done (the lock of a killed writer "
            f"expires after {_STALE:.0f} s)"
        )

    def _written_by(self) -> str:
        try:
            holder = json.loads(self.get(LOCK) or b"{}")
            return f"process {holder['process']} on {holder['host']}"
        except (ValueError, KeyError, TypeError):
            return "another process"

    def _renew(self, ended: threading.Event) -> None:
        while self._tag and not ended.wait(BEAT):
            self._renew_now()

    def _renew_now(self) -> None:
        from obstore.exceptions import BaseError, PreconditionError

        # Tried again; if the store is gone, the next commit raises. A folder as a store cannot replace by tag.
        with self._renewing, suppress(BaseError, OSError, NotImplementedError):
            try:
                if self._tag:
                    self._tag = str(self._store.put(LOCK, _holder(), mode={"e_tag": self._tag})["e_tag"])
                    self._renewed = time.time()
            except PreconditionError:
                self._tag = ""

    @contextmanager
    def _explained(self, failure: str) -> Iterator[None]:
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            yield
        except (FileNotFoundError, AlreadyExistsError, PreconditionError):
            raise
        except (BaseError, OSError) as error:
            raise StoreError(
                f"{self.uri} {failure}: {one_line(error)}; check the address, --storage-option and the credentials"
            ) from error


def _holder() -> bytes:
    # With the time, so that every renewal is a different object with a different tag.
    return json.dumps({"host": socket.gethostname(), "process": os.getpid(), "time": time.time()}).encode()


def _connect(uri: str, options: Mapping[str, str]) -> Any:  # noqa: ANN401
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise NaitError(f"{uri}: an index in an object store needs 'pip install nait-index[s3]' ({error})") from error
    truth = {"true": True, "false": False}
    client = {key: truth.get(value.lower(), value) for key, value in options.items() if key in _CLIENT_OPTIONS}
    config = {key: value for key, value in options.items() if key not in _CLIENT_OPTIONS}
    try:
        return from_url(uri, config=config or None, client_options=client or None)
    except (BaseError, ValueError, TypeError) as error:
        raise NaitError(f"{uri} cannot be opened: {one_line(error)}") from error
