"""Health and metrics: cheap, and never well from a service that is not."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from monitor.api.health import Beat
from monitor.api.metrics import RecordTotals
from monitor.domain import Scope
from monitor.store.database import Database
from monitor.store.incidents import outbox
from monitor.store.records import capture_counts
from monitor.store.registry import adapters
from monitor.store.tables.incidents import outbox as outbox_table
from tests import worlds
from tests.serving import Serving, serving


def test_a_working_service_is_alive_and_ready(service: Serving) -> None:
    with service.client() as client:
        assert client.get("/livez").json() == {"status": "alive"}
        answer = client.get("/readyz")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"ready": True, "version": "1.2.3", "reasons": []}


def test_no_variable_makes_the_framework_send_telemetry(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")  # at which it would refuse to start
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    with serving(database, tmp_path) as service, service.client() as client:
        assert client.get("/livez").status_code == 200


def test_a_loop_that_stands_still_makes_it_unready_but_alive(
    database: Database, tmp_path: Path
) -> None:
    stuck = time.monotonic() - 60
    beats = {"scheduler": Beat(last=lambda: stuck, every=timedelta(seconds=1))}
    with serving(database, tmp_path, beats=beats) as service, service.client() as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "scheduler has not turned for 6" in answer.json()["reasons"][0]
        assert client.get("/livez").status_code == 200


def test_a_message_that_nobody_sends_makes_it_unready(service: Serving) -> None:
    with service.database.begin() as tx:
        outbox.enqueue(tx, channel="log", alert={})
        tx.execute(outbox_table.update().values(next_at=sa.text("now() - interval '6 minutes'")))
    with service.client() as client:
        assert "nobody sends it" in client.get("/readyz").json()["reasons"][0]


def test_a_backlog_makes_no_process_unready_that_sends_nothing(
    database: Database, tmp_path: Path
) -> None:
    with serving(database, tmp_path, delivers=False) as service, service.client() as client:
        with service.database.begin() as tx:
            outbox.enqueue(tx, channel="log", alert={})
            late = sa.text("now() - interval '6 minutes'")
            tx.execute(outbox_table.update().values(next_at=late))
        assert client.get("/readyz").status_code == 200


def test_a_receiver_that_is_down_does_not(service: Serving) -> None:
    with service.database.begin() as tx:
        outbox.enqueue(tx, channel="log", alert={})
        later = sa.text("now() + interval '8 hours'")
        old = sa.text("now() - interval '1 day'")
        tx.execute(outbox_table.update().values(next_at=later, created_at=old))
    with service.client() as client:
        assert client.get("/readyz").status_code == 200


def test_a_schema_of_another_version_makes_it_unready(service: Serving) -> None:
    with service.database.begin() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = 'other'"))
    with service.client() as client:
        assert "migrations" in client.get("/readyz").json()["reasons"][0]


def test_a_database_that_does_not_answer_makes_it_unready(service: Serving) -> None:
    with service.database.begin() as tx:
        tx.execute(sa.text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        with service.client() as client:
            answer = client.get("/readyz")  # while the lock is held
            assert client.get("/livez").status_code == 200
    assert answer.status_code == 503
    assert "did not answer" in answer.json()["reasons"][0]


def test_metrics_tell_what_is_stored(service: Serving) -> None:
    with service.database.begin() as tx:
        now = datetime.now(UTC)
        worlds.seed(tx, now=now, days=0.1)
        worlds.stop_probes(tx, reason="the engine answered HTTP 500")
    with service.client(Scope.READ) as client:
        text = client.get("/metrics").text
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["driftline_verdict", "critical", "support", "v7"] == 1.0
    assert values["driftline_verdict", "stable", "support", "v7"] == 0.0
    assert values["driftline_drift_score", "support", "v7"] == 98.2
    assert values["driftline_route_generation", "support"] == 2.0
    assert values["driftline_breaker_state", "fallback", "support"] == 1.0
    assert values["driftline_breaker_state", "degraded", "travel-assistant"] == 1.0
    assert values["driftline_breaker_state", "billing", "healthy"] == 1.0
    assert values["driftline_records_total", "accepted", "support"] == 396.0
    assert values[
        "driftline_evidence", "input_similarity", "page", "travel-assistant", "v3"
    ] == float("-inf")
    assert values["driftline_outbox_oldest_seconds",] > 0
    # v7 has no traffic: nobody is to be told that its probes have no answer
    probed = "driftline_last_probe_timestamp_seconds"
    assert values[probed, "support", "v6"] <= time.time()
    assert (probed, "support", "v7") not in values
    assert {
        "driftline_score",
        "driftline_last_evaluation_timestamp_seconds",
        "process_resident_memory_bytes",
    } <= {name for name, *_ in values}


def test_metrics_are_open_only_by_configuration(database: Database, tmp_path: Path) -> None:
    with serving(database, tmp_path, public_metrics=True) as service, service.client() as client:
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("hours", [0, 1, 2, 30])
def test_record_totals_never_forget_and_never_count_twice(database: Database, hours: int) -> None:
    now = datetime(2026, 3, 4, 14, 10, tzinfo=UTC)
    clock = [now]
    totals = RecordTotals(now=lambda: clock[0])
    with database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        for back in (0, 1, 5, 100):
            at = now - timedelta(hours=back)
            capture_counts.add(tx, {(adapter.id, at, "accepted"): 10})
        assert totals.read(tx) == {("support", "accepted"): 40}
        clock[0] = now + timedelta(hours=hours)
        capture_counts.add(tx, {(adapter.id, clock[0], "accepted"): 1})
        assert totals.read(tx) == {("support", "accepted"): 41}
        assert totals.read(tx) == {("support", "accepted"): 41}


def test_a_message_for_a_channel_taken_out_of_the_config_does_not(
    database: Database, tmp_path: Path
) -> None:
    with database.begin() as tx:
        outbox.enqueue(tx, channel="gone", alert={})
        tx.execute(outbox_table.update().values(next_at=sa.text("now() - interval '6 minutes'")))
    channels = frozenset({"log"})
    with serving(database, tmp_path, channels=channels) as service, service.client() as client:
        assert client.get("/readyz").json()["reasons"] == []
