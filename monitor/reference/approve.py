"""Approve a reference by hand: from then on its evidence may move traffic."""

from __future__ import annotations

from sqlalchemy import Connection

from monitor.domain import Reference, Version
from monitor.store import audit
from monitor.store.references import references


class NotApprovable(ValueError):  # noqa: N818 - it is a fact about the reference, not a fault
    """The reference cannot be approved; the message is a sentence that says why."""


def approve(tx: Connection, of: Version, found: Reference, *, by: str) -> None:
    """Approve a ready generation, and write down who did.

    Raises
    ------
    NotApprovable
        It is not ready, or approved already.
    """
    if not references.approve(tx, found.id, by=by):
        raise NotApprovable(
            f"Generation {found.generation} of {of.label} is {found.state.value}; only a"
            " ready, unapproved one can be approved."
        )
    audit.append(
        tx,
        actor=by,
        act="reference.approve",
        subject=of.label,
        details={"generation": found.generation, "cause": "a person's word"},
    )
