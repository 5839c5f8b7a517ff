"""What is dear of a message is worked out while nobody waits for the verdict."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.evaluate import evaluator, newness
from monitor.evaluate.explain import Explained
from monitor.outbox.channels import ConfiguredChannel
from monitor.store.database import Database
from monitor.store.records import samples
from tests.evaluate.test_fleet_incident import Nowhere
from tests.replay.test_equals_live import BEGIN, Service, the_log, the_reference


class Recorder:
    """Notes whether a verdict is held whenever requests are counted or clustered."""

    def __init__(self, database: Database, patch: pytest.MonkeyPatch) -> None:
        self.held = False
        self.verdicts = 0
        self.worked: list[tuple[str, bool]] = []
        sa.event.listen(database.engine, "before_cursor_execute", self._statement)
        for name in ("commit", "rollback"):
            sa.event.listen(database.engine, name, self._ended)
        found: Any = newness
        patch.setattr(newness, "find_clusters", self._noted(found.find_clusters))
        patch.setattr(samples, "count_below", self._noted(samples.count_below))

    def _statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # the first statement of a transaction that judges and writes
        if "FROM verdicts" in statement and "FOR UPDATE" in statement:
            self.held = True
            self.verdicts += 1

    def _ended(self, _connection: Any) -> None:
        self.held = False

    def _noted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any, **named: Any) -> Any:
            self.worked.append((work.__name__, self.held))
            return work(*given, **named)

        return noted


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Any:
    """A service with a reference, which tells one channel."""
    channels = [ConfiguredChannel(name="all", channel=Nowhere())]
    made = Service(database, tmp_path / "indexes", channels=channels)
    made.intake.start()
    made.upload(the_reference())
    yield made
    assert made.intake.close()


def strange_questions() -> list[dict[str, Any]]:
    """The log until questions that nobody trained for have been told."""
    end = BEGIN + timedelta(hours=2.25)
    return [record for record in the_log() if datetime.fromisoformat(record["at"]) < end]


def told(service: Any) -> list[dict[str, Any]]:
    return [
        row.alert
        for row in service.rows("SELECT alert FROM held UNION ALL SELECT alert FROM outbox")
        if row.alert["kind"] == "drift"
    ]


def test_requests_are_clustered_before_the_verdict_is_held(
    service: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Recorder(database, monkeypatch)
    service.live(strange_questions())
    assert seen.verdicts > 10
    assert {"find_clusters", "count_below"} <= {name for name, _ in seen.worked}
    assert not [name for name, held in seen.worked if held]
    assert any(alert["new"] and alert["unlike"] for alert in told(service))


def test_what_nobody_has_foreseen_is_explained_before_it_is_told(
    service: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another evaluation of the version may be written between the look and the lock."""
    looks: list[bool] = []
    walked: Any = evaluator
    real = walked.foresee

    def blind_at_first(*given: Any, **named: Any) -> Explained:
        looks.append(True)
        return Explained() if len(looks) % 2 else real(*given, **named)

    monkeypatch.setattr(evaluator, "foresee", blind_at_first)
    seen = Recorder(database, monkeypatch)
    service.live(strange_questions())
    assert len(looks) >= 2
    assert not [name for name, held in seen.worked if held]
    assert any(alert["new"] and alert["unlike"] for alert in told(service))
