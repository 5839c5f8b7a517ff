"""What on-call is told: one frozen :class:`Alert`, whatever the channel.

A channel renders it; it never decides anything. It carries numbers, ids and plain words.
Prompt text is in ``examples``, and single words of prompts in ``new``, only: they stay empty
unless the adapter's owner opted in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from alerts.incident import Closing
from alerts.types import Blame, Count, Kind, Moment, Reason, Severity, Status, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """When the change began: the best estimate inside ``[earliest, latest]``."""

    earliest: Moment
    latest: Moment
    estimate: Moment | None = None
    """None: the middle of the interval."""

    @property
    def best(self) -> datetime:
        """The estimate, or the middle of the interval."""
        return self.estimate or self.earliest + (self.latest - self.earliest) / 2

    @property
    def half_width(self) -> timedelta:
        """Largest distance from :attr:`best` to an end of the interval."""
        return max(self.best - self.earliest, self.latest - self.best)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """One detector's score as people see it; numbers that are not finite become None.

    ``process`` says which evidence is shown (``page`` or ``notice``); ``evidence`` is
    log10 over its alarm line (0 is the line). ``interval`` is the 95 % interval of
    ``effect``; ``n`` the requests of the window. Of a rate ``count`` of the ``of`` newest
    requests show it, as only a share ``usual`` (in [0, 1]) of the reference's did.
    """

    detector: str
    value: float | None = None
    winner: str | None = None
    evidence: float | None = None
    process: str = "page"
    effect: float | None = None
    interval: tuple[float | None, float | None] | None = None
    minimum_detectable: float | None = None
    n: Count = 0
    count: Count | None = None
    of: Count | None = None
    usual: float | None = None


class Done(StrEnum):
    """Whether an action happened; a blocked one was right, and a brake held it."""

    TAKEN = "taken"
    RECOMMENDED = "recommended"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLine:
    """What was done, or what Driftline would do if it were allowed to."""

    done: Done
    kind: str
    """``fallback``, ``rollback``, ``retrain`` …"""
    text: str
    """One plain sentence: ``moved 100 % of traffic to v6, confirmed by the router``."""
    short: str = ""
    """The same for a title: ``traffic moved to v6``; empty where nothing has moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A declared change about the time of the onset: a deploy, an engine upgrade.

    ``kind`` is a word of the service (``engine``, ``base`` …). ``ended_at`` None: it is
    under way. ``text`` says all of it in plain words (``alerts.words.change_words``).
    """

    kind: str
    title: str
    begun_at: Moment
    ended_at: Moment | None = None
    author: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """How many requests since the onset are unlike anything the adapter was trained on.

    ``count`` of ``of`` requests came less near to a training example than ``below``, as
    only a share ``usual`` (in [0, 1]) of the baseline's requests did.
    """

    count: Count
    of: Count
    below: float
    usual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncompared:
    """What one detector cannot compare: so many of the requests it could, and why not the rest.

    ``cause`` is one clause: ``92 % of requests use temperature 0.7, the reference has 0.2``.
    """

    detector: str
    compared: Count
    requests: Count
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Too little of a version's requests can be compared with its reference.

    since
        From when on.
    compared, requests
        Requests that could be compared, of all that happened; sampling leaves none out.
    cause
        Why not the others, in one clause, the largest cause only.
    mend
        The one command that makes them comparable.
    detectors
        Those that are concerned, the least seen first.
    """

    since: Moment
    compared: Count
    requests: Count
    cause: str
    mend: str
    detectors: tuple[Uncompared, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequests:
    """The largest group of recent requests that are near each other and far from training.

    ``count`` of ``of`` requests since the onset, from ``subjects`` different users or
    sessions. ``words`` are typical of them: empty unless the adapter's owner opted in to
    prompt text in messages.
    """

    count: Count
    of: Count
    subjects: Count
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """Requests that are near each other and far from training; ``share`` in [0, 1].

    ``growth`` of the share against the time before; None: not known, or there were none.
    ``words`` are empty unless the adapter's owner opted in to prompt text in messages.
    """

    count: Count
    share: float
    subjects: Count
    growth: float | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """An adapter should be retrained: on what, and what not to forget.

    request
        Number of the request.
    cause
        ``input``, ``max_age`` or ``person``.
    since, until
        Whose requests are meant; ``manifest`` is the address of the list of their ids.
    parent
        The version to start from and to register as parent.
    replay_share
        Of the earlier training examples to mix in, in [0, 1].
    compared, unlike
        Requests compared with training, and those unlike it.
    """

    request: Count
    cause: str
    since: Moment
    until: Moment
    parent: str
    replay_share: float
    manifest: str
    compared: Count = 0
    unlike: Count = 0
    groups: tuple[NewGroup, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Adapters on one base model that moved together: whom a fleet incident is about.

    base
        Name of the base model; empty where none was registered.
    members
        Labels of the versions (``support@v7``) known to have moved so far.
    of
        How many adapters on the base are looked at.
    """

    base: str
    members: tuple[str, ...]
    of: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One fact as it was told last, and as it is known now."""

    was: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What a message says of its incident that the last one did not; None: as it was told.

    ``finding`` is what the strongest evidence is of, in plain words, ``action`` what was done
    with traffic; ``text`` all of it in one sentence.
    """

    text: str
    severity: Turn | None = None
    blame: Turn | None = None
    finding: Turn | None = None
    action: Turn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where to go on; None where there is no such page."""

    incident: str | None = None
    dashboard: str | None = None
    runbook: str | None = None
    """What to do: the adapter's own, else ours for the kind of incident and its blame."""
    detector_runbook: str | None = None
    """What the detector with the strongest evidence may mean."""
    chart: str | None = None
    """An image (SVG) of the incident's signals, for whoever holds the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message about one incident.

    id
        Names the incident, the same in all its messages (``IncidentKey.dedup_key``);
        receivers deduplicate and resolve by it. A delivery has a message id of its own.
    number
        The incident's number for (adapter, version, kind), or (base model, kind).
    adapter, version
        Empty where ``together`` says whom it is about.
    severity
        The one people are told now; recovering, the most urgent they had been told.
    cause
        The blame in words, with how sure it is; empty where there is nothing to say of it.
    known_as
        The blame that receivers keep the incident under, where that is not ``blame``: what it
        was blamed on when they were told first. A label that changed would be another alert.
    update
        What has changed since they were told last; None: nothing, or nothing was told.
    reason
        The verdict's reason, with its numbers.
    requests
        Requests behind the verdict.
    unlike
        How many requests are unlike training; where their similarity has not drifted, only
        if they are surely more than usual.
    new
        The largest group among them, where there is one.
    unseen
        What cannot be compared: of the kind ``blind`` while it lasts.
    changes
        What was declared to have changed about the time of the onset, the first begun first.
    closing
        Why the incident ended; None while it is open, and where it recovered.
    notification_reason
        Why it is sent now (:mod:`alerts.telling`).
    late
        True when the incident was already over before this could be delivered.
    test
        True for a test of the channel: nothing happened.
    """

    id: str
    number: Count
    kind: Kind
    adapter: str
    version: str
    status: Status
    severity: Severity
    verdict: Verdict
    blame: Blame = Blame.UNKNOWN
    cause: str = ""
    known_as: Blame | None = None
    update: Update | None = None
    summary: str
    reason: str
    at: Moment
    started_at: Moment
    recovered_at: Moment | None = None
    closing: Closing | None = None
    onset: Onset | None = None
    scores: tuple[ScoreLine, ...] = ()
    requests: Count = 0
    unlike: Unlike | None = None
    new: NewRequests | None = None
    unseen: Unseen | None = None
    together: Together | None = None
    retraining: Retraining | None = None
    action: ActionLine | None = None
    changes: tuple[Change, ...] = ()
    links: Links = field(default_factory=Links)
    owner: str | None = None
    tier: str = "standard"
    labels: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    notification_reason: Reason = Reason.FIRST
    late: bool = False
    test: bool = False

    @property
    def firing(self) -> bool:
        """Whether the incident is open after this message."""
        return self.status is not Status.RECOVERED


def leading(scores: Sequence[ScoreLine]) -> ScoreLine | None:
    """Give the score with the strongest evidence."""
    shown = [score for score in scores if score.evidence is not None]
    return max(shown, key=lambda score: score.evidence or 0.0, default=None)


def to_json(alert: Alert) -> dict[str, object]:
    """Write an alert as JSON-ready values; infinities and NaN become None."""
    plain = finite(msgspec.to_builtins(alert))
    if not isinstance(plain, dict):
        raise TypeError("an alert is an object")
    return plain


# msgspec looks at a class when it first meets it, and crashes the process where two threads do so
# at once: it meets this one here
msgspec.json.Decoder(Alert)


def from_json(body: Mapping[str, object]) -> Alert:
    """Read what :func:`to_json` wrote.

    Raises
    ------
    ValueError
        A field is missing, or holds a word or number that no alert has.
    """
    try:
        return msgspec.convert(dict(body), Alert)
    except msgspec.ValidationError as error:
        raise ValueError(f"not an alert: {error}") from error


def finite(value: object) -> object:
    """Replace every number that JSON cannot write by None, at any depth."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value
