"""The inputs of a message that only the evaluation knows, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

from alerts.message import (
    ActionLine,
    Links,
    NearbyChange,
    NewRequests,
    Onset,
    ScoreLine,
    Unlike,
    Unseen,
)
from monitor.domain import Adapter, IncidentId, TransitionId, Verdict
from monitor.policy.common_cause import BaseStanding


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertInputs:
    """The inputs of a message that only the evaluation knows.

    ``requests`` counts the requests behind the verdict, ``per_second`` those that come now.
    ``examples`` is prompt text: empty unless the adapter's owner opted in, and then redacted.
    ``changes`` are those declared near the onset (:func:`.changes.changes_about`). ``broken`` names
    what no longer works although the verdict stands; it keeps an ``error`` incident open.
    ``misrouted`` names the route change in doubt; it keeps a ``routing`` incident open, and pages.
    ``unseen`` describes the requests that cannot be compared, if they are too many; it keeps a
    ``blind`` incident open, which ends once ``unseen`` is None and ``coverage_known`` says that
    this evaluation counted coverage. ``own_references`` lists settings that got a reference of
    their own, such as ``temperature 0.7``. ``base_url`` is this service's public address; None
    omits links to it. ``standing`` compares the version with the others on its base.
    ``rules_changed`` is true if the rules behind a finding changed, so that its incident is closed
    instead of recovered. ``departed`` is true if the version no longer receives traffic, so that it
    opens no incident. ``part_of`` is the fleet incident that takes over the version's own.
    ``answers_as`` is the served name of the adapter whose weights this evaluation's probe met.
    """

    adapter: Adapter
    transition_id: TransitionId | None = None
    scores: tuple[ScoreLine, ...] = ()
    requests: int = 0
    per_second: float | None = None
    unlike: Unlike | None = None
    new: NewRequests | None = None
    action: ActionLine | None = None
    changes: tuple[NearbyChange, ...] = ()
    examples: tuple[str, ...] = ()
    broken: str | None = None
    misrouted: str | None = None
    unseen: Unseen | None = None
    coverage_known: bool = False
    own_references: tuple[str, ...] = ()
    base_url: str | None = None
    standing: BaseStanding = field(default_factory=BaseStanding)
    rules_changed: bool = False
    departed: bool = False
    part_of: IncidentId | None = None
    answers_as: str = ""


def onset_of(verdict: Verdict) -> Onset | None:
    """Convert the verdict's onset to the type that messages use."""
    onset = verdict.onset
    return Onset(earliest=onset.start, latest=onset.end) if onset else None


def links_to(inputs: AlertInputs, incident_id: IncidentId, *, fleet: bool = False) -> Links:
    """Return a message's links: to the adapter's page, or to the ``fleet`` page."""
    runbook = inputs.adapter.runbook
    if inputs.base_url is None:
        return Links(runbook=runbook)
    base = inputs.base_url.rstrip("/")
    own = f"{base}/adapters/{quote(inputs.adapter.name, safe='')}"
    return Links(
        incident=f"{base}/incidents/{incident_id}",
        dashboard=f"{base}/" if fleet else own,
        runbook=runbook,
    )
