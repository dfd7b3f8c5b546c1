"""A few things that callers in several threads share, one caller to each at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from segdino_deploy.errors import SegdinoDeployError

T = TypeVar("T")


class Pool(Generic[T]):
    """Callers wait for a free member, in turn; a thread gets the one that it had before, where that is free.

    In turn, for otherwise a caller that comes again at once would be there before those who wait have woken up: Python
    runs one thread at a time, and they would wait for as long as it keeps coming.
    """

    def __init__(self, members: Sequence[T]) -> None:
        self._members = list(members)
        self._free = list(range(len(self._members)))  # the one that is free for longest comes first
        self._users: dict[int, int] = {}  # thread by member: the one that had it last
        self._waiting: deque[object] = deque()  # a caller each, the first one first
        self._is_closed = False
        self._changed = threading.Condition()

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """SegdinoDeployError after `close`, also for those who wait."""
        with self._changed:
            number = self._wait()
        try:
            yield self._members[number]
        finally:
            with self._changed:
                self._free.append(number)
                self._changed.notify_all()

    def _wait(self) -> int:
        """Number of a member that is the caller's now."""
        turn = object()
        self._waiting.append(turn)
        try:
            self._changed.wait_for(lambda: self._is_closed or (self._free and self._waiting[0] is turn))
            if self._is_closed:
                raise SegdinoDeployError("this engine was closed: open it again")
            number = self._choose()
            self._free.remove(number)
            self._users[number] = threading.get_ident()
            return number
        finally:
            self._waiting.remove(turn)
            if self._free and self._waiting:  # for the one whose turn it is now
                self._changed.notify_all()

    def _choose(self) -> int:
        me = threading.get_ident()
        mine = (number for number in self._free if self._users.get(number) == me)
        unused = (number for number in self._free if number not in self._users)
        return next(mine, next(unused, self._free[0]))

    def close(self) -> None:
        """Refuses new callers and returns when the last one is done. May be called again."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._free) == len(self._members))
