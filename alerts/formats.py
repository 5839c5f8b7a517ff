"""Render a webhook's body: Driftline's own format, or Alertmanager's version 4.

A body stays under 20 kB, as Standard Webhooks advises, for every alert: the parts that on-call
needs least go first (examples, then changes, then the weakest scores), and single texts are cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import assert_never

import msgspec

from alerts.brief import brief, written
from alerts.message import MOST_IDS, Alert, Links, NewRequests, Together, Unlike, Unseen, to_json
from alerts.types import Kind
from alerts.words import uncompared_words, unseen_words

SCHEMA = "driftline.alert.v1"
LARGEST_BODY = 20_000
LONGEST_TEXT = 600
LONGEST_EXAMPLE = 200
LONGEST_NAME = 128
LONGEST_WORD = 50
MOST_WORDS = 8
LONGEST_LINK = 1_000
MOST_LABELS = 30
MOST_EXAMPLES = 20
MOST_CHANGES = 20
MOST_SCORES = 50
MOST_MEMBERS = 50
BARE_SCORES = 5
BARE_TEXT = 100
NOT_ENDED = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of an alert that has none."""


class WebhookBody(StrEnum):
    """A body format a webhook can be configured for."""

    DRIFTLINE = "driftline"
    ALERTMANAGER = "alertmanager"


def body_of(alert: Alert, form: WebhookBody) -> bytes:
    """Render an alert in the configured format; under 20 kB."""
    match form:
        case WebhookBody.DRIFTLINE:
            return driftline_body(alert)
        case WebhookBody.ALERTMANAGER:
            return alertmanager_body(alert)
        case _:
            assert_never(form)


def driftline_body(alert: Alert) -> bytes:
    """Render Driftline's own body: every field of :class:`alerts.message.Alert`.

    The object holds ``schema`` (``driftline.alert.v1``), ``firing`` and the alert's fields under
    their own names; times are RFC 3339, absent values ``null``. Within v1, fields may be added, but
    none is removed or changes its meaning. ``truncated`` is true if parts were left out to keep the
    size.
    """
    return fitting(alert, _driftline_json)


def alertmanager_body(alert: Alert) -> bytes:
    """Render Alertmanager's webhook body, version 4, with a single alert.

    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
    The fingerprint depends on the incident alone, so that a worsened or recovered message
    updates the alert that the first one opened.
    """
    return fitting(alert, _alertmanager_json)


def _driftline_json(alert: Alert, *, truncated: bool) -> bytes:
    return msgspec.json.encode(
        {
            "schema": SCHEMA,
            "firing": alert.firing,
            **to_json(alert),
            "brief": written(brief(alert)),
            "group": None,
            "truncated": truncated,
        }
    )


def _alertmanager_json(alert: Alert, *, truncated: bool) -> bytes:
    entry = alertmanager_entry(alert, truncated=truncated)
    body = {
        "version": "4",
        "groupKey": f'{{}}:{{driftline_incident="{alert.id}"}}',
        "truncatedAlerts": 0,
        "status": entry["status"],
        "receiver": "driftline",
        "groupLabels": {"driftline_incident": alert.id},
        "commonLabels": entry["labels"],
        "commonAnnotations": entry["annotations"],
        "externalURL": alert.links.dashboard or "",
        "notificationReason": alert.notification_reason.value,
        "alerts": [entry],
    }
    return msgspec.json.encode(body)


def alertmanager_entry(alert: Alert, *, truncated: bool) -> dict[str, object]:
    """Build one entry of the body's ``alerts``, with the incident's fingerprint."""
    return {
        "status": "firing" if alert.firing else "resolved",
        "labels": labels_of(alert),
        "annotations": annotations_of(alert, truncated=truncated),
        "startsAt": alert.started_at.isoformat(),
        "endsAt": NOT_ENDED if alert.firing else end_of(alert).isoformat(),
        "generatorURL": alert.links.incident or "",
        "fingerprint": hashlib.sha256(alert.id.encode()).hexdigest()[:16],
    }


ALERT_NAMES: Mapping[Kind, str] = {
    Kind.DRIFT: "DriftlineDrift",
    Kind.NO_DATA: "DriftlineNoData",
    Kind.BLIND: "DriftlineBlind",
    Kind.ERROR: "DriftlineError",
    Kind.CANARY: "DriftlineCanary",
    Kind.ROUTING: "DriftlineRouting",
    Kind.RETRAIN: "DriftlineRetrain",
}


def labels_of(alert: Alert) -> dict[str, str]:
    """Identify an alert's subject as Prometheus labels."""
    own = {
        "alertname": ALERT_NAMES[alert.kind],
        **_whom(alert),
        "severity": alert.severity.value,
        "blame": (alert.known_as or alert.blame).value,
        "tier": alert.tier,
    }
    # Ours win, so that an adapter's labels cannot pose as another adapter.
    owner = {"owner": alert.owner} if alert.owner else {}
    return {**alert.labels, **owner, **own}


def _whom(alert: Alert) -> dict[str, str]:
    if alert.together is not None:
        return {"base_model": alert.together.base or "unknown"}
    return {"adapter": alert.adapter, "version": alert.version}


def annotations_of(alert: Alert, *, truncated: bool) -> dict[str, str]:
    """Describe an alert as Prometheus annotations, without the examples."""
    texts = {
        "summary": alert.summary,
        **written(brief(alert)),
        "driftline_status": alert.status.value,
        "update": alert.update and alert.update.text,
        "blame_now": alert.blame.value if alert.known_as not in {None, alert.blame} else None,
        "not_compared": alert.unseen and unseen_words(alert.unseen, now=alert.at),
        "not_compared_by": alert.unseen
        and "; ".join(uncompared_words(one) for one in alert.unseen.detectors),
        "mend": alert.unseen and alert.unseen.mend,
        "members": alert.together and ", ".join(alert.together.members),
        "runbook_url": alert.links.runbook,
        "detector_runbook_url": alert.links.detector_runbook,
        "dashboard_url": alert.links.dashboard,
        "incident_url": alert.links.incident,
        "chart_url": alert.links.chart,
        "truncated": "true" if truncated else None,
    }
    return {name: text for name, text in texts.items() if text}


def end_of(alert: Alert) -> datetime:
    """Return when a closed incident ended."""
    return alert.recovered_at or alert.at


def fitting(alert: Alert, render: Callable[..., bytes]) -> bytes:
    """Render the largest version of the alert that stays under 20 kB.

    ``render(alert, truncated=…)`` may be called several times, each time with a smaller alert.
    Raises ValueError if the alert's names alone are too large.
    """
    for smaller in _shrinking(alert):
        body = render(smaller, truncated=smaller != alert)
        if len(body) < LARGEST_BODY:
            return body
    raise ValueError(f"the names alone of alert {alert.id[:40]!r} exceed {LARGEST_BODY} bytes")


def _shrinking(alert: Alert) -> Iterator[Alert]:
    """Yield ever smaller versions of an alert, dropping the least needed parts first."""
    short = _cut_texts(alert)
    for examples in range(len(short.examples), -1, -1):
        yield replace(short, examples=short.examples[:examples])
    bare = replace(
        short,
        examples=(),
        unlike=short.unlike and _fewer_ids(short.unlike, 0),
        changes=short.changes[-BARE_SCORES:],
    )
    yield bare
    bare = replace(bare, scores=short.scores[:BARE_SCORES])
    yield bare
    yield replace(bare, labels={})
    yield replace(
        bare,
        labels={},
        changes=(),
        together=bare.together and _fewer(bare.together, BARE_SCORES),
        unseen=short.unseen and replace(short.unseen, detectors=()),
        links=Links(),
        summary=_cut(alert.summary, BARE_TEXT),
        reason=_cut(alert.reason, BARE_TEXT),
    )


def _cut_texts(alert: Alert) -> Alert:
    """Shorten single texts and tables, so that no one field can fill a message."""
    action = alert.action
    return replace(
        alert,
        summary=_cut(alert.summary, LONGEST_TEXT),
        reason=_cut(alert.reason, LONGEST_TEXT),
        action=action
        and replace(
            action,
            text=_cut(action.text, LONGEST_TEXT),
            target=_cut(action.target, LONGEST_NAME),
            then=_cut(action.then, LONGEST_TEXT),
        ),
        alone_on=_cut(alert.alone_on, LONGEST_NAME),
        answers_as=_cut(alert.answers_as, LONGEST_NAME),
        labels=dict(islice(alert.labels.items(), MOST_LABELS)),
        together=alert.together and _fewer(alert.together, MOST_MEMBERS),
        unlike=alert.unlike and _fewer_ids(alert.unlike, MOST_IDS),
        new=alert.new and _fewer_words(alert.new),
        unseen=alert.unseen and _shorter(alert.unseen),
        update=alert.update and replace(alert.update, text=_cut(alert.update.text, LONGEST_TEXT)),
        examples=tuple(_cut(text, LONGEST_EXAMPLE) for text in alert.examples[:MOST_EXAMPLES]),
        changes=tuple(
            replace(
                change,
                title=_cut(change.title, LONGEST_EXAMPLE),
                text=_cut(change.text, LONGEST_EXAMPLE),
                kind=_cut(change.kind, LONGEST_NAME),
                author=_cut(change.author, LONGEST_NAME),
            )
            for change in alert.changes[-MOST_CHANGES:]
        ),
        scores=alert.scores[:MOST_SCORES],
        links=Links(
            incident=_short_link(alert.links.incident),
            dashboard=_short_link(alert.links.dashboard),
            runbook=_short_link(alert.links.runbook),
            detector_runbook=_short_link(alert.links.detector_runbook),
            chart=_short_link(alert.links.chart),
        ),
    )


def _fewer(together: Together, count: int) -> Together:
    """Name fewer members; the summary still counts all."""
    members = tuple(_cut(label, LONGEST_NAME) for label in together.members[:count])
    return replace(together, base=_cut(together.base, LONGEST_NAME), members=members)


def _fewer_ids(unlike: Unlike, count: int) -> Unlike:
    """Keep an id whole or drop it: half an id finds nothing in a log."""
    return replace(unlike, ids=tuple(one for one in unlike.ids[:count] if len(one) <= LONGEST_NAME))


def _fewer_words(new: NewRequests) -> NewRequests:
    return replace(new, words=tuple(_cut(word, LONGEST_WORD) for word in new.words[:MOST_WORDS]))


def _shorter(unseen: Unseen) -> Unseen:
    """Keep the command whole or drop it: half a command does something else."""
    return replace(
        unseen,
        cause=_cut(unseen.cause, LONGEST_EXAMPLE),
        mend=unseen.mend if len(unseen.mend) <= LONGEST_TEXT else "",
        detectors=tuple(
            replace(
                one,
                detector=_cut(one.detector, LONGEST_NAME),
                cause=_cut(one.cause, LONGEST_EXAMPLE),
            )
            for one in unseen.detectors[:MOST_SCORES]
        ),
    )


def _short_link(link: str | None) -> str | None:
    """Keep a link whole or drop it: half a link leads nowhere."""
    return link if link is not None and len(link) <= LONGEST_LINK else None


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
