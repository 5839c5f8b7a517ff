"""Read evaluations' data in one short transaction, which ends before the computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.signals import SIMILARITY, needed
from detectors.types import State
from monitor.domain import EvaluationKind, Interval, Recent, Route, Unread, Version, VersionId
from monitor.evaluate.calibrated import Calibrated
from monitor.evaluate.coverage import Requests
from monitor.evaluate.layout import (
    comparable_window,
    feedback_window,
    windows_beside,
)
from monitor.evaluate.reading import DAY, Reading
from monitor.evaluate.settings import EvaluateSettings, reads_answers
from monitor.policy import Memory
from monitor.policy.budget import ShareStanding
from monitor.store.evaluation import processes, tasks, verdicts
from monitor.store.evaluation.tasks import Awaited, Claim
from monitor.store.records import capture_counts, counting, feedback, pending, records
from monitor.store.records.columns import RecordColumns
from monitor.store.records.counting import Compared
from monitor.store.records.records import Arriving
from monitor.store.registry import versions, watching
from monitor.store.traffic import routes
from monitor.windows import WindowPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A claimed task and the window to evaluate for it."""

    claim: Claim
    planned: WindowPlan
    window: Interval


def read(
    tx: Connection,
    looks: Sequence[Look],
    *,
    calibrated: Mapping[VersionId, Calibrated],
    settings: EvaluateSettings,
) -> list[Reading]:
    """Read what arrived in each window, and its version's states and memory.

    The looks are of one kind and claimed at one time, so the number of statements does not grow
    with theirs. What few versions need is read for each of these.
    """
    kind, now = looks[0].claim.kind, looks[0].claim.now
    ids = [look.claim.version_id for look in looks]
    known = versions.fetch_by_ids(tx, ids)
    behind = capture_counts.backfilled(tx, [(look.claim.adapter_id, look.window) for look in looks])
    compared = {
        version_id: (version_id, one.reference.id) for version_id, one in calibrated.items()
    }
    current = verdicts.current_of(tx, ids)
    columns = records.read_arrivals(
        tx,
        [
            _arriving(look, calibrated.get(look.claim.version_id), behind=late)
            for look, late in zip(looks, behind, strict=True)
        ],
    )
    asked = [detector.name for detector in settings.detectors_of(kind)]
    states = processes.states(tx, compared.values(), detectors=asked)
    recent = counting.recent(
        tx,
        [_compared(look.claim, calibrated.get(look.claim.version_id)) for look in looks],
        start=now - DAY,
        end=now,
        enough=settings.policy.insufficient_records,
    )
    standings = watching.standings(tx, known.values(), now=now)
    routed = routes.of_adapters(tx, {version.adapter for version in known.values()})
    # no hard detector reads feedback, or what a prompt's embedding says
    windows = [(look.claim.version_id, look.claim.adapter_id, look.window) for look in looks]
    live = windows if kind is EvaluationKind.LIVE else []
    ends = [(version_id, adapter_id, window.end) for version_id, adapter_id, window in live]
    unread = feedback.unread(tx, ends, now=now) if ends else {}
    unmeasured = [
        window
        for window, arrived in zip(windows, columns, strict=True)
        if live and np.isnan(arrived.signals[SIMILARITY]).any()
    ]
    waiting = pending.waiting(tx, unmeasured)
    return [
        _reading(
            tx,
            look,
            known[of],
            calibrated.get(of),
            arrived,
            memory=current[of].memory if of in current else Memory(),
            behind=late and kind is EvaluationKind.LIVE,
            states=states[compared[of]] if of in compared else {},
            recent=recent[of],
            unread=unread.get(of, Unread()),
            waiting=waiting.get(of, 0),
            standing=standings[of],
            route=routed.get(known[of].adapter),
            settings=settings,
        )
        for look, of, late, arrived in zip(looks, ids, behind, columns, strict=True)
    ]


def _arriving(look: Look, calibrated: Calibrated | None, *, behind: bool) -> Arriving:
    return Arriving(
        version_id=look.claim.version_id,
        adapter_id=look.claim.adapter_id,
        window=look.window,
        reach=records.LATEST if behind else records.PROMPT,
        reference_id=calibrated.reference.id if calibrated else None,
        answers=reads_answers(calibrated.by_detector if calibrated else ()),
    )


def _compared(claim: Claim, calibrated: Calibrated | None) -> Compared:
    return Compared(
        version_id=claim.version_id,
        adapter_id=claim.adapter_id,
        strata=None if calibrated is None else calibrated.strata,
        needs=needed(
            signal
            for name in (calibrated.by_detector if calibrated else ())
            for signal in DETECTORS[name].signals
        ),
    )


def _reading(
    tx: Connection,
    look: Look,
    version: Version,
    calibrated: Calibrated | None,
    columns: RecordColumns,
    *,
    memory: Memory,
    behind: bool,
    states: Mapping[str, State],
    recent: Recent,
    unread: Unread,
    waiting: int,
    standing: ShareStanding,
    route: Route | None,
    settings: EvaluateSettings,
) -> Reading:
    """Put one version's reading together, and read what only few versions need."""
    window = look.window
    # only one kind of evaluation counts older days, because each would visit all of them
    late, missed = _missed(tx, version, window, late=behind, skipped=look.planned.skipped)
    memory = memory.against(calibrated.reference.id if calibrated else None)
    awaited = Awaited()
    if memory.unmeasured_since is not None or memory.doubted:
        awaited = tasks.awaited(tx, version_id=version.id, kind=EvaluationKind.PERPLEXITY)
    return Reading(
        version=version,
        interval=window,
        calibrated=calibrated,
        memory=memory,
        states=states,
        window=comparable_window(columns, window, calibrated),
        beside=windows_beside(columns, window, calibrated),
        requests=Requests(
            signals=columns.signals,
            strata=columns.strata,
            skipped=missed,
            late=late,
            waiting=waiting,
        ),
        recent=recent,
        standing=standing,
        unread=unread,
        feedback=feedback_window(
            unread.arrivals,
            window,
            directions=settings.directions(version.adapter),
            calibrated=calibrated,
        ),
        route=route,
        probe_due=awaited.due,
        probe_stopped=awaited.stopped,
        probe_running=awaited.running,
    )


def _missed(
    tx: Connection,
    version: Version,
    window: Interval,
    *,
    late: bool,
    skipped: Sequence[Interval],
) -> tuple[int, int]:
    """Count the records that came a day late, and those that came while nothing was evaluated."""
    n_late = n_skipped = 0
    if late:
        n_late = counting.count_arrivals(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            window=window,
            made_before=window.start - records.LATEST,
        )
    if skipped:  # windows that follow each other, counted as one
        n_skipped = counting.count_arrivals(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            window=Interval(start=skipped[0].start, end=skipped[-1].end),
        )
    return n_late, n_skipped
