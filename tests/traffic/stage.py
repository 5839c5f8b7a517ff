"""A breaker on a real database, and routers that fail, lie or die as told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from alerts.types import Blame, VerdictKind
from monitor.domain import ActionId, Arm, ArmKind, Mode, Route, Version
from monitor.policy import ActionEvidence
from monitor.store.database import Database
from monitor.store.registry import versions
from monitor.store.traffic import actions, routes
from monitor.store.traffic.actions import ActionKind, ActionRow, ActionState
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.fallback.changes import FallbackChanges
from monitor.traffic.fallback.decision import Decision
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.readback import Confirming
from monitor.traffic.routers.contract import Router, RouterFailed
from monitor.traffic.routers.none import TableOnly
from monitor.traffic.settings import RoutingSettings
from tests.fleet import NOW, judge, register, verdict

MINUTE = timedelta(minutes=1)
CRITICAL, DRIFTING, STABLE = VerdictKind.CRITICAL, VerdictKind.DRIFTING, VerdictKind.STABLE


def evidence(*, at: datetime = NOW, allowed: bool = True) -> ActionEvidence:
    return ActionEvidence(
        allowed=allowed,
        reason="answers less certain: effect at least 0.31 (needs 0.20), 412 requests (needs 50)",
        detectors=("logit_ks",),
        effect_low=0.31,
        n=412,
        at=at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon(Breaker):
    """A breaker, and after each of its steps a turn of the loop that tells the router."""

    router: Router

    @property
    def alone(self) -> Breaker:
        """The breaker without that loop."""
        return Breaker(**{part.name: getattr(self, part.name) for part in fields(Breaker)})

    def consider(self, version: Version, evidence: ActionEvidence, *, now: datetime) -> Decision:
        decision = Breaker.consider(self, version, evidence, now=now)
        self.tell(now=now)
        return decision

    def consider_return(self, version: Version, *, now: datetime) -> Decision:
        decision = Breaker.consider_return(self, version, now=now)
        self.tell(now=now)
        return decision

    def reconcile(self, *, now: datetime) -> int:
        return Breaker.reconcile(self, now=now) + self.tell(now=now)

    def carry_out(self, action_id: ActionId, *, now: datetime) -> ActionRow:
        """Do what was begun, as the thread that began it does."""
        self._apply(action_id, now=now)
        self.tell(now=now)
        return self.database.run(lambda tx: actions.fetch(tx, action_id))

    def tell(self, *, now: datetime) -> int:
        confirming = Confirming(database=self.database, router=self.router, log=self.changes)
        return confirming.turn(now=now)


@dataclass
class World:
    """One database, a breaker on it and what the engines serve."""

    database: Database
    folder: Path
    mode: Mode = Mode.AUTO
    settings: RoutingSettings = field(default_factory=RoutingSettings)
    served: Callable[[str], bool] = lambda model: True  # noqa: ARG005

    @property
    def breaker(self) -> Daemon:
        return self.breaker_on(TableOnly(self.database))

    def breaker_on(self, router: Router) -> Daemon:
        changes = FallbackChanges(settings=self.settings)
        return Daemon(
            database=self.database,
            settings=self.settings,
            mode=self.mode,
            kill_switch=KillSwitch(self.folder, {}),
            changes=changes,
            confirm=Confirming(database=self.database, router=router, log=changes).confirm,
            served=self.served,
            router=router,
        )

    def adapter(self, name: str = "support") -> Version:
        """Two versions, all traffic on v7, whose parent is v6."""
        with self.database.begin() as tx:
            register(tx, name, "v6")
            version = register(tx, name, "v7", parent="v6")
            table.start(tx, version, actor="ann", now=NOW - timedelta(days=1))
        return version

    def version(self, name: str, adapter: str = "support") -> Version:
        with self.database.begin() as tx:
            found = versions.fetch(tx, adapter=adapter, name=name)
        assert found is not None
        return found

    def judge(
        self,
        version: Version,
        kind: VerdictKind,
        *,
        since: datetime = NOW,
        blame: Blame = Blame.ADAPTER,
    ) -> None:
        with self.database.begin() as tx:
            judge(tx, version, verdict(kind, since=since, blame=blame))

    def looked_at(self, version: Version, *, at: datetime) -> None:
        """Say that live traffic of a version was judged last at a time."""
        with self.database.begin() as tx:
            tx.execute(
                sa.text(
                    "INSERT INTO tasks (version_id, kind, next_due_at, last_done_at)"
                    " VALUES (:version, 'live', :at, :at)"
                    " ON CONFLICT (version_id, kind) DO UPDATE SET last_done_at = :at"
                ),
                {"version": version.id, "at": at},
            )

    def route(self, adapter: str = "support") -> Route:
        with self.database.begin() as tx:
            found = routes.get(tx, adapter)
        assert found is not None
        return found

    def weights(self, adapter: str = "support") -> dict[str, float]:
        return {arm.version: arm.weight for arm in self.route(adapter).arms}

    def actions(self) -> list[ActionRow]:
        with self.database.begin() as tx:
            return actions.action_list(tx)

    def states(self) -> list[str]:
        return [action.state.value for action in self.actions()]

    def break_down(self, version: Version, *, now: datetime = NOW) -> Decision:
        self.judge(version, CRITICAL, since=now)
        return self.breaker.consider(version, evidence(at=now), now=now)


def executing(world: World, version: Version, kind: ActionKind = ActionKind.FALLBACK) -> ActionRow:
    """An action whose daemon died right after writing it, or is about to carry it out."""
    back = kind is ActionKind.RETURN
    world.judge(version, STABLE if back else CRITICAL)
    target = version if back else world.version("v6")
    with world.database.begin() as tx:
        return actions.add(
            tx,
            version,
            kind=kind,
            state=ActionState.EXECUTING,
            reason="effect at least 0.31 (needs 0.20)",
            evidence={"at": NOW.isoformat()},
            expected_generation=2 if back else 1,
            target={"version_id": target.id, "version": target.name, "model": target.model},
            actor=actions.AUTOMATIC,
            now=NOW,
        )


@dataclass
class Engine:
    """A router with a memory, that can fail, lie or die as told."""

    arms: tuple[Arm, ...] | None = None
    applied: int = 0
    deaf: bool = False
    mute: bool = False
    fails: bool = False

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions

    def apply(self, route: Route) -> None:
        self.applied += 1
        if not self.deaf:
            self.arms = route.arms
        if self.fails:
            raise RouterFailed("no answer")

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        del adapter
        if self.mute:
            raise RouterFailed("no answer")
        return self.arms


def with_router(world: World, engine: Engine) -> Daemon:
    return world.breaker_on(engine)


def reroute(world: World) -> None:
    with world.database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)],
            expected_generation=world.route().generation,
            reason="touched",
            actor="bob",
            now=NOW,
        )
