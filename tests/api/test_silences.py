"""Silences by HTTP: set, listed, ended, and what nobody can have meant is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.domain import Scope
from monitor.outbox.silencing import silenced
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.incidents import incidents
from tests.fleet import register
from tests.outbox.test_telling import CRITICAL, see
from tests.serving import Serving, serving

ASKED = {
    "match": {
        "adapter": ["support", "billing"],
        "version": "v7",
        "severity": "page",
        "labels": {"team": "care"},
    },
    "hours": 2,
    "comment": "our own load test",
}


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path) as running:
        yield running


def test_a_silence_is_set_shown_and_ended(service: Serving) -> None:
    with service.client(Scope.READ) as client:
        assert client.post("/v1/silences", json=ASKED).status_code == 403
    with service.client(Scope.OPERATE) as client:
        answer = client.post("/v1/silences", json=ASKED)
    made = answer.json()
    assert (answer.status_code, made["active"], made["comment"]) == (201, True, ASKED["comment"])
    assert made["match"] == {
        "adapter": ["billing", "support"],
        "version": ["v7"],
        "severity": ["page"],
        "labels": {"team": ["care"]},
    }
    lasts = datetime.fromisoformat(made["ends_at"]) - datetime.fromisoformat(made["starts_at"])
    assert lasts == timedelta(hours=2)
    with service.database.begin() as tx:
        see(tx, register(tx), CRITICAL)
        [row] = incidents.incident_list(tx)
        by = silenced(tx, [row], now=datetime.now(tz=UTC))
    assert by[row.id].id == made["silence"]
    with service.client(Scope.ADMIN) as client:
        path = f"/v1/silences/{made['silence']}"
        assert client.get("/v1/silences").json()["items"] == [made]
        ended = client.delete(path).json()
        assert (ended["active"], client.get(path).json()) == (False, ended)
        assert client.delete(path).status_code == 409
        assert client.get("/v1/silences").json()["items"] == []
        assert client.get("/v1/silences", params={"over": True}).json()["items"] == [ended]
        assert client.delete("/v1/silences/99").status_code == 404
    with service.database.begin() as tx:
        acts = [entry.act for entry in audit.newest(tx) if entry.act.startswith("silence")]
    assert sorted(acts) == ["silence.add", "silence.expire"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"match": {}}, "match"),
    ({"match": {"adaptor": "support"}}, "did you mean 'adapter'"),
    ({"match": {"kind": "drifting"}}, "knows drift, no_data, blind, error"),
    ({"comment": "  "}, "say why"),
    ({"hours": 24 * 91}, "hours"),
    ({"hours": None}, "either ends_at or hours"),
    ({"hours": None, "ends_at": "2020-01-01T00:00:00Z"}, "ends after it starts"),
    ({"starts_at": "2020-01-01T00:00:00Z"}, "over already"),
    ({"until": "tomorrow"}, "until"),
    ({"starts_at": "9999-12-31T23:00:00Z"}, "the year 10000"),
    ({"match": {"adapter": "a\x00b"}}, "match/adapter"),
]


def test_what_is_no_silence_is_refused_with_its_reason(service: Serving) -> None:
    with service.client(Scope.OPERATE) as client:
        for changes, said in REFUSED:
            asked = {key: value for key, value in (ASKED | changes).items() if value is not None}
            answer = client.post("/v1/silences", json=asked)
            assert answer.status_code == 422, changes
            assert said in answer.text
