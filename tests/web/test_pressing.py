"""Buttons, filters and links that no other test presses, in a real browser."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from monitor.domain import ActionId, Scope
from monitor.store.references import references
from monitor.store.registry import adapters, versions
from monitor.store.traffic import canaries as stored
from monitor.store.traffic import routes
from monitor.store.traffic.canaries import CanaryId
from monitor.traffic.trial.states import plan_from_json
from monitor.web import canaries as canary_lists
from monitor.web import inbox_pages, service_pages, traffic
from tests import newcomers, worlds
from tests.serving import Serving
from tests.web import kinds, moves, trials
from tests.web.conftest import Looker


class World:
    """A fleet with something for every button, and an operator in front of it."""

    def __init__(self, service: Serving, looker: Looker) -> None:
        now = datetime.now(UTC)
        self.service, self.looker, self.page = service, looker, looker.page
        with service.database.begin() as tx:
            self.waits: ActionId = moves.seed(tx, now=now)
            self.canaries: Mapping[str, CanaryId] = trials.seed(tx, now=now)
            self.incidents = kinds.seed(tx, now=now)
            gold = adapters.put(tx, name="gilded", owner="metals", tier="gold")
            versions.put(tx, adapter=gold, name="v1", model="gilded", base_model=kinds.BASE)
            version = versions.fetch(tx, adapter="support", name="v7")
            assert version is not None
            newcomers.measure(tx, version, now=now, shift=0.3)
        looker.log_in(Scope.ADMIN)

    def open(self, path: str) -> None:
        self.looker.open(path)

    def click(self, where: str) -> None:
        self.looker.click(where)

    def calm(self) -> bool:
        return (self.looker.complaints, self.looker.dialogs, self.looker.foreign) == ([], [], [])


@pytest.fixture
def world(service: Serving, look: Callable[..., Looker]) -> World:
    return World(service, look())


def test_a_reference_is_approved(world: World) -> None:
    with world.service.database.begin() as tx:
        tx.execute(sa.text('UPDATE "references" SET approved_by = NULL'))
    world.open("/adapters/support")
    world.click("text=Approve generation 1…")
    world.click("text=Approve generation 1 now")
    world.page.wait_for_selector("text=approved by for admin")
    with world.service.database.begin() as tx:
        version = versions.fetch(tx, adapter="support", name="v7")
        assert version is not None
        found = references.current(tx, version.id)
    assert found is not None
    assert found.approved_by == "for admin"
    assert world.calm()


def test_a_range_is_chosen_shifted_zoomed_and_typed(world: World) -> None:
    page = world.page
    world.open("/adapters/support")
    world.click(".ranges >> text=7d")
    assert page.inner_text(".ranges [aria-current]") == "7d"
    shown = [page.inner_text("#custom summary")]
    for step in ("Zoom in", "Earlier", "Later", "Zoom out"):
        world.click(f".zoom >> text={step}")
        shown.append(page.inner_text("#custom summary"))
        assert page.locator(".ranges [aria-current]").count() == 0
    week, inner, earlier, later, outer = shown
    assert (later, outer) == (inner, week), "each step back undoes one"
    assert len({week, inner, earlier}) == 3
    world.click("#custom summary")
    page.fill("#custom [name=from]", "2026-01-02T03:00")
    page.fill("#custom [name=to]", "2026-01-03T04:00")
    world.click("#custom button")
    assert "2 Jan 03:00 to 3 Jan 04:00" in page.inner_text("#custom summary")
    assert world.calm()


def test_a_signal_is_compared_with_the_reference(world: World) -> None:
    page = world.page
    world.open("/adapters/support")
    words = page.locator("#histogram option").all_inner_texts()
    page.select_option("[name=signal]", label=words[-1])
    world.click("#histogram button")
    assert page.inner_text("#histogram-title") == f"Now beside the reference: {words[-1]}"
    assert page.locator("svg.histogram .of-live").count() > 1
    assert world.calm()


def test_a_report_is_asked_for(world: World) -> None:
    world.open("/adapters/support")
    world.click("text=Create the report")
    world.page.wait_for_url("**/adapters/support/report/*")
    assert "Waiting for a worker." in world.page.inner_text("main")
    assert world.calm()


def test_a_plan_follows_what_is_asked(world: World) -> None:
    page = world.page
    with world.service.database.begin() as tx:
        trial = versions.fetch(tx, adapter="billing", name="v2")
    assert trial is not None
    world.open(f"/canaries/new?of={trial.id}&per_day=20000")
    days = page.locator("tbody tr").first.locator("td").first
    before = float(days.inner_text().split()[0])
    for name, value in (("drop", "40"), ("margin", "15"), ("rate", "80"), ("days", "9")):
        page.fill(f"[name={name}]", value)
    world.click("button:has-text('Plan')")
    assert page.input_value("[name=days]") == "9"
    assert "Regression of 40 points seen after" in page.inner_text("table.plan")
    assert float(days.inner_text().split()[0]) < before, "a larger one is seen sooner"
    assert world.calm()


def test_a_proven_canary_is_promoted(world: World) -> None:
    page, canary = world.page, world.canaries["running"]
    with world.service.database.begin() as tx:
        proven = sa.text("UPDATE canaries SET state = state || '{\"ready\": true}' WHERE id = :id")
        tx.execute(proven, {"id": canary})
    world.open(f"/canaries/{canary}")
    page.fill("#why", "it is no worse")
    world.click("#promote")
    assert "Every guardrail is inside its margin" in page.inner_text("details.confirm")
    world.click("button[value=promote]")
    page.wait_for_selector("[data-live=head] >> text=being promoted")
    moved = world.service.database.run(lambda tx: routes.get(tx, "catalogue"))
    assert moved is not None
    assert [arm.version for arm in moved.arms if arm.weight] == ["v2"]
    assert world.calm()


def test_a_canary_that_was_rolled_back_is_let_try_again(world: World) -> None:
    page, canary = world.page, world.canaries["back"]
    world.open(f"/canaries/{canary}")
    page.fill("#why", "the tokenizer was at fault")
    world.click("button:has-text('Let it try again')")
    page.wait_for_selector("[data-live=why] >> text=for admin")
    row = world.service.database.run(lambda tx: stored.fetch(tx, canary))
    assert not row.latched
    assert world.calm()


def test_a_canary_that_came_to_nothing_is_extended(world: World) -> None:
    page, canary = world.page, world.canaries["held"]
    with world.service.database.begin() as tx:
        undecided = sa.text(
            "UPDATE canaries SET state = state ||"
            ' \'{"pause": "inconclusive", "proposal": null}\' WHERE id = :id'
        )
        tx.execute(undecided, {"id": canary})
    world.open(f"/canaries/{canary}")
    assert "Extend it, promote it or roll it back." in page.inner_text("[data-live=why]")
    page.fill("#why", "it needs another day")
    world.click("text=Extend >> nth=-1")
    page.wait_for_selector("[data-live=head] >> text=running")
    assert world.calm()


def test_an_action_is_approved_on_the_page_of_its_route(world: World) -> None:
    world.open(f"/routes/{worlds.path_part(moves.WAITS)}")
    world.click("text=Approve…")
    world.click("text=Move the traffic to v1 now")
    world.page.wait_for_selector("text=v1 answers every request; it was not evaluated yet.")
    moved = world.service.database.run(lambda tx: routes.get(tx, moves.WAITS))
    assert moved is not None
    assert [arm.version for arm in moved.arms if arm.weight] == ["v1"]
    assert world.calm()


@pytest.mark.parametrize("how", ["config", "shadow"])
def test_a_canary_begins_in_the_way_that_was_chosen(world: World, how: str) -> None:
    with world.service.database.begin() as tx:
        chosen = versions.fetch(tx, adapter="billing", name="v2")
    assert chosen is not None
    page = world.page
    world.open(f"/canaries/new?of={chosen.id}&per_day=20000")
    page.check(f"#{how}")
    page.select_option("[name=mode]", "observe")
    world.click("text=Leave out a pre-check")
    page.check("[name=skip_weights]")
    world.click("text=Begin with billing@v2")
    page.wait_for_url("**/canaries/*")
    number = CanaryId(int(page.url.rpartition("/")[2]))
    row = world.service.database.run(lambda tx: stored.fetch(tx, number))
    assert (row.mode, any("weights" in one for one in row.unchecked)) == ("observe", True)
    assert plan_from_json(row.plan).steps[0].shadow is (how == "shadow")
    assert world.calm()


FOUND = {
    "verdict": ("drifting", ["onboarding", "search-rewrite", "travel-assistant"]),
    "owner": ("metals", ["gilded"]),
    "tier": ("gold", ["gilded"]),
    "base": (kinds.BASE, ["gilded"]),
    "reference": ("building", ["returns"]),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_fleet_is_filtered_by_what_is_known(world: World, name: str) -> None:
    value, adapters_left = FOUND[name]
    world.page.select_option(f"[name={name}]", value)
    world.click("text=Find")
    assert world.page.locator("#fleet tbody th a").all_inner_texts() == adapters_left
    assert world.page.input_value(f"[name={name}]") == value
    assert world.calm()


def test_the_fleet_is_grouped_sorted_and_narrowed_to_what_is_compared(world: World) -> None:
    page = world.page
    page.select_option("[name=group]", "tier")
    page.select_option("[name=sort]", "name")
    page.select_option("[name=compared]", "less than half")
    world.click("text=Find")
    assert [one.split()[0] for one in page.locator("tr.group").all_inner_texts()] == [
        "gold",
        "standard",
    ]
    first, *names = page.locator("#fleet tbody th a").all_inner_texts()
    assert first == "gilded"
    assert names == sorted(names, key=str.casefold)
    assert "billing" in names
    assert world.calm()


def test_the_fleet_is_walked_back(world: World) -> None:
    world.open("/?page=2")
    world.click("text=Previous")
    assert "support" in world.page.locator("#fleet tbody th a").all_inner_texts()
    assert world.calm()


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("owner", "travel", ""), ("base", kinds.BASE, "fleet"), ("blame", "base", "fleet")],
)
def test_the_inbox_is_filtered(world: World, name: str, value: str, kind: str) -> None:
    world.open("/incidents")
    every = world.page.locator("#inbox tbody tr").count()
    world.page.select_option(f"[name={name}]", value)
    world.click("text=Filter")
    rows = world.page.locator("#inbox tbody tr")
    assert 0 < rows.count() < every
    told = rows.first.inner_text()
    assert (f"#{world.incidents[kind]}" if kind else "travel-assistant") in told
    assert world.calm()


def test_the_inbox_is_sorted_turned_over_and_shows_what_is_resolved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_pages, "SHOWN", 2)
    page = world.page
    world.open("/incidents")
    page.select_option("[name=order]", "newest")
    world.click("text=Filter")
    numbers = []
    while True:
        numbers += page.locator("#inbox tbody th a").all_inner_texts()
        if not page.locator("text=More").count():
            break
        world.click("text=More")
    assert len(numbers) == len(set(numbers)) > 2
    world.click("text=First page")
    assert page.locator("#inbox tbody th a").all_inner_texts() == numbers[:2]
    world.click("text=Resolved 1")
    told = page.locator("#inbox tbody tr").inner_text()
    assert f"#{world.incidents['resolved']}" in told
    assert "false alarm, ann" in told
    assert world.calm()


def test_lists_are_turned_over_to_what_is_older(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary_lists, "CANARIES_A_PAGE", 2)
    monkeypatch.setattr(traffic, "GENERATIONS_A_PAGE", 1)
    monkeypatch.setattr(service_pages, "SHOWN", 1)
    with world.service.database.begin() as tx:
        for channel in ("one", "other"):
            worlds.put_message(tx, 1, channel, at=datetime.now(UTC), error="HTTP 410", attempts=12)
        tx.execute(sa.text("UPDATE outbox SET state = 'dead' WHERE last_error = 'HTTP 410'"))
    for path, link, region in (
        ("/canaries", "older canaries", "main"),
        ("/routes/support", "older generations", "[data-live=history]"),
        ("/channels", "older messages", "main"),
        ("/audit", "older entries", "main"),
    ):
        world.open(path)
        newest = world.page.inner_text(region)
        world.click(f"text={link}")
        assert "before=" in world.page.url
        assert world.page.inner_text(region) != newest
    assert world.calm()
