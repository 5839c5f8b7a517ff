"""``/adapters/{a}/versions/{v}/admission``: check a version before it answers people."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Operator, Reader
from monitor.api.bodies import AdmissionRequest
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName, VersionName
from monitor.api.problems import Problem
from monitor.domain import Version
from monitor.store import audit
from monitor.store.errors import Conflict
from monitor.store.registry import admissions
from monitor.views.admission import AdmissionBody
from monitor.views.reading import admission

router: Final = APIRouter(
    prefix="/v1/adapters/{adapter}/versions/{version}/admission", tags=["registry"]
)


@router.get("")
def get_admission(
    _key: Reader, parts: Parts, adapter: AdapterName, version: VersionName
) -> AdmissionBody:
    """Show the newest admission of a version: each check with its number, limit and reason."""
    return parts.database.run(lambda tx: _read(tx, lookup.version(tx, adapter, version)))


@router.post("", status_code=202)
def post_admission(
    key: Operator,
    parts: Parts,
    adapter: AdapterName,
    version: VersionName,
    body: AdmissionRequest | None = None,
) -> AdmissionBody:
    """Check a version; a worker does it at once, one at a time."""
    request = body.model_dump() if body else {}

    def ask(tx: Connection) -> AdmissionBody:
        of = lookup.version(tx, adapter, version)
        like = body.same_as if body else None
        if like is not None and lookup.version(tx, adapter, like).id == of.id:
            raise Problem(422, "same_as names the version itself.", kind="invalid")
        admissions.ask(tx, of, by=key.name, request=request)
        audit.append(tx, actor=key.name, act="admission.request", subject=of.label)
        return _read(tx, of)

    try:
        return parts.database.run(ask)
    except Conflict as error:
        raise Problem(409, f"{error}.", kind="under-way") from error


def _read(tx: Connection, of: Version) -> AdmissionBody:
    found = admission.read(tx, of)
    if found is None:
        raise Problem(404, f"{of.label} was not checked yet.", kind="not-checked")
    return found
