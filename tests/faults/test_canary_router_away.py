"""Many canaries, and a router that hangs, then refuses, then comes back: real sockets.

What is promised is counted in requests to the router, not in seconds: looks make none, so it
may hang for as long as it likes.
"""

import base64
import itertools
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from detectors.feedback import Directions
from monitor.domain import Arm, Mode, Route, VerdictSeverity, Version
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.records import contexts, ingest
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import NUMBERS, RecordBatch, microseconds
from monitor.store.traffic import canaries, routes
from monitor.store.traffic.canaries import CanaryRow
from monitor.traffic import table
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.readback import IN_A_ROW, Confirming
from monitor.traffic.routers.contract import Router, RouterFailed
from monitor.traffic.routers.webhook import WebhookRouter, WebhookRouting
from monitor.traffic.trial.changes import TrialChanges
from monitor.traffic.trial.comparing import guards_to_json
from monitor.traffic.trial.guards import guards_of
from monitor.traffic.trial.hands import Hands
from monitor.traffic.trial.judge import Judge
from monitor.traffic.trial.machine import step
from monitor.traffic.trial.news import CanaryNews
from monitor.traffic.trial.route import changed
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    Phase,
    PrechecksLooked,
    state_from_json,
    to_json,
)
from tests.fleet import register
from tests.loopback import LOOPBACK
from tests.loopback import Receiver as Stranger
from tests.routed import Receiver, answering

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SECRET = "whsec_" + base64.b64encode(b"between Driftline and a router").decode()
SETTINGS = CanarySettings(signals=("mean_nll",))
PLAN = SETTINGS.plan()
PATIENCE = 120.0
"""Seconds that a router may take: no look waits for them."""


def webhook(url: str) -> WebhookRouter:
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, timeout=PATIENCE))
    settings = WebhookRouting(url=url, secret=SECRET, timeout=timedelta(seconds=PATIENCE))
    return WebhookRouter(settings, client)


@dataclass
class Counted:
    """A router that counts what it is asked."""

    router: WebhookRouter
    asked: int = 0

    def prepare(self, versions: object) -> None:
        del versions

    def apply(self, route: Route) -> None:
        self.asked += 1
        self.router.apply(route)

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        self.asked += 1
        return self.router.read_back(adapter)


@dataclass
class Fleet:
    """Adapters, each with v8 on trial at 5 % since NOW, not read back yet."""

    database: Database
    folder: Path
    many: int
    told: Counter[VerdictSeverity] = field(default_factory=Counter)
    pairs: list[tuple[Version, Version]] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self.database.begin() as tx:
            days = {(NOW + timedelta(days=n)).date() for n in (-1, 0, 1)}
            partitions.ensure(tx, days, tables=("records", "feedback"))
            for number in range(self.many):
                self._on_trial(tx, f"adapter-{number}")
        with self.database.begin() as tx:
            arms = [Context("gateway", arm, "", "", "t=0") for arm in ("stable", "canary")]
            known = contexts.intern(tx, arms)
        self.contexts = [known[context] for context in arms]

    def _on_trial(self, tx: Connection, adapter: str) -> None:
        control, trial = register(tx, adapter, "v7"), register(tx, adapter, "v8")
        first = table.start(tx, control, actor="ann", now=NOW - HOUR)
        assert first is not None
        passed = PrechecksLooked(passed=True, reason="checked")
        state, (effect,) = step(CanaryState(), passed, plan=PLAN, now=NOW)
        canary = canaries.add(
            tx,
            trial,
            control=control,
            plan=to_json(PLAN),
            state=to_json(state),
            guards=guards_to_json(guards_of(SETTINGS.signals, Directions(), ())),
            unchecked=[],
            mode=Mode.AUTO,
            by="ann",
            now=NOW,
        )
        route = changed(first, effect, trial, plan=PLAN, reason="a trial", now=NOW)
        assert route is not None
        table.write(tx, trial.adapter_id, route=route, actor=f"driftline:canary-{canary.id}")
        self.pairs.append((control, trial))

    def reading(self, router: Router) -> Confirming:
        """What asks the router; to it much time passes between two turns."""
        log = TrialChanges(hands=self.hands)
        clock = itertools.count(step=100.0)
        return Confirming(
            database=self.database, router=router, log=log, monotonic=lambda: next(clock)
        )

    @property
    def hands(self) -> Hands:
        def told(
            tx: Connection,
            version: Version,
            *,
            severity: VerdictSeverity,
            news: CanaryNews,
            over: bool,
            now: datetime,
        ) -> None:
            del tx, version, news, over, now
            self.told[severity] += 1

        return Hands(
            database=self.database,
            settings=SETTINGS,
            mode=Mode.AUTO,
            kill_switch=KillSwitch(self.folder, {}),
            served=lambda _model: True,
            promoted=lambda *_args, **_kwargs: None,
            tell=told,
        )

    def traffic(self, now: datetime) -> None:
        """Ten answers of each arm of each adapter, the same of both."""
        rng = np.random.default_rng(7)
        each = 10
        n = self.many * 2 * each
        versions = [one for pair in self.pairs for one in pair for _ in range(each)]
        numbers = {name: np.full(n, np.nan) for name in NUMBERS} | {
            "version_id": np.array([float(one.id) for one in versions]),
            "context_id": np.tile(np.repeat(np.array(self.contexts, dtype=float), each), self.many),
            "sample_prob": np.ones(n),
            "n_tokens": np.full(n, 30.0),
            "mean_nll": np.tile(rng.normal(0.4, 0.1, each), 2 * self.many),
            "status": np.full(n, 200.0),
            **{name: np.zeros(n) for name in ("non_finite", "refusal", "empty")},
        }
        batch = RecordBatch(
            adapter_id=np.array([int(one.adapter_id) for one in versions]),
            at=np.full(n, microseconds(now - MINUTE)),
            id=[f"{now:%H%M}-{number}" for number in range(n)],
            numbers=numbers,
            finish_reason=["stop"] * n,
            subject=[None] * n,
            feedback=[],
        )
        self.database.run(lambda tx: ingest.insert(tx, batch))

    def look(self, now: datetime) -> int:
        """Let a judge look at all that are due; say at how many."""
        self.traffic(now)
        judge = Judge(hands=self.hands, owner="test")
        looks = 0
        while judge.turn(now=now):
            looks += 1
        return looks

    def standing(self) -> list[tuple[CanaryRow, Route]]:
        with self.database.begin() as tx:
            table = {route.adapter: route for route in routes.all_routes(tx)}
            return [(row, table[row.adapter]) for row in canaries.canary_list(tx, limit=1000)]

    def check(self, now: datetime) -> list[CanaryState]:
        """All are on trial as before, each with its route renewed in time."""
        found = []
        for row, route in self.standing():
            assert route.valid_until is not None
            assert route.valid_until > now
            assert [arm.weight for arm in route.arms] == [0.95, 0.05]
            found.append(state_from_json(row.state))
        assert [state.phase for state in found] == [Phase.RUNNING] * self.many
        return found


@pytest.fixture
def hanging() -> Iterator[Stranger]:
    """It accepts, and never answers as long as the test lasts."""
    released = threading.Event()

    def waits(_connection: socket.socket) -> None:
        released.wait()

    with Stranger([waits]) as stranger:
        yield stranger
        released.set()


def until(true: Callable[[], bool]) -> None:
    limit = threading.Event()
    for _ in range(3000):
        if true():
            return
        limit.wait(0.01)
    raise AssertionError("it never came")


@pytest.mark.parametrize("many", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_router_that_hangs_or_refuses_delays_no_look_at_any_canary(
    database: Database, tmp_path: Path, hanging: Stranger, many: int
) -> None:
    """With 100 canaries: 1 request while it hangs, 6 each turn while it refuses, 200 looks."""
    fleet = Fleet(database=database, folder=tmp_path, many=many)
    router = Counted(webhook(hanging.url))
    reading = fleet.reading(router)
    now = NOW + 35 * MINUTE  # of the hour after which a route expires
    asking = threading.Thread(target=reading.turn, kwargs={"now": now})
    asking.start()
    until(lambda: hanging.connections == 1)
    assert fleet.look(now) == many
    fleet.check(now)
    assert router.asked == hanging.connections == 1
    assert asking.is_alive()
    # it goes away altogether: what hangs breaks, and whoever is asked next is refused
    hanging.__exit__()
    asking.join(timeout=PATIENCE)
    assert router.asked == 2 * IN_A_ROW
    now = NOW + 70 * MINUTE
    assert not reading.turn(now=now)
    assert router.asked == 2 * 2 * IN_A_ROW
    assert fleet.look(now) == many
    states = fleet.check(now)
    assert all("not read back yet" in (state.unverified or "") for state in states)
    assert set(fleet.told) == {VerdictSeverity.NONE, VerdictSeverity.TICKET}
    # and comes back: each is told once, and read back
    receiver = Receiver(secret=SECRET)
    with answering(receiver.respond) as url:
        back = Counted(webhook(url))
        assert fleet.reading(back).turn(now=now)
    assert back.asked == 2 * many
    assert receiver.posts == many
    assert [state.unconfirmed for state in fleet.check(now)] == [None] * many


@dataclass
class Picky:
    """It fails for some adapters, and does as it is told for all others."""

    fails: frozenset[str]
    held: dict[str, tuple[Arm, ...]] = field(default_factory=dict)

    def prepare(self, versions: object) -> None:
        del versions

    def apply(self, route: Route) -> None:
        if route.adapter in self.fails:
            raise RouterFailed("it holds a newer route")
        self.held[route.adapter] = route.arms

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        if adapter in self.fails:
            raise RouterFailed("it does not say")
        return self.held.get(adapter)


def test_a_few_routes_that_fail_hold_up_no_others(database: Database, tmp_path: Path) -> None:
    """As many as say that a router is away: the turn after, whoever was not asked comes first."""
    fleet = Fleet(database=database, folder=tmp_path, many=2 * IN_A_ROW)
    picky = Picky(fails=frozenset(f"adapter-{number}" for number in range(IN_A_ROW)))
    reading = fleet.reading(picky)
    soon = NOW + timedelta(seconds=5)
    assert not reading.turn(now=soon)
    assert picky.held == {}
    assert reading.turn(now=soon)
    assert len(picky.held) == IN_A_ROW
    assert VerdictSeverity.TICKET not in fleet.told
    assert not reading.turn(now=NOW + MINUTE)
    assert fleet.told[VerdictSeverity.TICKET] == IN_A_ROW
