"""What on-call needs first stands on the first screen of every kind of incident."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest

from monitor.domain import IncidentId, Scope
from tests.serving import Serving
from tests.web import kinds, moves, trials
from tests.web.conftest import Looker

KINDS = ("drift", "blind", "canary", "fleet")
WIDE, NARROW = (1440, 900), (390, 844)


@pytest.fixture
def told(service: Serving) -> Mapping[str, IncidentId]:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        moves.seed(tx, now=now)
        trials.seed(tx, now=now)
        return kinds.seed(tx, now=now)


def below(looker: Looker, selector: str, screen: int) -> list[str]:
    """Return the texts of what ends below the first screen."""
    ends = """(every) => every.filter((one) => one.checkVisibility()).map(
        (one) => [one.innerText, one.getBoundingClientRect().bottom + scrollY]
    )"""
    found = looker.page.locator(selector).evaluate_all(ends)
    assert found, selector
    return [f"{text} ends at {end:.0f}" for text, end in found if end > screen]


@pytest.mark.parametrize(("width", "height"), [WIDE, NARROW])
def test_what_happened_and_acknowledge_are_on_the_first_screen(
    told: Mapping[str, IncidentId], look: Callable[..., Looker], width: int, height: int
) -> None:
    looker = look(width=width)
    looker.page.set_viewport_size({"width": width, "height": height})
    looker.log_in(Scope.ADMIN)
    lower = {}
    for kind in KINDS:
        looker.open(f"/incidents/{told[kind]}")
        said = looker.page.locator("dl.said dt").all_inner_texts()
        assert {"Users", "Driftline"} <= set(said), kind
        first = ["section.why .reason", "dl.said > div", "button[value=ack]"]
        if (width, height) == WIDE:
            first += ["#do-title", ".do button, .do summary", ".who, #route-title"]
        lower[kind] = [text for one in first for text in below(looker, one, height)]
    assert lower == {kind: [] for kind in KINDS}


def test_the_numbers_of_coverage_and_of_a_canary_stand_below_the_buttons(
    told: Mapping[str, IncidentId], look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    for kind, title in (("blind", "#coverage-title"), ("canary", "#trial-title")):
        looker.open(f"/incidents/{told[kind]}")
        form, numbers = (looker.page.locator(one).bounding_box() for one in (".do", title))
        assert form is not None
        assert numbers is not None
        assert form["y"] + form["height"] < numbers["y"]


def test_a_fleet_incident_leads_to_a_silence_of_its_kind(
    told: Mapping[str, IncidentId], look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open(f"/incidents/{told['fleet']}")
    looker.click("text=Silence…")
    page = looker.page
    chosen = {name: page.input_value(f"[name={name}]") for name in ("severity", "kind", "blame")}
    assert chosen == {"severity": "page", "kind": "drift", "blame": "base"}
    assert page.input_value("[name=adapter]") == ""
    assert looker.complaints == []
