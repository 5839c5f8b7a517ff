"""The findings of evaluations, written in one transaction guarded by the claims' epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from monitor.domain import EvaluationId, EvaluationKind, Version, VersionId
from monitor.evaluate.company import others_on_the_base
from monitor.evaluate.evaluated import Evaluated
from monitor.evaluate.explain import Explained, explain
from monitor.evaluate.judged import (
    PERPLEXITY,
    Judged,
    LookedAt,
    finished,
    new_evaluation,
    new_verdict,
    read_feedback,
    score_rows,
    skipped,
)
from monitor.evaluate.message import Messages, News
from monitor.evaluate.turn import Turn, turn
from monitor.policy import ActionEvidence, Memory, PolicySettings, unmeasured
from monitor.store import clock, partitions
from monitor.store.evaluation import coverage_days, evaluations, processes, tasks, verdicts
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.records import feedback

React = Callable[[Connection, Sequence[tuple[Version, ActionEvidence, datetime]]], None]
"""Asks for decisions about versions' traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """The rules by which an evaluation is judged, and the ways people are told and traffic moves.

    Versions on one base that move within ``cycle`` of each other move together.
    """

    settings: PolicySettings
    tell: Messages
    react: React
    cycle: timedelta


class Unexplained(Exception):  # noqa: N818 (named as what it is)
    """The judgement is not the one that was explained beforehand; nothing was written."""


def foresee(tx: Connection, *, evaluated: Evaluated, how: How) -> Explained:
    """Explain the judgement that :func:`commit` will probably reach, without any lock."""
    before = verdicts.current(tx, version_id=evaluated.reading.version.id)
    found = _judged(tx, evaluated, before, how, at=clock.now(tx), hold=False)
    if not found.judgement.verdict.detectors or not how.tell.news(tx, evaluated, found).fresh:
        return Explained()
    return explain(tx, evaluated.reading, found.judgement, examples=how.tell.examples)


def commit_together(
    tx: Connection, several: Sequence[LookedAt], *, how: How
) -> dict[VersionId, Turn | None]:
    """Judge windows, and write those of versions with nothing to tell; None: see :func:`commit`.

    The others are not in the answer, and nothing of them is written: what they need may lock a
    base, or a version's incidents. Nor are those whose verdict another transaction holds, so that
    nobody waits for one of them, or those that have none: a first one is told.
    """
    before = verdicts.lock_free(tx, [one.look.claim.version_id for one in several])
    free = [one for one in several if one.look.claim.version_id in before]
    times = tasks.guard_all(tx, [one.look.claim for one in free])
    judged = []
    for one in free:
        claim, evaluated = one.look.claim, one.evaluated
        if claim.task_id in times:
            facts = replace(evaluated.facts, at=times[claim.task_id])
            found = turn(
                evaluated.reading,
                before[claim.version_id].memory,
                facts,
                findings=evaluated.findings,
                settings=how.settings,
            )
            judged.append(Judged(looked=one, found=found))
    judged = _uneventful(tx, judged, how)
    return _written(tx, judged, how) if judged else {}


def commit(tx: Connection, looked: LookedAt, *, explained: Explained, how: How) -> Turn | None:
    """Judge a window, write the results and tell; None: this window was already evaluated.

    The verdict's row is locked before judging. Two kinds of evaluation of one version therefore
    judge one after the other, each from the memory that the other left. The row is also locked
    before the task, because a suspicion found here makes another kind's task due: a daemon that
    held that task and waited for the verdict would wait for ever.

    Raises
    ------
    StaleLease
        Another daemon took the task over.
    Unexplained
        The judgement differs from the one that was explained beforehand.
    """
    claim = looked.look.claim
    before = verdicts.claim_row(tx, version_id=claim.version_id, adapter_id=claim.adapter_id)
    at = tasks.guard(tx, claim)
    found = _judged(tx, looked.evaluated, before, how, at=at, hold=True)
    judged = Judged(looked=looked, found=found)
    return _written(tx, [judged], how, explained=explained)[claim.version_id]


def _uneventful(tx: Connection, judged: Sequence[Judged], how: How) -> list[Judged]:
    """Keep those that write nothing but rows of their own."""
    quiet = how.tell.uneventful(tx, [(one.looked.evaluated, one.found) for one in judged])
    return [
        one
        for one in judged
        for judgement in [one.found.judgement]
        if one.key[0] in quiet
        and not judgement.action.allowed
        and not judgement.wants_probe
        and judgement.memory.unmeasured_since is None
    ]


def _written(
    tx: Connection, judged: Sequence[Judged], how: How, *, explained: Explained | None = None
) -> dict[VersionId, Turn | None]:
    """Write what was judged; with ``explained``, tell of it too."""
    partitions.ensure(tx, {one.key[1].date() for one in judged}, tables=("scores", "increments"))
    ids = evaluations.add(tx, [new_evaluation(one) for one in judged])
    new = [one for one in judged if one.key in ids]
    news: dict[VersionId, News] = {}
    if explained is not None:
        for one in new:
            evaluated = one.looked.evaluated
            told = news[one.key[0]] = how.tell.news(tx, evaluated, one.found)
            if told.fresh and not explained.answers(one.found.judgement):
                raise Unexplained(evaluated.reading.version.label)
    coverage_days.add(
        tx,
        {
            (one.key[0], one.key[1].astimezone(UTC).date()): one.coverage
            for one in new
            if one.coverage
        },
    )
    evaluations.add(tx, [missed for one in new for missed in skipped(one.looked.look)])
    evaluations.put_scores(
        tx,
        [row for one in new for row in score_rows(one, ids[one.key])],
        thinned=[one.key[0] for one in new if one.looked.look.claim.frequent],
    )
    compared = {of: one.found for one in new if (of := one.compared) is not None}
    processes.put_states(tx, {of: found.states for of, found in compared.items()})
    processes.put_increments(tx, {of: found.increments for of, found in compared.items()})
    feedback.mark(tx, {one.key: read_feedback(one.looked.evaluated) for one in new})
    verdicts.put_all(tx, [new_verdict(one) for one in new])
    for one in new:
        if explained is not None:
            _tell(tx, one, ids[one.key], how, news=news[one.key[0]], explained=explained)
    tasks.finish(tx, [finished(one, written=one.key in ids) for one in judged])
    if new:
        how.react(
            tx,
            [
                (
                    one.looked.evaluated.reading.version,
                    one.found.judgement.action,
                    one.found.facts.at,
                )
                for one in new
            ],
        )
    return {one.key[0]: one.found if one.key in ids else None for one in judged}


def _tell(
    tx: Connection,
    one: Judged,
    evaluation_id: EvaluationId,
    how: How,
    *,
    news: News,
    explained: Explained,
) -> None:
    """Tell of a version's judgement, and ask for the probe that it needs."""
    evaluated, found, judgement = one.looked.evaluated, one.found, one.found.judgement
    transition_id = None
    if found.transition is not None:
        transition_id = verdicts.add_transition(tx, found.transition, evaluation_id=evaluation_id)
    how.tell.tell(tx, evaluated, found, news, explained, transition_id=transition_id)
    version_id, since = one.key[0], judgement.memory.unmeasured_since
    if since is not None and found.facts.probe_available:
        # the newest perplexity score no longer holds: a suspicion came after it
        reason = unmeasured(since, found.facts.probe_stopped)
        evaluations.put_unmeasured(tx, version_id, detector=PERPLEXITY, reason=reason)
    if judgement.wants_probe and found.facts.probe_available:
        tasks.request(tx, version_id=version_id, kinds=[EvaluationKind.PERPLEXITY])


def _judged(
    tx: Connection,
    evaluated: Evaluated,
    before: VerdictRow | None,
    how: How,
    *,
    at: datetime,
    hold: bool,
) -> Turn:
    """Judge the findings by the verdict in force, and by others on the base where they matter.

    ``hold`` locks the base, so that no other process judges on it until the transaction
    ends.
    """
    memory = before.memory if before else Memory()
    # a finding begins when it is reported: its probe may have taken minutes
    facts, version = replace(evaluated.facts, at=at), evaluated.reading.version
    taken = partial(
        turn, evaluated.reading, memory, findings=evaluated.findings, settings=how.settings
    )
    found = taken(facts)
    fleet = others_on_the_base(tx, version, found.judgement, cycle=how.cycle, hold=hold)
    if fleet is None:
        return found
    return taken(replace(facts, fleet=fleet))
