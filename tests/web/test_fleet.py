"""The fleet page with more adapters than a page holds: found, narrowed, walked through."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from monitor.domain import Scope
from monitor.store.registry import adapters, versions
from monitor.store.traffic.fleet import WORST_FIRST
from monitor.web.fleet_pages import SHOWN
from tests import worlds
from tests.serving import Serving
from tests.web import moves
from tests.web.conftest import Looker

MANY = 3 * SHOWN
SEEDED = 12


@pytest.fixture
def crowd(service: Serving) -> None:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.3)
        for number in range(MANY):
            adapter = adapters.put(tx, name=f"tenant-{number:03}", owner="platform", tier="gold")
            versions.put(tx, adapter=adapter, name="v1", model="m", base_model="llama-3.1-8b")


def shown(looker: Looker) -> list[str]:
    return looker.page.locator("[data-live=fleet] th a").all_inner_texts()


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_worst_are_on_the_first_page_and_every_adapter_on_one(
    look: Callable[..., Looker], width: int, scheme: str
) -> None:
    looker = look(width=width, scheme=scheme)
    looker.log_in()
    assert shown(looker)[0] == "support"
    assert len(looker.page.content()) < 150_000
    assert looker.page.evaluate("document.documentElement.scrollWidth") <= width
    found = []
    while True:
        found += shown(looker)
        if not looker.page.locator("a[rel=next]").count():
            break
        looker.click("a[rel=next]")
    assert len(found) == len(set(found)) == MANY + SEEDED
    assert (looker.complaints, looker.foreign) == ([], [])


@pytest.mark.usefixtures("crowd")
def test_adapters_are_found_by_what_is_known_of_them(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.page.fill("[name=q]", "TENANT-14")
    looker.click("text=Find")
    assert shown(looker) == [f"tenant-14{digit}" for digit in range(10)]
    looker.click("text=Show all")
    looker.page.select_option("[name=base]", "llama-3.1-8b")
    looker.click("text=Find")
    assert f"{SHOWN} of {MANY} adapters" in looker.page.inner_text("main")
    looker.click("a[rel=next]")
    assert "base=llama-3.1-8b" in looker.page.url
    assert f"{SHOWN} of {MANY} adapters" in looker.page.inner_text("main")
    looker.open("/")
    looker.click(".counts >> text=critical")
    assert shown(looker) == ["support"]
    looker.page.fill("[name=q]", "<script>alert(1)</script>")
    looker.click("text=Find")
    assert "No adapter matches." in looker.page.inner_text("main")
    assert (looker.dialogs, looker.complaints) == ([], [])


@pytest.mark.usefixtures("crowd")
def test_adapters_are_sorted_and_grouped_on_the_server(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.click("thead >> text=Adapter")
    assert looker.page.locator("th[aria-sort=ascending]").inner_text().startswith("Adapter")
    by_name = shown(looker)
    assert by_name == sorted(by_name, key=str.casefold)
    looker.click("thead >> text=Records, last hour")
    heard = looker.page.locator("[data-live=fleet] td:nth-last-child(2)").all_inner_texts()
    numbers = [int(one.replace(",", "")) for one in heard]
    assert numbers == sorted(numbers, reverse=True)
    looker.click("thead >> text=Records, last hour")
    assert shown(looker)[0] == "support"  # a second click: worst first again
    looker.page.select_option("[name=group]", "owner")
    looker.click("text=Find")
    headings = looker.page.locator("tr.group").all_inner_texts()
    owners = [one.split()[0] for one in headings]
    assert owners == sorted(owners)
    (platform,) = [one for one in headings if one.startswith("platform")]
    assert f"{MANY} learning" in platform  # the whole group, wherever the page ends
    looker.click("a[rel=next]")
    assert "group=owner" in looker.page.url
    assert looker.page.locator("tr.group").all_inner_texts()[0].startswith("platform")
    assert (looker.complaints, looker.foreign) == ([], [])


@pytest.mark.usefixtures("crowd")
def test_references_that_wait_for_somebody_are_found(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.page.select_option("[name=reference]", "none")
    looker.click("text=Find")
    assert "tenant-000" in shown(looker)
    looker.page.select_option("[name=reference]", "approved")
    looker.click("text=Find")
    assert "support" in shown(looker)
    assert "tenant-000" not in shown(looker)
    cells = looker.page.locator("[data-label=Reference]").all_inner_texts()
    assert {one.split()[0] for one in cells} == {"approved"}


@pytest.mark.usefixtures("crowd")
def test_routes_are_found_and_walked_through(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.open("/routes")
    rows = looker.page.locator("[data-live=routes] tbody tr")
    assert "support" in rows.first.inner_text()  # its traffic was moved
    assert rows.count() == SHOWN
    looker.click("a[rel=next]")
    assert "page=2" in looker.page.url
    looker.page.fill("[name=q]", "TENANT-14")
    looker.click("text=Find")
    assert rows.count() == 10
    assert "10 of 10 routes" in looker.page.inner_text("[data-live=routes]")
    looker.page.fill("[name=q]", "nobody")
    looker.click("text=Find")
    assert "No adapter matches." in rows.inner_text()
    assert (looker.complaints, looker.foreign) == ([], [])


def test_a_move_to_approve_and_a_router_that_goes_its_own_way_are_on_the_first_page(
    service: Serving, look: Callable[..., Looker]
) -> None:
    with service.database.begin() as tx:
        moves.seed(tx, now=datetime.now(UTC))
    looker = look()
    looker.log_in()
    notices = looker.page.inner_text("[data-live=notices]")
    assert "A router does not follow the route of sales/eu." in notices
    row = looker.page.locator("[data-live=fleet] tr", has_text="acme/refunds")
    assert "approve a move" in row.inner_text()
    looker.click(row.locator("a.judge"))
    looker.page.wait_for_url("**-title")
    with service.database.begin() as tx:
        tx.execute(sa.text("DELETE FROM route_failures"))
    looker.open("/")
    assert "A router does not follow" not in looker.page.inner_text("[data-live=notices]")
    assert looker.complaints == []


@pytest.mark.usefixtures("crowd")
def test_who_is_in_trouble_is_said_in_the_words_of_its_incident(
    look: Callable[..., Looker],
) -> None:
    looker = look()
    looker.log_in()
    hours = looker.page.locator("[data-row=travel-assistant] svg.hours")
    assert (hours.get_attribute("aria-label") or "").split(", ")[-1].startswith("drifting from ")
    row = looker.page.locator("[data-live=fleet] tr", has_text="travel-assistant").inner_text()
    assert "requests unlike the training examples" in row
    assert "#2" in row
    looker.click("[data-live=fleet] >> text=#2")
    looker.page.wait_for_url("**/incidents/2")


@pytest.mark.usefixtures("crowd")
def test_on_a_phone_healthy_adapters_take_one_line_below_those_in_trouble(
    look: Callable[..., Looker],
) -> None:
    looker = look(width=390)
    looker.log_in()
    counted = looker.page.inner_text(".counts").split("\n")
    assert [one.strip() for one in counted] == [
        "1 critical",
        "1 drifting",
        "1 checks failing",
        "1 too little traffic",
        f"{MANY + 2} learning",
        "6 healthy",
    ]
    looker.open("/?q=i")
    kinds = looker.page.locator("[data-live=fleet] tr").evaluate_all(
        "rows => rows.map((row) => row.className)"
    )
    assert kinds == sorted(kinds, key=[kind.value for kind in WORST_FIRST].index)
    healthy = looker.page.locator("[data-live=fleet] tr.stable")
    assert healthy.count() > 1
    for row in healthy.all():
        box = row.bounding_box()
        assert box is not None
        assert box["height"] < 44
        assert row.locator("[data-label=Route]").is_visible()
        assert not row.locator(".reason").is_visible()
    assert looker.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.usefixtures("crowd")
def test_a_refresh_takes_a_few_kilobytes(service: Serving) -> None:
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        packed = client.get("/")
        plain = client.get("/", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 20_000
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert len(plain.content) < 100_000
