"""New topics on an adapter's page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Interval, Version, VersionId
from monitor.evaluate.newness import NotCompared, new_since, read_newness
from monitor.store.database import Database
from monitor.store.records import samples
from monitor.store.records.samples import RequestSize
from monitor.views.reading import score
from monitor.views.score import NewBody
from monitor.web.kept import KeptForAMinute


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSection:
    """The new topics, or the reason why none can be found."""

    found: NewBody | None = None
    why_not: str | None = None
    sizes: Mapping[str, RequestSize] = field(default_factory=dict)
    """Of the requests named in it, by id."""


class NewSections:
    """Reads sections; each costs some .5 s."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: KeptForAMinute[VersionId, NewSection] = KeptForAMinute()

    def of(self, version: Version, *, now: datetime) -> NewSection:
        """Return a version's new topics, at most a minute old."""

        def read() -> NewSection:
            return self._database.run(lambda tx: _read(tx, version, now=now))

        return self._kept.of(version.id, read, now=now)


def _read(tx: Connection, version: Version, *, now: datetime) -> NewSection:
    since = new_since(tx, version, now=now)
    try:
        found = read_newness(tx, version, since=since, until=now)
    except NotCompared as error:
        return NewSection(why_not=str(error))
    sizes: dict[str, RequestSize] = {}
    for group in found.groups:
        span = Interval(start=group.first_seen, end=group.last_seen)
        sizes |= samples.sizes(tx, version.adapter_id, group.records, within=span)
    return NewSection(found=score.new(version, found), sizes=sizes)
