"""API and worker as processes of their own, on one database."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.service import CALM, Service, Talk, baseline, running, until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("roles")


@pytest.fixture(scope="module")
def api(folder: Path) -> Iterator[Service]:
    with running(folder, role="api", changes=CALM) as service:
        yield service


@pytest.fixture(scope="module")
def worker(folder: Path, api: Service) -> Iterator[Service]:
    process = Service(folder=folder, role="worker", key=api.key)
    process.changes = {**CALM, "server.worker_port": str(process.port), "server.port": "1"}
    process.start()
    yield process
    process.terminate()


def test_a_worker_answers_about_its_health_and_nothing_else(worker: Service) -> None:
    assert worker.call("GET", "/livez").json() == {"status": "alive"}
    assert worker.call("GET", "/readyz").json()["reasons"] == []
    for path in ("/v1/adapters", "/metrics", "/", "/openapi.json"):
        assert worker.call("GET", path).status_code == 404


def test_what_the_api_takes_in_the_worker_evaluates(api: Service, worker: Service) -> None:
    api.register("support", "v1")
    api.upload("support", "v1", baseline(300))
    api.send(Talk("support").records(60))
    assert worker.alive
    until(
        lambda: [one for one in api.get("/v1/adapters/support")["scores"] if one["n_window"]],
        "scores of the worker",
    )


def test_a_worker_that_stops_ends_in_order(folder: Path, api: Service) -> None:
    process = Service(folder=folder, role="worker", key=api.key)
    process.changes = {**CALM, "server.worker_port": str(process.port), "server.port": "1"}
    process.start()
    assert process.terminate() < 25
    assert process.process is not None
    assert process.process.returncode == 0
    with pytest.raises(httpx2.TransportError):
        process.call("GET", "/livez")
