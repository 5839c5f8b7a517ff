import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.capture.intake import Intake, IntakeOutcome, Settings
from monitor.capture.queue import QueueBounds
from monitor.domain import Adapter
from monitor.store.database import Database
from monitor.store.registry import adapters, versions

KEY = b"k" * 32


@pytest.fixture
def support(database: Database) -> Adapter:
    with database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        versions.put(tx, adapter=adapter, name="v7", model="support@v7")
    return adapter


@pytest.fixture
def open_intake(database: Database) -> Iterator[Callable[..., Intake]]:
    opened: list[Intake] = []

    def make(*, bounds: QueueBounds | None = None, **more: Any) -> Intake:
        settings = Settings(
            **({"target_per_day": 1_000_000} | more), bounds=bounds or QueueBounds(linger=0.0)
        )
        intake = Intake(database, subject_key=KEY, settings=settings)
        intake.start()
        opened.append(intake)
        return intake

    yield make
    for intake in opened:
        assert intake.close()


@pytest.fixture
def intake(open_intake: Callable[..., Intake]) -> Intake:
    return open_intake(tokens_retention=timedelta(days=14))


@pytest.fixture
def send(intake: Intake) -> Callable[..., IntakeOutcome]:
    def post(*records: dict[str, Any], by: Intake = intake) -> IntakeOutcome:
        body = json.dumps({"records": records}).encode()
        return by.records(body, content_type="application/json")

    return post


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    now = datetime.now(UTC).isoformat()

    def make(**more: Any) -> dict[str, Any]:
        return {"id": "r1", "adapter": "support", "at": now} | more

    return make
