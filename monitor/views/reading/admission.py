"""Admissions as people see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Connection

from monitor.domain import Version
from monitor.store.registry import admissions
from monitor.views.admission import AdmissionBody, CheckBody


def read(tx: Connection, of: Version) -> AdmissionBody | None:
    """Read the newest admission of a version; None: there was none."""
    row = admissions.newest(tx, of.id)
    if row is None:
        return None
    report = row.report or {}
    changed = admissions.base_change(tx, of.adapter_id)
    outdated = changed is not None and row.admitted and row.requested_at < changed.over_at
    return AdmissionBody.of(
        row,
        admitted=row.admitted and not outdated,
        unverified=changed.title if changed is not None and outdated else None,
        adapter=of.adapter,
        version=of.name,
        number=row.id,
        required=admissions.required(tx),
        parent=report.get("parent", of.parent),
        identity=report.get("identity"),
        checks=[_check(one) for one in report.get("checks", ())],
    )


def _check(stored: Mapping[str, Any]) -> CheckBody:
    """Write a check; its reason ends with adapters that answer alike, if the reader sees them."""
    check = msgspec.convert(stored, CheckBody)
    alike = check.details.get("alike")
    return replace(check, reason=f"{check.reason}: {', '.join(alike)}") if alike else check


# met here once: alerts/message.py says why
msgspec.json.Decoder(CheckBody)
