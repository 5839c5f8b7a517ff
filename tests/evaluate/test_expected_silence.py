from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from alerts.types import Severity
from monitor.evaluate.evaluated import expected_silence

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)


def silence(
    *, last_at: datetime | None, in_charge_since: datetime | None, hourly_rate: float = 100.0
) -> Severity | None:
    reading: Any = SimpleNamespace(
        recent=SimpleNamespace(last_at=last_at),
        calibrated=SimpleNamespace(hourly_rate=hourly_rate),
        in_charge_since=in_charge_since,
    )
    return expected_silence(reading, now=NOW, records=50)


def test_a_version_in_charge_is_silent_once_fifty_records_failed_to_come() -> None:
    hour = timedelta(hours=1)
    assert silence(last_at=NOW - 0.49 * hour, in_charge_since=LONG_AGO) is None
    assert silence(last_at=NOW - 0.5 * hour, in_charge_since=LONG_AGO) is Severity.TICKET


@pytest.mark.parametrize("last_at", [None, LONG_AGO])
def test_records_are_expected_only_since_the_version_got_its_traffic(
    last_at: datetime | None,
) -> None:
    assert silence(last_at=last_at, in_charge_since=NOW - timedelta(minutes=29)) is None
    in_charge_since = NOW - timedelta(minutes=30)
    assert silence(last_at=last_at, in_charge_since=in_charge_since) is Severity.TICKET


def test_a_version_without_a_share_of_the_route_is_never_silent() -> None:
    assert silence(last_at=LONG_AGO, in_charge_since=None) is None
