"""Which hours and weekdays a reference has seen, as it is built, stored and shown."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from monitor.domain import Scope, Version
from monitor.reference.build import build_next
from monitor.reference.coverage import read_seen, seen_in
from monitor.reference.index import Indexes
from monitor.store.database import Database
from tests.reference.conftest import BagOfWords, Send, baseline
from tests.serving import serving

MONDAY = datetime(2026, 11, 16, 8, tzinfo=UTC)


def office_hours(count: int = 400) -> list[dict[str, object]]:
    """Records from Monday to Friday, 8 to 17 o'clock."""
    lines = baseline([None] * count)
    for i, line in enumerate(lines):
        day, hour = i % 5, i // 5 % 10
        line["at"] = (MONDAY + timedelta(days=day, hours=hour, seconds=i)).isoformat()
    return lines


def test_a_built_reference_says_which_hours_and_weekdays_cannot_page(  # noqa: PLR0917 - fixtures
    database: Database,
    version: Version,
    words: BagOfWords,
    indexes: Indexes,
    send: Send,
    tmp_path: Path,
) -> None:
    made = send(office_hours())
    assert build_next(database, words, indexes=indexes)
    seen = database.run(lambda tx: read_seen(tx, made.id))
    assert seen is not None
    assert seen.text == "not seen yet: 18:00 to 08:00 UTC, Saturday, Sunday"
    assert [sum(seen.hours), sum(seen.weekdays)] == [10, 5]
    with serving(database, tmp_path) as service, service.client(Scope.READ) as client:
        path = f"/v1/adapters/{version.adapter}/versions/{version.name}/reference"
        told = client.get(path).json()["seen"]
        assert (told["text"], len(told["hours"]), len(told["weekdays"])) == (seen.text, 24, 7)
        # one that an earlier release built does not say
        with database.begin() as tx:
            tx.exec_driver_sql("""UPDATE "references" SET request = request - 'seen'""")
        assert client.get(path).json()["seen"] is None


def test_a_reference_of_all_hours_has_seen_them() -> None:
    hours = np.arange(24 * 14 * 5, dtype=np.float64) * 720.0  # five an hour for two weeks
    seen = seen_in(MONDAY.timestamp() + hours)
    assert all(seen["hours"])
    assert all(seen["weekdays"])
