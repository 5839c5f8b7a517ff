"""Report several incidents in one message: the most urgent in full, all as lines.

At most 50 incidents are listed and the message stays under 20 kB; the rest is counted. A receiver
that reads only a single alert's fields reads the most urgent one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final, assert_never

import msgspec

from alerts.brief import brief, written
from alerts.formats import (
    LARGEST_BODY,
    LONGEST_EXAMPLE,
    SCHEMA,
    WebhookBody,
    alertmanager_entry,
    body_of,
    fitting,
    labels_of,
)
from alerts.message import Alert, to_json
from alerts.titles import summary
from alerts.types import Blame, Kind, Reason, Severity, Status

MOST_LISTED: Final = 50
"""The most incidents listed in one message; the rest is only counted."""
LARGEST_LIST: Final = 12_000
"""Bytes for the lines; the rest of the body is for the most urgent alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentLine:
    """One incident in a list; the fields are those of its own alert."""

    id: str
    number: int
    kind: Kind
    status: Status
    firing: bool
    severity: Severity
    blame: Blame
    adapter: str
    version: str
    summary: str
    update: str | None
    started_at: datetime
    recovered_at: datetime | None
    incident: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The lines that fit, and the number of incidents left out."""

    lines: tuple[IncidentLine, ...]
    left_out: int

    @property
    def of(self) -> int:
        """The number of incidents in the message."""
        return len(self.lines) + self.left_out


def group_body_of(alerts: Sequence[Alert], form: WebhookBody) -> bytes:
    """Render a group in a webhook's format, under 20 kB; a single alert is not grouped."""
    if len(alerts) == 1:
        return body_of(alerts[0], form)
    match form:
        case WebhookBody.DRIFTLINE:
            return fitting(alerts[0], partial(_driftline, listed=listed(alerts)))
        case WebhookBody.ALERTMANAGER:
            return _alertmanager(alerts)
        case _:
            assert_never(form)


def listed(alerts: Sequence[Alert]) -> Listed:
    """Return lines for as many alerts as fit, in order."""
    lines: list[IncidentLine] = []
    size = 0
    for alert in alerts[:MOST_LISTED]:
        line = _line(alert)
        size += len(msgspec.json.encode(line))
        if lines and size > LARGEST_LIST:
            break
        lines.append(line)
    return Listed(lines=tuple(lines), left_out=len(alerts) - len(lines))


def counted(alerts: Sequence[Alert]) -> str:
    """Count a group's alerts: ``1 page, 2 tickets, 1 recovered``."""
    counts = Counter(one.severity.value if one.firing else "" for one in alerts)
    open_ones = [
        f"{counts[word]} {word}{'s' if counts[word] > 1 else ''}"
        for word in (Severity.PAGE.value, Severity.TICKET.value)
        if counts[word]
    ]
    over = [f"{counts['']} {Status.RECOVERED}"] if counts[""] else []
    return ", ".join([*open_ones, *over])


def list_title(alerts: Sequence[Alert]) -> str:
    """Head a list that people read: ``Incidents: 1 page, 2 tickets``."""
    repeated = alerts[0].notification_reason is Reason.REPEAT
    return f"{'Still open' if repeated else 'Incidents'}: {counted(alerts)}"


def mark(line: IncidentLine) -> str:
    """Say of one line what happened: ``Page``, ``Ticket, updated``, ``Recovered``."""
    if not line.firing:
        return "Recovered"
    goes_on = ", updated" if line.status is Status.UPDATED else ""
    return f"{line.severity.value.capitalize()}{goes_on}"


def fitting_list(
    alerts: Sequence[Alert], render: Callable[[Sequence[IncidentLine]], bytes]
) -> bytes:
    """Render as many lines as stay under 20 kB, the most urgent first."""
    lines = listed(alerts).lines
    for count in range(len(lines), 0, -1):
        body = render(lines[:count])
        if len(body) < LARGEST_BODY:
            return body
    raise ValueError(f"the name alone of alert {alerts[0].id[:40]!r} is too large")


def _line(alert: Alert) -> IncidentLine:
    said = summary(alert)
    if len(said) > LONGEST_EXAMPLE:
        said = f"{said[: LONGEST_EXAMPLE - 1]}…"
    return IncidentLine(
        id=alert.id,
        number=alert.number,
        kind=alert.kind,
        status=alert.status,
        firing=alert.firing,
        severity=alert.severity,
        blame=alert.blame,
        adapter=alert.adapter,
        version=alert.version,
        summary=said,
        update=alert.update.text[:LONGEST_EXAMPLE] if alert.update else None,
        started_at=alert.started_at,
        recovered_at=alert.recovered_at,
        incident=alert.links.incident,
    )


def _driftline(lead: Alert, *, truncated: bool, listed: Listed) -> bytes:
    group = {"size": listed.of, "alerts": listed.lines, "truncated_alerts": listed.left_out}
    return msgspec.json.encode(
        {
            "schema": SCHEMA,
            "firing": lead.firing,
            **to_json(lead),
            "brief": written(brief(lead)),
            "group": group,
            "truncated": truncated or listed.left_out > 0,
        }
    )


def _alertmanager(alerts: Sequence[Alert]) -> bytes:
    body = msgspec.json.decode(body_of(alerts[0], WebhookBody.ALERTMANAGER))
    common = _common([labels_of(alert) for alert in alerts])
    firing = any(alert.firing for alert in alerts)
    group = {name: common[name] for name in ("owner", "blame") if name in common}
    named = ",".join(f"{name}={msgspec.json.encode(said).decode()}" for name, said in group.items())
    body |= {
        "status": "firing" if firing else "resolved",
        "groupKey": f"{{}}:{{{named}}}",
        "groupLabels": group,
        "commonLabels": common,
        "commonAnnotations": {},
    }
    return _with_as_many(body, alerts)


def _with_as_many(body: dict[str, object], alerts: Sequence[Alert]) -> bytes:
    """List as many alerts as fit; all but the first have only a summary as annotation."""
    entries: list[dict[str, object]] = []
    rendered = b""
    for alert in alerts[:MOST_LISTED]:
        bare = alert if not entries else _bare(alert)
        entries.append(alertmanager_entry(bare, truncated=bare != alert))
        left_out = len(alerts) - len(entries)
        larger = msgspec.json.encode(body | {"alerts": entries, "truncatedAlerts": left_out})
        if rendered and len(larger) >= LARGEST_BODY:
            break
        rendered = larger
    return rendered


def _bare(alert: Alert) -> Alert:
    links = replace(alert.links, dashboard=None, detector_runbook=None)
    return replace(
        alert, summary=_line(alert).summary, reason="", changes=(), new=None, action=None,
        unlike=None, unseen=None, scores=(), links=links,
    )  # fmt: skip


def _common(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = tables
    return {
        name: said
        for name, said in first.items()
        if all(other.get(name) == said for other in others)
    }
