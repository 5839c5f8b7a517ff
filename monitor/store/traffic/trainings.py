"""Store who trains what a retraining request asks for: one worker at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store.errors import Conflict
from monitor.store.rows import shaped
from monitor.store.tables.retrainings import retrainings, trainings

LEASE: Final = timedelta(minutes=3)
"""A worker reports every few seconds; another may go on once this has passed."""

_T: Final = trainings.c


class TrainingState(StrEnum):
    """The state of a training."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    """Its data or the version that it made did not pass."""
    FAILED = "failed"
    """It may be begun again without more ado."""
    CANCELLED = "cancelled"
    """A person refused it."""


class TrainingStep(StrEnum):
    """The steps of a training, in their order."""

    TEXTS = "texts"
    LABELS = "labels"
    MIX = "mix"
    TRAIN = "train"
    REGISTER = "register"
    ADMIT = "admit"
    CANARY = "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """The newest training of a request.

    ``epoch`` is the right to report; ``progress`` is the step's, in [0, 1]; ``made`` is the name of
    the version that was made, None before.
    """

    retraining_id: int
    worker: str
    epoch: int
    state: TrainingState
    step: TrainingStep
    progress: float
    note: str
    made: str | None
    began_at: datetime
    finished_at: datetime | None


def of(tx: Connection, requests: Sequence[int]) -> dict[int, TrainingRow]:
    """Return the trainings of these requests, of those that have one."""
    rows = tx.execute(sa.select(trainings).where(_T.retraining_id.in_(requests))).mappings()
    return {row["retraining_id"]: _training(row) for row in rows}


def begin(tx: Connection, request: int, *, worker: str, again: bool = False) -> TrainingRow:
    """Take a request, also one that its worker left: the work's folder knows how far it was.

    Raises
    ------
    Conflict
        Another worker has it, or it is over and ``again`` is not said.
    """
    _hold(tx, request)
    known = of(tx, [request]).get(request)
    if known is not None:
        _refuse_second(tx, known, worker=worker, again=again)
    values = {
        "worker": worker,
        "epoch": known.epoch + 1 if known else 1,
        "state": TrainingState.RUNNING.value,
        "step": TrainingStep.TEXTS.value,
        "progress": 0.0,
        "note": "",
        "made": None,
        "lease_until": sa.func.now() + LEASE,
        "began_at": sa.func.now(),
        "finished_at": None,
    }
    return _put(tx, request, values, known=known)


def report(
    tx: Connection,
    request: int,
    *,
    epoch: int,
    step: TrainingStep,
    progress: float,
    note: str,
    state: TrainingState = TrainingState.RUNNING,
    made: str | None = None,
) -> TrainingRow:
    """Store how far a worker is, and renew its lease.

    Raises
    ------
    Conflict
        The training is not this worker's any more: taken over, or cancelled.
    """
    over = state is not TrainingState.RUNNING
    statement = (
        trainings.update()
        .where(
            _T.retraining_id == request,
            _T.epoch == epoch,
            _T.state == TrainingState.RUNNING.value,
        )
        .values(
            step=step.value,
            progress=progress,
            note=note,
            state=state.value,
            made=sa.func.coalesce(made, _T.made),
            lease_until=None if over else sa.func.now() + LEASE,
            finished_at=sa.func.now() if over else None,
        )
        .returning(trainings)
    )
    row = tx.execute(statement).mappings().one_or_none()
    if row is not None:
        return _training(row)
    known = of(tx, [request]).get(request)
    if known is not None and known.state is TrainingState.CANCELLED:
        raise Conflict(f"the training was cancelled: {known.note}")
    raise Conflict(f"request {request} is not this worker's to train any more")


def cancel(tx: Connection, request: int, *, reason: str) -> TrainingRow:
    """Refuse a request for a person: nobody trains it, and who does stops at the next report.

    Raises
    ------
    Conflict
        Its training is over.
    """
    _hold(tx, request)
    known = of(tx, [request]).get(request)
    if known is not None and known.state in {TrainingState.DONE, TrainingState.REFUSED}:
        raise Conflict(f"its training is over: {known.state.value}")
    values: dict[str, Any] = {
        "state": TrainingState.CANCELLED.value,
        "note": reason,
        "lease_until": None,
        "finished_at": sa.func.now(),
    }
    if known is None:
        values |= {"worker": "", "epoch": 1, "step": TrainingStep.TEXTS.value}
    return _put(tx, request, values, known=known)


def _refuse_second(tx: Connection, known: TrainingRow, *, worker: str, again: bool) -> None:
    if known.state is TrainingState.RUNNING:
        leased = sa.select(_T.lease_until > sa.func.now()).where(
            _T.retraining_id == known.retraining_id
        )
        if known.worker != worker and tx.execute(leased).scalar_one():
            raise Conflict(f"{known.worker} trains it since {known.began_at:%Y-%m-%d %H:%M} UTC")
    elif known.state is not TrainingState.FAILED and not again:
        raise Conflict(f"its training is over: {known.state.value}; ask for it again to repeat it")


def _hold(tx: Connection, request: int) -> None:
    """Let one caller at a time decide about a request."""
    tx.execute(sa.select(retrainings.c.id).where(retrainings.c.id == request).with_for_update())


def _put(
    tx: Connection, request: int, values: dict[str, Any], *, known: TrainingRow | None
) -> TrainingRow:
    """Write a request's row."""
    made = trainings.insert() if known is None else trainings.update()
    statement: Any = made.values(values | {"retraining_id": request})
    if known is not None:
        statement = statement.where(_T.retraining_id == request)
    return _training(tx.execute(statement.returning(trainings)).mappings().one())


def _training(row: Any) -> TrainingRow:
    state, step = TrainingState(row["state"]), TrainingStep(row["step"])
    return shaped(TrainingRow, row, state=state, step=step)
