"""Evidently's reports, as people see them."""

from __future__ import annotations

import msgspec

from monitor.domain import Version
from monitor.store.evaluation.reports import ReportRow
from monitor.views.report import ReportBody, ReportFacts


def report(row: ReportRow, of: Version) -> ReportBody:
    """Show a stored report of a version."""
    return ReportBody.of(
        row,
        number=row.id,
        adapter=of.adapter,
        version=of.name,
        since=row.span.start,
        until=row.span.end,
        facts=row.facts and msgspec.convert(row.facts, ReportFacts),
    )


# met here once: alerts/message.py says why
msgspec.json.Decoder(ReportFacts)
