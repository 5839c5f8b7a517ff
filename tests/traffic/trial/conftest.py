"""A canary in a real database: records of both arms, and a judge whose clock the test moves."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from detectors.feedback import Directions
from monitor.domain import Arm, Mode, Route, VerdictSeverity, Version
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.records import contexts, ingest
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import NUMBERS, FeedbackRow, RecordBatch, microseconds
from monitor.store.registry import versions
from monitor.store.traffic import canaries, canary_looks, routes
from monitor.store.traffic.canaries import CanaryRow
from monitor.store.traffic.canary_looks import CanaryEvent
from monitor.traffic import table
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.readback import Confirming
from monitor.traffic.routers.contract import RouterFailed
from monitor.traffic.trial.changes import TrialChanges
from monitor.traffic.trial.hands import Hands, Teller
from monitor.traffic.trial.judge import Judge
from monitor.traffic.trial.news import CanaryNews
from monitor.traffic.trial.orders import Orders, Wish
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import CanaryState, OrderKind, state_from_json
from tests.fleet import register

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass
class FakeRouter:
    """Does what it is told, unless ``lies`` or ``fails`` is set."""

    real: dict[str, tuple[Arm, ...]] = field(default_factory=dict)
    lies: bool = False
    fails: bool = False

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions

    def apply(self, route: Route) -> None:
        if self.fails:
            raise RouterFailed("timed out")
        if not self.lies:
            self.real[route.adapter] = route.arms

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        if self.fails:
            raise RouterFailed("timed out")
        return self.real.get(adapter)


@dataclass
class Told:
    """What people were told, the newest last; a repetition is not told again."""

    severities: list[VerdictSeverity] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __call__(
        self,
        tx: Connection,
        version: Version,
        *,
        severity: VerdictSeverity,
        news: CanaryNews,
        over: bool,
        now: datetime,
    ) -> None:
        del tx, version, over, now
        last = self.severities[-1] if self.severities else VerdictSeverity.NONE
        if severity is not last:
            self.severities.append(severity)
            self.reasons.append(news.text)


@dataclass
class Trial:
    """v7 in charge and v8 registered; requests come as often as the test says."""

    database: Database
    folder: Path
    served: Callable[[str], bool] = lambda model: True  # noqa: ARG005
    settings: CanarySettings = field(
        default_factory=lambda: CanarySettings(
            signals=("mean_nll", "refusal"), read_back=timedelta()
        )
    )
    mode: Mode = Mode.AUTO
    router: FakeRouter = field(default_factory=FakeRouter)
    told: Told = field(default_factory=Told)
    tell: Teller | None = None
    """The service's own messages in place of ``told``."""
    promoted: list[Route] = field(default_factory=list)
    now: datetime = NOW
    sent: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def __post_init__(self) -> None:
        with self.database.begin() as tx:
            stable = register(tx, "support", "v7")
            register(tx, "support", "v8")
            table.start(tx, stable, actor="ann", now=NOW - 24 * HOUR)
            days = {(NOW + timedelta(days=n)).date() for n in range(-1, 7)}
            partitions.ensure(tx, days, tables=("records", "feedback"))
        with self.database.begin() as tx:
            self.contexts = contexts.intern(
                tx,
                [Context("gateway", arm, "", "", "t=0") for arm in ("stable", "canary", "shadow")],
            )

    @property
    def hands(self) -> Hands:
        def promoted(
            tx: Connection, before: Route, after: Route, *, by: str, now: datetime
        ) -> None:
            del tx, before, by, now
            self.promoted.append(after)

        return Hands(
            database=self.database,
            settings=self.settings,
            mode=self.mode,
            kill_switch=KillSwitch(self.folder, {}),
            served=self.served,
            promoted=promoted,
            tell=self.tell or self.told,
        )

    @property
    def orders(self) -> Orders:
        return Orders(
            hands=replace(self.hands, tell=None),
            feedback=lambda _adapter: Directions(higher_is_better=("solved",)),
        )

    def version(self, name: str) -> Version:
        with self.database.begin() as tx:
            found = versions.fetch(tx, adapter="support", name=name)
        assert found is not None
        return found

    def start(self, name: str = "v8", **wish: Any) -> CanaryRow:
        made = self.orders.start(Wish(version=self.version(name), **wish), by="ann", now=self.now)
        self.look()
        return made

    def order(self, canary: CanaryRow, kind: OrderKind, *, force: bool = False) -> CanaryRow:
        done = self.orders.order(canary.id, kind, by="ann", now=self.now, force=force)
        self.look()
        return done

    def look(self) -> None:
        """Let the judge do whatever is due now."""
        judge = Judge(hands=self.hands, owner="test")
        log = TrialChanges(hands=self.hands)
        reading = Confirming(
            database=self.database,
            router=self.router,
            log=log,
            # as long between two questions as it takes: nothing here waits for a real second
            monotonic=itertools.count(0.0, 60.0).__next__,
        )
        turns = (reading.turn, judge.check, judge.turn)
        while True:
            more = [turn(now=self.now) for turn in turns]
            if not any(more):
                return

    def pass_by(self, hours: float, *, every: timedelta = 5 * MINUTE, **traffic: float) -> None:
        """Let time go by, with traffic and looks."""
        for _ in range(round(hours * HOUR / every)):
            self.now += every
            self.traffic(every, **traffic)
            self.look()

    def traffic(
        self,
        lasted: timedelta,
        *,
        per_hour: float = 0.0,
        solved: float = 0.85,
        worse: float = 0.0,
        shift: float = 0.0,
        errors: float = 0.0,
    ) -> None:
        """Requests until now, by the route's weights; the version on trial is ``worse``."""
        with self.database.begin() as tx:
            route = routes.get(tx, "support")
        assert route is not None
        count = int(self.rng.poisson(per_hour * (lasted / HOUR)))
        weights = np.array([arm.weight for arm in route.arms])
        for arm, n in zip(route.arms, self.rng.multinomial(count, weights), strict=True):
            trial = arm.version == "v8"
            self.send(
                arm.version,
                n,
                lasted,
                arm=arm.arm.value,
                solved=solved - worse * trial,
                shift=shift * trial,
                errors=errors * trial,
            )

    def send(
        self,
        version: str,
        n: int,
        lasted: timedelta,
        *,
        arm: str,
        solved: float,
        shift: float,
        errors: float,
        copies_of: Sequence[str] = (),
    ) -> list[str]:
        if not n:
            return []
        start = self.now - self.settings.lag - lasted
        at = np.sort(self.rng.uniform(0, lasted.total_seconds(), n))
        ids = [f"{one}:shadow" for one in copies_of] or [f"r{self.sent + i}" for i in range(n)]
        self.sent += n
        failed = self.rng.random(n) < errors
        row = {name: np.full(n, np.nan) for name in NUMBERS} | {
            "version_id": np.full(n, float(self.version(version).id)),
            "context_id": np.full(n, float(self._context(arm))),
            "sample_prob": np.ones(n),
            "n_tokens": np.where(failed, 0.0, 30.0),
            "mean_nll": np.where(failed, np.nan, self.rng.normal(0.4 + 0.1 * shift, 0.1, n)),
            "non_finite": np.zeros(n),
            "status": np.where(failed, 500.0, 200.0),
            "refusal": np.zeros(n),
            "empty": np.zeros(n),
        }
        micro = np.array([microseconds(start + timedelta(seconds=float(s))) for s in at])
        adapter = int(self.version(version).adapter_id)
        given = [
            FeedbackRow(adapter, int(when), one, "solved", float(self.rng.random() < solved))
            for one, when in zip(ids, micro, strict=True)
        ]
        batch = RecordBatch(
            adapter_id=np.full(n, adapter),
            at=micro,
            id=ids,
            numbers=row,
            finish_reason=["stop"] * n,
            subject=[None] * n,
            feedback=given,
        )
        self.database.run(lambda tx: ingest.insert(tx, batch))
        return ids

    def mirror(self, n: int, *, solved: float, worse: float) -> None:
        """Answer ``n`` prompts by both versions, each answer judged, within the last half hour."""
        each: dict[str, Any] = {"lasted": 30 * MINUTE, "shift": 0.0, "errors": 0.0}
        ids = self.send("v7", n, arm="stable", solved=solved, **each)
        self.send("v8", n, arm="shadow", solved=solved - worse, copies_of=ids, **each)

    def _context(self, arm: str) -> int:
        return next(i for context, i in self.contexts.items() if context.arm == arm)

    def state(self, canary: CanaryRow) -> CanaryState:
        return state_from_json(self.row(canary).state)

    def row(self, canary: CanaryRow) -> CanaryRow:
        with self.database.begin() as tx:
            return canaries.fetch(tx, canary.id)

    def looks(self, canary: CanaryRow) -> list[CanaryEvent]:
        with self.database.begin() as tx:
            return canary_looks.looks(tx, canary.id)

    def route(self) -> Route:
        with self.database.begin() as tx:
            found = routes.get(tx, "support")
        assert found is not None
        return found

    def weights(self) -> Mapping[str, float]:
        return {arm.version: arm.weight for arm in self.route().arms}


@pytest.fixture
def trial(database: Database, tmp_path: Path) -> Trial:
    return Trial(database=database, folder=tmp_path)
