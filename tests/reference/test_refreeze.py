"""Many references frozen anew at once, each adapter for itself."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from alerts.types import VerdictKind
from monitor.domain import Interval, Scope, Version
from monitor.reference.refreeze import refreeze
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.references import references
from monitor.store.registry import adapters
from monitor.store.traffic import fleet
from tests.fleet import judge, register, verdict
from tests.reference.conftest import NOON, Live, questions
from tests.serving import serving

WINDOW = Interval(start=NOON, end=NOON + timedelta(days=1))


@pytest.fixture
def several(database: Database, version: Version, live: Live) -> Version:
    """`support` with 400 records, `quiet` with none, one that drifts, one without a version."""
    live(questions(400))
    with database.begin() as tx:
        register(tx, "quiet", "v1")
        judge(tx, register(tx, "drifts", "v1"), verdict(VerdictKind.DRIFTING))
        adapters.put(tx, name="bare", labels={"team": "care"})
    return version


def test_each_adapter_has_a_row_and_none_loses_anothers(
    database: Database, several: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fleet.in_charge

    def unlucky(tx: sa.Connection, adapter: str) -> Version | None:
        if adapter == "quiet":
            tx.execute(sa.text("SELECT 1/0"))
        return real(tx, adapter)

    with monkeypatch.context() as patched:
        patched.setattr(fleet, "in_charge", unlucky)
        rows = refreeze(database, match={}, window=WINDOW, cause="engine", by="ann")
    assert [(row.adapter, row.generation, row.error) for row in rows] == [
        ("bare", None, "no version is registered"),
        ("drifts", None, "it is drifting: accept its incident, or mark it as false"),
        ("quiet", None, "it failed: DataError"),
        ("support", 1, None),
    ]
    made = database.run(lambda tx: references.of_version(tx, several.id))
    assert [(one.generation, one.cause) for one in made] == [(1, "engine")]
    acts = {act.act: act for act in database.run(audit.newest)}
    act = acts["reference.refreeze"]
    assert (act.actor, act.subject) == ("ann", "1 of 4 adapters")
    assert (act.details["cause"], act.details["adapters"]) == ("engine", ["support"])
    assert "reference.create" in acts

    again = refreeze(database, match={"tier": "standard"}, window=WINDOW, cause="again", by="ann")
    errors = {row.adapter: row.error for row in again}
    assert errors["support"] == "generation 1 is being built"
    assert errors["quiet"] == "0 records in the window; a reference takes 300"


def test_the_api_takes_all_or_a_match(database: Database, several: Version, tmp_path: Path) -> None:
    del several
    clock = lambda: WINDOW.end  # noqa: E731 (a clock)
    path = "/v1/references/refreeze"
    with serving(database, tmp_path, clock=clock) as service:
        with service.client(Scope.READ) as client:
            assert client.post(path, json={"all": True, "cause": "x"}).status_code == 403
        with service.client(Scope.OPERATE) as client:
            for body in ({"cause": "x"}, {"all": True}, {"all": True, "match": {"tier": "a"}}):
                assert client.post(path, json=body).status_code == 422
            care = {"match": {"team": "care"}, "cause": "template", "days": 1}
            answer = client.post(path, json=care)
    assert answer.status_code == 202, answer.text
    found = answer.json()
    assert [row["adapter"] for row in found["items"]] == ["bare", "drifts", "quiet"]
    assert found["window"]["start"].startswith("2026-11-10T12:00")
