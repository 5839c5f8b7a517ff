from datetime import UTC, datetime, timedelta

from monitor.store.database import Database
from monitor.web.kept import FRESH
from monitor.web.newness import NewSections
from tests import newcomers, worlds

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_what_is_new_is_read_once_a_minute_however_often_a_page_is_drawn(
    database: Database,
) -> None:
    with database.begin() as tx:
        version = worlds.registered(tx, "support", "v1", owner="ann", now=NOW)
    sections = NewSections(database)
    first = sections.of(version, now=NOW)
    assert (first.found, first.why_not) == (None, "support@v1 has no reference yet")
    with database.begin() as tx:
        worlds.add_reference(tx, version, now=NOW)
        newcomers.arrive(tx, version, now=NOW, text="voucher")
    assert sections.of(version, now=NOW + FRESH - timedelta(seconds=1)) is first
    later = sections.of(version, now=NOW + FRESH)
    assert later.found is not None
    assert [group.words for group in later.found.groups] == [("voucher",)]
    # a clock that was set back must not keep it for hours
    assert sections.of(version, now=NOW - timedelta(hours=1)) is not later
