"""Freeze new references of many adapters: one audited act, one transaction per adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection

from monitor.domain import Adapter, Interval, ReferenceState, VerdictSeverity, Version
from monitor.reference.calibrate import SMALLEST_BASELINE
from monitor.reference.freeze import Usable, open_generation, usable
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.errors import StoreError
from monitor.store.evaluation import verdicts
from monitor.store.references import references
from monitor.store.references.references import ReferenceSource
from monitor.store.registry import adapters
from monitor.store.traffic import fleet

_LOG = structlog.get_logger(__name__)

ACT: Final = "reference.refreeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refrozen:
    """The result for one adapter.

    generation
        The reference that is being built; None if it was left alone, with the reason in ``error``.
    """

    adapter: str
    version: str | None
    generation: int | None = None
    records: int = 0
    error: str | None = None


def chosen(known: Sequence[Adapter], match: Mapping[str, str]) -> list[Adapter]:
    """Select the adapters whose facts match all of ``match``; an empty ``match`` selects all.

    Keys are ``adapter``, ``owner``, ``tier``, or those of labels.

    >>> from datetime import UTC, datetime
    >>> from monitor.domain import AdapterId
    >>> made = datetime(2026, 3, 4, tzinfo=UTC)
    >>> known = [
    ...     Adapter(id=AdapterId(1), name="support", labels={"team": "care"}, created_at=made),
    ...     Adapter(id=AdapterId(2), name="tax", created_at=made),
    ... ]
    >>> [one.name for one in chosen(known, {"team": "care", "tier": "standard"})]
    ['support']
    """
    return [one for one in known if match.items() <= one.facts.items()]


def refreeze(
    database: Database, *, match: Mapping[str, str], window: Interval, cause: str, by: str
) -> list[Refrozen]:
    """Freeze the records of a window for the version in charge of each chosen adapter.

    Each adapter has its own transaction: a failure is reported for it and affects no other. Left
    alone are versions with an open finding, which would make drift the norm (each needs a person's
    accept or false), those with fewer than 300 records, and those already being built.
    """
    known = chosen(database.run(adapters.fetch_all), match)
    rows = [_one(database, adapter, window=window, cause=cause, by=by) for adapter in known]
    database.run(lambda tx: _audit(tx, rows, match=match, window=window, cause=cause, by=by))
    return rows


def _one(
    database: Database, adapter: Adapter, *, window: Interval, cause: str, by: str
) -> Refrozen:
    try:
        return database.run(lambda tx: _freeze(tx, adapter, window=window, cause=cause, by=by))
    except StoreError as error:
        return Refrozen(adapter=adapter.name, version=None, error=str(error))
    except Exception as error:  # noqa: BLE001 - one adapter of many; it is told and logged
        _LOG.exception("refreeze_failed", adapter=adapter.name)
        return Refrozen(
            adapter=adapter.name, version=None, error=f"it failed: {type(error).__name__}"
        )


def _freeze(tx: Connection, adapter: Adapter, *, window: Interval, cause: str, by: str) -> Refrozen:
    version = fleet.in_charge(tx, adapter.name)
    if version is None:
        return Refrozen(adapter=adapter.name, version=None, error="no version is registered")
    return freeze_version(tx, version, window=window, cause=cause, by=by)


def freeze_version(
    tx: Connection,
    version: Version,
    *,
    window: Interval,
    cause: str,
    by: str,
    source: ReferenceSource = ReferenceSource.FREEZE,
) -> Refrozen:
    """Freeze one version's records of a window, unless there is a reason not to."""
    found = usable(tx, version, window)
    error = _why_not(tx, version, found)
    made = None
    if error is None:
        made = open_generation(
            tx, version=version, window=window, cause=cause, created_by=by, source=source
        )
    return Refrozen(
        adapter=version.adapter,
        version=version.name,
        generation=made.generation if made else None,
        records=found.records,
        error=error,
    )


def _why_not(tx: Connection, version: Version, found: Usable) -> str | None:
    judged = verdicts.current(tx, version_id=version.id, lock=True)
    if judged is not None and judged.verdict.severity is not VerdictSeverity.NONE:
        return f"it is {judged.verdict.kind.value}: accept its incident, or mark it as false"
    newest = next(iter(references.of_version(tx, version.id)), None)
    if newest is not None and newest.state is ReferenceState.BUILDING:
        return f"generation {newest.generation} is being built"
    if not found.enough:
        return f"{found.text} in the window; a reference takes {SMALLEST_BASELINE}"
    return None


def _audit(
    tx: Connection,
    rows: Sequence[Refrozen],
    *,
    match: Mapping[str, str],
    window: Interval,
    cause: str,
    by: str,
) -> None:
    made = [row.adapter for row in rows if row.error is None]
    audit.append(
        tx,
        actor=by,
        act=ACT,
        subject=f"{len(made)} of {len(rows)} adapters",
        details={
            "cause": cause,
            "match": dict(match),
            "start": window.start.isoformat(),
            "end": window.end.isoformat(),
            "adapters": made,
            "left_alone": {row.adapter: row.error for row in rows if row.error is not None},
        },
    )
