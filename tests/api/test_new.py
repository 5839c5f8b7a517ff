"""What is new, over HTTP and as the command shows it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from alerts.types import VerdictKind
from monitor.domain import Interval, Scope, Verdict, VerdictSeverity
from monitor.store.registry import versions
from tests import newcomers, worlds
from tests.cli.command import Ran, driftline, failed
from tests.serving import Serving

PATH = "/v1/adapters/support/new"
TEXT = "redeem"


@pytest.fixture
def arrived(service: Serving) -> Serving:
    """Six new requests and twenty known ones of a version whose inputs drift since an hour."""
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        version = worlds.registered(tx, "support", "v1", owner="ann", now=now)
        worlds.add_reference(tx, version, now=now)
        newcomers.arrive(tx, version, now=now, text=TEXT)
        worlds.registered(tx, "empty", "v1", owner="ann", now=now)
    return service


def _run(service: Serving, folder: Path, *words: str) -> Ran:
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.READ]}
    return driftline("new", *words, environ=told, cwd=folder)


def _judge(service: Serving, onset: Interval, *, since: datetime | None = None) -> Verdict:
    verdict = Verdict(
        kind=VerdictKind.DRIFTING,
        severity=VerdictSeverity.TICKET,
        reason="notice evidence 0.9",
        detectors=("input_similarity",),
        since=since or onset.end,
        onset=onset,
    )
    with service.database.begin() as tx:
        version = versions.fetch(tx, adapter="support", name="v1")
        assert version is not None
        worlds.put_verdict(tx, version, verdict, drift=40.0)
    return verdict


def test_a_group_says_what_there_is_to_know(arrived: Serving) -> None:
    before = datetime.now(UTC)
    with arrived.client(Scope.READ) as client:
        answer = client.get(PATH)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    (group,) = found.pop("groups")
    window = found.pop("window")
    start, end = (datetime.fromisoformat(window[side]) for side in ("start", "end"))
    assert end - start == timedelta(days=1)
    assert end >= before
    assert found.pop("below") == pytest.approx(0.7, abs=0.01)
    assert found == {
        "adapter": "support",
        "version": "v1",
        "compared": newcomers.NEW + newcomers.KNOWN,
        "unlike": newcomers.NEW,
        "looked_at": newcomers.NEW,
    }
    first = datetime.fromisoformat(group.pop("first_seen"))
    assert datetime.fromisoformat(group.pop("last_seen")) - first == timedelta(seconds=5)
    assert len(group.pop("records")) == 5
    assert group == {
        "count": 6,
        "subjects": 6,
        "share": pytest.approx(6 / 26),
        "growth": None,
        "cohesion": pytest.approx(1.0),
        "similarity": pytest.approx(0.1),
        "words": [TEXT],
        "neighbours": [{"row": 1, "similarity": pytest.approx(0.0), "text": None}],
        "prompts": [TEXT] * 5,
        "outputs": [""] * 5,
    }


def test_drifting_inputs_are_looked_at_since_their_onset(arrived: Serving) -> None:
    now = datetime.now(UTC)
    onset = now - timedelta(hours=1)
    _judge(arrived, Interval(start=onset, end=now - timedelta(minutes=50)))
    with arrived.client(Scope.READ) as client:
        found = client.get(PATH).json()
        assert datetime.fromisoformat(found["window"]["start"]) == onset
        late = client.get(PATH, params={"since": (now - timedelta(minutes=5)).isoformat()}).json()
    assert (late["compared"], late["groups"]) == (0, [])


def test_what_cannot_be_answered_says_why(arrived: Serving) -> None:
    with arrived.client(Scope.READ) as client:
        none = client.get("/v1/adapters/empty/new")
        assert (none.status_code, none.json()["type"]) == (
            409,
            "urn:driftline:problem:not-compared",
        )
        assert none.json()["detail"] == "empty@v1 has no reference yet."
        for far in (timedelta(days=31), timedelta(days=-1)):
            since = (datetime.now(UTC) - far).isoformat()
            assert client.get(PATH, params={"since": since}).status_code == 422
        assert client.get(PATH, params={"version": "v9"}).status_code == 404
        assert client.get("/v1/adapters/nobody/new").status_code == 404


def test_the_command_shows_it_as_a_table_and_as_json(arrived: Serving, tmp_path: Path) -> None:
    shown = _run(arrived, tmp_path, "support", "--since", "2h")
    assert shown.code == 0, shown.err
    assert "support@v1: 6 of 26 requests since" in shown.out
    for cell in (TEXT, "23.1%", "line 1 (0.00)"):
        assert cell in shown.out
    whole = _run(arrived, tmp_path, "support", "--json")
    # the service runs in this process: its log is in the same output
    found = json.loads(whole.out[whole.out.index("{\n") :])
    assert [group["words"] for group in found["groups"]] == [[TEXT]]
    none = _run(arrived, tmp_path, "support", "--since", datetime.now(UTC).isoformat())
    assert "no three of them are near each other" in none.out
    failed(_run(arrived, tmp_path, "support", "--since", "soon"), "--since soon: neither")
    failed(_run(arrived, tmp_path, "empty"), "empty@v1 has no reference yet.")


def test_an_incident_shows_the_requests_least_like_training_and_what_is_nearest_to_them(
    arrived: Serving, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    onset = Interval(start=now - timedelta(hours=2), end=now - timedelta(hours=1))
    verdict = _judge(arrived, onset, since=now)
    with arrived.database.begin() as tx:
        version = versions.fetch(tx, adapter="support", name="v1")
        assert version is not None
        incident = worlds.put_incident(tx, version, verdict)
    with arrived.client(Scope.READ) as client:
        found = client.get(f"/v1/incidents/{incident}/examples").json()["items"]
        assert client.get("/v1/incidents/999999/examples").status_code == 404
    assert len(found) == 5
    for one in found:
        assert (one["prompt"], one["similarity"]) == (TEXT, pytest.approx(0.1))
        assert one["nearest"] == {"row": 1, "similarity": pytest.approx(0.0), "text": None}
        assert datetime.fromisoformat(one["at"]) < now
    told = {"DRIFTLINE_URL": arrived.url, "DRIFTLINE_KEY": arrived.keys[Scope.READ]}
    shown = driftline("incident", "show", str(incident), environ=told, cwd=tmp_path)
    assert shown.code == 0, shown.err
    assert "requests that show it, the clearest first" in shown.out
    assert f"asked: {TEXT}" in shown.out
    with arrived.database.begin() as tx:  # as where no text is stored
        tx.execute(sa.text("DELETE FROM record_texts"))
    with arrived.client(Scope.READ) as client:
        without = client.get(f"/v1/incidents/{incident}/examples").json()["items"]
    assert [one["id"] for one in without] == [one["id"] for one in found]
    assert {one["prompt"] for one in without} == {None}
