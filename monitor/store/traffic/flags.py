"""Switches shared by all daemons; today only the kill switch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from monitor.store import audit
from monitor.store.tables.traffic import flags

KILL_SWITCH: Final = "kill_switch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A switch, with who set it and why."""

    on: bool
    reason: str
    actor: str
    at: datetime


def kill_switch(tx: Connection) -> Flag | None:
    """Read the kill switch; None means never set, which counts as off."""
    row = tx.execute(_QUERY).mappings().one_or_none()
    return _flag(row) if row else None


def hold_kill_switch(tx: Connection) -> Flag:
    """Lock and read the kill switch until this transaction ends.

    Whoever sets the switch waits for actions that are being applied; once it is set, no later
    transaction can miss it. Actions take this lock first, so it also serialises their budgets.
    """
    never = {"on": False, "reason": "never set"}
    row = insert(flags).values(name=KILL_SWITCH, value=never, actor="driftline")
    tx.execute(row.on_conflict_do_nothing())
    return _flag(tx.execute(_QUERY.with_for_update()).mappings().one())


def set_kill_switch(tx: Connection, *, on: bool, reason: str, actor: str) -> Flag:
    """Set or clear the kill switch, with an audit entry in the same transaction."""
    changed: dict[str, Any] = {
        "value": {"on": on, "reason": reason},
        "actor": actor,
        "at": sa.func.now(),
    }
    tx.execute(
        insert(flags)
        .values(name=KILL_SWITCH, **changed)
        .on_conflict_do_update(index_elements=["name"], set_=changed)
    )
    audit.append(
        tx,
        actor=actor,
        act="kill_switch.set" if on else "kill_switch.cleared",
        subject=KILL_SWITCH,
        details={"reason": reason},
    )
    return _flag(tx.execute(_QUERY).mappings().one())


_QUERY: Final = sa.select(flags).where(flags.c.name == KILL_SWITCH)


def _flag(row: RowMapping) -> Flag:
    value = row["value"] if isinstance(row["value"], dict) else {}
    # an unreadable value counts as on: better no action than a forbidden one
    return Flag(
        on=value.get("on") is not False,
        reason=str(value.get("reason", "unreadable")),
        actor=row["actor"],
        at=row["at"],
    )
