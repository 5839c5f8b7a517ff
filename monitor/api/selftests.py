"""``/adapters/{a}/selftest``: request a self-test, and read the last one."""

from __future__ import annotations

from typing import Final

import msgspec
from fastapi import APIRouter
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Operator, Reader
from monitor.api.lookup import VersionQuery
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.domain import Version
from monitor.store import audit
from monitor.store.evaluation import selftests, verdicts
from monitor.views.reading import coverage
from monitor.views.selftest import SelfTestBody, SelfTestReport

router: Final = APIRouter(prefix="/v1/adapters/{adapter}", tags=["self-tests"])


@router.get("/selftest")
def get_selftest(
    _key: Reader, parts: Parts, adapter: AdapterName, *, version: VersionQuery = None
) -> SelfTestBody:
    """Show the last self-test of a version, and how far one is that runs."""
    return parts.database.run(lambda tx: _body(tx, lookup.shown(tx, adapter, version)))


@router.post("/selftest", status_code=202)
def post_selftest(
    key: Operator, parts: Parts, adapter: AdapterName, *, version: VersionQuery = None
) -> SelfTestBody:
    """Request a self-test; a worker runs one at a time, at low priority."""

    def ask(tx: Connection) -> SelfTestBody:
        of = lookup.shown(tx, adapter, version)
        selftests.ask(tx, of.id)
        audit.append(tx, actor=key.name, act="selftest.request", subject=of.label)
        return _body(tx, of)

    return parts.database.run(ask)


def _body(tx: Connection, of: Version) -> SelfTestBody:
    row = selftests.fetch(tx, of.id)
    return SelfTestBody.of(
        row,
        adapter=of.adapter,
        version=of.name,
        coverage=coverage.newest(verdicts.current(tx, version_id=of.id)),
        report=row.report and msgspec.convert(row.report, SelfTestReport),
    )


# met here once: alerts/message.py says why
msgspec.json.Decoder(SelfTestReport)
