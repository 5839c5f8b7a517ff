"""The loops that decide about traffic, judge canaries and tell the router."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Final

from monitor.daemon.worker import Sleep, WorkerParts
from monitor.schedule import Loop
from monitor.store import wakeups
from monitor.traffic.carrying import Carrier
from monitor.traffic.fallback.deciding import Deciding
from monitor.traffic.readback import ChangeLog, Confirming
from monitor.traffic.routers import ROUTERS
from monitor.traffic.trial.changes import TrialChanges
from monitor.traffic.trial.judge import Judge
from monitor.traffic.trial.states import BEGUN, UNBEGUN

ROUTES: Final = timedelta(milliseconds=250)
"""The shortest pause of a carrier that has routes to tell."""
DECIDE: Final = "decide"


def moving(parts: WorkerParts, sleep: Sleep, *, owner: str) -> Iterator[Loop]:
    """Decide about traffic, and tell the router, in separate loops.

    Both ask engines and routers, which may hang: as many loops decide as evaluate.
    """
    schedule, changes = parts.config.schedule, parts.breaker.changes
    deciding = Deciding(breaker=parts.breaker, owner=owner)
    for number in range(schedule.workers):
        yield sleep.loop(
            f"{DECIDE}-{number}",
            deciding.turn,
            every=schedule.tick,
            woken_by=wakeups.DECISIONS,
            due=deciding.next_due,
        )
    # separate loops, so that a canary's change delays no fallback
    actions = _confirming(parts, sleep, "action-routes", changes, woken_by=wakeups.ROUTES)
    changes.wake = actions.wake
    yield actions
    trials = TrialChanges(hands=parts.hands)
    yield _confirming(parts, sleep, "canary-routes", trials, woken_by=wakeups.CANARIES)


def _confirming(
    parts: WorkerParts, sleep: Sleep, name: str, log: ChangeLog, *, woken_by: str
) -> Loop:
    confirming = Confirming(database=parts.database, router=parts.router, log=log)
    return sleep.loop(
        name,
        lambda: confirming.turn() > 0,
        every=parts.config.schedule.tick,
        woken_by=woken_by,
        due=confirming.next_due,
    )


def carrying(parts: WorkerParts, sleep: Sleep) -> list[Loop]:
    """Tell the router the table's routes, if it does not follow the table by itself."""
    settings = parts.config.routing
    kind = ROUTERS[settings.router]
    if not kind.told:
        return []
    carrier = Carrier(parts.database, parts.router, resync=settings.resync, later=kind.later)
    return [
        sleep.loop(
            "routes",
            carrier.turn,
            every=ROUTES,
            woken_by=wakeups.ROUTES,
            due=carrier.next_due,
        )
    ]


def judging(parts: WorkerParts, sleep: Sleep, *, owner: str) -> Iterator[Loop]:
    """Judge canaries; the prechecks wait for probes where probes run.

    Looks ask no engine, but prechecks do; an engine that hangs therefore delays no look.
    """
    judge = Judge(hands=parts.hands, owner=owner, probed=parts.serving.probe is not None)
    for name, turn, phases in (
        ("canaries", judge.turn, BEGUN),
        ("canary-checks", judge.check, UNBEGUN),
    ):
        yield sleep.loop(
            name,
            turn,
            every=parts.config.schedule.tick,
            woken_by=wakeups.CANARIES,
            due=partial(judge.next_due, phases),
        )
