"""Declared changes as people see them."""

from __future__ import annotations

from monitor.store.people.changes import StoredChange
from monitor.views.change import ChangeBody


def change(found: StoredChange) -> ChangeBody:
    """Write a change."""
    numbers = {name: float(one) for name, one in found.details.items() if not isinstance(one, str)}
    return ChangeBody.of(found, change=found.id, details={**found.details, **numbers})
