"""How much is compared, on the pages where a verdict stands."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from alerts import incident as machine
from alerts.types import Blame, Kind
from alerts.types import Severity as Urgency
from monitor.domain import IncidentId, Scope, VerdictSeverity
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.registry import versions
from monitor.web.wording import NOTHING
from tests import worlds
from tests.serving import Serving
from tests.uncompared import blind
from tests.web.conftest import Looker

GAP = "92 use temperature 0.7, which the reference does not cover"


@pytest.fixture
def told(service: Serving) -> IncidentId:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=0.2)
        version = versions.fetch(tx, adapter="billing", name="v1")
        assert version is not None
        since = now - timedelta(hours=30)
        blind(tx, version, now=now, since=since)
        return IncidentId(incidents.put(tx, StoredKey.of(version, Kind.BLIND.value), _open(since)))


def _open(since: datetime) -> IncidentUpdate:
    state = machine.IncidentState(
        phase=machine.IncidentPhase.FIRING, number=1, told=Urgency.TICKET, since=since
    )
    return IncidentUpdate(
        number=1,
        phase="firing",
        state=machine.to_json(state),
        severity=VerdictSeverity.TICKET,
        blame=Blame.UNKNOWN,
        summary="billing@v1 is not monitored: 92 % of requests use temperature 0.7",
        opened_at=since,
        closed_at=None,
    )


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("width", [1440, 390])
def test_the_fleet_shows_the_blind_and_what_each_adapter_compares(
    look: Callable[..., Looker], width: int
) -> None:
    looker = look(width=width)
    looker.log_in()
    row = looker.page.locator("tbody tr.blind")
    assert row.count() == 1
    assert "8 % certainty of answers" in " ".join(
        row.locator("[data-label=Compared]").inner_text().split()
    )
    assert "1 not covered" in looker.page.locator(".counts").inner_text()
    quiet = looker.page.locator("tbody tr.stable").first
    assert quiet.locator("[data-label=Compared]").inner_text().split()[-1] == NOTHING
    _no_sideways_scroll(looker)
    assert looker.complaints == []


@pytest.mark.usefixtures("told")
def test_adapters_of_which_little_is_compared_are_found(
    look: Callable[..., Looker], service: Serving
) -> None:
    looker = look()
    looker.log_in()
    looker.click("thead >> text=Compared")
    looker.page.select_option("[name=compared]", "less than half")
    looker.click("text=Find")
    cells = looker.page.locator("[data-label=Compared]").all_inner_texts()
    assert [one for one in cells if one != NOTHING] == ["8 % certainty of answers"]
    with service.client(Scope.READ) as client:
        found = client.get("/v1/adapters", params={"covered_below": 0.5}).json()["items"]
        enough = client.get("/v1/adapters", params={"covered_below": 0.05}).json()["items"]
    assert {one["adapter"] for one in found} - {one["adapter"] for one in enough} == {"billing"}


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("width", [1440, 390])
def test_an_adapter_shows_what_is_not_compared_why_and_since_when(
    look: Callable[..., Looker], width: int
) -> None:
    looker = look(width=width)
    looker.log_in()
    looker.open("/adapters/billing")
    assert (
        "8 % of requests compared (certainty of answers)"
        in looker.page.locator(".head").inner_text()
    )
    section = looker.page.locator("[data-live=coverage]")
    first = section.locator("tbody tr").first
    for words in ("certainty of answers", "8 of 100", GAP, "since 30 h ago", "8 % of 100"):
        assert words in first.inner_text(), words
    assert first.locator("progress").get_attribute("value") == "8"
    assert "sampling set 36,112 of" in section.inner_text()
    _no_sideways_scroll(looker)
    assert looker.complaints == []


def test_an_incident_of_this_kind_shows_it_before_its_charts(
    told: IncidentId, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in()
    looker.open(f"/incidents/{told}")
    titles = looker.page.locator("main h2").all_inner_texts()
    assert titles.index("What is compared now") < titles.index(
        "Signals none outside the normal range, of the requests that were compared"
    )
    section = looker.page.locator("[data-live=coverage]").inner_text()
    assert GAP in section
    assert "driftline reference learn billing v1" in section
    assert looker.page.locator("[data-live=coverage] a[href='/runbooks/kind-blind']").count() == 1
    assert looker.complaints == []


@pytest.mark.usefixtures("told")
def test_the_receipt_tells_what_was_not_compared(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.open("/budget")
    lines = looker.page.locator("#uncompared li").all_inner_texts()
    assert lines == [
        f"billing v1 blind for 30 h; certainty of answers compared 8 of 100 requests; {GAP}"
    ]
    assert looker.complaints == []


def _no_sideways_scroll(looker: Looker) -> None:
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not looker.page.evaluate(wide)
