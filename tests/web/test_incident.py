"""The page of an incident: what on-call sees and can do at three in the morning."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from alerts.message import Unseen
from alerts.types import Blame, VerdictKind
from monitor.domain import ArmKind, ChangeKind, IncidentId, Scope
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.record import record_observation
from monitor.store import audit
from monitor.store.evaluation import evaluations
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.people import changes
from monitor.store.registry import adapters, versions
from monitor.store.tables.incidents import outbox as outbox_table
from monitor.store.tables.records import record_texts
from monitor.store.traffic import retrainings, routes, trainings
from monitor.store.traffic.trainings import TrainingStep
from monitor.traffic.arms import ArmRequest
from tests import newcomers, worlds
from tests.alert_samples import CAUSE, UNSEEN
from tests.fleet import register, verdict
from tests.outbox.test_record import Nowhere
from tests.routed import Vllm, answering
from tests.serving import Serving, proof_of, serving
from tests.web import moves
from tests.web.conftest import Looker

TITLE = "<b>vLLM</b> 0.33"


@pytest.fixture
def paged(service: Serving) -> IncidentRow:
    """The page about ``support@v7``, whose traffic has been moved to v6."""
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=0.3)
        began = now - timedelta(hours=3, minutes=16, seconds=30)
        changes.add(
            tx,
            changes.Declaration(
                kind=ChangeKind.ENGINE,
                title=TITLE,
                adapters=None,
                begun_at=began,
                ended_at=began + timedelta(minutes=2),
                author="ann",
            ),
        )
        found = [row for row in incidents.incident_list(tx) if row.adapter == "support"]
    return found[0]


def stored(service: Serving, incident: IncidentId) -> IncidentRow:
    row = service.database.run(lambda tx: incidents.incident(tx, incident))
    assert row is not None
    return row


def test_it_blames_what_is_known_to_be_at_fault_by_now(
    paged: IncidentRow, service: Serving, look: Callable[..., Looker]
) -> None:
    assert paged.blame == Blame.ADAPTER
    with service.database.begin() as tx:
        told = {"id": paged.id}
        tx.execute(sa.text("UPDATE incidents SET blame = 'unknown' WHERE id = :id"), told)
    looker = look()
    looker.log_in()
    looker.open(f"/incidents/{paged.id}")
    assert "adapter (told as unknown)" in looker.page.inner_text("main")
    with service.client(Scope.READ) as client:
        found = client.get(f"/v1/incidents/{paged.id}").json()
    assert (found["blame"], found["blame_now"]) == ("unknown", "adapter")


PARTS = ("Users", "Likely cause", "Driftline")


@pytest.mark.parametrize("told", [True, False], ids=["told", "no channel"])
def test_the_first_screen_says_impact_cause_action_and_next_steps_with_and_without_a_channel(
    paged: IncidentRow, service: Serving, look: Callable[..., Looker], *, told: bool
) -> None:
    with service.database.begin() as tx:
        drifting = next(row for row in incidents.incident_list(tx) if row.id != paged.id)
        if not told:
            tx.execute(outbox_table.delete())
    looker = look()
    looker.log_in()
    for row in (paged, drifting):
        looker.open(f"/incidents/{row.id}")
        assert tuple(looker.page.locator(".said dt").all_inner_texts()) == PARTS
    looker.open(f"/incidents/{paged.id}")
    said = looker.page.locator(".said dd").all_inner_texts()
    assert "Answers since" in said[0]
    assert said[1].startswith("The adapter's weights (likely).")
    assert said[2].startswith("Traffic already went to v6")
    steps = looker.page.locator(".do .next li").all_inner_texts()
    first = next(step for step in steps if not step.startswith("Rule out what changed just"))
    assert "driftline inspect" in first
    with service.client(Scope.READ) as client:
        body = client.get(f"/v1/incidents/{paged.id}").json()["brief"]
    assert [body["impact"], body["likely_cause"], body["driftline"]] == said
    assert steps == [step.replace("`", "") for step in body["you"]]


def test_an_incident_that_is_over_says_what_it_was_though_nobody_was_told(
    paged: IncidentRow, service: Serving
) -> None:
    with service.database.begin() as tx:
        tx.execute(outbox_table.delete())
        over = {"id": paged.id, "now": datetime.now(UTC)}
        tx.execute(sa.text("UPDATE incidents SET closed_at = :now WHERE id = :id"), over)
    with service.client(Scope.READ) as client:
        body = client.get(f"/v1/incidents/{paged.id}").json()["brief"]
    assert " since " in body["impact"]
    assert "unlike the training" not in body["impact"], "it crossed no line of pages"
    assert body["likely_cause"] == "The adapter's weights."


def test_an_incident_of_adapters_on_one_base_says_what_happened_though_nobody_was_told(
    service: Serving,
) -> None:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        version = register(tx)
        adapter = adapters.fetch(tx, "support")
        assert adapter is not None
        record_observation(
            tx,
            version,
            verdict=verdict(VerdictKind.DRIFTING, blame=Blame.BASE),
            inputs=AlertInputs(adapter=adapter),
            channels=[],
            now=now,
        )
        [row] = [one for one in incidents.incident_list(tx) if one.base_model is not None]
    with service.client(Scope.READ) as client:
        body = client.get(f"/v1/incidents/{row.id}").json()["brief"]
    assert body["impact"].startswith("support@v7 changed since ")
    assert body["likely_cause"] == "The base model or the engine."
    assert body["driftline"] == "Automatic moves on this base are paused."
    assert body["you"]


def test_what_to_do_is_on_the_first_screen(paged: IncidentRow, look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open(f"/incidents/{paged.id}")
    button = looker.page.locator("button[value=ack]").bounding_box()
    assert button is not None
    assert button["y"] + button["height"] <= 900


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_says_what_since_when_who_and_what_was_done(
    paged: IncidentRow, look: Callable[..., Looker], width: int, scheme: str
) -> None:
    looker = look(width=width, scheme=scheme)
    looker.log_in()
    looker.open(f"/incidents/{paged.id}")
    text = looker.page.inner_text("main")
    for words in (
        "support@v7",
        "Answers since",
        "are less certain than normal ones in",
        "The adapter's weights (likely).",
        "Began between",
        "adapter",
        "v6 answers already",
        f"engine change: {TITLE} (began 5 min before the onset)",
        "sent to oncall-pagerduty: page",
        "not delivered to team-webhook yet after 3 attempts (HTTP 503): page",
        "critical: answers less certain, sure enough for a page",
        "Driftline moved 100 % of traffic to v6",
        "it began, by",
    ):
        assert words in text, words
    drawn = looker.page.evaluate(
        """() => {
            const every = [...document.querySelectorAll("svg.signals:not(.spark)")];
            const shown = every.filter((one) => one.checkVisibility());
            const marks = (kind) => shown[0].querySelectorAll(kind).length;
            return {
                charts: shown.length, sparks: document.querySelectorAll(".spark").length,
                words: [...shown[0].querySelectorAll("text")].map((one) => one.textContent),
                lines: marks(".effect") + marks(".dot"),
                margins: marks(".margin"), onsets: marks(".onset"), moved: marks(".mark"),
                paper: getComputedStyle(shown[0].querySelector(".paper")).fill,
                edge: getComputedStyle(shown[0].querySelector(".between")).stroke,
                overflow: document.documentElement.scrollWidth - innerWidth,
            };
        }"""
    )
    # of logit_ks, perplexity and repetition, which crossed, the strongest is drawn large
    assert (drawn["charts"], drawn["sparks"]) == (1, len(worlds.DETECTORS) - 1)
    assert (drawn["lines"], drawn["margins"], drawn["onsets"]) == (1, 1, 1)
    assert drawn["moved"] == 4  # two changes of verdict, one of route, one declared
    assert "critical" in drawn["words"]
    assert any(one.startswith("certainty of answers: answers less") for one in drawn["words"])
    assert (drawn["paper"], drawn["edge"]) == ("none", "none")  # the page's own, light or dark
    assert drawn["overflow"] <= 0
    buttons = looker.page.locator("#do-title").bounding_box()
    charts = looker.page.locator("#signals-title").bounding_box()
    assert buttons is not None
    assert charts is not None
    assert buttons["y"] < charts["y"]
    name = looker.page.locator("details.family:not([open])").first.get_attribute("id")
    looker.click(f"#{name} summary")
    assert looker.page.locator(f"#{name} .spark").first.is_visible()
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_somebody_takes_it_in_hand_routes_back_and_holds(
    service: Serving, paged: IncidentRow, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open(f"/incidents/{paged.id}")
    looker.click("button[value=ack]")
    looker.page.wait_for_selector("text=for admin, until")
    assert stored(service, paged.id).acknowledged_by == "for admin"

    looker.page.fill("#reason", "v7 was <i>reloaded</i>")
    assert not looker.page.is_visible("button[value=back]")
    looker.click("text=Route back to v7")
    looker.click("text=Move 100 % to v7 now")
    looker.page.wait_for_selector("text=Generation 3")
    moved = service.database.run(lambda tx: routes.row(tx, "support"))
    assert moved is not None
    assert [(arm.version, arm.weight) for arm in moved.route.arms] == [("v7", 1.0)]
    assert moved.actor == "for admin"
    assert moved.route.reason == f"v7 was <i>reloaded</i> (incident {paged.id})"
    assert looker.page.locator("button[value=back]").count() == 0

    looker.page.fill("#reason", "until the owner has looked")
    looker.click("button[value=hold]")
    looker.page.wait_for_selector("text=Held until")
    held = service.database.run(lambda tx: routes.row(tx, "support"))
    assert held is not None
    assert held.hold_until is not None
    assert held.hold_until > datetime.now(UTC) + timedelta(hours=23)

    looker.page.fill("#reason", "a load test of ours")
    looker.click("text=False alarm…")
    looker.click("button[value=false_page]")
    looker.page.wait_for_selector("text=marked as a false alarm by for admin")
    text = looker.page.inner_text("[data-live=timeline]")
    for words in (
        "for admin acknowledged it",
        "for admin marked it as a false alarm: a load test of ours",
    ):
        assert words in text, words
    assert "the incident is over" in text
    # how it ended is what the person said, and is not said again in other words
    assert "closed as a false alarm" not in looker.page.inner_text("main")
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_a_person_sends_traffic_away_and_accepts_what_goes_on(
    service: Serving, paged: IncidentRow, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open(f"/incidents/{paged.id}")
    for generation, summary, button in (
        (3, "Route back to v7", "Move 100 % to v7 now"),
        (4, "Send traffic to v6…", "Move 100 % to v6 now"),
    ):
        looker.page.fill("#reason", "to see which is better")
        looker.click(f"text={summary}")
        assert "takes every request" in looker.page.inner_text("details[open]")
        looker.click(f"text={button}")
        looker.page.wait_for_selector(f"text=Generation {generation}")
    route = service.database.run(lambda tx: routes.get(tx, "support"))
    assert route is not None
    assert {arm.version: arm.weight for arm in route.arms} == {"v7": 0.0, "v6": 1.0}

    looker.page.fill("#reason", "a new season")
    looker.click("text=Accept as normal…")
    looker.click("text=Accept v7 as it is now")
    looker.page.wait_for_selector("text=accepted as normal by for admin")
    assert stored(service, paged.id).closed_at is not None
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_a_person_approves_the_move_that_waits(
    service: Serving, look: Callable[..., Looker]
) -> None:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        moves.seed(tx, now=now)
        adapter = adapters.fetch(tx, moves.WAITS)
        version = versions.fetch(tx, adapter=moves.WAITS, name="v2")
        assert adapter is not None
        assert version is not None
        record_observation(
            tx,
            version,
            verdict=verdict(VerdictKind.CRITICAL, blame=Blame.ADAPTER),
            inputs=AlertInputs(adapter=adapter),
            channels=[ConfiguredChannel(name="desk", channel=Nowhere())],
            now=now,
        )
        of_it = [row for row in incidents.incident_list(tx) if row.adapter == moves.WAITS]
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open(f"/incidents/{of_it[0].id}")
    looker.click("text=Approve fallback…")
    looker.click("text=Move the traffic of v2 now")
    looker.page.wait_for_selector("[data-live=route] >> text=fallback")
    moved = service.database.run(lambda tx: routes.get(tx, moves.WAITS))
    assert moved is not None
    assert [(arm.arm, arm.version) for arm in moved.arms if arm.weight] == [("fallback", "v1")]
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_traffic_is_sent_to_the_version_before(service: Serving, paged: IncidentRow) -> None:
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.ADMIN]})
        place = f"/incidents/{paged.id}"
        back = {"do": "back", "reason": "tried again", "generation": "2"}
        assert client.post(f"{place}/do", data=back).status_code == 303
        stale = client.post(f"{place}/do", data={**back, "do": "hold"})
        assert (stale.status_code, "at generation 3, not 2" in stale.text) == (409, True)
        assert "Send traffic to v6" in client.get(place).text
        away = {"do": "away", "reason": "x", "generation": "3"}
        assert client.post(f"{place}/do", data=away).status_code == 303
        again = client.post(f"{place}/do", data={**away, "generation": "4"})
        assert (again.status_code, "No previous version" in again.text) == (409, True)
    route = service.database.run(lambda tx: routes.get(tx, "support"))
    assert route is not None
    assert {arm.version: arm.weight for arm in route.arms} == {"v7": 0.0, "v6": 1.0}


def test_traffic_is_not_sent_back_to_what_an_engine_does_not_serve(
    service: Serving, paged: IncidentRow, tmp_path: Path
) -> None:
    engine = Vllm(models={"support@v6": "/adapters/v6"})
    back = {"do": "back", "reason": "tried again", "generation": "2"}
    with (
        answering(engine.respond) as url,
        serving(service.database, tmp_path, proof=proof_of(service.database, url)) as strict,
        strict.client() as client,
    ):
        client.post("/login", data={"key": strict.keys[Scope.ADMIN]})
        refused = client.post(f"/incidents/{paged.id}/do", data=back)
        assert (refused.status_code, "support@v7 is not served by" in refused.text) == (409, True)
        engine.models["support@v7"] = "/adapters/v7"
        assert client.post(f"/incidents/{paged.id}/do", data=back).status_code == 303


def test_a_button_does_nothing_without_the_scope_a_reason_or_from_elsewhere(
    service: Serving, paged: IncidentRow
) -> None:
    place = f"/incidents/{paged.id}/do"

    def sent(scope: Scope, fields: dict[str, str], **headers: str) -> tuple[int, str]:
        with service.client() as client:
            client.post("/login", data={"key": service.keys[scope]})
            answer = client.post(place, data=fields, headers=headers)
            return answer.status_code, answer.text

    with service.client() as stranger:
        assert stranger.post(place, data={"do": "ack"}).headers["location"] == "/login"
    hold = {"do": "hold", "reason": "mine", "generation": "2"}
    for fields, headers, scope, status, why in (
        ({"do": "ack"}, {}, Scope.READ, 403, "may operate"),
        ({"do": "ack"}, {"sec-fetch-site": "same-site"}, Scope.ADMIN, 403, "another site"),
        (hold | {"reason": " "}, {}, Scope.ADMIN, 403, "Say why"),
        (hold | {"generation": "²"}, {}, Scope.ADMIN, 422, "no generation"),
        ({"do": "launch"}, {}, Scope.ADMIN, 422, "one of the buttons"),
        ({"do": "approve", "action": "4711"}, {}, Scope.ADMIN, 409, "not open any more"),
    ):
        answer = sent(scope, fields, **headers)
        assert (answer[0], why in answer[1]) == (status, True), fields
    assert stored(service, paged.id).acknowledged_by is None
    assert service.database.run(lambda tx: routes.row(tx, "support")).route.generation == 2  # type: ignore[union-attr]
    assert service.database.run(lambda tx: audit.newest(tx, subject=f"incident {paged.id}")) == []


def test_the_answer_to_a_form_refreshes_itself_from_where_the_page_is(
    service: Serving, paged: IncidentRow, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.READ)
    looker.open(f"/incidents/{paged.id}")
    looker.click("button[value=ack]")
    looker.page.wait_for_selector("[role=alert]")
    assert looker.page.url == f"{service.url}/incidents/{paged.id}/do"
    with service.database.begin() as tx:
        worlds.put_message(tx, paged.id, "another-channel", at=datetime.now(UTC))
    looker.page.evaluate("refresh()")
    assert looker.page.inner_text("#pulse") == ""
    assert "sent to another-channel" in looker.page.inner_text("[data-live=timeline]")
    assert "may operate" in looker.page.inner_text("[role=alert]")


def test_what_is_not_compared_and_what_was_known_otherwise_stand_on_the_page(
    service: Serving, look: Callable[..., Looker]
) -> None:
    now = datetime.now(UTC)
    channels = [ConfiguredChannel(name="desk", channel=Nowhere())]

    def see(minute: float, blame: Blame, unseen: Unseen | None = None) -> None:
        with service.database.begin() as tx:
            adapter = adapters.fetch(tx, "support")
            assert adapter is not None
            record_observation(
                tx,
                version,
                verdict=verdict(VerdictKind.DRIFTING, blame=blame),
                inputs=AlertInputs(adapter=adapter, unseen=unseen, coverage_known=True),
                channels=channels,
                now=now + timedelta(minutes=minute),
            )

    with service.database.begin() as tx:
        version = register(tx)
    see(0, Blame.SERVING)
    see(1, Blame.INPUT)
    see(16, Blame.INPUT, UNSEEN)
    with service.database.begin() as tx:
        ids = {row.kind: row.id for row in incidents.incident_list(tx)}
    looker = look()
    looker.log_in()
    looker.open(f"/incidents/{ids['drift']}")
    assert "ticket update: likely cause was: serving, now: input" in looker.page.inner_text("main")
    looker.open(f"/incidents/{ids['blind']}")
    said = looker.page.inner_text("main")
    assert f"support@v7: not fully monitored, {CAUSE}" in said
    assert "8 of 100 requests" in said
    assert UNSEEN.mend in said


def test_it_says_who_answers_and_how_they_are(
    paged: IncidentRow, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    for path in (f"/incidents/{paged.id}", "/adapters/support", "/routes/support"):
        looker.open(path)
        answers = looker.page.locator("section", has=looker.page.locator("h2", has_text="Who ans"))
        assert answers.locator(".who").inner_text() == "v6 answers every request; it is healthy."
        assert answers.locator(".arms .verdict").all_inner_texts() == ["healthy"]
    looker.open(f"/incidents/{paged.id}")
    looker.click("text=Route back to v7, still critical…")
    told = looker.page.inner_text("details[open]")
    assert "it is critical, and this incident is open" in told
    assert re.search(r"v7 takes every request again \([0-9.,]+ requests/(s|min|h)\)", told)
    looker.open("/adapters/voice-notes")
    assert looker.page.inner_text(".who") == ("v4 answers every request; it cannot be checked.")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_time_in_which_its_version_answers_nobody_is_shaded(
    service: Serving, paged: IncidentRow, look: Callable[..., Looker], width: int
) -> None:
    route = service.database.run(lambda tx: routes.get(tx, "support"))
    assert route is not None
    looker = look(width=width)
    looker.log_in()
    for path in (f"/incidents/{paged.id}", "/adapters/support"):
        looker.open(path)
        drawing = looker.page.locator("svg.signals:visible:not(.spark)").first
        said = f"no traffic since {route.since:%H:%M}"
        assert said in (drawing.get_attribute("aria-label") or "")
        assert said in " ".join(drawing.locator("text").all_text_contents())
        shade = drawing.locator(".unserved").bounding_box()
        moved = drawing.locator(".mark.route").last.bounding_box()
        assert shade is not None
        assert moved is not None
        assert shade["x"] == pytest.approx(moved["x"], abs=2)
    with service.database.begin() as tx:
        arms = [ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)]
        worlds.table.put(
            tx, "support", arms=arms, expected_generation=2, reason="mended", actor="ann",
            now=datetime.now(UTC),
        )  # fmt: skip
    looker.open("/adapters/support")
    assert looker.page.locator(".unserved").count() == 0


def test_its_numbers_stay_those_of_the_crossing(service: Serving, paged: IncidentRow) -> None:
    with service.client(Scope.READ) as client:
        before = client.get(f"/v1/incidents/{paged.id}").json()["signals"]
        with service.database.begin() as tx:
            version = versions.fetch(tx, adapter="support", name="v7")
            assert version is not None
            calm = worlds.a_score(
                version,
                "logit_ks",
                datetime.now(UTC),
                value=0.0,
                notice=-5.0,
                page=-5.06,
                effect=0.01,
            )
            evaluations.put_scores(tx, [replace(calm, n_window=0)])
        after = client.get(f"/v1/incidents/{paged.id}").json()["signals"]
    assert [one | {"effect_now": 0} for one in before] == [one | {"effect_now": 0} for one in after]
    ks = next(one for one in after if one["detector"] == "logit_ks")
    assert (ks["n"], ks["effect_now"]) == (42, 0.01)
    assert datetime.fromisoformat(ks["at"]) <= paged.opened_at
    assert ks["evidence_notice"] > 0


def test_requests_that_show_it_stand_beside_the_nearest_training_text(
    service: Serving, paged: IncidentRow, look: Callable[..., Looker]
) -> None:
    with service.database.begin() as tx:
        unlike = next(row for row in incidents.incident_list(tx) if row.adapter != "support")
        version = versions.fetch(tx, adapter="travel-assistant", name="v3")
        assert version is not None
        newcomers.arrive(tx, version, now=unlike.opened_at, text="<i>thermostat</i>")
        version = versions.fetch(tx, adapter="support", name="v7")
        assert version is not None
        newcomers.arrive(tx, version, now=paged.opened_at, text="voucher")
        tx.execute(record_texts.delete().where(record_texts.c.adapter_id == version.adapter_id))
    looker = look()
    looker.log_in()
    looker.open(f"/incidents/{unlike.id}")
    shown = looker.page.inner_text("[data-live=examples]")
    assert shown.count("Nearest training text: line 1, similarity 0") == 5
    assert (
        looker.page.locator(".examples blockquote").all_inner_texts() == ["<i>thermostat</i>"] * 5
    )
    looker.open(f"/incidents/{paged.id}")
    shown = looker.page.inner_text("[data-live=examples]")
    assert "No text of these is stored" in shown
    assert shown.count("voucher") == 5, "their ids"
    assert (looker.complaints, looker.dialogs) == ([], [])


def test_retraining_is_requested_from_the_page_once(
    paged: IncidentRow, service: Serving, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open(f"/incidents/{paged.id}")
    looker.page.fill("#reason", "users ask of thermostats")
    looker.click("text=Request retraining")
    looker.page.wait_for_selector("text=Last requested")
    with service.database.begin() as tx:
        [made] = retrainings.request_list(tx)
        said = {one.act for one in audit.newest(tx, subject=f"support@{made.version}")}
    assert made.adapter == "support"
    assert "retraining.request" in said
    assert "users ask of thermostats" in made.reason
    with service.database.begin() as tx:
        begun = trainings.begin(tx, made.id, worker="gpu-1")
        trainings.report(
            tx,
            made.id,
            epoch=begun.epoch,
            step=TrainingStep.TRAIN,
            progress=0.4,
            note="step 40 of 100",
        )
    looker.open(f"/incidents/{paged.id}")
    assert "Its training is at train (step 40 of 100)" in looker.page.inner_text("main")
    looker.page.fill("#reason", "again")
    looker.click("text=Request retraining")
    assert "was asked to be retrained" in looker.page.inner_text("[role=alert]")
