"""New topics on an adapter's page, read at most once a minute for all viewers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from sqlalchemy import Connection

from monitor.domain import Interval, Version, VersionId
from monitor.evaluate.newness import NotCompared, new_since, read_newness
from monitor.store.database import Database
from monitor.store.records import samples
from monitor.store.records.samples import RequestSize
from monitor.views.reading import score
from monitor.views.score import NewBody

FRESH: Final = timedelta(minutes=1)
MOST_VERSIONS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSection:
    """The new topics found ``at`` a time, or the reason why none can be found."""

    at: datetime
    found: NewBody | None = None
    why_not: str | None = None
    sizes: Mapping[str, RequestSize] = field(default_factory=dict)
    """Of the requests named in it, by id."""


class NewSections:
    """Reads sections one at a time: pages refresh by themselves, and each read costs some .5 s."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[VersionId, NewSection] = {}
        self._lock = Lock()

    def of(self, version: Version, *, now: datetime) -> NewSection:
        """Return a version's new topics, at most a minute old."""
        with self._lock:
            kept = self._kept.pop(version.id, None)
            if kept is None or not timedelta() <= now - kept.at < FRESH:
                kept = self._database.run(lambda tx: _read(tx, version, now=now))
            while len(self._kept) >= MOST_VERSIONS:
                self._kept.pop(next(iter(self._kept)))
            self._kept[version.id] = kept
            return kept


def _read(tx: Connection, version: Version, *, now: datetime) -> NewSection:
    since = new_since(tx, version, now=now)
    try:
        found = read_newness(tx, version, since=since, until=now)
    except NotCompared as error:
        return NewSection(at=now, why_not=str(error))
    sizes: dict[str, RequestSize] = {}
    for group in found.groups:
        span = Interval(start=group.first_seen, end=group.last_seen)
        sizes |= samples.sizes(tx, version.adapter_id, group.records, within=span)
    return NewSection(at=now, found=score.new(version, found), sizes=sizes)
