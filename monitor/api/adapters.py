"""``/adapters`` and ``/adapters/{a}/versions/{v}``: the fleet and its registered versions."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.api import lookup, owning
from monitor.api.access import CheckedOperator, Reader
from monitor.api.bodies import AdapterRequest, Name, VersionRequest
from monitor.api.paging import LARGEST_LIMIT, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.paths import AdapterName, VersionName
from monitor.api.problems import Problem
from monitor.store import audit, teams
from monitor.store.errors import Conflict
from monitor.store.people.keys import Key
from monitor.store.registry import adapters, versions
from monitor.traffic import table
from monitor.views.adapter import AdapterDetail, AdapterSummary
from monitor.views.reading.adapter import FleetWanted, read_fleet
from monitor.views.reading.adapter import read as read_adapter
from monitor.views.reading.version import read as read_version
from monitor.views.reading.version import weights
from monitor.views.shape import Page
from monitor.views.version import VersionBody, WeightsBody

router: Final = APIRouter(prefix="/v1/adapters", tags=["registry"])


@router.get("")
def get_fleet(
    _key: Reader,
    parts: Parts,
    *,
    q: Annotated[Name | None, Query(description="Part of an adapter's name.")] = None,
    verdict: Annotated[list[VerdictKind], Query()] = [],  # noqa: B006 (FastAPI copies it)
    owner: Annotated[Name | None, Query()] = None,
    tier: Annotated[Name | None, Query()] = None,
    base: Annotated[
        Name | None, Query(description="Base model of the version in charge, as it names it.")
    ] = None,
    covered_below: Annotated[
        float | None,
        Query(gt=0, le=1, description="Some detector compared a smaller share of the requests."),
    ] = None,
    limit: Limit = LARGEST_LIMIT,
) -> Page[AdapterSummary]:
    """List adapters with their verdicts, drift scores and routes, worst first.

    An adapter is listed if everything that is given matches; of several `verdict`s one must.
    """
    now = parts.clock()
    wanted = FleetWanted(
        text=q or "",
        verdicts=verdict,
        owner=owner,
        tier=tier,
        base=base,
        covered_below=covered_below,
    )
    return Page(items=parts.database.run(lambda tx: read_fleet(tx, wanted, now=now, limit=limit)))


@router.get("/{adapter}")
def get_adapter(_key: Reader, parts: Parts, adapter: AdapterName) -> AdapterDetail:
    """Show one adapter with the latest score of each detector of the version in charge."""
    return parts.database.run(lambda tx: _detail(tx, adapter, parts))


@router.put("/{adapter}")
def put_adapter(
    key: CheckedOperator, parts: Parts, adapter: AdapterName, body: AdapterRequest
) -> AdapterDetail:
    """Create an adapter, or replace what is said of it.

    A team's key does so only with adapters that are the team's, before and after.
    """

    def put(tx: Connection) -> None:
        if adapters.fetch(tx, adapter) is not None:
            owning.check(tx, key, adapter=adapter)
        adapters.put(
            tx,
            name=adapter,
            owner=body.owner,
            tier=body.tier,
            labels=body.labels,
            runbook=body.runbook,
            mode=body.mode,
        )
        _check_still_own(tx, key, adapter)
        audit.append(
            tx,
            actor=key.name,
            act="adapter.put",
            subject=adapter,
            details=body.model_dump(mode="json"),
        )

    parts.database.run(put)
    teams.see(key.match)
    return parts.database.run(lambda tx: _detail(tx, adapter, parts))


@router.get("/{adapter}/versions/{version}")
def get_version(
    _key: Reader, parts: Parts, adapter: AdapterName, version: VersionName
) -> VersionBody:
    """Show what is registered of a version, and the state of its weights."""
    return parts.database.run(lambda tx: read_version(tx, lookup.version(tx, adapter, version)))


@router.get("/{adapter}/versions/{version}/weights")
def get_weights(
    _key: Reader, parts: Parts, adapter: AdapterName, version: VersionName
) -> WeightsBody:
    """Show what was found in the files of a version, module by module.

    A worker looks at them within seconds of the registration, where `uri` is the path or
    the `file:` address of a folder that it can read.
    """

    def read(tx: Connection) -> WeightsBody:
        found = weights(tx, lookup.version(tx, adapter, version))
        if found is None:
            detail = "The weights of this version were not looked at."
            raise Problem(404, detail, kind="not-inspected")
        return found

    return parts.database.run(read)


@router.put("/{adapter}/versions/{version}")
def put_version(
    key: CheckedOperator,
    parts: Parts,
    adapter: AdapterName,
    version: VersionName,
    body: VersionRequest,
) -> VersionBody:
    """Register a version; its adapter is created, and all traffic routed to it, if it is the first.

    A registered version is immutable: other weights are another version. What was left out
    may be filled in by a later PUT. A team's key registers versions of its own adapters, which
    share neither a served name nor files with others'.
    """

    def put(tx: Connection) -> VersionBody:
        owner = adapters.fetch(tx, adapter)
        if owner is not None:
            owning.check(tx, key, adapter=adapter)
        else:
            owner = adapters.put(tx, name=adapter)
            _check_still_own(tx, key, adapter)
        found = versions.put(
            tx,
            adapter=owner,
            name=version,
            model=body.model or f"{adapter}@{version}",
            parent=body.parent,
            uri=body.uri,
            sha256=body.sha256,
            base_model=body.base_model,
            metadata=body.metadata(),
        )
        if key.match and versions.shared(tx, found):
            raise Problem(
                409,
                "Another adapter is served under this name, or from these files.",
                kind="not-yours",
            )
        table.start(tx, found, actor=key.name, now=parts.clock())
        audit.append(tx, actor=key.name, act="version.put", subject=found.label)
        return read_version(tx, found)

    try:
        return parts.database.run(put)
    except Conflict as error:
        raise Problem(409, str(error), kind="version-differs") from error


def _check_still_own(tx: Connection, key: Key, adapter: str) -> None:
    """Refuse a team's key an adapter that it would not see once this is done."""
    if key.match and not teams.sees(tx, key.match, {"adapter": adapter}):
        raise Problem(403, f"So said, {adapter!r} would not be of your team.", kind="not-yours")


def _detail(tx: Connection, name: str, parts: ApiParts) -> AdapterDetail:
    policy = parts.outlook.settings.policy
    found = read_adapter(tx, name, rules=parts.learning, policy=policy, now=parts.clock())
    if found is None:
        raise lookup.no_adapter(name)
    return found
