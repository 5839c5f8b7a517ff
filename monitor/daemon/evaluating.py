"""The loops that evaluate, and that give new versions their tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from monitor.daemon.texts import WaitingTexts
from monitor.daemon.worker import Sleep, WorkerParts
from monitor.domain import EvaluationKind
from monitor.evaluate.evaluator import Evaluator
from monitor.evaluate.message import Messages
from monitor.schedule import LeaseSettings, Loop, Resident, Worker
from monitor.store import wakeups
from monitor.store.evaluation import tasks
from monitor.traffic.fallback.deciding import Deciding


def evaluating(
    parts: WorkerParts, sleep: Sleep, texts: WaitingTexts, *, owner: str
) -> Iterator[Loop]:
    """Evaluate the due versions, and make the tasks of new ones."""
    schedule, evaluator = parts.config.schedule, _evaluator(parts, texts)
    live = [EvaluationKind.HARD, EvaluationKind.LIVE]
    # of several workers the first keeps itself free for hard signals
    apart = 1 if schedule.workers > 1 else 0
    workers = {
        f"evaluate-{number}": _worker(parts, evaluator, owner, live[:1] if number < apart else live)
        for number in range(schedule.workers)
    }
    if parts.serving.probe is not None:
        at_hand = parts.serving.engines.resident
        kinds = [EvaluationKind.PERPLEXITY]
        workers["probe"] = _worker(parts, evaluator, owner, kinds, resident=at_hand)
    for name, worker in workers.items():
        yield sleep.loop(
            name, worker.work, every=schedule.tick, woken_by=wakeups.TASKS, due=worker.next_due
        )
    yield sleep.loop(
        "registrations", _registrations(parts), every=schedule.tick, woken_by=wakeups.VERSIONS
    )


def _worker(
    parts: WorkerParts,
    evaluator: Evaluator,
    owner: str,
    kinds: list[EvaluationKind],
    *,
    resident: Resident | None = None,
) -> Worker:
    schedule = parts.config.schedule
    return Worker(
        parts.database,
        evaluator,
        owner=owner,
        kinds=kinds,
        leases=LeaseSettings(lease=schedule.lease, renew=schedule.renew),
        resident=resident,
    )


def _evaluator(parts: WorkerParts, texts: WaitingTexts) -> Evaluator:
    config = parts.config
    return Evaluator(
        database=parts.database,
        settings=config.evaluation,
        cadences=config.schedule.cadences,
        tell=Messages(
            channels=parts.channels,
            preview=lambda tx, version, evidence, now: parts.breaker.preview(
                tx, version, evidence, now=now
            ),
            doubts=parts.breaker.doubts,
            examples=config.alerting.shown_examples,
            base_url=config.server.url,
            change_margin=config.schedule.live_interval,
            out_of_service_after=config.alerting.out_of_service_after,
            window=config.schedule.live_interval,
        ),
        react=Deciding(breaker=parts.breaker).ask,
        embed=texts.embed_before,
        via=parts.serving.probe,
    )


def _registrations(parts: WorkerParts) -> Callable[[], bool]:
    """Create the tasks of new versions; the first window of each live kind ends one interval later.

    The perplexity probe runs at once: its first result is what the version is compared
    with, and hours later the weights may no longer be those that were registered.
    """
    cadences = parts.config.schedule.cadences
    kinds = dict(cadences)
    if parts.serving.probe is None:
        kinds.pop(EvaluationKind.PERPLEXITY)
    first_due = {
        kind: timedelta() if kind is EvaluationKind.PERPLEXITY else cadence.lag
        for kind, cadence in kinds.items()
    }
    at_once = {EvaluationKind.PERPLEXITY} & kinds.keys()

    def turn() -> bool:
        parts.database.run(lambda tx: tasks.ensure(tx, first_due=first_due, at_once=at_once))
        return False

    return turn
