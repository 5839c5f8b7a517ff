"""The message to on-call: one frozen :class:`Alert` for all channels.

A channel renders it and never decides anything. It carries numbers, ids and plain words. Prompt
text appears only in ``examples``, and single prompt words only in ``new``: both stay empty unless
the adapter's owner opted in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from alerts.closing import Closing
from alerts.types import Blame, Count, Kind, Moment, Reason, Severity, Status, VerdictKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """When the change began: the best estimate inside ``[earliest, latest]``."""

    earliest: Moment
    latest: Moment
    estimate: Moment | None = None
    """None if only the interval is known."""

    @property
    def best(self) -> datetime:
        """The estimate, or the middle of the interval."""
        return self.estimate or self.earliest + (self.latest - self.earliest) / 2

    @property
    def half_width(self) -> timedelta:
        """Largest distance from :attr:`best` to an end of the interval."""
        return max(self.best - self.earliest, self.latest - self.best)


PERPLEXITY: Final = "perplexity"
MOST_IDS: Final = 100
"""Ids of requests in a message."""
"""The score of the probe of fixed texts; its value is a ratio less one, and is said as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """One detector's score as people see it; non-finite numbers become None.

    ``process`` names the evidence shown (``page`` or ``notice``); ``evidence`` is log10 over its
    alarm line (0 is the line). ``interval`` is the 95 % interval of ``effect``; ``n`` counts the
    window's requests. For a rate, ``count`` of the ``of`` newest requests show it, against a share
    ``usual`` (in [0, 1]) of the reference's. For a time, the newest requests take ``times`` as long
    as requests of their size did in the reference (medians). ``words`` say what the detector found
    (``answers less certain``), ``clause`` what those requests do (``requests fail``), and ``gloss``
    explains the words; empty: unknown, or not needed.
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
    times: float | None = None
    words: str = ""
    clause: str = ""
    gloss: str = ""


class Done(StrEnum):
    """Whether an action was taken; ``blocked`` means that it was right but a brake stopped it."""

    TAKEN = "taken"
    RECOMMENDED = "recommended"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLine:
    """The action taken, or the one that Driftline recommends."""

    done: Done
    kind: str
    """``fallback``, ``rollback``, ``retrain`` …"""
    text: str
    """One plain sentence: ``moved 100 % of traffic to v6, confirmed by the router``."""
    short: str = ""
    """The same for a title: ``traffic moved to v6``; empty if there is nothing to say."""
    unconfirmed: bool = False
    """True if the router was told and does not serve by it: nobody knows who answers."""
    under_way: bool = False
    """True while the router has not been read back: the traffic may not have moved yet."""
    target: str = ""
    """The version that gets the traffic, or would get it; empty if there is none."""
    shared: bool = False
    """True if it was blocked because the base model or the engine may be at fault."""
    instead: str = ""
    """The way out for a person where a gate stopped it; empty: traffic may go to ``target``."""
    then: str = ""
    """The step that follows by itself: ``v7 is tried again on 10 % of the traffic once …``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearbyChange:
    """A change declared near the onset: a deploy, an engine upgrade.

    ``kind`` is a word of the service (``engine``, ``base`` …). ``ended_at`` is None while the
    change goes on. ``text`` is the whole in plain words (``alerts.words.change_words``).
    """

    kind: str
    title: str
    begun_at: Moment
    ended_at: Moment | None = None
    author: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """The number of requests since the onset that are unlike the training examples.

    ``count`` of ``of`` requests have a similarity below ``below`` to every training example,
    against a share ``usual`` (in [0, 1]) of the baseline's requests. ``ids`` name some of them,
    the least similar first.
    """

    count: Count
    of: Count
    below: float
    usual: float
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncompared:
    """One detector's uncompared requests: how many it compared, and why not the rest.

    ``cause`` is one clause: ``92 % of requests use temperature 0.7, the reference has 0.2``.
    ``words`` name what the detector measures.
    """

    detector: str
    compared: Count
    requests: Count
    cause: str
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Coverage of a version whose requests cannot be compared often enough.

    since
        When coverage first fell short.
    compared, requests
        Requests that could be compared, and all requests, whether sampled or not.
    cause
        The largest cause for the rest, in one clause.
    mend
        The one command that makes them comparable.
    detectors
        The detectors concerned, lowest coverage first.
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

    ``count`` of ``of`` requests since the onset, from ``subjects`` different users or sessions.
    ``words`` are typical of them; empty unless the adapter's owner opted in to prompt text in
    messages.
    """

    count: Count
    of: Count
    subjects: Count
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """Similar requests that are far from training; ``share`` in [0, 1].

    ``growth`` compares the share with the time before; None if unknown or if there were none.
    ``words`` are empty unless the adapter's owner opted in to prompt text in messages.
    """

    count: Count
    share: float
    subjects: Count
    growth: float | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """A request to retrain an adapter: on which requests, and how much to replay.

    request
        The request's number.
    cause
        ``input``, ``max_age`` or ``person``.
    since, until
        The time range of the requests; ``manifest`` is the address of the list of their ids.
    parent
        The version to start from and to register as parent.
    replay_share
        The share of earlier training examples to mix in, in [0, 1].
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
    """The adapters of a fleet incident: those on one base model that drifted together.

    base
        Name of the base model; empty if none was registered.
    members
        Labels of the versions (``support@v7``) known to have drifted so far.
    of
        The number of watched adapters on the base; 0: unknown.
    base_moved
        True if a probe saw the base itself change.
    """

    base: str
    members: tuple[str, ...]
    of: Count
    base_moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedFact:
    """One fact as it was last told, and as it is known now."""

    was: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The change since an incident's last message; a fact that did not change is None.

    ``finding`` describes the strongest evidence in plain words, ``action`` the action on traffic;
    ``text`` holds all changes in one sentence.
    """

    text: str
    severity: UpdatedFact | None = None
    blame: UpdatedFact | None = None
    finding: UpdatedFact | None = None
    action: UpdatedFact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """A message's links; None for a page that does not exist."""

    incident: str | None = None
    dashboard: str | None = None
    runbook: str | None = None
    """The runbook: the adapter's own, else ours for the kind of incident and its blame."""
    detector_runbook: str | None = None
    """The page on what the strongest detector may mean."""
    chart: str | None = None
    """An image (SVG) of the incident's signals, readable without a login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message about one incident.

    id
        Identifies the incident in all its messages (``IncidentKey.dedup_key``); receivers
        deduplicate and resolve by it. Each delivery has its own message id.
    number
        The incident's number for (adapter, version, kind), or (base model, kind).
    adapter, version
        Empty if ``together`` names the adapters.
    severity
        The one people are told now; on recovery, the most urgent that they were told.
    cause
        The blame in words, with its certainty; empty if nothing is known.
    known_as
        The blame under which receivers keep the incident, if it is not ``blame``: the one in the
        first message. With a changed label, receivers would open another alert.
    update
        The change since the last message; None if there is none.
    reason
        The verdict's reason, with its numbers.
    requests
        Requests behind the verdict.
    per_second
        The adapter's requests a second over the last hour or two; None: not counted.
    unlike
        How many requests are unlike training. If their similarity has not drifted, set only if they
        are surely more than usual.
    new
        The largest group of similar new requests, if any.
    alone_on
        The base model on which this adapter alone changed; empty: unknown, or not alone.
    answers_as
        The served name of the adapter whose weights answer under this one's. It is of the probe
        that this message is about: later ones may leave it empty. Empty: none is known.
    unseen
        The requests that cannot be compared, while a ``blind`` incident lasts.
    mend
        The command that lets failing checks go on; empty: they recover by themselves.
    changes
        The changes declared near the onset, earliest first.
    closing
        Why the incident ended; None while it is open, and if it recovered.
    part_of
        The number of the fleet incident that goes on with it; None: there is none.
    notification_reason
        Why the message is sent now (:mod:`alerts.telling`).
    late
        True if the incident was over before this could be delivered.
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
    verdict: VerdictKind
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
    part_of: Count | None = None
    onset: Onset | None = None
    scores: tuple[ScoreLine, ...] = ()
    requests: Count = 0
    per_second: float | None = None
    unlike: Unlike | None = None
    new: NewRequests | None = None
    alone_on: str = ""
    answers_as: str = ""
    unseen: Unseen | None = None
    together: Together | None = None
    retraining: Retraining | None = None
    action: ActionLine | None = None
    mend: str = ""
    changes: tuple[NearbyChange, ...] = ()
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
        """True if the incident is open after this message."""
        return self.status is not Status.RECOVERED


def leading(scores: Sequence[ScoreLine]) -> ScoreLine | None:
    """Return the score with the strongest evidence."""
    shown = [score for score in scores if score.evidence is not None]
    return max(shown, key=lambda score: score.evidence or 0.0, default=None)


def to_json(alert: Alert) -> dict[str, object]:
    """Write an alert as JSON-ready values; infinities and NaN become None."""
    plain = finite(msgspec.to_builtins(alert))
    if not isinstance(plain, dict):
        raise TypeError("an alert is an object")
    return plain


# msgspec inspects a class at first use, and crashes the process if two threads do so at once: so
# this class is first used here
msgspec.json.Decoder(Alert)


def from_json(body: Mapping[str, object]) -> Alert:
    """Read what :func:`to_json` wrote.

    Raises
    ------
    ValueError
        A field is missing, or holds an unknown word or number.
    """
    try:
        return msgspec.convert(dict(body), Alert)
    except msgspec.ValidationError as error:
        raise ValueError(f"not an alert: {error}") from error


def finite(value: object) -> object:
    """Replace every number that JSON cannot represent by None, at any depth."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value
