import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitor.domain import ArmKind, Edition, Route
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.errors import NotFound
from monitor.store.traffic import routes
from monitor.store.traffic.routes import GenerationConflict
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest, InvalidRoute
from monitor.traffic.watch import RouteWatch
from tests.fleet import NOW, register

PATIENCE = 60.0
NOTHING_COMES = 0.3


@pytest.fixture
def first(database: Database) -> Route:
    with database.begin() as tx:
        register(tx, "support", "v6")
        version = register(tx, "support", "v7")
        route = table.start(tx, version, actor="ann", now=NOW)
    assert route is not None
    return route


def test_a_route_begins_no_earlier_than_the_one_before_it(database: Database, first: Route) -> None:
    arm = ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)
    began = []
    for generation, behind in enumerate((0, -60, 30, 10), start=1):
        with database.begin() as tx:
            made = table.put(
                tx,
                "support",
                arms=[arm],
                expected_generation=generation,
                reason="",
                actor="ann",
                now=NOW + timedelta(seconds=behind),
            )
            began.append(made.since)
    with database.begin() as tx:
        kept = [row.route.since for row in reversed(routes.history(tx, "support"))]
    assert kept == [first.since, *began]
    assert kept == sorted(kept)


@pytest.fixture
def watch(database: Database) -> Iterator[RouteWatch]:
    looking = RouteWatch(database, poll=timedelta(milliseconds=20))
    looking.start()
    yield looking
    looking.stop()


def put(database: Database, expected: int, weight: float = 1.0, adapter: str = "support") -> Route:
    arms = [
        ArmRequest(arm=ArmKind.STABLE, version="v7", weight=weight),
        ArmRequest(arm=ArmKind.CANARY, version="v6", weight=1 - weight),
    ]
    return database.run(
        lambda tx: table.put(
            tx,
            adapter,
            arms=arms,
            expected_generation=expected,
            reason="a try",
            actor="bob",
            now=NOW,
            hold_until=NOW + timedelta(hours=1),
        )
    )


def test_a_new_adapter_gets_a_route_to_its_first_version_once(
    database: Database, first: Route
) -> None:
    assert first.generation == 1
    assert [(arm.version, arm.weight) for arm in first.arms] == [("v7", 1.0)]
    with database.begin() as tx:
        assert table.start(tx, register(tx, "support", "v8"), actor="ann", now=NOW) is None
        assert routes.get(tx, "support") == first


def test_a_put_grows_the_generation_keeps_history_and_is_audited(
    database: Database, first: Route
) -> None:
    second = put(database, expected=1, weight=0.9)
    with database.begin() as tx:
        row = routes.row(tx, "support")
        past = [one.route for one in routes.history(tx, "support")]
        newest = audit.newest(tx)[0]
    assert row is not None
    assert (row.route, row.actor) == (second, "bob")
    assert row.hold_until == NOW + timedelta(hours=1)
    assert past == [replace(one, epoch=0) for one in (second, first)]
    assert (newest.actor, newest.act, newest.subject) == ("bob", "route.changed", "support")


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_a_put_on_another_generation_changes_nothing(
    database: Database, first: Route, expected: int
) -> None:
    with pytest.raises(GenerationConflict) as conflict:
        put(database, expected=expected)
    assert conflict.value.current == first.edition
    with database.begin() as tx:
        assert routes.get(tx, "support") == first
        assert len(routes.history(tx, "support")) == 1


def test_of_many_puts_at_once_exactly_one_wins(database: Database, first: Route) -> None:
    def attempt(_: int) -> bool:
        try:
            put(database, expected=first.generation)
        except GenerationConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_of_many_first_routes_at_once_exactly_one_wins(database: Database) -> None:
    with database.begin() as tx:
        version = register(tx)
    with ThreadPoolExecutor(8) as pool:
        started = pool.map(
            lambda _: database.run(lambda tx: table.start(tx, version, actor="ann", now=NOW)),
            range(8),
        )
        assert sum(route is not None for route in started) == 1


def test_an_unknown_adapter_or_version_is_refused(database: Database, first: Route) -> None:
    with pytest.raises(NotFound):
        put(database, expected=0, adapter="travel")
    arms = [ArmRequest(arm=ArmKind.STABLE, version="v9", weight=1.0)]
    with pytest.raises(InvalidRoute), database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=arms,
            expected_generation=first.generation,
            reason="a try",
            actor="bob",
            now=NOW,
        )


def test_a_waiter_gets_the_next_generation(
    database: Database, first: Route, watch: RouteWatch
) -> None:
    async def wait() -> Route | None:
        waiting = asyncio.create_task(
            watch.wait_for_change("support", first.edition, timeout=PATIENCE)
        )
        await asyncio.sleep(0.1)
        await asyncio.to_thread(put, database, first.generation)
        return await waiting

    route = asyncio.run(wait())
    assert route is not None
    assert route.generation == 2


def test_sixty_waiters_with_different_knowledge_all_get_the_truth(
    database: Database, first: Route, watch: RouteWatch
) -> None:
    put(database, first.generation)

    async def wait() -> list[Route | None]:
        return await asyncio.gather(
            *(
                watch.wait_for_change("support", Edition(first.epoch, known), timeout=PATIENCE)
                for known in [0, 1, 9] * 20
            )
        )

    answers = asyncio.run(wait())
    assert [route.generation for route in answers if route] == [2] * 60


def test_a_waiter_who_knows_the_newest_gets_nothing_in_time(
    first: Route, watch: RouteWatch
) -> None:
    assert (
        asyncio.run(watch.wait_for_change("support", first.edition, timeout=NOTHING_COMES)) is None
    )
    assert (
        asyncio.run(watch.wait_for_change("nobody", Edition(0, 0), timeout=NOTHING_COMES)) is None
    )


def test_a_waiter_for_a_first_route_gets_it(database: Database, watch: RouteWatch) -> None:
    with database.begin() as tx:
        version = register(tx, "travel")

    async def wait() -> Route | None:
        waiting = asyncio.create_task(
            watch.wait_for_change("travel", Edition(0, 0), timeout=PATIENCE)
        )
        await asyncio.to_thread(
            database.run, lambda tx: table.start(tx, version, actor="ann", now=NOW)
        )
        return await waiting

    route = asyncio.run(wait())
    assert route is not None
    assert route.generation == 1


def test_a_loop_that_ends_early_does_not_end_the_watch(
    database: Database, first: Route, watch: RouteWatch
) -> None:
    async def give_up() -> None:
        waiting = asyncio.create_task(
            watch.wait_for_change("support", first.edition, timeout=PATIENCE)
        )
        await asyncio.sleep(0.05)
        waiting.cancel()

    asyncio.run(give_up())
    put(database, first.generation)
    route = asyncio.run(watch.wait_for_change("support", first.edition, timeout=PATIENCE))
    assert route is not None


class Stumbling:
    """A database whose first look fails in a way that nobody foresaw."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.stumbled = 0

    def run(self, work: Any) -> Any:
        if not self.stumbled:
            self.stumbled += 1
            raise ValueError("a row of another shape")
        return self._database.run(work)


def test_a_look_that_fails_unforeseen_does_not_end_the_watch(
    database: Database, first: Route
) -> None:
    stumbling = Stumbling(database)
    looking = RouteWatch(stumbling, poll=timedelta(milliseconds=20))  # type: ignore[arg-type]
    looking.start()
    try:
        found = asyncio.run(looking.wait_for_change("support", Edition(0, 0), timeout=10))
    finally:
        looking.stop()
    assert stumbling.stumbled == 1
    assert found == first
