"""A few contexts for many callers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from segdino_deploy.engines.run.pool import Pool
from segdino_deploy.errors import SegdinoDeployError

PATIENCE = 20.0  # seconds, of tests that would wait for ever where something is wrong


class Member:
    """Notes whether two callers ever had it at once."""

    def __init__(self) -> None:
        self.users = 0
        self.uses = 0
        self.was_shared = False

    def use(self, seconds: float = 0.0005) -> None:
        self.users += 1
        self.was_shared |= self.users > 1
        time.sleep(seconds)
        self.uses += 1
        self.users -= 1


@pytest.mark.parametrize("members", [1, 3])
def test_a_member_has_one_caller_at_a_time_and_all_are_used(members: int) -> None:
    pool = Pool([Member() for _ in range(members)])

    def call(_: int) -> None:
        with pool.borrow() as member:
            member.use()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(call, range(60), timeout=PATIENCE))

    assert sum(member.uses for member in pool._members) == 60
    assert not any(member.was_shared for member in pool._members)
    assert all(member.uses for member in pool._members)


def test_as_many_callers_as_members_are_inside_at_once() -> None:
    pool = Pool(["a", "b"])
    together = threading.Barrier(2, timeout=PATIENCE)

    def call() -> str:
        with pool.borrow() as member:
            together.wait()
            return member

    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(call) for _ in range(2)]
        assert {done.result(PATIENCE) for done in calls} == {"a", "b"}


def test_a_thread_gets_the_member_that_it_had() -> None:
    pool = Pool(["a", "b", "c"])
    mine = threading.Barrier(3, timeout=PATIENCE)

    def call() -> set[str]:
        had = set()
        for _ in range(5):
            with pool.borrow() as member:
                had.add(member)
                mine.wait()  # nobody asks again before everybody has one
            mine.wait()
        return had

    with ThreadPoolExecutor(3) as threads:
        results = [done.result(PATIENCE) for done in [threads.submit(call) for _ in range(3)]]

    assert sorted(map(len, results)) == [1, 1, 1]
    assert set().union(*results) == {"a", "b", "c"}


@pytest.mark.parametrize("members", [1, 2])
def test_callers_that_come_again_at_once_wait_behind_those_who_wait(
    members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(list(range(members)))
    callers = members + 2
    order: list[int] = []  # threads, as they got a member
    all_wait = threading.Event()
    choose = pool._choose

    def noted() -> int:
        order.append(threading.get_ident())
        return choose()

    monkeypatch.setattr(pool, "_choose", noted)

    def call() -> None:
        for _ in range(20):
            with pool.borrow():
                assert all_wait.wait(PATIENCE)  # the first ones hold the members until the others stand in line

    with ThreadPoolExecutor(callers) as threads:
        calls = [threads.submit(call) for _ in range(callers)]
        until = time.monotonic() + PATIENCE
        while len(pool._waiting) < callers - members and time.monotonic() < until:
            time.sleep(0.001)
        all_wait.set()
        for done in calls:
            done.result(PATIENCE)

    assert len(order) == 20 * callers
    assert len(set(order[:callers])) == callers  # nobody had a second one before everybody had one


def test_a_caller_that_gives_up_waiting_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(["only"])
    with monkeypatch.context() as patch:

        def interrupt(_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(pool._changed, "wait_for", interrupt)
        with pytest.raises(KeyboardInterrupt), pool.borrow():
            pass

    with pool.borrow() as member:
        assert member == "only"


def test_an_exception_gives_the_member_back() -> None:
    pool = Pool(["only"])
    for _ in range(3):
        with pytest.raises(ValueError, match="mine"), pool.borrow():
            raise ValueError("mine")

    with pool.borrow() as member:
        assert member == "only"


def test_closing_waits_for_the_caller_inside_and_refuses_those_who_wait() -> None:
    pool = Pool(["only"])
    inside, may_leave = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with pool.borrow():
            inside.set()
            assert may_leave.wait(PATIENCE)
            order.append("left")

    def second() -> None:
        with pool.borrow():
            pass

    def close() -> None:
        pool.close()
        order.append("closed")

    with ThreadPoolExecutor(3) as threads:
        running = threads.submit(first)
        assert inside.wait(PATIENCE)
        waiting = threads.submit(second)
        closing = threads.submit(close)
        with pytest.raises(SegdinoDeployError, match="was closed: open it again"):
            waiting.result(PATIENCE)
        assert not closing.done()
        may_leave.set()
        running.result(PATIENCE)
        closing.result(PATIENCE)

    assert order == ["left", "closed"]


def test_closing_twice_is_closing_once() -> None:
    pool = Pool(["a"])
    pool.close()
    pool.close()

    with pytest.raises(SegdinoDeployError, match="was closed"), pool.borrow():
        pass
