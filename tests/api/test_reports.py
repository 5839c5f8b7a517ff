"""Evidently's reports over HTTP: requested, waiting, read, gone."""

import gzip
from datetime import UTC, datetime, timedelta

from monitor.domain import Scope
from monitor.store.evaluation import reports
from monitor.store.registry import adapters, versions
from tests.serving import Serving

PATH = "/v1/adapters/support/report"
FACTS = {
    "generation": 3, "signals": ["mean_nll", "loop"], "rates": ["loop"], "texts": [],
    "left_out": ["entropy"], "n_window": 60, "n_reference": 400,
}  # fmt: skip


def test_a_report_is_requested_drawn_and_read(service: Serving) -> None:
    with service.database.begin() as tx:
        support = adapters.put(tx, name="support")
        other = versions.put(tx, adapter=support, name="v0", model="support@v0")
        versions.put(tx, adapter=support, name="v1", model="support@v1")
    with service.client(Scope.READ) as client:
        assert client.get(PATH).json()["type"].endswith("unknown-report")
        assert client.post(PATH).status_code == 403
        assert client.get("/v1/adapters/nobody/report").status_code == 404
    with service.client(Scope.OPERATE) as client:
        now = datetime.now(UTC)
        wrong = {"since": now.isoformat(), "until": (now - timedelta(days=1)).isoformat()}
        assert client.post(PATH, params=wrong).status_code == 422
        assert client.post(PATH, params={"since": "1970-01-02T00:00:00Z"}).status_code == 422
        until = {"until": "2026-11-28T12:00:30Z"}
        asked = client.post(PATH, params=until)
        assert asked.status_code == 202, asked.text
        found = asked.json()
        assert (found["state"], found["version"], found["facts"]) == ("waiting", "v1", None)
        assert (found["since"], found["until"]) == ("2026-11-27T12:00:00Z", "2026-11-28T12:00:00Z")
        assert client.post(PATH, params=until).json()["number"] == found["number"]
    place = f"{PATH}/{found['number']}"
    with service.client(Scope.READ) as client:
        assert client.get(f"{place}/page").json()["type"].endswith("no-report")
        with service.database.begin() as tx:
            held = reports.claim(tx)
            assert held is not None
            page, snapshot = gzip.compress(b"<html></html>"), gzip.compress(b"{}")
            assert reports.finish(tx, held, facts=FACTS, page=page, snapshot=snapshot)
            assert reports.claim(tx) is None
        assert client.get(PATH).json()["facts"] == FACTS
        page = client.get(f"{place}/page")
        assert page.text == "<html></html>"
        # an origin of its own: its scripts can send nothing with the reader's cookie
        assert page.headers["content-security-policy"].startswith("sandbox allow-scripts; default")
        snapshot = client.get(f"{place}/snapshot")
        assert (snapshot.json(), snapshot.headers["content-type"]) == ({}, "application/json")
        assert client.get(f"{place}/other").status_code == 422
        assert client.get(f"{place}/page", params={"version": other.name}).status_code == 404
