"""A canary that takes charge keeps the picture of its time on trial."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from alerts.types import VerdictKind
from monitor.domain import ReferenceState, Scope, Version
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.references import references
from monitor.store.references.references import ReferenceSource
from monitor.store.registry import adapters, versions
from tests.fleet import judge, verdict
from tests.reference.conftest import NOON, Live, questions
from tests.serving import serving

ON_TRIAL = NOON - timedelta(hours=1)


def arm(kind: str, version: str, weight: float) -> dict[str, Any]:
    return {"arm": kind, "version": version, "weight": weight}


PREDECESSOR = [arm("stable", "v0", 1.0)]
SHADOW = [arm("stable", "v0", 1.0), arm("shadow", "v1", 0.0)]
TRIAL = [arm("stable", "v0", 0.9), arm("canary", "v1", 0.1)]
WIDER = [arm("stable", "v0", 0.5), arm("canary", "v1", 0.5)]
PROMOTED = [arm("stable", "v1", 1.0)]


def route(database: Database, folder: Path, *steps: tuple[datetime, list[dict[str, Any]]]) -> None:
    """Put routes one after the other, each at its time."""
    now = [steps[0][0]]
    with (
        serving(database, folder, clock=lambda: now[0]) as service,
        service.client(Scope.OPERATE) as client,
    ):
        for generation, (at, arms) in enumerate(steps):
            now[0] = at
            answer = client.put(
                "/v1/routes/support",
                json={"arms": arms, "reason": "a release"},
                headers={"If-Match": f'"{generation}"'},
            )
            assert answer.status_code == 200, answer.text


@pytest.fixture
def canary(database: Database, version: Version, live: Live) -> Version:
    with database.begin() as tx:
        known = adapters.fetch(tx, "support")
        assert known is not None
        versions.put(tx, adapter=known, name="v0", model="support@v0")
    live(questions(400))
    return version


@pytest.mark.parametrize(
    "trials", [(TRIAL, WIDER), (SHADOW, SHADOW), (SHADOW, WIDER)], ids=["canary", "shadow", "both"]
)
def test_a_version_that_was_on_trial_freezes_what_it_answered_then(
    database: Database, canary: Version, tmp_path: Path, trials: tuple[list[dict[str, Any]], ...]
) -> None:
    first, second = trials
    end = NOON + timedelta(days=1)
    steps = [
        (ON_TRIAL - timedelta(days=1), PREDECESSOR),
        (ON_TRIAL, first),
        (NOON, second),
        (end, PROMOTED),
    ]
    route(database, tmp_path, *steps)
    [made] = database.run(lambda tx: references.of_version(tx, canary.id))
    assert (made.state, made.cause) == (
        ReferenceState.BUILDING,
        "promoted in route generation 4",
    )
    # without a person's approval it would never page, were it not replaced by itself
    details = database.run(lambda tx: references.details(tx, made.id))
    assert details.source.learned
    act = next(a for a in database.run(audit.newest) if a.act == "reference.promotion")
    assert act.subject == canary.label
    assert act.details["start"] == ON_TRIAL.isoformat()
    assert (act.details["records"], act.details["generation"]) == (400, 1)


@pytest.mark.parametrize(
    ("arms", "acts"),
    [(WIDER, 0), ([arm("stable", "v0", 1.0)], 0), (PROMOTED, 1)],
    ids=["wider", "rolled back", "promoted"],
)
def test_only_a_promotion_freezes_and_drift_does_not_become_the_norm(
    database: Database, canary: Version, tmp_path: Path, arms: list[dict[str, Any]], acts: int
) -> None:
    with database.begin() as tx:
        judge(tx, canary, verdict(VerdictKind.DRIFTING))
    route(database, tmp_path, (ON_TRIAL, TRIAL), (NOON + timedelta(days=1), arms))
    assert database.run(lambda tx: references.of_version(tx, canary.id)) == []
    found = [a for a in database.run(audit.newest) if a.act == "reference.promotion"]
    assert len(found) == acts
    if acts:
        assert found[0].details["left_alone"].startswith("it is drifting")


def test_an_approved_reference_stays_in_force(
    database: Database, canary: Version, tmp_path: Path
) -> None:
    with database.begin() as tx:
        references.create(
            tx, version_id=canary.id, source=ReferenceSource.UPLOAD,
            cause="test", created_by="ann", request={},
        )  # fmt: skip
        tx.execute(sa.text("UPDATE \"references\" SET state = 'ready', approved_by = 'ann'"))
    route(database, tmp_path, (ON_TRIAL, TRIAL), (NOON + timedelta(days=1), PROMOTED))
    assert len(database.run(lambda tx: references.of_version(tx, canary.id))) == 1
    act = next(a for a in database.run(audit.newest) if a.act == "reference.promotion")
    assert act.details["left_alone"] == "generation 1 is approved and stays in force"


def test_a_version_that_was_never_on_trial_is_not_promoted(
    database: Database, canary: Version, tmp_path: Path
) -> None:
    route(database, tmp_path, (ON_TRIAL, PREDECESSOR), (NOON + timedelta(days=1), PROMOTED))
    assert database.run(lambda tx: references.of_version(tx, canary.id)) == []
