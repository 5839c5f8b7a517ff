"""One service for all pages, with an adapter of which everything is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.weights import DemoAdapter
from tests.inbox import Inbox
from tests.service import CALM, NDJSON, Service, Talk, baseline, ndjson, running, until
from tests.sharing import of_folder

ADAPTER = "known"


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Service:
    return of_folder(request, lambda: _knowing(tmp_path_factory.mktemp("docs")))


@contextmanager
def _knowing(folder: Path) -> Iterator[Service]:
    away = {**CALM, "serving.engines": '["http://127.0.0.1:9"]'}
    with Inbox() as inbox, running(folder, inbox=inbox, changes=away) as started:
        started.register(ADAPTER, "v1")
        started.upload(ADAPTER, "v1", baseline(400))
        started.send(Talk(ADAPTER).records(60))
        wrong = {"adapter": ADAPTER, "id": "later", "at": "2100-01-01T00:00:00Z"}
        answer = started.call("POST", "/v1/records", content=ndjson([wrong]), headers=NDJSON)
        assert len(answer.json()["rejected"]) == 1
        started.register("weighed", "v1", uri=str(DemoAdapter.SUPPORT_V1.path.resolve()))
        started.register("weighed", "v2")
        trial = started.call("POST", "/v1/canaries", json={"adapter": "weighed", "version": "v2"})
        assert trial.is_success, trial.text
        started.evaluate(ADAPTER)
        weights = "/v1/adapters/weighed/versions/v1/weights"
        until(lambda: started.call("GET", weights).is_success, "its files are looked at")
        until(
            lambda: (started.get(f"/v1/adapters/{ADAPTER}")["probe"] or {}).get("stopped"),
            "its perplexity is asked for, of an engine that is away",
        )
        yield started
