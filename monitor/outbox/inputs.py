"""What a message says that only the evaluation knows, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

from alerts.message import (
    ActionLine,
    Change,
    Links,
    NewRequests,
    Onset,
    ScoreLine,
    Unlike,
    Unseen,
)
from monitor.domain import Adapter, IncidentId, TransitionId, Verdict
from monitor.policy.common_cause import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertInputs:
    """What a message says that only the evaluation knows.

    ``requests`` counts those behind the verdict. ``examples`` is prompt text: empty unless
    the adapter's owner opted in, and then redacted. ``changes`` were declared about the
    time of the onset (:func:`monitor.outbox.changes_about`). ``broken`` names what no longer works
    though the verdict stands: it keeps an ``error`` incident open; ``misrouted`` which move of
    traffic is in doubt: it keeps a ``routing`` incident open, and pages. ``unseen`` is what
    cannot be compared of too many requests: it keeps a ``blind`` incident open, which ends
    without it where ``coverage_known``, that is, where this evaluation has counted it;
    ``own_references`` are settings that have got a reference of their own, ``temperature 0.7``.
    ``base_url`` is where people reach this service; None leaves out the links to it.
    ``standing`` is how the version stands to the others on its base. ``rules_changed``: what
    had been found counts no more, so the incident is closed rather than recovered.
    ``departed``: nobody is sent to the version any more, so what is wrong with it opens
    nothing.
    """

    adapter: Adapter
    transition_id: TransitionId | None = None
    scores: tuple[ScoreLine, ...] = ()
    requests: int = 0
    unlike: Unlike | None = None
    new: NewRequests | None = None
    action: ActionLine | None = None
    changes: tuple[Change, ...] = ()
    examples: tuple[str, ...] = ()
    broken: str | None = None
    misrouted: str | None = None
    unseen: Unseen | None = None
    coverage_known: bool = False
    own_references: tuple[str, ...] = ()
    base_url: str | None = None
    standing: Standing = field(default_factory=Standing)
    rules_changed: bool = False
    departed: bool = False


def onset_of(verdict: Verdict) -> Onset | None:
    """When the change began, as messages say it."""
    onset = verdict.onset
    return Onset(earliest=onset.start, latest=onset.end) if onset else None


def links_to(inputs: AlertInputs, incident_id: IncidentId, *, fleet: bool = False) -> Links:
    """Where to go on: to the adapter's page, or to that of the ``fleet``."""
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
