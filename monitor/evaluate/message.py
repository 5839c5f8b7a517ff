"""The messages about a change of verdict, inside the evaluation's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from alerts.message import ActionLine, NearbyChange, ScoreLine
from alerts.types import VerdictKind
from detectors.types import Score
from detectors.words import name_words
from monitor import strata
from monitor.domain import (
    EvaluationKind,
    Interval,
    TransitionId,
    Verdict,
    VerdictSeverity,
    Version,
    VersionId,
)
from monitor.evaluate.evaluated import Evaluated
from monitor.evaluate.explain import Explained
from monitor.evaluate.turn import Turn
from monitor.evaluate.unseen import unseen
from monitor.outbox.changes import changes_about
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.lines import score_lines
from monitor.outbox.present import NEAR
from monitor.outbox.record import record_observation, update_due
from monitor.policy import ActionEvidence, Judgement
from monitor.policy.crossings import QUARANTINE_AFTER
from monitor.store import clock
from monitor.store.evaluation import evaluations
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.incidents import incidents
from monitor.store.records import capture_counts
from monitor.store.registry import adapters
from monitor.store.traffic import departures


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Whether a turn tells people something new, and the scores that belong to it.

    fresh
        The verdict changed, a page has waited long enough, or more is known of an open incident.
    departed
        No traffic goes to the version any more.
    """

    fresh: bool
    departed: bool
    scores: tuple[ScoreLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Tells people of verdicts, with the context that a message needs.

    preview
        Returns the action on the version's traffic that is about to happen, or recommended.
    doubts
        Says of each version of whose traffic it is unknown whether the last move took place, why.
    change_margin
        How far from the onset a declared change is still listed.
    out_of_service_after
        A version that has been in no route for this long causes no new messages.
    window
        Length of the live detectors' window: other news of an open incident is told once it
        has held for this long.

    ``examples`` is the number of prompts shown, with words typical of new requests; 0: no
    text.
    """

    channels: Sequence[ConfiguredChannel]
    preview: Callable[[Connection, Version, ActionEvidence, datetime], ActionLine | None]
    doubts: Callable[[Connection, Sequence[Version]], Mapping[VersionId, str]]
    examples: int = 0
    base_url: str | None = None
    change_margin: timedelta = NEAR
    out_of_service_after: timedelta = timedelta(minutes=15)
    window: timedelta = timedelta(minutes=15)

    def uneventful(
        self, tx: Connection, several: Sequence[tuple[Evaluated, Turn]]
    ) -> frozenset[VersionId]:
        """Name the versions of which there is nothing for :meth:`tell` to tell or to store.

        Nothing is wrong with them, nothing was, and nothing is known that an incident waits for.
        """
        calm = [one.reading.version for one, found in several if _calm(one, found)]
        if not calm:
            return frozenset()
        under_way, doubts = incidents.under_way(tx, calm), self.doubts(tx, calm)
        return frozenset(version.id for version in calm) - under_way - doubts.keys()

    def news(self, tx: Connection, evaluated: Evaluated, found: Turn) -> News:
        """Whether :meth:`tell` will tell people something new, and what."""
        version, judgement = evaluated.reading.version, found.judgement
        verdict, standing = judgement.verdict, judgement.standing
        bad = (
            verdict.severity is not VerdictSeverity.NONE
            or judgement.blindness is not None
            or switched_off(judgement.memory.failures) is not None
        )
        departed = bad and self._departed(tx, version)
        # a page that waited for others to be looked at is about to go out
        waited = (
            not departed
            and verdict.severity is VerdictSeverity.PAGE
            and not (standing.shared or standing.waits)
            and not incidents.any_open(tx, version)
        )
        scores = _score_lines(tx, evaluated, judgement)
        return News(
            fresh=found.transition is not None
            or waited
            or update_due(
                tx, version, verdict=verdict, scores=scores, now=found.facts.at, window=self.window
            ),
            departed=departed,
            scores=scores,
        )

    def tell(
        self,
        tx: Connection,
        evaluated: Evaluated,
        found: Turn,
        news: News,
        explained: Explained,
        *,
        transition_id: TransitionId | None,
    ) -> None:
        """Step the version's incidents; the outbox rows belong to this transaction."""
        reading, judgement, now = evaluated.reading, found.judgement, found.facts.at
        version, verdict = reading.version, judgement.verdict
        if not (news.fresh and verdict.detectors):
            explained = Explained()
        action = self.preview(tx, version, judgement.action, now) if news.fresh else None
        beside = reading.calibrated.beside if reading.calibrated is not None else ()
        adapter = adapters.fetch_by_id(tx, version.adapter_id)
        record_observation(
            tx,
            version,
            verdict=verdict,
            inputs=AlertInputs(
                adapter=adapter,
                transition_id=transition_id,
                standing=judgement.standing,
                rules_changed=judgement.rules_changed,
                scores=news.scores,
                requests=len(reading.window),
                per_second=capture_counts.per_second(
                    tx, adapter_id=adapter.id, known_since=adapter.created_at, now=now
                )
                if news.fresh
                else None,
                action=action,
                changes=self._changes(tx, evaluated, found),
                unlike=explained.unlike,
                new=explained.new,
                examples=explained.examples,
                broken=switched_off(judgement.memory.failures),
                misrouted=self.doubts(tx, [version]).get(version.id),
                unseen=None
                if judgement.blindness is None
                else unseen(
                    judgement.blindness,
                    judgement.memory.seen.coverage(),
                    version,
                    now=now,
                    well=verdict.severity is VerdictSeverity.NONE,
                ),
                coverage_known=found.facts.covered is not None,
                own_references=tuple(strata.words(one.strata[0]) for one in beside),
                base_url=self.base_url,
                departed=news.departed,
                answers_as=answers_as(dict(evaluated.scores)),
            ),
            channels=self.channels,
            now=now,
            silence=evaluated.silence,
            window=self.window,
        )

    def broken(self, tx: Connection, version: Version, *, reason: str, now: datetime) -> None:
        """Open an ``error`` incident for evaluations that keep failing as a whole.

        Drift incidents stay unchanged; the next evaluation that succeeds ends this one.
        """
        record_observation(
            tx,
            version,
            verdict=Verdict(
                kind=VerdictKind.ERROR, severity=VerdictSeverity.TICKET, reason=reason, since=now
            ),
            inputs=AlertInputs(
                adapter=adapters.fetch_by_id(tx, version.adapter_id),
                changes=changes_about(
                    tx,
                    version.adapter,
                    interval=Interval(start=now, end=now),
                    margin=self.change_margin,
                    now=now,
                    is_onset=False,
                ),
                broken=reason,
                misrouted=self.doubts(tx, [version]).get(version.id),
                base_url=self.base_url,
                departed=self._departed(tx, version),
            ),
            channels=self.channels,
            now=now,
        )

    def _departed(self, tx: Connection, version: Version) -> bool:
        """Whether the version is out of service now: an old claim must not reopen its incident."""
        after = self.out_of_service_after
        return bool(departures.departed(tx, [version.id], now=clock.now(tx), after=after))

    def _changes(
        self, tx: Connection, evaluated: Evaluated, found: Turn
    ) -> tuple[NearbyChange, ...]:
        """List declared changes near the onset, or, for silence and failures, near the window.

        That window begins with the last record, if it is earlier.
        """
        reading, verdict = evaluated.reading, found.judgement.verdict
        failing = (
            verdict.kind is VerdictKind.ERROR
            or switched_off(found.judgement.memory.failures) is not None
        )
        if verdict.onset is None and evaluated.silence is None and not failing:
            return ()
        window, last = reading.interval, reading.recent.last_at
        start = min(last, window.start) if last else window.start
        return changes_about(
            tx,
            reading.version.adapter,
            interval=verdict.onset or Interval(start=start, end=window.end),
            margin=self.change_margin,
            now=found.facts.at,
            is_onset=verdict.onset is not None,
        )


def _calm(evaluated: Evaluated, found: Turn) -> bool:
    judgement = found.judgement
    return (
        found.transition is None
        and judgement.verdict.kind not in {VerdictKind.BLIND, VerdictKind.ERROR}
        and judgement.verdict.severity is VerdictSeverity.NONE
        and judgement.blindness is None
        and not judgement.rules_changed
        and switched_off(judgement.memory.failures) is None
        and evaluated.silence is None
    )


def switched_off(failures: Mapping[str, int]) -> str | None:
    """Say which checks are off because they failed so often in a row; None: none is."""
    names = [name_words(name) for name, times in failures.items() if times >= QUARANTINE_AFTER]
    if not names:
        return None
    return (
        f"the check of {', '.join(names)} could not run {QUARANTINE_AFTER} times in a row"
        " and is off until there is a new reference"
    )


def answers_as(scores: Mapping[str, Score | ScoreRow]) -> str:
    """Return the served name of the adapter whose weights a probe met; empty: of none other."""
    probed = scores.get(EvaluationKind.PERPLEXITY.value)
    identity = probed.details.get("identity") if probed is not None else None
    return str(identity["sibling"] or "") if isinstance(identity, Mapping) else ""


def _score_lines(
    tx: Connection, evaluated: Evaluated, judgement: Judgement
) -> tuple[ScoreLine, ...]:
    """Return scores of the detectors that crossed, the strongest evidence first.

    A run of hard signals falls between the others' windows, and a page that waited for its
    probe may come from such a run: the other detectors then show their newest stored score.
    """
    scores: dict[str, Score | ScoreRow] = {
        f.detector: f.score for f in evaluated.findings if f.score is not None
    }
    scores |= evaluated.scores
    crossed, version = judgement.verdict.detectors, evaluated.reading.version
    if not set(crossed) <= set(scores):
        rows = evaluations.latest_scores_of(tx, adapter_id=version.adapter_id)
        stored = {row.detector: row for row in rows if row.version_id == version.id}
        scores = {**stored, **scores}
    return score_lines(scores, crossed, judgement.memory.crossings)
