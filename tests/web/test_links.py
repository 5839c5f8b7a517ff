"""Where the links of a message lead."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx2
import pytest

from alerts.types import Blame
from monitor.domain import Scope, VerdictSeverity
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.registry import adapters, versions
from tests.serving import Serving


@pytest.fixture
def person(service: Serving) -> Iterator[httpx2.Client]:
    """Somebody who is logged in and follows no redirect by itself."""
    with service.client() as client:
        answer = client.post("/login", data={"key": service.keys[Scope.READ]})
        assert answer.status_code == 303
        yield client


@pytest.fixture
def incident(service: Serving) -> int:
    """The number of an incident about a version whose adapter's name has a slash."""
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        adapter = adapters.put(tx, name="acme/support")
        version = versions.put(tx, adapter=adapter, name="v 7", model="m")
        update = IncidentUpdate(
            number=1,
            phase="firing",
            state={},
            severity=VerdictSeverity.PAGE,
            blame=Blame.ADAPTER,
            summary="acme/support@v 7: worse",
            opened_at=now,
            closed_at=None,
        )
        return incidents.put(tx, StoredKey.of(version, "drift"), update)


def test_an_incident_has_a_page_that_leads_to_its_version(
    person: httpx2.Client, incident: int
) -> None:
    page = person.get(f"/incidents/{incident}")
    assert page.status_code == 200
    assert "acme/support@v 7: worse" in page.text
    assert "/adapters/acme%2Fsupport?version=v%207" in page.text
    version = person.get("/adapters/acme%2Fsupport?version=v%207").text
    assert f'href="/incidents/{incident}"' in version


def test_an_incident_that_never_was_is_a_404(person: httpx2.Client) -> None:
    assert person.get("/incidents/4711").status_code == 404


def test_a_stranger_is_asked_for_a_key_first(service: Serving, incident: int) -> None:
    with service.client() as client:
        answer = client.get(f"/incidents/{incident}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_a_runbook_is_a_page_for_whoever_holds_the_message(service: Serving) -> None:
    with service.client() as stranger:
        page = stranger.get("/runbooks/blame-adapter")
        assert page.status_code == 200
        assert "<h2>Look first</h2>" in page.text
        assert "<td>the file is damaged: restore it" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        listed = stranger.get("/runbooks").text
        for found in set(re.findall(r'href="(/runbooks/[^"]+)"', listed + page.text)):
            assert stranger.get(found).status_code == 200, found
        assert stranger.get("/runbooks/no-such").status_code == 404
