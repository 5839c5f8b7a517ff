"""What the receipt of pages counts, and what it does not."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from alerts.types import VerdictKind
from monitor.domain import Mark, Version
from monitor.outbox.marking import Hearers, Word, mark
from monitor.outbox.receipt import Receipt, ReceiptLine, read_receipt
from monitor.policy.budget import BudgetSettings, TierBudget
from monitor.store.database import Database
from monitor.store.incidents import escalation, incidents
from monitor.store.tables.incidents import outbox as outbox_table
from monitor.store.tables.references import references
from monitor.store.tables.registry import versions
from tests.fleet import register
from tests.outbox.test_record import CRITICAL, DRIFTING, STABLE, record

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SETTINGS = BudgetSettings(false_pages_per_30_days=3.0, tiers={"gold": TierBudget(weight=2.0)})


@pytest.fixture
def version(database: Database) -> Version:
    with database.begin() as tx:
        made = register(tx)
        tx.execute(versions.update().values(registered_at=NOW - 90 * DAY))
        tx.execute(
            references.insert().values(
                version_id=made.id, generation=1, state="ready", source="freeze",
                cause="test", created_by="ann", approved_by="coverage", ready_at=NOW,
            )
        )  # fmt: skip
    return made


def sent_on(database: Database, at: datetime) -> None:
    """Let everything that is not dated yet have been written then, and delivered."""
    with database.begin() as tx:
        tx.execute(
            outbox_table.update()
            .where(outbox_table.c.state == "queued")
            .values(created_at=at, delivered_at=at, state="delivered")
        )


def receipt(database: Database, month: str | None = None) -> Receipt:
    with database.begin() as tx:
        return read_receipt(tx, SETTINGS, month=month, now=NOW)


def test_new_pages_count_once_whoever_heard_of_them(database: Database, version: Version) -> None:
    for row in record(database, version, DRIFTING, CRITICAL, STABLE):
        with database.begin() as tx:  # a copy for a fallback is the same page
            escalation.escalate(tx, row.id, fallback="phone")
    sent_on(database, NOW - 2 * DAY)
    found = receipt(database)
    expected = ReceiptLine(promised=3.0, sent=1, false=0, accepted=0, undelivered=0)
    assert found.total == expected
    assert dict(found.by_tier) == {"standard": expected}
    assert found.total.not_judged == 1
    assert found.fleet.sent == 0
    assert [page.version for page in found.pages] == ["v7"]
    assert "1 not judged: neither true nor false until on-call says so" in found.notes


def test_what_came_back_is_another_page_and_a_word_counts_for_both(
    database: Database, version: Version
) -> None:
    record(database, version, CRITICAL, STABLE, CRITICAL)
    sent_on(database, NOW - DAY)
    with database.begin() as tx:
        [row] = incidents.incident_list(tx)
        word = Word(mark=Mark.FALSE_PAGE, by="ann", because="a test", at=NOW)
        mark(tx, row.id, word, hearers=Hearers())
    found = receipt(database)
    assert (found.total.sent, found.total.false, found.total.not_judged) == (2, 2, 0)


def test_a_ticket_is_no_page_and_what_reached_nobody_is_noted(
    database: Database, version: Version
) -> None:
    record(database, version, DRIFTING)
    assert receipt(database).total.sent == 0
    record(database, version, VerdictKind.CRITICAL)
    with database.begin() as tx:
        tx.execute(outbox_table.update().values(state="dead", created_at=NOW - DAY))
    found = receipt(database)
    assert (found.total.sent, found.total.undelivered) == (1, 1)
    assert "1 of the sent ones have not reached anybody" in found.notes


def test_months_are_apart_and_the_tier_is_that_of_the_day(
    database: Database, version: Version
) -> None:
    record(database, version, CRITICAL, STABLE)
    sent_on(database, datetime(2026, 10, 31, 23, 59, tzinfo=UTC))
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE adapters SET tier = 'gold'"))
    october, november = receipt(database, "2026-10"), receipt(database, "2026-11")
    assert (october.total.sent, november.total.sent) == (1, 0)
    assert october.total.promised == pytest.approx(3.0 * 31 / 30)
    assert november.total.promised == pytest.approx(3.0 * 24.5 / 30)
    assert november.end == NOW
    # promised by the tiers of now, sent by that of the day
    assert {name: one.sent for name, one in october.by_tier.items()} == {"gold": 0, "standard": 1}
    assert october.by_tier["standard"].promised == 0.0
    with database.begin() as tx:
        tx.execute(versions.update().values(registered_at=NOW - 3 * DAY))
    young = receipt(database)
    assert young.total.promised == pytest.approx(0.3)
    assert any("registered 2026-11-22" in note for note in young.notes)


@pytest.mark.parametrize("month", ["2026-12", "2026-13"])
def test_a_month_to_come_or_that_never_is_has_no_receipt(database: Database, month: str) -> None:
    with pytest.raises(ValueError, match=r"has not begun|is no month"):
        receipt(database, month)
