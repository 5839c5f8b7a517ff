"""The request explorer, in a browser."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
import pytest

from alerts.types import VerdictKind
from monitor.domain import Scope, Version
from monitor.store.database import Database
from monitor.store.incidents import incidents
from monitor.store.tables.records import record_texts
from monitor.traffic import table
from tests import asked, worlds
from tests.serving import Serving, serving
from tests.web.conftest import Looker

NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
NAME = "acme/support"
PLACE = "/adapters/acme%2Fsupport/requests"
IDS = ".requests > li > p code"


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path, clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def support(service: Serving) -> Version:
    with service.database.begin() as tx:
        version = worlds.registered(tx, NAME, "v1", owner="ann", now=NOW)
        table.start(tx, version, actor="test", now=NOW)
        worlds.add_reference(tx, version, now=NOW)
        asked.arrive(tx, version, now=NOW)
    return version


@pytest.fixture
def person(service: Serving) -> Iterator[httpx2.Client]:
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        client.headers["accept"] = "text/html"
        yield client


def _quiet(looker: Looker) -> bool:
    return (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_requests_are_sorted_filtered_and_turned_over(
    service: Serving, support: Version, look: Callable[..., Looker]
) -> None:
    looker = look()
    page = looker.page
    looker.log_in()
    looker.open(PLACE)
    assert page.locator(IDS).all_inner_texts() == [f"req-{place:04}" for place in range(25)]
    page.select_option("select[name=order]", "longest")
    looker.click("#filter button")
    assert ["190 answered" in one for one in _facts(page)[:6]] == [True] * 5 + [False]
    with service.database.begin() as tx:
        asked.put(tx, support, ["late"], [NOW - timedelta(1 / 24)], {"output_tokens": np.ones(1)})
    first = page.locator(IDS).all_inner_texts()
    looker.click("a[rel=next]")
    second = page.locator(IDS).all_inner_texts()
    looker.click("a[rel=next]")
    third = page.locator(IDS).all_inner_texts()
    assert page.locator("a[rel=next]").count() == 0
    assert third[-1] == "late"
    assert len({*first, *second, *third}) == len(first + second + third) == asked.COUNT - 5 + 1
    looker.click("text=First page")
    assert page.locator(IDS).all_inner_texts() == first
    page.select_option("select[name=order]", "newest")
    page.check("#filter [name=failed]")
    page.check("#filter [name=serving]")
    page.select_option("select[name=version]", "v1")
    looker.click("#filter button")
    assert ["status 503" in one for one in _facts(page)] == [True] * 5
    page.fill("#filter [name=finish]", "stop")
    looker.click("#filter button")
    assert "matches the filter" in page.inner_text("main")
    looker.click("text=Clear")
    page.fill("#filter [name=id]", "req-0037")
    looker.click("#filter button")
    assert page.locator(IDS).all_inner_texts() == ["req-0037"]
    assert _quiet(looker)


def _facts(page: object) -> list[str]:
    found: list[str] = page.locator(".requests > li > p.row").all_inner_texts()  # type: ignore[attr-defined]
    return found


@pytest.mark.usefixtures("support")
def test_a_request_stands_beside_the_nearest_training_and_opens_in_full(
    look: Callable[..., Looker],
) -> None:
    looker = look(zone="America/New_York")
    looker.log_in()
    looker.open(f"{PLACE}?order=least_similar")
    first = looker.page.locator(".requests > li").first
    shown = first.inner_text()
    assert asked.NEW in shown
    assert asked.KNOWN[0] in shown
    assert "similarity 0.28" in shown
    assert "(09:17 GMT-5)" in shown, "the reader's time beside UTC"
    assert "Hold the reset key for 20 seconds." not in shown
    first.locator("summary").click()
    assert "Hold the reset key for 20 seconds." in first.inner_text()
    assert "None" not in looker.page.inner_text("main")
    sides = [one.bounding_box() for one in first.locator(".beside > div").all()]
    assert sides[0] is not None
    assert sides[1] is not None
    assert sides[0]["x"] < sides[1]["x"]
    assert _quiet(looker)


@pytest.mark.usefixtures("support")
def test_the_scatter_is_drawn_on_the_axes_that_are_chosen(look: Callable[..., Looker]) -> None:
    looker = look(width=390)
    page = looker.page
    looker.log_in()
    looker.open(f"{PLACE}?failed=true")
    assert page.locator(".scatter .unlike circle").count() == 12
    page.select_option("select[name=x]", "2")
    page.select_option("select[name=y]", "9")
    looker.click("text=Draw")
    assert "Axes 2 across and 9 up, of 12" in page.inner_text("#scatter")
    assert page.input_value("select[name=x]") == "2"
    assert page.is_checked("#filter [name=failed]"), "what was asked before"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    looker.click("text=7d")
    assert "x=2" in page.url
    assert page.is_checked("#filter [name=failed]")


def test_without_texts_it_says_how_to_keep_them(
    service: Serving, support: Version, person: httpx2.Client
) -> None:
    del support
    with service.database.begin() as tx:
        tx.execute(record_texts.delete())
    shown = person.get(PLACE).text
    assert "capture.store_text = true" in shown
    assert "req-0004" in shown


def test_an_empty_list_says_what_to_do(service: Serving, person: httpx2.Client) -> None:
    with service.database.begin() as tx:
        worlds.registered(tx, NAME, "v1", owner="ann", now=NOW)
    shown = person.get(PLACE).text
    assert "No record of acme/support@v1 lies in this range" in shown
    assert "<code>driftline status</code>" in shown
    assert f'href="{PLACE}?order=newest&amp;from=30d"' in shown
    assert "Not known: acme/support@v1 has no reference yet." in shown


@pytest.mark.usefixtures("support")
@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("order=best", 422, "order"),
        ("limit=-1", 422, "limit"),
        ("cursor=eyJ9", 422, "not a cursor of this list"),
        ("from=yesterday", 422, "is not a time"),
        ("x=13", 422, "x: "),
        ("version=v9", 404, "no version"),
    ],
)
def test_what_makes_no_sense_is_refused_on_a_page(
    person: httpx2.Client, query: str, status: int, says: str
) -> None:
    answer = person.get(f"{PLACE}?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert says in answer.text
    assert person.get("/adapters/nobody/requests").status_code == 404


@pytest.mark.usefixtures("support")
def test_a_session_is_needed(service: Serving) -> None:
    with service.client() as stranger:
        answer = stranger.get(PLACE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_it_is_reached_from_the_adapter_and_from_an_incident(
    service: Serving, support: Version, look: Callable[..., Looker]
) -> None:
    judged = worlds.a_verdict(
        VerdictKind.DRIFTING, NOW - timedelta(minutes=50), detectors=("input_similarity",)
    )
    with service.database.begin() as tx:
        worlds.put_verdict(tx, support, judged, drift=9.0)
        worlds.put_incident(tx, support, judged)
        [told] = incidents.incident_list(tx)
    looker = look()
    looker.log_in()
    looker.open("/adapters/acme%2Fsupport?from=7d")
    looker.click("text=its requests")
    assert "from=7d" in looker.page.url
    assert looker.page.locator(IDS).count() == 25
    looker.page.go_back()
    looker.click("text=Look at them, or on other axes")
    assert looker.page.input_value("select[name=order]") == "least_similar"
    looker.open(f"/incidents/{told.id}")
    looker.click("text=All requests since it began")
    assert looker.page.input_value("select[name=order]") == "least_similar"
    assert looker.page.locator(IDS).first.inner_text() == "req-0004"
    assert _quiet(looker)
