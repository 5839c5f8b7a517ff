"""The page of references: what waits stands first, with its progress and the way to approve it."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from monitor.domain import Scope
from monitor.store.tables.references import references
from tests import worlds
from tests.serving import Serving
from tests.web.conftest import Looker


@pytest.fixture
def world(service: Serving) -> Serving:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
        ready = sa.select(references.c.id).where(references.c.state == "ready")
        first, *_, last = sorted(tx.scalars(ready))
        failed = {"state": "failed", "error": "no <b>lines</b>"}
        tx.execute(references.update().where(references.c.id == first).values(failed))
        waits = references.update().where(references.c.id == last)
        tx.execute(waits.values(approved_by=None))
    return service


def rows(looker: Looker) -> list[str]:
    found = looker.page.locator("[data-live=references] tbody tr")
    return [" ".join(text.split()) for text in found.all_inner_texts()]


def test_what_waits_stands_first_and_leads_to_its_approval(
    world: Serving, look: Callable[..., Looker]
) -> None:
    del world
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open("/")
    looker.click("a[href='/references']")
    shown = rows(looker)
    assert "failed" in shown[0]
    assert "no <b>lines</b>" in shown[0]
    waiting = [one for one in shown if "being built" in one or "Approve…" in one]
    assert shown[1 : 1 + len(waiting)] == waiting
    assert any("being built" in one and "21%" in one for one in waiting)
    assert all("approved by" in one for one in shown[1 + len(waiting) :])
    looker.click("text=Approve… >> nth=0")
    assert "Approve generation 1" in looker.page.inner_text("#approve")
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_a_reader_sees_no_button_and_an_empty_service_says_what_comes(
    service: Serving, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.READ)
    looker.open("/references")
    assert "None yet" in looker.page.inner_text("main")
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
        tx.execute(references.update().values(approved_by=None))
    looker.open("/references")
    assert "a person approves it, or its coverage does" in looker.page.inner_text("main")
    assert looker.page.locator("text=Approve…").count() == 0
