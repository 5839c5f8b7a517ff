"""Read an evaluation's data in one short transaction, which ends before the computation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.signals import SIMILARITY, needed
from monitor.domain import EvaluationKind, Interval, Unread, Version
from monitor.evaluate.coverage import Requests
from monitor.evaluate.layout import (
    comparable_window,
    feedback_window,
    windows_beside,
)
from monitor.evaluate.loading import Calibrations
from monitor.evaluate.reading import DAY, Reading
from monitor.evaluate.settings import EvaluateSettings, reads_answers
from monitor.policy import Memory
from monitor.store.evaluation import processes, tasks, verdicts
from monitor.store.evaluation.tasks import Awaited, Claim
from monitor.store.records import capture_counts, feedback, pending, records
from monitor.store.registry import versions, watching
from monitor.store.traffic import routes


def read(
    tx: Connection,
    claim: Claim,
    window: Interval,
    *,
    calibrations: Calibrations,
    settings: EvaluateSettings,
    skipped: Sequence[Interval] = (),
) -> Reading:
    """Read what arrived in the window and the version's reference, states and memory.

    ``skipped`` windows were missed while nothing was evaluated.
    """
    version = versions.fetch_by_id(tx, claim.version_id)
    is_live = claim.kind is EvaluationKind.LIVE
    behind = capture_counts.any_backfilled(
        tx, adapter_id=version.adapter_id, start=window.start, end=window.end
    )
    # only one kind of evaluation counts older days, because each would visit all of them
    late, missed = _missed(tx, version, window, late=behind and is_live, skipped=skipped)
    calibrated = calibrations.current(tx, version.id)
    reference_id = calibrated.reference.id if calibrated else None
    row = verdicts.current(tx, version_id=version.id)
    memory = row.memory if row else Memory()
    memory = memory.against(reference_id)
    columns = records.read_arrivals(
        tx,
        version_id=version.id,
        adapter_id=version.adapter_id,
        window=window,
        reach=records.LATEST if behind else records.PROMPT,
        reference_id=reference_id,
        answers=reads_answers(calibrated.by_detector if calibrated else ()),
    )
    unread = Unread()
    if is_live:
        unread = feedback.unread(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            window_end=window.end,
            now=claim.now,
        )
    awaited = Awaited()
    if memory.unmeasured_since is not None or memory.doubted:
        awaited = tasks.awaited(tx, version_id=version.id, kind=EvaluationKind.PERPLEXITY)
    return Reading(
        version=version,
        interval=window,
        calibrated=calibrated,
        memory=memory,
        states={}
        if reference_id is None
        else processes.states(tx, version_id=version.id, reference_id=reference_id),
        window=comparable_window(columns, window, calibrated),
        beside=windows_beside(columns, window, calibrated),
        requests=Requests(
            signals=columns.signals,
            strata=columns.strata,
            skipped=missed,
            late=late,
            waiting=pending.waiting(
                tx, version_id=version.id, adapter_id=version.adapter_id, window=window
            )
            if is_live and np.isnan(columns.signals[SIMILARITY]).any()
            else 0,  # no hard detector reads what a prompt's embedding says
        ),
        traffic=records.traffic(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            start=claim.now - DAY,
            end=claim.now,
            compared=None if calibrated is None else calibrated.strata,
            needs=needed(
                signal
                for name in (calibrated.by_detector if calibrated else ())
                for signal in DETECTORS[name].signals
            ),
        ),
        standing=watching.standing(tx, version, now=claim.now),
        unread=unread,
        feedback=feedback_window(
            unread.arrivals,
            window,
            directions=settings.directions(version.adapter),
            calibrated=calibrated,
        ),
        route=routes.get(tx, version.adapter),
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
        n_late = records.count_arrivals(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            window=window,
            made_before=window.start - records.LATEST,
        )
    if skipped:  # windows that follow each other, counted as one
        n_skipped = records.count_arrivals(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            window=Interval(start=skipped[0].start, end=skipped[-1].end),
        )
    return n_late, n_skipped
