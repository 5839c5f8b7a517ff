"""What people say of an incident, on the pages that show it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import Connection

from alerts import incident as machine
from alerts.types import Blame
from alerts.types import Severity as Urgency
from monitor.domain import IncidentId, Scope, VerdictSeverity
from monitor.store.incidents import fleet_incidents, incidents
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.registry import versions
from monitor.store.traffic import actions
from monitor.store.traffic.actions import ActionKind, ActionState
from tests import worlds
from tests.cli.command import driftline
from tests.serving import Serving
from tests.web.conftest import Looker

MEMBERS = ("billing", "sales/eu")
REASON = "<b>our</b> load test"


@pytest.fixture
def common(service: Serving) -> IncidentId:
    """A fleet in which two of the quiet ones belong to an incident of their base."""
    now = datetime.now(UTC)

    def seed(tx: Connection) -> IncidentId:
        worlds.seed(tx, now=now, days=0.2)
        state = machine.IncidentState(
            phase=machine.IncidentPhase.FIRING, number=1, told=Urgency.TICKET, since=now
        )
        update = IncidentUpdate(
            number=1,
            phase="firing",
            state=machine.to_json(state),
            severity=VerdictSeverity.TICKET,
            blame=Blame.BASE,
            summary="2 of 8 adapters on one base model: the model itself changed",
            opened_at=now - timedelta(minutes=5),
            closed_at=None,
        )
        made = incidents.put(tx, StoredKey.on("", "drift"), update)
        for name in MEMBERS:
            version = versions.fetch(tx, adapter=name, name="v1")
            assert version is not None
            fleet_incidents.join(tx, made, version.id, at=now)
        return made

    return service.database.run(seed)


def test_a_fleet_incident_names_its_members_and_can_be_judged(
    common: IncidentId, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    section = looker.page.locator(f"#incident-{common}")
    told = section.inner_text()
    assert "2 of 8 adapters on one base model" in told
    assert "not registered" in told  # no version names its base
    links = section.locator("dd a")
    assert links.all_inner_texts() == [f"{name}@v1" for name in MEMBERS]
    assert links.last.get_attribute("href") == "/adapters/sales%2Feu"

    looker.click(section.locator(".reason a"))
    looker.page.fill("#reason", REASON)
    looker.click("text=False alarm…")
    assert "Its 2 adapters are stable again" in looker.page.inner_text("details[open]")
    looker.click("button[value=false_page]")
    looker.page.wait_for_selector("text=marked as a false alarm by for admin")
    assert REASON in looker.page.inner_text("main")
    looker.open("/")
    assert looker.page.locator(f"#incident-{common}").count() == 0
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


@pytest.mark.usefixtures("common")
def test_an_incident_is_judged_from_its_adapters_page(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open("/adapters/support")
    looker.click("[data-live=incidents] a.judge")
    looker.page.fill("#reason", REASON)
    looker.click("text=False alarm…")
    looker.click("button[value=false_page]")
    looker.page.wait_for_selector("text=marked as a false alarm by for admin")
    looker.open("/adapters/support")
    shown = looker.page.inner_text("[data-live=incidents]")
    assert f"marked as a false alarm by for admin: {REASON}" in shown
    assert "healthy" in looker.page.inner_text("[data-live=head]")


def test_the_command_line_tells_of_a_fleet_incident_and_takes_a_word(
    service: Serving, common: IncidentId, tmp_path: Path
) -> None:
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.ADMIN]}

    def run(*words: str) -> str:
        return driftline(*words, environ=told, cwd=tmp_path).out

    assert f"fleet incident {common} (ticket): 2 of 8 adapters" in run("status")
    with service.database.begin() as tx:
        version = versions.fetch(tx, adapter="billing", name="v1")
        assert version is not None
        actions.add(
            tx, version, kind=ActionKind.FALLBACK, state=ActionState.BLOCKED,
            reason="fleet incident", evidence={}, expected_generation=1, target=None,
            actor="driftline", now=datetime.now(UTC),
        )  # fmt: skip
    explained = run("explain", str(common))
    for words in ("not registered", "billing@v1", "sales/eu@v1", "moved no traffic"):
        assert words in explained, words
    assert "all on one base model" in run("incident", "list", "--open")
    # the service logs into the same stream here, since it is in the same process
    taken = run("incident", "ack", str(common), "--hours", "2")
    assert taken.endswith(f"for admin has incident {common}\n")
    marked = run("incident", "false", str(common), "--reason", REASON)
    assert marked.endswith(
        f"incident {common} of all on one base model is marked as a false alarm\n"
    )
    assert "false alarm" in run("incident", "list")
    explained = run("explain", str(common))
    assert "judged by for admin: false alarm" in explained
    refused = driftline(
        "incident", "accept", str(common), "--reason", "no", environ=told, cwd=tmp_path
    )
    assert (refused.code, "that stands" in refused.err) == (1, True)
    assert "promised false" in run("receipt", "--month", f"{datetime.now(UTC):%Y-%m}")


def test_a_form_changes_nothing_without_the_scope_a_reason_or_from_elsewhere(
    service: Serving, common: IncidentId
) -> None:
    path = f"/incidents/{common}/do"

    def sent(scope: Scope, reason: str, **headers: str) -> httpx2.Response:
        with service.client() as client:
            client.post("/login", data={"key": service.keys[scope]})
            return client.post(path, data={"reason": reason, "do": "false_page"}, headers=headers)

    with service.client() as stranger:
        assert stranger.post(path, data={"reason": "x"}).headers["location"] == "/login"
    refused = sent(Scope.READ, "mine")
    assert (refused.status_code, "may operate" in refused.text) == (403, True)
    assert sent(Scope.ADMIN, " ").status_code == 403
    assert sent(Scope.ADMIN, "x" * 501).status_code == 403
    elsewhere = sent(Scope.ADMIN, "x", **{"sec-fetch-site": "same-site"})
    assert (elsewhere.status_code, "another site" in elsewhere.text) == (403, True)
    row = service.database.run(lambda tx: incidents.incident(tx, common))
    assert row is not None
    assert row.marked is None
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.ADMIN]})
        accepted = client.post(path, data={"reason": "an upgrade", "do": "accepted"})
        assert (accepted.status_code, accepted.headers["location"]) == (303, f"/incidents/{common}")
        again = client.post(path, data={"reason": "no", "do": "false_page"})
        assert (again.status_code, "accepted as normal" in again.text) == (409, True)
        assert (
            client.post("/incidents/4711/do", data={"reason": "x", "do": "ack"}).status_code == 404
        )
