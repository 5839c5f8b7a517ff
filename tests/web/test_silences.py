"""Silences on their page: set by a form, seen beside what they silence, ended by a button."""

from collections.abc import Callable
from typing import Any

from monitor.domain import Scope
from monitor.store import audit
from monitor.store.incidents import incidents
from tests.fleet import register
from tests.outbox.test_telling import CRITICAL, see
from tests.serving import Serving
from tests.web.conftest import Looker

HOSTILE = "<img src=x onerror=alert(1)> load test"


def test_a_silence_is_set_seen_and_ended(service: Serving, look: Callable[..., Looker]) -> None:
    with service.database.begin() as tx:
        see(tx, register(tx), CRITICAL)
        [row] = incidents.incident_list(tx)
    looker = look(width=390)
    looker.log_in(Scope.ADMIN)
    page = looker.page
    looker.click("nav >> text=Silences")
    assert "Nothing is silenced" in page.inner_text("main")
    page.fill("[name=reason]", HOSTILE)
    looker.click("main button[type=submit]")
    assert "something to match" in page.inner_text("[role=alert]")
    assert page.input_value("[name=reason]") == HOSTILE
    assert [said for said in looker.complaints if "422" not in said] == []
    looker.complaints.clear()
    page.fill("[name=adapter]", "support")
    page.fill("[name=version]", "v7")
    page.select_option("[name=severity]", "page")
    looker.click("main button[type=submit]")
    page.wait_for_selector("#silence-1")
    told = page.inner_text("#silence-1")
    assert "adapter support; version v7; severity page" in told
    assert HOSTILE in told
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    looker.open(f"/incidents/{row.id}")
    assert HOSTILE in page.inner_text("section.why")
    assert "a message waits since" in page.inner_text("section.why")
    looker.click("section.why >> text=#1")
    looker.click("text=End now")
    page.wait_for_selector("text=Nothing is silenced")
    assert (looker.dialogs, looker.complaints, looker.foreign) == ([], [], [])
    with service.database.begin() as tx:
        acts = [entry.act for entry in audit.newest(tx) if entry.act.startswith("silence")]
    assert acts == ["silence.expire", "silence.add"]
    reader = look()
    reader.log_in(Scope.READ)
    reader.open("/silences")
    assert reader.page.locator("main form").count() == 0
    asked: dict[str, Any] = {"adapter": "a", "hours": "1", "reason": "b"}
    assert reader.page.request.post(f"{service.url}/silences", form=asked).status == 403
    asked["adapter"] = "a\x00"
    assert reader.page.request.post(f"{service.url}/silences", form=asked).status == 400


def test_an_incident_leads_to_a_silence_of_its_adapter(
    service: Serving, look: Callable[..., Looker]
) -> None:
    with service.database.begin() as tx:
        see(tx, register(tx), CRITICAL)
        [row] = incidents.incident_list(tx)
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open(f"/incidents/{row.id}")
    looker.click("text=Silence…")
    assert looker.page.input_value("[name=adapter]") == "support"
    assert looker.complaints == []
