"""Versions: immutable sets of adapter weights.

The weights' identity (``model``, ``sha256``, ``uri``, ``base_model``, ``parent``) is written once.
A second registration may add omitted fields and replace the free ``metadata``; anything else is a
conflict, since other weights are another version. Only what an engine or its cluster told of a
version gives way, once, to its registration by hand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping, Select
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import Adapter, AdapterId, Version, VersionId
from monitor.store import wakeups
from monitor.store.errors import Conflict, NotFound
from monitor.store.tables.probes import weight_inspections
from monitor.store.tables.registry import adapters, versions

_FIXED: Final = ("model", "parent", "uri", "sha256", "base_model")
FOUND_BY: Final = "found_by"
"""In ``metadata`` of a version that nobody registered by hand: ``engine`` or ``cluster``."""
_TOLD: Final = ("uri", "base_model")
"""The fields of such a version that rest on their word alone."""


def put(
    connection: Connection,
    *,
    adapter: Adapter,
    name: str,
    model: str,
    parent: str | None = None,
    uri: str | None = None,
    sha256: str | None = None,
    base_model: str | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Version:
    """Register a version; repeating it changes nothing but ``metadata``.

    With :data:`FOUND_BY` in ``metadata``, a version that is registered by hand stays as it is.

    Raises
    ------
    Conflict
        The version is registered with another model, hash, place, base or parent; the message names
        the field and both values.
    """
    given = {
        "model": model,
        "parent": parent,
        "uri": uri,
        "sha256": sha256,
        "base_model": base_model,
    }
    body = dict(metadata or {})
    fresh = insert(versions).values(adapter_id=adapter.id, name=name, metadata=body, **given)
    connection.execute(fresh.on_conflict_do_nothing(index_elements=["adapter_id", "name"]))
    stored = _locked(connection, adapter, name)
    by_hand = FOUND_BY not in stored["metadata"]
    held = [field for field in _FIXED if by_hand or field not in _TOLD]
    _refuse_other_weights(f"{adapter.name}@{name}", stored, given, held)
    if by_hand and FOUND_BY in body:
        return fetch_by_id(connection, stored["id"])
    filled = {field: given[field] or stored[field] for field in _FIXED}
    connection.execute(
        versions.update().where(versions.c.id == stored["id"]).values(metadata=body, **filled)
    )
    if stored["uri"] not in {None, filled["uri"]}:  # other files than those that were inspected
        connection.execute(
            weight_inspections.delete().where(weight_inspections.c.version_id == stored["id"])
        )
    wakeups.notify(connection, wakeups.VERSIONS)
    return fetch_by_id(connection, stored["id"])


def fetch(connection: Connection, *, adapter: str, name: str) -> Version | None:
    """Return a version by its public names, if it is registered."""
    query = _query().where(adapters.c.name == adapter, versions.c.name == name)
    row = connection.execute(query).mappings().one_or_none()
    return _version(row) if row else None


def fetch_by_id(connection: Connection, version_id: VersionId) -> Version:
    """Return a version that must exist; raises ``NotFound``."""
    return fetch_by_ids(connection, [version_id])[version_id]


def fetch_by_ids(connection: Connection, ids: Collection[VersionId]) -> dict[VersionId, Version]:
    """Return versions that must exist; raises ``NotFound``."""
    query = _query().where(versions.c.id == sa.any_(sa.cast(list(ids), sa.ARRAY(sa.Integer))))
    rows = connection.execute(query).mappings()
    found = {VersionId(row["id"]): _version(row) for row in rows}
    for missing in set(ids) - found.keys():
        raise NotFound(f"there is no version with id {missing}")
    return found


def of_adapter(connection: Connection, adapter_id: AdapterId) -> list[Version]:
    """Return an adapter's versions, oldest first."""
    query = _query().where(versions.c.adapter_id == adapter_id).order_by(versions.c.id)
    return [_version(row) for row in connection.execute(query).mappings()]


def named(connection: Connection, adapter: str) -> list[Version]:
    """Return the versions of the adapter of this name, oldest first."""
    query = _query().where(adapters.c.name == adapter).order_by(versions.c.id)
    return [_version(row) for row in connection.execute(query).mappings()]


def served_as(connection: Connection, model: str) -> list[Version]:
    """Return the versions that are served under a name: one, unless two share weights."""
    rows = connection.execute(_query().where(versions.c.model == model)).mappings()
    return [_version(row) for row in rows]


def shared(connection: Connection, version: Version) -> bool:
    """True if another adapter has a version of the same served name, or of the same files."""
    same = versions.c.model == version.model
    if version.uri is not None:
        same |= versions.c.uri == version.uri
    query = sa.select(versions.c.id).where(same, versions.c.adapter_id != version.adapter_id)
    return connection.execute(query.limit(1)).first() is not None


def lock(connection: Connection, version_id: VersionId) -> None:
    """Lock a version's references until this transaction ends."""
    c = versions.c
    connection.execute(sa.select(c.id).where(c.id == version_id).with_for_update())


def fetch_all(connection: Connection) -> list[Version]:
    """Return all versions, by adapter and age."""
    query = _query().order_by(adapters.c.name, versions.c.id)
    return [_version(row) for row in connection.execute(query).mappings()]


def _locked(connection: Connection, adapter: Adapter, name: str) -> RowMapping:
    query = (
        sa.select(versions)
        .where(versions.c.adapter_id == adapter.id, versions.c.name == name)
        .with_for_update()
    )
    return connection.execute(query).mappings().one()


def _refuse_other_weights(
    label: str, stored: RowMapping, given: Mapping[str, str | None], held: Sequence[str]
) -> None:
    for field in held:
        before, after = stored[field], given[field]
        if None not in (before, after) and before != after:
            raise Conflict(
                f"{label} is registered with {field} {before!r}, not {after!r};"
                " a version is immutable: register other weights under another name"
            )


def _query() -> Select[Any]:
    return sa.select(versions, adapters.c.name.label("adapter")).join(
        adapters, adapters.c.id == versions.c.adapter_id
    )


def _version(row: RowMapping) -> Version:
    return Version(**row)
