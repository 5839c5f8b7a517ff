"""A canary on its page: intervals beside their margins, and what a person may say of it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from monitor.domain import Scope
from monitor.routing.canary.states import CanaryState, Pause, Phase, Plan, Step
from monitor.store.canaries import CanaryId, Look
from monitor.web.canaries import happened, possible
from monitor.web.forecast import forecast
from tests.serving import Serving
from tests.web import moves, trials
from tests.web.conftest import Looker

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def canaries(service: Serving) -> Mapping[str, CanaryId]:
    """Canaries by their phase, in a fleet that was moved about."""
    now = datetime.now(UTC)

    def seed(tx: Connection) -> Mapping[str, CanaryId]:
        moves.seed(tx, now=now)
        return trials.seed(tx, now=now)

    return service.database.run(seed)


def test_a_running_canary_shows_its_intervals_against_their_margins_and_its_verdicts_date(
    canaries: Mapping[str, CanaryId], look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in()
    looker.page.click("nav >> text=Canaries")
    active = looker.page.inner_text("[data-live=active]")
    for words in ("catalogue@v2", "paused permission", "in its pre-checks", trials.HOSTILE):
        assert words in active, words
    assert "rolled back latched" in looker.page.inner_text("[data-live=ended]")
    looker.page.click(f"#canary-{canaries['running']}")
    text = looker.page.inner_text("main")
    for words in ("running", "15 h of 24 h", "of 400 beside", "Left unchecked", "not measured"):
        assert words in text, words
    ends = datetime.now(UTC) + timedelta(hours=9 + 12)
    assert f"{ends.day} {ends:%b} {ends:%H}" in looker.page.inner_text("#verdict-at")
    drawn = looker.page.evaluate(
        """() => [...document.querySelectorAll(".guards tbody svg.rack")].map((one) => {
            const at = (name) => one.querySelector(name)?.getBoundingClientRect();
            const says = one.querySelector("g").className.baseVal;
            return {margin: at(".margin").x, end: at(".interval").right, says};
        })"""
    )
    assert len(drawn) == 5
    assert len({round(one["margin"]) for one in drawn}) == 1  # one line for all
    for one in drawn:  # inside its margin is what is drawn left of it
        assert (one["says"] == "passed") == (one["end"] < one["margin"])
    # what could not be looked at for a while is a gap
    assert looker.page.locator("svg.band").first.locator("polygon").count() == 2
    assert looker.page.locator("svg.band").count() == 5
    looker.open("/canaries/4711")
    assert "canary 4711" in looker.page.inner_text("main")
    assert [line for line in looker.complaints if "404" not in line] == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_of_routes_and_canaries_fit_and_hostile_text_stays_text(
    canaries: Mapping[str, CanaryId], look: Callable[..., Looker], width: int, scheme: str
) -> None:
    looker = look(width=width, scheme=scheme)
    looker.log_in(Scope.ADMIN)
    pages = ["/", "/routes", "/routes/support", "/routes/acme%2Frefunds", "/canaries"]
    for path in (*pages, *(f"/canaries/{canary}" for canary in canaries.values())):
        looker.open(path)
        over = looker.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{path} is {over} px too wide"
    looker.open(f"/canaries/{canaries['held']}")
    assert trials.HOSTILE in looker.page.inner_text("h1")
    assert "It would roll back" in looker.page.inner_text("[data-live=why]")
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_the_verdicts_date_follows_time_requests_and_standing_still() -> None:
    plan = Plan(steps=(Step(weight=0.1, lasts=DAY), Step(weight=0.5, lasts=DAY / 2)), extensions=3)
    begun = NOW - DAY / 2
    running = CanaryState(phase=Phase.RUNNING, step_since=begun, clock_since=begun, placed=True)
    seen = forecast(running, plan, requests=190, now=NOW)
    assert (seen.step_at, seen.verdict_at) == (NOW + DAY / 2, NOW + DAY)
    assert seen.latest_at == begun + 4 * DAY + 2 * DAY
    # 50 in half a day: 200 take two, and five times the weight a fifth of that
    slow = forecast(running, plan, requests=50, now=NOW)
    assert (slow.step_at, slow.verdict_at) == (NOW + 1.5 * DAY, NOW + 2 * DAY)
    paused = CanaryState(
        phase=Phase.PAUSED, pause=Pause.MANUAL, placed=True,
        step_since=begun, clock_since=begun, stopped_at=NOW - DAY / 4,
    )  # fmt: skip
    assert forecast(paused, plan, requests=190, now=NOW).step_at == NOW + 0.75 * DAY
    assert forecast(running, plan, requests=None, now=NOW).verdict_at is None
    assert forecast(running, plan, requests=1, now=NOW + 9 * DAY).verdict_at is None
    assert forecast(CanaryState(), plan, requests=None, now=NOW).latest_at is None


def test_looks_that_came_to_the_same_are_one_line_and_other_events_are_not() -> None:
    def at(minute: int, event: str = "looked", outcome: str | None = "unsure") -> Look:
        return Look(
            at=NOW + timedelta(minutes=minute), event=event, phase="running", pause=None, step=0,
            weight=0.1, reason=str(minute), actor="driftline", outcome=outcome,
        )  # fmt: skip

    told = happened([at(0, "checked"), at(5), at(10), at(15, outcome="passed"), at(20, "ordered")])
    assert [(one.last.reason, one.times) for one in told] == [
        ("20", 1),
        ("15", 1),
        ("10", 2),
        ("0", 1),
    ]
    assert told[2].first_at == NOW + timedelta(minutes=5)


def test_only_orders_that_make_sense_are_offered() -> None:
    offered = {
        phase: [order.value for order in possible(CanaryState(phase=phase, placed=True))]
        for phase in Phase
    }
    assert offered[Phase.RUNNING] == ["pause", "promote", "abort"]
    assert offered[Phase.PAUSED] == ["resume", "promote", "abort"]
    assert offered[Phase.PRECHECKS] == ["abort"]
    assert offered[Phase.PROMOTING] == offered[Phase.SUCCEEDED] == []
    latched = CanaryState(phase=Phase.ROLLED_BACK, latched=True)
    assert [order.value for order in possible(latched)] == ["resume"]
