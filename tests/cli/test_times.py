"""Times on the command line: one way to write them for every option."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from monitor.cli.app import app
from monitor.cli.options import moment
from tests.routed import answering

ZONES = st.one_of(st.none(), st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))


@given(st.datetimes(), ZONES)
def test_what_a_service_writes_is_read(at: datetime, offset: timedelta | None) -> None:
    zone = UTC if offset is None else timezone(timedelta(minutes=offset // timedelta(minutes=1)))
    aware = at.replace(tzinfo=zone)
    assert moment(aware.isoformat()) == aware
    if offset is None:
        assert moment(at.isoformat()) == moment(f"{at.isoformat()}Z") == aware


@pytest.mark.parametrize(
    "written", ["2026-11-01", "2026-11-01T00:00", "2026-11-01T00:00:00Z", "2026-11-01T01:00+01:00"]
)
@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("reference freeze support v7 --start {at} --end {at} --no-wait", ["freeze", "start"]),
        ("change begin engine now --at {at}", ["begun_at"]),
        ("silence add adapter=support -m why --from {at}", ["starts_at"]),
    ],
)
def test_every_option_reads_times_alike(
    monkeypatch: pytest.MonkeyPatch, written: str, command: str, body: list[str]
) -> None:
    sent: list[Any] = []

    def respond(
        method: str, path: str, headers: dict[str, str], content: bytes
    ) -> tuple[int, bytes]:
        del method, path, headers
        sent.append(json.loads(content))
        return 422, b"{}"

    with answering(respond) as url:
        monkeypatch.setenv("DRIFTLINE_URL", url)
        monkeypatch.setenv("DRIFTLINE_KEY", "dl_k")
        CliRunner().invoke(app, command.format(at=written).split())
    (found,) = sent
    for name in body:
        found = found[name]
    assert datetime.fromisoformat(found) == datetime(2026, 11, 1, tzinfo=UTC)


def test_what_is_no_time_is_refused_with_an_example() -> None:
    command = "reference freeze support v7 --start tomorrow --end 2026-11-02"
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 2
    assert "no time" in done.output
