"""The inbox: which incidents wait for somebody, found and walked through without a mouse."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from monitor.domain import Scope
from monitor.outbox.acknowledging import acknowledge
from monitor.outbox.marking import Hearers
from monitor.store.incidents import incidents
from tests import worlds
from tests.serving import Serving
from tests.web.conftest import Looker

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def fleet(service: Serving) -> None:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.3)


def shown(looker: Looker) -> list[str]:
    return looker.page.locator("#inbox tbody tr").all_inner_texts()


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_what_waits_for_somebody_is_first_and_fits(
    look: Callable[..., Looker], width: int, scheme: str
) -> None:
    looker = look(width=width, scheme=scheme)
    looker.log_in()
    looker.click("nav >> text=Incidents")
    assert looker.page.get_attribute("nav a:has-text('Incidents')", "aria-current") == "page"
    first, *_ = shown(looker)
    assert "support@v7" in first
    assert "page" in first
    assert looker.page.evaluate("document.documentElement.scrollWidth") <= width
    assert (looker.complaints, looker.foreign) == ([], [])


@pytest.mark.usefixtures("fleet")
def test_an_acknowledged_incident_leaves_the_open_ones(
    service: Serving, look: Callable[..., Looker]
) -> None:
    with service.database.begin() as tx:
        [row] = [one for one in incidents.incident_list(tx) if one.adapter == "support"]
        acknowledge(
            tx,
            row.id,
            by="ann",
            lasts=timedelta(hours=2),
            now=datetime.now(UTC),
            hearers=Hearers(),
        )
    looker = look()
    looker.log_in()
    looker.open("/incidents")
    assert not any("support@v7" in text for text in shown(looker))
    looker.click("text=Acknowledged 1")
    [text] = shown(looker)
    assert "support@v7" in text
    assert "ann until" in text


@pytest.mark.usefixtures("fleet")
def test_filters_narrow_it_and_say_when_nothing_is_left(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.open("/incidents")
    everything = len(shown(looker))
    looker.page.select_option("[name=severity]", "page")
    looker.click("text=Filter")
    assert 0 < len(shown(looker)) < everything
    assert all("page" in text for text in shown(looker))
    looker.page.select_option("[name=severity]", "")
    looker.page.fill("[name=adapter]", HOSTILE)
    looker.click("text=Filter")
    assert "No open incident matches the filter." in looker.page.inner_text("main")
    assert looker.page.input_value("[name=adapter]") == HOSTILE
    looker.click("text=Clear")
    assert len(shown(looker)) == everything
    assert (looker.dialogs, looker.complaints) == ([], [])


@pytest.mark.usefixtures("fleet")
def test_keys_walk_from_incident_to_incident_and_open_one(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.open("/incidents")
    links = looker.page.locator("#inbox tbody th a").all_inner_texts()
    looker.page.keyboard.press("j")
    looker.page.keyboard.press("j")
    focused = "document.activeElement.textContent"
    assert looker.page.evaluate(focused) == links[1]
    looker.page.keyboard.press("k")
    assert looker.page.evaluate(focused) == links[0]
    looker.page.keyboard.press("/")
    looker.page.keyboard.type("jk")
    assert looker.page.input_value("[name=adapter]") == "jk"
    looker.page.locator("#inbox tbody th a").first.focus()
    looker.page.keyboard.press("Enter")
    looker.page.wait_for_url(f"**/incidents/{links[0].removeprefix('#')}")


def test_an_empty_inbox_says_so(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.open("/incidents")
    assert "No incident is open." in looker.page.inner_text("main")


def test_a_browser_is_told_of_an_unknown_path_in_a_page(
    service: Serving, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in()
    looker.open("/incident")
    assert "Not Found" in looker.page.inner_text("h1")
    assert "See the fleet" in looker.page.inner_text("main")
    with service.client(Scope.READ) as client:
        asked = client.get("/incident", headers={"accept": "application/json"})
        api = client.get("/v1/incident", headers={"accept": "text/html"})
    assert asked.headers["content-type"] == api.headers["content-type"]
    assert api.json()["status"] == 404
