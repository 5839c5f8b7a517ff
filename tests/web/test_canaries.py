"""A canary on its page: intervals beside their margins, and what a person may say of it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from sqlalchemy import Connection

from alerts.types import Blame
from monitor.domain import Scope, VerdictSeverity
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.registry import versions
from monitor.store.traffic import canaries as stored
from monitor.store.traffic import routes
from monitor.store.traffic.canaries import CanaryId
from monitor.store.traffic.canary_looks import CanaryEvent
from monitor.traffic.trial.states import CanaryState, Phase
from monitor.web.canaries import happened, possible
from tests.serving import Serving
from tests.web import moves, trials
from tests.web.conftest import Looker

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


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
    shown = looker.page.locator("td[data-label=Route] a")
    assert set(shown.all_inner_texts()) == {"fallback", "canary"}
    links = [shown.nth(n).get_attribute("href") for n in range(shown.count())]
    assert {"/routes/support", f"/canaries/{canaries['running']}"} <= set(links)
    looker.click("nav >> text=Canaries")
    active = looker.page.inner_text("[data-live=active]")
    for words in ("catalogue@v2", "paused waits for you", "in its pre-checks", trials.HOSTILE):
        assert words in active, words
    assert "rolled back stays out" in looker.page.inner_text("[data-live=ended]")
    looker.click(f"#canary-{canaries['running']}")
    text = looker.page.inner_text("main")
    for words in ("running", "15 h of 24 h", "of 400 beside", "Skipped pre-checks", "not measured"):
        assert words in text, words
    ends = datetime.now(UTC) + timedelta(hours=9 + 12)
    assert f"{ends.day} {ends:%b} {ends:%H}" in looker.page.inner_text("#verdict-at")
    checked = looker.page.context.new_page()
    checked.goto(f"{looker.service.url}/canaries/{canaries['checked']}")
    assert "step 1 (10 %) reaches 400 requests of v2" in checked.inner_text("#warning")
    assert checked.inner_text("#verdict-at") == "a person must decide, at this traffic"
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
    looker.open("/routes")
    asking = looker.page.inner_text("[data-live=waiting]")
    assert f"paused: waits for you canary onboarding@{trials.HOSTILE} would roll back" in asking
    looker.click(f"[data-live=waiting] a[href='/canaries/{canaries['held']}']")
    assert trials.HOSTILE in looker.page.inner_text("h1")
    assert "Roll it back, or resume it." in looker.page.inner_text("[data-live=why]")
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_a_person_pauses_a_canary_and_ends_it_and_another_is_planned_and_begun(
    service: Serving, canaries: Mapping[str, CanaryId], look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    page = looker.page
    looker.open(f"/canaries/{canaries['running']}")
    page.fill("#why", "a <b>deploy</b>")
    looker.click("button[value=pause]")
    assert "paused by for admin: a <b>deploy</b>" in page.inner_text("[data-live=why]")
    looker.click("#promote")
    page.fill("#why", "we know better")
    assert "Not proven" in page.inner_text("details.confirm")
    page.fill("#why", "it is enough")
    looker.click("button[value=abort]")
    assert "being rolled back" in page.inner_text("[data-live=head]")
    moved = service.database.run(lambda tx: routes.get(tx, "catalogue"))
    assert moved is not None
    assert [arm.version for arm in moved.arms if arm.weight] == ["v1"]
    looker.open("/routes/catalogue")
    assert "aborted by for admin: it is enough" in page.inner_text("[data-live=force]")

    looker.open("/canaries")
    looker.click("text=Plan and start one")
    page.select_option("#of", label="billing@v2")
    looker.click("text=Plan >> nth=-1")
    assert "167" in page.inner_text("main") or "334" in page.inner_text("main")  # a day's records
    page.fill("[name=per_day]", "20000")
    looker.click("button:has-text('Plan')")
    chosen = page.locator("tr.chosen")
    assert "chosen" in chosen.inner_text()
    looker.click(page.locator("tbody tr").nth(5).locator("a"))
    assert page.input_value("[name=weight]") == "35"
    days = float(page.locator("tr.chosen td").nth(0).inner_text().split()[0])
    assert float(page.input_value("[name=hours]")) >= 24 * days - 1
    looker.click("text=Begin with billing@v2")
    page.wait_for_url("**/canaries/*")
    assert "35 % at least" in page.inner_text("[data-live=steps]")
    assert "0 % of the traffic" in page.inner_text("[data-live=head]")
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_a_person_resumes_a_canary_and_puts_it_in_charge_all_the_same(
    service: Serving, canaries: Mapping[str, CanaryId], look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    page = looker.page
    looker.open(f"/canaries/{canaries['running']}")
    page.fill("#why", "a deploy")
    looker.click("button[value=pause]")
    page.fill("#why", "the deploy is over")
    looker.click("button[value=resume]")
    assert "running" in page.inner_text("[data-live=head]")
    looker.click("#promote")
    page.fill("#why", "the owner asks for it")
    looker.click("button[value=force]")
    assert "being promoted" in page.inner_text("[data-live=head]")
    moved = service.database.run(lambda tx: routes.get(tx, "catalogue"))
    assert moved is not None
    assert [arm.version for arm in moved.arms if arm.weight] == ["v2"]
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_what_is_no_order_or_no_plan_changes_nothing_and_says_why(
    service: Serving, canaries: Mapping[str, CanaryId]
) -> None:
    running, held = canaries["running"], canaries["held"]
    order = f"/canaries/{running}/order"

    def post(
        path: str, *, scope: Scope = Scope.ADMIN, site: str = "same-origin", **fields: str
    ) -> httpx2.Response:
        with service.client() as client:
            client.post("/login", data={"key": service.keys[scope]})
            return client.post(path, data=fields, headers={"sec-fetch-site": site})

    with service.client() as stranger:
        for path in (order, "/canaries"):
            assert stranger.post(path, data={"order": "abort"}).headers["location"] == "/login"
        for path in ("/canaries", "/canaries/new", f"/canaries/{running}"):
            assert stranger.get(path).headers["location"] == "/login"
    for refused in (
        post(order, scope=Scope.READ, order="abort", reason="x"),
        post(order, site="cross-site", order="abort", reason="x"),
        post(order, order="abort"),
        post(order, order="explode", reason="x"),
        post("/canaries", scope=Scope.READ, of="1", how="config"),
    ):
        assert refused.status_code == 403
    unproven = post(order, order="promote", reason="x")
    assert (unproven.status_code, "with force" in unproven.text) == (409, True)
    assert post("/canaries/4711/order", order="abort", reason="x").status_code == 404
    back = service.database.run(lambda tx: stored.fetch(tx, canaries["back"]))
    for fields, status, words in (
        ({"of": str(back.version_id), "how": "config"}, 409, "was rolled back"),
        ({"of": "x", "how": "config"}, 422, "is not a number"),
        ({"of": "4711", "how": "config"}, 422, "no version"),
        ({"of": str(back.version_id), "how": "one", "weight": "0"}, 422, "weight"),
        ({"of": str(back.version_id), "how": "one", "weight": "5", "hours": "-1"}, 422, "hours"),
        (
            {"of": str(back.version_id), "how": "one", "weight": "5", "hours": "1",
             "requests": "3"}, 422, "at least 200",
        ),
    ):  # fmt: skip
        answer = post("/canaries", **fields)  # type: ignore[arg-type]  # fields of a form
        assert (answer.status_code, words in answer.text) == (status, True), (fields, answer.text)
    kept = service.database.run(lambda tx: (stored.fetch(tx, running), stored.fetch(tx, held)))
    assert [row.phase for row in kept] == ["running", "paused"]


def test_looks_that_came_to_the_same_are_one_line_and_other_events_are_not() -> None:
    def at(minute: int, event: str = "looked", outcome: str | None = "unsure") -> CanaryEvent:
        return CanaryEvent(
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
    assert offered[Phase.PROMOTING] == ["abort"]
    assert offered[Phase.SUCCEEDED] == offered[Phase.ROLLING_BACK] == []
    latched = CanaryState(phase=Phase.ROLLED_BACK, latched=True)
    assert [order.value for order in possible(latched)] == ["resume"]


def test_the_incident_of_a_canary_shows_its_intervals(
    service: Serving, canaries: Mapping[str, CanaryId]
) -> None:
    with service.database.begin() as tx:
        version = versions.fetch(tx, adapter="legal-summaries", name="v2")
        assert version is not None
        update = IncidentUpdate(
            number=1,
            phase="firing",
            state={},
            severity=VerdictSeverity.TICKET,
            blame=Blame.UNKNOWN,
            summary="legal-summaries@v2: canary rolled back, answers worse than v1",
            opened_at=datetime.now(UTC),
            closed_at=None,
        )
        incident = incidents.put(tx, StoredKey.of(version, "canary"), update)
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        page = client.get(f"/incidents/{incident}").text
    assert f'<a href="/canaries/{canaries["back"]}">canary</a>' in page
    shown = page.split('data-live="trial"')[1].split("</section>")[0]
    assert shown.count('class="rack"') > 1
    assert '<span class="says failed">worse</span>' in shown


@pytest.mark.parametrize(
    ("adapter", "name", "why"),
    [
        ("support", "v6", "v6 answers in place of v7: a canary needs a version in charge"),
        ("catalogue", "v1", "v1 is in charge already"),  # though a canary of v2 is under way
    ],
)
@pytest.mark.usefixtures("canaries")
def test_no_canary_is_offered_that_could_not_begin(
    service: Serving, look: Callable[..., Looker], adapter: str, name: str, why: str
) -> None:
    with service.database.begin() as tx:
        version = versions.fetch(tx, adapter=adapter, name=name)
    assert version is not None
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open(f"/canaries/new?of={version.id}")
    assert f"Not possible now: {why}." in looker.page.inner_text("main")
    assert looker.page.locator("form.begin").count() == 0
