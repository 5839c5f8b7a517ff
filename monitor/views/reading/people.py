"""Keys and the audit log as people see them."""

from __future__ import annotations

from datetime import datetime

from monitor.store.audit import Entry
from monitor.store.people.keys import Key
from monitor.views.audit import EntryBody
from monitor.views.key import KeyBody


def entry(found: Entry) -> EntryBody:
    """Write an entry of the audit log."""
    return EntryBody.of(found, entry=found.id)


def key(found: Key, *, now: datetime) -> KeyBody:
    """Write a key."""
    return KeyBody.of(found, key=found.id, scopes=sorted(found.scopes), works=found.alive(now))
