"""A bounded queue between two threads: it waits, or the newest wins."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")
STOP_CHECK_SECONDS = 0.1


class Channel(Generic[Item]):
    """First in, first out. Where it is full, `put` waits; with `newest_wins` it drops the oldest and counts it."""

    def __init__(self, limit: int, newest_wins: bool = False) -> None:
        self.dropped = 0
        self._limit, self._newest_wins = limit, newest_wins
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, item: Item) -> bool:
        """False where nobody takes anything any more."""
        with self._changed:
            while len(self._items) >= self._limit and not self._is_closed:
                if self._newest_wins:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait()
            if self._is_closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, stop: threading.Event | None = None) -> Item | None:
        """The next item, waiting for it; None where there will be none, or `stop` is set."""
        with self._changed:
            while not self._items and not self._is_closed and not (stop is not None and stop.is_set()):
                self._changed.wait(None if stop is None else STOP_CHECK_SECONDS)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Nothing more goes in; what is inside can still be taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_empty(self) -> bool:
        with self._changed:
            return not self._items
