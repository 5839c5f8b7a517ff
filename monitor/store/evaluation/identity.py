"""Store identity checks: which weights answered under a version's name, and their gap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from detectors import packing
from detectors.identity import Identity, IdentityState
from detectors.parity import TopLogprobs
from monitor.domain import VersionId
from monitor.store.rows import shaped, stored
from monitor.store.tables.probes import identity_checks

REGISTRATION = "registration"
"""The role of the check that later ones are compared with."""
KEPT = 5
"""Likeliest tokens stored of each position; others count as one."""
_KIND = "reading"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOn:
    """The circumstances of a check."""

    role: str
    corpus: str
    base: str | None
    replica: str | None
    engine: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expectations:
    """A version's expectations at each token of some texts; ``texts`` is a digest of them."""

    texts: str
    expected: TopLogprobs


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIdentity:
    """A stored check: its result with its numbers, and its circumstances."""

    id: int
    version_id: VersionId
    at: datetime
    found: Identity
    on: CheckedOn
    retired_at: datetime | None


def insert(
    tx: Connection,
    version_id: VersionId,
    found: Identity,
    *,
    on: CheckedOn,
    reading: Expectations | None = None,
) -> int:
    """Store a check; return its id. ``reading`` is what later checks are compared with."""
    values = stored(
        identity_checks,
        found,
        version_id=version_id,
        details={"reason": found.reason, "gap": found.gap, "corpus": on.corpus},
        reading=None if reading is None else _packed(reading),
        **stored(identity_checks, on),
    )
    statement = identity_checks.insert().values(**values).returning(identity_checks.c.id)
    return int(tx.execute(statement).scalar_one())


def latest(tx: Connection, version_id: VersionId) -> StoredIdentity | None:
    """Return the last check that no declared change has retired."""
    query = _of(version_id).where(identity_checks.c.retired_at.is_(None))
    return _newest(tx, query)


def registered_gap(
    tx: Connection, version_id: VersionId, *, corpus: str
) -> tuple[float, bool] | None:
    """Return a version's gap to its base at registration, and whether it is retired.

    A retired gap is still useful after a declared change: base and adapter change together, so the
    gap between them should have stayed.
    """
    query = _of(version_id).where(
        identity_checks.c.role == REGISTRATION,
        identity_checks.c.details["corpus"].astext == corpus,
        identity_checks.c.details["gap"].astext.is_not(None),
    )
    held = query.where(
        identity_checks.c.state == IdentityState.APPLIED.value,
        identity_checks.c.retired_at.is_(None),
    )
    retired = query.where(
        identity_checks.c.state.in_(
            [IdentityState.APPLIED.value, IdentityState.WRONG_WEIGHTS.value]
        ),
        identity_checks.c.retired_at.is_not(None),
    )
    found = _newest(tx, held) or _newest(tx, retired)
    if found is None or found.found.gap is None:
        return None
    return found.found.gap, found.retired_at is not None


def registered_reading(tx: Connection, version_id: VersionId, *, texts: str) -> TopLogprobs | None:
    """Return what the version expected at registration over these texts.

    None where it was registered by a release that did not store it, over other texts, or
    not as applied. A declared change retires it with the registration.
    """
    query = (
        sa.select(identity_checks.c.reading)
        .where(
            identity_checks.c.version_id == version_id,
            identity_checks.c.role == REGISTRATION,
            identity_checks.c.state == IdentityState.APPLIED.value,
            identity_checks.c.reading.is_not(None),
            identity_checks.c.retired_at.is_(None),
        )
        .order_by(identity_checks.c.at.desc(), identity_checks.c.id.desc())
        .limit(1)
    )
    body = tx.execute(query).scalar()
    found = None if body is None else packing.read(_KIND, body, _unpacked)
    return found.expected if found is not None and found.texts == texts else None


def _packed(reading: Expectations) -> bytes:
    """Pack the likeliest tokens: 100 KB for 3,000 positions."""
    expected = reading.expected
    best = slice(None, KEPT)
    arrays = {
        "texts": np.array(reading.texts),
        "chosen": expected.chosen.astype(np.float32),
        "tokens": expected.tokens[:, best].astype(np.int32),
        "logprobs": expected.logprobs[:, best].astype(np.float32),
        "document": expected.document.astype(np.int16),
    }
    return packing.pack(_KIND, arrays)


def _unpacked(arrays: packing.Arrays) -> Expectations:
    return Expectations(
        texts=str(arrays["texts"]),
        expected=TopLogprobs(
            chosen=arrays["chosen"].astype(np.float64),
            tokens=arrays["tokens"].astype(np.int64),
            logprobs=arrays["logprobs"].astype(np.float64),
            document=arrays["document"].astype(np.int64),
        ),
    )


def retire(tx: Connection, versions: sa.Select[tuple[int]], *, at: datetime) -> None:
    """Retire these versions' checks, so that nothing is compared with them."""
    tx.execute(
        identity_checks.update()
        .where(identity_checks.c.version_id.in_(versions), identity_checks.c.retired_at.is_(None))
        .values(retired_at=at)
    )


def _of(version_id: VersionId) -> sa.Select[tuple[object, ...]]:
    return sa.select(identity_checks).where(identity_checks.c.version_id == version_id)


def _newest(tx: Connection, query: sa.Select[tuple[object, ...]]) -> StoredIdentity | None:
    newest_first = query.order_by(identity_checks.c.at.desc(), identity_checks.c.id.desc())
    row = tx.execute(newest_first.limit(1)).mappings().first()
    if row is None:
        return None
    details = row["details"]
    gap, reason = details.get("gap"), details.get("reason", "")
    found = shaped(Identity, row, state=IdentityState(row["state"]), gap=gap, reason=reason)
    on = shaped(CheckedOn, row, corpus=details.get("corpus", ""))
    return shaped(StoredIdentity, row, found=found, on=on)
