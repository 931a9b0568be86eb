"""The main process's table and a worker's copy of it, with the messages between them but no processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from muxi.registry.routes import DEFAULT_POLICY, RoutePolicy, RouteTable, Target
from muxi.workers.messages import Report, encode, main_decoder, worker_decoder
from muxi.workers.remote import RemoteCopy
from muxi.workers.replica import Replica

if TYPE_CHECKING:
    from muxi.registry.routes import Route
    from muxi.workers.messages import Message

NAMES = ("a", "b", "c")
POLICIES = (None, DEFAULT_POLICY, RoutePolicy(max_concurrent=3), RoutePolicy(rate=2.0, hold_timeout=1.0))


class Pair:
    """A table and its copy; what is said between them waits until `deliver` and `report`."""

    def __init__(self) -> None:
        self.main = RouteTable()
        self.waiting: list[Message] = []
        self.remote = RemoteCopy(self.waiting.append)
        self.remote.serving = True
        self.main.copies.append(self.remote)
        self.worker = RouteTable()
        self.ended: list[int] = []
        self.stirred = 0
        self.worker.enders.append(lambda target: self.ended.append(target.number))
        self.replica = Replica(self.worker, self._stir)

    def _stir(self) -> None:
        self.stirred += 1

    def deliver(self) -> None:
        for message in self.waiting:
            self.replica.apply(worker_decoder().decode(encode(message)))  # type: ignore[arg-type]
        self.waiting.clear()

    def report(self) -> None:
        report = Report(self.replica.update, (), tuple(self.replica.targets()), tuple(self.replica.traffic()))
        found = main_decoder().decode(encode(report))
        assert isinstance(found, Report)
        self.remote.note(found)

    def exchange(self) -> None:
        self.deliver()
        self.report()

    def here(self, name: str) -> Target:
        target = self.main.live[name.encode()].target
        assert target is not None
        return target

    def there(self, name: str) -> Target:
        target = self.worker.live[name.encode()].target
        assert target is not None
        return target


def plain(table: RouteTable) -> dict[tuple[bytes, bool], tuple[object, ...]]:
    def one(route: Route) -> tuple[object, ...]:
        target = route.target
        address = None if target is None else (target.host, target.port, target.number)
        return route.formation_id, route.state, address, route.policy, route.returning, route.limited

    live = {(name, False): one(route) for name, route in table.live.items()}
    return live | {(name, True): one(route) for name, route in table.draft.items()}


steps = st.lists(
    st.tuples(
        st.sampled_from(("publish", "same", "withdraw", "end", "deliver", "report")),
        st.sampled_from(NAMES),
        st.sampled_from(POLICIES),
        st.booleans(),
        st.booleans(),
    ),
    max_size=40,
)


@given(steps, steps)
def test_any_changes_leave_the_same_table(before: object, after: object) -> None:
    pair = Pair()
    ports = iter(range(1, 1000))
    for action, name, policy, flag, draft in [*before, *after]:  # type: ignore[misc]
        route = (pair.main.draft if draft else pair.main.live).get(name.encode())
        if action == "publish":
            target = Target("127.0.0.1", next(ports)) if flag else None
            pair.main.publish(name, "running", target, policy, returning=flag, draft=draft)
        elif action == "same" and route is not None:
            pair.main.publish(name, "unhealthy", route.target, policy, draft=draft)
        elif action == "withdraw":
            pair.main.withdraw(name, draft=draft)
        elif action == "end" and route is not None and route.target is not None:
            pair.main.end(route.target)
        elif action == "deliver":
            pair.deliver()
        elif action == "report":
            pair.report()
    pair.exchange()
    assert plain(pair.worker) == plain(pair.main)


@given(steps)
def test_one_that_begins_later_has_the_same_table(changes: object) -> None:
    pair = Pair()
    for action, name, policy, flag, draft in changes:  # type: ignore[attr-defined]
        if action == "withdraw":
            pair.main.withdraw(name, draft=draft)
        else:
            target = Target("::1", 5) if flag else None
            pair.main.publish(name, "running", target, policy, draft=draft)
    late = Pair()
    late.remote.publish_all(pair.main)
    late.deliver()
    assert plain(late.worker) == plain(pair.main)


def test_a_limit_on_all_requests_is_kept_where_all_of_them_are() -> None:
    pair = Pair()
    pair.main.publish("a", "running", Target("::1", 5), RoutePolicy(max_concurrent=1))
    pair.main.publish("b", "running", Target("::1", 5), RoutePolicy(max_body=1, hold_requests=5))
    pair.deliver()
    assert [pair.worker.live[name].here for name in (b"a", b"b")] == [False, True]
    pair.main.publish("a", "running", Target("::1", 5), DEFAULT_POLICY)
    pair.deliver()
    assert pair.worker.live[b"a"].here
    assert pair.main.live[b"a"].here


def test_what_is_under_way_there_counts_here() -> None:
    pair = Pair()
    pair.main.publish("a", "running", Target("::1", 5))
    pair.exchange()
    here, there = pair.here("a"), pair.there("a")
    here.in_flight += 1
    there.in_flight, there.streams, there.tunnels = 3, 2, 1
    pair.report()
    assert (here.in_flight, here.streams, here.tunnels) == (4, 2, 1)
    there.in_flight, there.streams = 1, 0
    pair.report()
    assert (here.in_flight, here.streams, here.tunnels) == (2, 0, 1)
    pair.remote.close()
    assert (here.in_flight, here.streams, here.tunnels) == (1, 0, 0)


async def test_a_drain_waits_for_what_is_under_way_there() -> None:
    pair = Pair()
    pair.main.publish("a", "running", Target("::1", 5))
    pair.exchange()
    here, there = pair.here("a"), pair.there("a")
    there.in_flight = 1
    pair.main.publish("a", "stopped", None)
    here.drain(60)
    async with trio.open_nursery() as nursery:
        steps: list[str] = []

        async def drain() -> None:
            await pair.main.settled()
            steps.append("settled")
            await here.empty()
            steps.append("empty")

        nursery.start_soon(drain)
        await wait_all_tasks_blocked()
        assert steps == []
        pair.exchange()
        await wait_all_tasks_blocked()
        # It may be that the request was not known of before: it is as soon as the change is.
        assert steps == ["settled"]
        assert here.in_flight == 1
        stirred = pair.stirred
        there.in_flight = 0
        there.emptied()
        assert pair.stirred > stirred
        pair.report()
    assert steps == ["settled", "empty"]
    assert here.in_flight == 0


async def test_nobody_waits_for_one_that_is_no_more_or_does_not_serve_yet() -> None:
    pair = Pair()
    pair.remote.serving = False
    pair.main.publish("a", "running", Target("::1", 5))
    await pair.main.settled()
    pair.remote.serving = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.main.settled)
        await wait_all_tasks_blocked()
        pair.remote.close()
    await RouteTable().settled()


def test_a_target_that_comes_back_is_the_same() -> None:
    pair = Pair()
    old, new = Target("::1", 5), Target("::1", 6)
    for target in (old, new, old):
        pair.main.publish("a", "running", target)
        pair.exchange()
        pair.there("a").in_flight += 1
        pair.report()
    assert (old.in_flight, new.in_flight) == (2, 1)
    assert not pair.there("a").draining
    pair.main.publish("a", "running", new)
    pair.exchange()
    assert pair.there("a").in_flight == 1


def test_traffic_of_a_formation_is_not_taken_for_that_of_a_later_one() -> None:
    pair = Pair()
    pair.main.publish("a", "running", Target("::1", 5))
    pair.exchange()
    pair.worker.live[b"a"].traffic.statuses[2] += 7
    pair.main.withdraw("a")
    pair.main.publish("a", "running", Target("::1", 6))
    pair.report()  # It does not know yet.
    assert sum(pair.main.live[b"a"].traffic.statuses) == 0
    pair.deliver()
    pair.worker.live[b"a"].traffic.statuses[2] += 1
    pair.report()
    assert sum(pair.main.live[b"a"].traffic.statuses) == 1


def test_an_end_is_passed_on() -> None:
    pair = Pair()
    pair.main.publish("a", "running", Target("::1", 5))
    pair.deliver()
    here, there = pair.here("a"), pair.there("a")
    there.in_flight = 1
    pair.main.publish("a", "stopped", None)
    pair.main.end(here)
    pair.deliver()
    assert pair.ended == [here.number]
