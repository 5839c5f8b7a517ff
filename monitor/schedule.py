"""The pulse, and the loops that sleep by it.

APScheduler is the clock only. What is due lives in Postgres and is decided by the
database's ``now()``, so any number of daemons share the work. A loop with nothing to do sleeps
until it is woken or due. Every sleep has a monotonic limit: if the wall clock jumps back an
hour and APScheduler sleeps through it, the loops go on and the pulse is started anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from sqlalchemy import Connection

from monitor import tracing
from monitor.domain import EvaluationKind, Version, VersionId
from monitor.evaluate.evaluator import Evaluator, Grouped
from monitor.evaluate.judged import LookedAt
from monitor.policy.crossings import QUARANTINE_AFTER
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.evaluation import evaluations, tasks
from monitor.store.evaluation.evaluations import EvaluationRow
from monitor.store.evaluation.tasks import Claim, StaleLease

_LOG = structlog.get_logger(__name__)

LONGEST_BACKOFF: Final = timedelta(hours=1)
MISSED_BEATS: Final = 5
"""Beats without a sign of APScheduler before the pulse is started anew."""
BEAT: Final = timedelta(seconds=2)


class _FromNow(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """The next beat is one interval from now, however long the last one is overdue.

    APScheduler lists every missed time before it coalesces them, and its own interval trigger goes
    through them one by one: 31 million after a year, 10 GB.
    """

    def __init__(self, every: timedelta) -> None:
        self._every = every

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return a time after ``now``, so that APScheduler lists only one missed time."""
        del previous
        return now + self._every


class Pulse:
    """Beats every ``every`` seconds, and wakes the loops whose sleep is over.

    ``restarts`` counts how often the clock had to be restarted.
    """

    def __init__(self, *, every: timedelta = BEAT) -> None:
        self.every = every
        self.restarts = 0
        self.last_beat = time.monotonic()
        self._sleepers: dict[threading.Event, float] = {}
        """The end of each sleep, on the monotonic clock."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._scheduler = self._start()

    def wait(self, timeout: timedelta, *, woken: threading.Event | None = None) -> bool:
        """Sleep for about ``timeout`` of monotonic time, or until ``woken``; False once stopped."""
        woken = woken or threading.Event()
        deadline = time.monotonic() + timeout.total_seconds()
        with self._lock:
            self._sleepers[woken] = deadline
        while not self._stopped.is_set() and (left := deadline - time.monotonic()) > 0:
            if woken.wait(min(left, self.every.total_seconds() * MISSED_BEATS)):
                break
            self._revive()
        with self._lock:
            del self._sleepers[woken]
        return not self._stopped.is_set()

    def stop(self) -> None:
        """Wake every sleeping loop for the last time; repeated calls do nothing."""
        with self._lock:  # or a sleeper could be starting the clock anew
            if self._stopped.is_set():
                return
            self._stopped.set()
            self._scheduler.shutdown(wait=False)
        self._wake(before=float("inf"))

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def _start(self) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(1)},
            timezone="UTC",
        )
        scheduler.add_job(
            self._tick,
            _FromNow(self.every),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        scheduler.start()
        return scheduler

    def _tick(self) -> None:
        self.last_beat = time.monotonic()
        self._wake(before=self.last_beat)

    def _wake(self, *, before: float) -> None:
        with self._lock:
            over = [woken for woken, deadline in self._sleepers.items() if deadline <= before]
        for woken in over:
            woken.set()

    def _revive(self) -> None:
        """Restart a silent clock; of several sleepers one does."""
        with self._lock:
            silent = time.monotonic() - self.last_beat
            if self._stopped.is_set() or silent < self.every.total_seconds() * MISSED_BEATS:
                return
            _LOG.warning("clock_restarted", silent_seconds=round(silent, 1))
            self.restarts += 1
            self.last_beat = time.monotonic()
            self._scheduler.shutdown(wait=False)
            self._scheduler = self._start()


class Loop:
    """A thread that calls ``work`` while it has something to do, then sleeps.

    ``work`` says whether there may be more at once. Then the loop sleeps for ``every``, or for as
    long as ``rest`` returns; :meth:`wake` ends the sleep. An exception is logged, counted and
    followed by a sleep of ``every``; the loop goes on. ``last_turn`` (monotonic) says it is alive,
    and ``last_done`` that its work is done.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], bool],
        *,
        pulse: Pulse,
        every: timedelta,
        rest: Callable[[], timedelta] | None = None,
    ) -> None:
        self.name = name
        self.every = every
        self._rest = rest or (lambda: every)
        self.last_turn = self.last_done = time.monotonic()
        self.failures = 0
        self._work = work
        self._pulse = pulse
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Turn at once, or once more after the turn in hand."""
        self._woken.set()

    def join(self, timeout: float) -> bool:
        """Wait for the work in hand after the pulse has stopped; False if it goes on."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._pulse.stopped:
            self.last_turn = time.monotonic()
            self._woken.clear()
            pause = self._turn()
            if pause is not None and not self._pulse.wait(pause, woken=self._woken):
                return

    def _turn(self) -> timedelta | None:
        """Work once, and return how long to sleep; None: not at all."""
        try:
            more = self._work()
            self.last_done = time.monotonic()
            return None if more else self._rest()
        except Exception:  # noqa: BLE001 (one turn of a loop that must go on)
            self.failures += 1
            _LOG.exception("loop_failed", loop=self.name, failures=self.failures)
            return self.every


Resident = Callable[[Sequence[str]], Collection[str]]
"""Names those of some models that an engine has at hand."""
MOST_DUE: Final = 100
"""Due versions, the longest due first, among which those that an engine holds are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """How long a claim lasts unless renewed; a killed daemon's work moves on after it."""

    lease: timedelta = timedelta(seconds=60)
    renew: timedelta = timedelta(seconds=20)


TOGETHER: Final[Mapping[EvaluationKind, int]] = {
    EvaluationKind.HARD: 50,
    EvaluationKind.LIVE: 10,
    EvaluationKind.PERPLEXITY: 1,
}
"""Due tasks that are evaluated together. A group of live ones takes no longer than one of hard
ones, which may wait for it; a probe may take minutes."""


class Worker:
    """Claims due tasks of each kind together and evaluates them, the kinds in their order.

    Tasks of models that are ``resident`` have a head start: the others would have to be
    loaded in their place.
    """

    def __init__(
        self,
        database: Database,
        evaluator: Evaluator,
        *,
        owner: str,
        kinds: Sequence[EvaluationKind],
        leases: LeaseSettings,
        resident: Resident | None = None,
    ) -> None:
        self._database = database
        self._resident = resident
        self._evaluator = evaluator
        self._owner = owner
        self._kinds = tuple(kinds)
        self._leases = leases

    def work(self) -> bool:
        """Take a group of due tasks through, and of the next kind if no more are due of this one.

        False when no more of any kind are due.
        """
        return any(self._take(kind) for kind in self._kinds)

    def _take(self, kind: EvaluationKind) -> bool:
        """Take due tasks of a kind through; True if there may be more of them."""
        at_hand, most = self._at_hand(), TOGETHER[kind]
        claimed = self._database.run(
            lambda tx: tasks.claim(
                tx,
                owner=self._owner,
                kinds=[kind],
                lease=self._leases.lease,
                limit=most,
                at_hand=at_hand,
            )
        )
        if claimed:
            with renewing(self._database, claimed, leases=self._leases):
                self._evaluate_all(claimed)
        return len(claimed) == most

    def next_due(self) -> timedelta | None:
        """Return the time until there is a task to take; None where there are none."""
        return self._database.run(lambda tx: tasks.next_due(tx, kinds=self._kinds))

    def _at_hand(self) -> list[VersionId]:
        """Due versions that an engine holds; nobody is asked where there is no choice."""
        if self._resident is None:
            return []
        due = self._database.run(lambda tx: tasks.due(tx, kinds=self._kinds, most=MOST_DUE))
        return [due[model] for model in self._resident(tuple(due))] if len(due) > 1 else []

    def _evaluate_all(self, claims: Sequence[Claim]) -> None:
        together = Grouped()
        # a version that failed before goes alone, and costs the others nothing
        sound = [claim for claim in claims if not claim.failures]
        if len(sound) > 1:
            with tracing.span("evaluations", kind=sound[0].kind.value, count=len(sound)):
                together = self._evaluator.evaluate_together(sound)
                tracing.note(done=len(together.done))
        for claim in claims:
            if claim not in together.done:
                self._evaluate(claim, together.left.get(claim))

    def _evaluate(self, claim: Claim, looked: LookedAt | None) -> None:
        try:
            with tracing.span("evaluation", kind=claim.kind.value):
                tracing.note(outcome=self._evaluator.evaluate(claim, looked).value)
        except StaleLease:
            _LOG.warning("lease_lost", version_id=claim.version_id, kind=claim.kind.value)
        except Exception as error:  # noqa: BLE001 (one task of many: the others go on)
            _LOG.exception("evaluation_failed", version_id=claim.version_id, kind=claim.kind.value)
            self._database.run(
                lambda tx: tasks.postpone(
                    tx, claim, until=claim.now + backoff(claim.failures), failed=True
                )
            )
            if claim.failures + 1 >= QUARANTINE_AFTER:
                self._evaluator.report_broken(claim, error)


def backoff(failures: int) -> timedelta:
    """Wait 15 s after a first crash of an evaluation, doubling to an hour."""
    return min(LONGEST_BACKOFF, timedelta(seconds=15 * (1 << min(failures, 10))))


@contextmanager
def renewing(
    database: Database, claims: Sequence[Claim], *, leases: LeaseSettings
) -> Iterator[None]:
    """Keep the claims ours while the body runs, by a thread of its own."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(leases.renew.total_seconds()):
            try:
                if not database.run(lambda tx: tasks.renew(tx, claims, lease=leases.lease)):
                    return
            except Exception:  # noqa: BLE001 (the epoch guards the write; try again)
                _LOG.exception("renewal_failed", task_ids=[claim.task_id for claim in claims])

    thread = threading.Thread(target=renew, name=f"renew-{claims[0].task_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def request_evaluation(database: Database, version: Version, *, by: str) -> datetime:
    """Ask for a run of the version's live and hard detectors now; gives the request's time."""

    def work(tx: Connection) -> datetime:
        audit.append(tx, actor=by, act="evaluation.request", subject=version.label)
        kinds = [EvaluationKind.HARD, EvaluationKind.LIVE]
        return tasks.request(tx, version_id=version.id, kinds=kinds)

    return database.run(work)


def wait_for_evaluation(
    database: Database,
    *,
    version_id: VersionId,
    requested_at: datetime,
    timeout: timedelta,
    poll: timedelta = timedelta(milliseconds=200),
) -> EvaluationRow | None:
    """Wait for the live evaluation that answers a request; None if it is not done in time."""
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        found = database.run(
            lambda tx: evaluations.evaluation_after(
                tx, version_id=version_id, kind=EvaluationKind.LIVE, started=requested_at
            )
        )
        if found is not None or time.monotonic() >= deadline:
            return found
        time.sleep(poll.total_seconds())
