"""Request the retraining of an adapter when its inputs have moved on, or its version is old.

Drift from new questions of users is no fault of the version, and another version would not
help. A ticket says so, and this request asks for the remedy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from alerts.message import Alert, Links, NewGroup, Retraining
from alerts.message import to_json as alert_to_json
from alerts.titles import summarised
from alerts.types import Blame, Kind, Severity, Status, VerdictKind
from alerts.words import duration
from monitor.domain import Adapter, Interval, Verdict, Version
from monitor.evaluate.newness import LONGEST, Newness, NotCompared, new_since, read_newness
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.incidents import outbox
from monitor.store.registry import adapters
from monitor.store.traffic import fleet, retrainings
from monitor.store.traffic.retrainings import NewRetraining, RetrainCause, RetrainingRow

_LOG = structlog.get_logger(__name__)

LEAST_REPLAY, MOST_REPLAY, USUAL_REPLAY = 0.10, 0.20, 0.15
AGED: Final = timedelta(days=14)
"""The age of the requests that a retraining because of age asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainSettings:
    """The conditions of a request for retraining, and its recipients.

    channels
        Names of the channels that get the event; empty: it is only stored.
    after
        How long inputs must have drifted.
    cool_down
        Between two requests for one adapter.
    max_age
        A version in charge that was registered longer ago is due for retraining; 0: never.
    """

    channels: tuple[str, ...] = ()
    after: timedelta = timedelta(hours=1)
    cool_down: timedelta = timedelta(days=7)
    max_age: timedelta = timedelta(days=180)


class NotRequested(Exception):  # noqa: N818 (named as what it is)
    """A person's request for retraining is refused; the message says why."""


class TooSoon(NotRequested):
    """An adapter's retraining was asked for within the cool-down; the message says when."""


def why_retrain(
    version: Version,
    verdict: Verdict | None,
    *,
    last: datetime | None,
    settings: RetrainSettings,
    now: datetime,
) -> tuple[RetrainCause, str] | None:
    """Say why the version in charge should be retrained, in numbers; None: no need.

    ``last`` is the time of the adapter's last request, for any version.
    """
    if last is not None and now - last < settings.cool_down:
        return None
    drifts = verdict is not None and verdict.kind in {VerdictKind.DRIFTING, VerdictKind.CRITICAL}
    if verdict is not None and drifts and verdict.blame is Blame.INPUT:
        lasted = now - verdict.since
        if lasted >= settings.after:
            said = f"inputs drift for {duration(lasted)}: {verdict.reason}"
            return RetrainCause.INPUT, said
    age = now - version.registered_at
    if timedelta() < settings.max_age <= age:
        old = f"registered {age.days} days ago (at most {settings.max_age.days})"
        return RetrainCause.MAX_AGE, old
    return None


def replay_share(*, unlike: int, compared: int) -> float:
    """Return the share of the earlier training to mix in, in [.1, .2].

    The share grows with the share of new requests that are unlike the training.

    >>> replay_share(unlike=30, compared=100), replay_share(unlike=0, compared=0)
    (0.13, 0.15)
    """
    if compared == 0:
        return USUAL_REPLAY
    return round(LEAST_REPLAY + (MOST_REPLAY - LEAST_REPLAY) * unlike / compared, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrainings:
    """Reviews the fleet and requests the retrainings that are due.

    Parameters
    ----------
    words
        Whether messages may contain typical words of new requests: the operator has opted in to
        prompt text in messages.
    base_url
        Where people and pipelines reach this service, for the manifest's address.
    """

    database: Database
    settings: RetrainSettings
    words: bool = False
    base_url: str | None = None
    clock: Callable[[], datetime]

    def turn(self) -> bool:
        """Request every retraining that is due; False: no further call is due at once."""
        now = self.clock()
        rows, last = self.database.run(
            lambda tx: (fleet.fleet(tx, now=now), retrainings.newest_at(tx))
        )
        for row in rows:
            if row.version is None:
                continue
            why = why_retrain(
                row.version,
                row.judged.verdict if row.judged else None,
                last=last.get(row.adapter.id),
                settings=self.settings,
                now=now,
            )
            if why is not None:
                self._ask(row.adapter, row.version, *why, now=now)
        return False

    def request(self, name: str, *, by: str, why: str, force: bool = False) -> RetrainingRow:
        """Request the retraining of an adapter's version in charge for a person.

        ``force``: also within the cool-down.

        The requests covered and the message are as for drifting inputs. Cost: .4 s for the
        requests of a day.

        Raises
        ------
        NotRequested
            No adapter has this name, or none of its versions is in charge.
        TooSoon
            A retraining was requested within the cool-down.
        """
        now, cause = self.clock(), RetrainCause.PERSON
        adapter, version = self.database.run(
            lambda tx: (adapters.fetch(tx, name), fleet.in_charge(tx, name))
        )
        if adapter is None or version is None:
            raise NotRequested(f"{name} has no version that is in charge")
        new = self.database.run(
            lambda tx: self._new(tx, version, cause, f"by {by}: {why}", now=now)
        )

        def work(tx: Connection) -> RetrainingRow:
            adapters.hold(tx, adapter.id)
            last = self._within(tx, adapter, now)
            if last is not None and not force:
                raise TooSoon(
                    f"{adapter.name} was asked to be retrained at"
                    f" {last.isoformat(timespec='seconds')}, within {self.settings.cool_down}"
                )
            made = self._made(tx, adapter, new, now=now)
            details = {"request": made.id, "reason": why, "forced": last is not None}
            audit.append(
                tx, actor=by, act="retraining.request", subject=version.label, details=details
            )
            return made

        return _logged(self.database.run(work))

    def _ask(
        self, adapter: Adapter, version: Version, cause: RetrainCause, reason: str, *, now: datetime
    ) -> None:
        new = self.database.run(lambda tx: self._new(tx, version, cause, reason, now=now))

        def work(tx: Connection) -> RetrainingRow | None:
            adapters.hold(tx, adapter.id)
            if self._within(tx, adapter, now) is not None:
                return None  # another daemon was faster
            return self._made(tx, adapter, new, now=now)

        made = self.database.run(work)
        if made is not None:
            _logged(made)

    def _within(self, tx: Connection, adapter: Adapter, now: datetime) -> datetime | None:
        """Return the time of the newest request, if the cool-down has not ended."""
        last = retrainings.newest_at(tx).get(adapter.id)
        return last if last is not None and now - last < self.settings.cool_down else None

    def _made(
        self, tx: Connection, adapter: Adapter, new: NewRetraining, *, now: datetime
    ) -> RetrainingRow:
        made = retrainings.add(tx, new, now=now)
        alert = alert_to_json(self._event(adapter, made))
        for channel in self.settings.channels:
            outbox.enqueue(tx, channel=channel, alert=alert)
        return made

    def _new(
        self, tx: Connection, version: Version, cause: RetrainCause, reason: str, *, now: datetime
    ) -> NewRetraining:
        start = now - AGED if cause is RetrainCause.MAX_AGE else new_since(tx, version, now=now)
        window = Interval(start=max(start, now - LONGEST), end=now)
        new = NewRetraining(
            version=version,
            cause=cause,
            reason=reason,
            window=window,
            below=None,
            replay_share=USUAL_REPLAY,
            evidence={},
        )
        try:
            found = read_newness(tx, version, since=window.start, until=window.end)
        except NotCompared as error:
            return replace(new, evidence={"not_compared": str(error)})
        return replace(
            new,
            below=found.below,
            replay_share=replay_share(unlike=found.unlike, compared=found.compared),
            evidence=_evidence(found, with_words=self.words),
        )

    def _event(self, adapter: Adapter, made: RetrainingRow) -> Alert:
        """Write the event; it is no incident, so it is not acknowledged and does not recover."""
        base = self.base_url.rstrip("/") if self.base_url else None
        path = f"/v1/retraining/{made.id}/manifest"
        label = f"{made.adapter}@{made.version}"
        evidence, moved = made.evidence, made.cause is RetrainCause.INPUT
        alert = Alert(
            id=f"driftline:{label}:retrain:{made.id}",
            number=made.id,
            kind=Kind.RETRAIN,
            adapter=made.adapter,
            version=made.version,
            status=Status.STARTED,
            severity=Severity.TICKET,
            verdict=VerdictKind.DRIFTING if moved else VerdictKind.STABLE,
            blame=Blame.INPUT if moved else Blame.UNKNOWN,
            summary="",
            reason=made.reason,
            at=made.created_at,
            started_at=made.created_at,
            owner=adapter.owner,
            tier=adapter.tier,
            labels=dict(adapter.labels),
            links=Links(runbook=adapter.runbook),
            retraining=Retraining(
                request=made.id,
                cause=made.cause.value,
                since=made.window.start,
                until=made.window.end,
                parent=made.version,
                replay_share=made.replay_share,
                compared=evidence.get("compared", 0),
                unlike=evidence.get("unlike", 0),
                groups=tuple(_told(group) for group in evidence.get("groups", ())),
                manifest=f"{base}{path}" if base else path,
            ),
        )
        return summarised(alert)


def _logged(made: RetrainingRow) -> RetrainingRow:
    _LOG.info(
        "retraining_requested",
        version=f"{made.adapter}@{made.version}",
        request=made.id,
        cause=made.cause.value,
    )
    return made


def _evidence(found: Newness, *, with_words: bool) -> dict[str, object]:
    return {
        "compared": found.compared,
        "unlike": found.unlike,
        "below": found.below,
        "groups": [
            {
                "count": group.count,
                "share": group.share,
                "subjects": group.subjects,
                "growth": group.growth.ratio
                if group.growth is not None and math.isfinite(group.growth.ratio)
                else None,
                "words": list(group.words) if with_words else [],
                "records": list(group.records),
            }
            for group in found.groups
        ],
    }


def _told(group: dict[str, Any]) -> NewGroup:
    return NewGroup(
        count=group["count"],
        share=group["share"],
        subjects=group["subjects"],
        growth=group["growth"],
        words=tuple(group["words"]),
    )
