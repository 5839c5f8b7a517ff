"""Applications that real instrumentations trace, a gateway and a watched client say the same.

Each is asked the same of the demo's engine, which serves one adapter under a name for each way.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np
import pytest
from openai import OpenAI

from detectors.signals import LOGPROBS, SIGNALS, TOP_LOGPROBS
from driftline.client import RecordSender, watch
from examples.weights import DemoAdapter
from monitor.domain import Scope
from monitor.gateway.running import assemble
from monitor.gateway.settings import GatewaySettings
from monitor.store.database import Database
from monitor.store.records.columns import MEASURED, RecordColumns
from monitor.store.records.records import read_window
from monitor.store.registry import versions
from tests.capture.spans.record import ask, asked
from tests.cli.conftest import demo_engine
from tests.gateway.conftest import listening
from tests.service import until
from tests.serving import Serving, serving
from tests.tools import needs

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = ROOT / ".venv-spans" / "bin" / "python"
TRACED: Final = ("openllmetry", "openinference", "sdk")
WAYS: Final = ("client", "gateway", *TRACED)
QUESTION: Final[dict[str, Any]] = {
    "text": "I lost my debit card at Sunny Toys",
    "system": "",
    "tokens": 40,
}
OWN_TIMES: Final = frozenset({"latency_ms", "ttft_ms"})
"""What every way measures by its own clock."""
UNTRACED: Final = frozenset(
    name for name in MEASURED if SIGNALS[name].part in {LOGPROBS, TOP_LOGPROBS}
)
"""What OpenLLMetry's spans do not have."""


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path) as running:
        with running.client(Scope.ADMIN) as client:
            for way in WAYS:
                body = {"model": f"{way}@v1"}
                client.put(f"/v1/adapters/{way}/versions/v1", json=body).raise_for_status()
        yield running


@pytest.fixture
def engine() -> Iterator[str]:
    with demo_engine({f"{way}@v1": DemoAdapter.SUPPORT_V1.path for way in WAYS}) as url:
        yield url


@needs(PYTHON.exists(), "`make .venv-spans/.ready` installs what traces")
def test_a_request_gives_the_same_signals_by_client_gateway_and_live_spans(
    service: Serving, engine: str
) -> None:
    _by_watched_client(service, engine)
    _by_gateway(service, engine)
    for kind in TRACED:
        _by_application(kind, service, engine)
    told = _signals(service, "client", records=3)
    assert np.isfinite(told["mean_nll"]).all(), "three answers with log-probabilities"
    assert len(set(told["mean_nll"])) > 1, "a text and a conversation are answered otherwise"
    for way in WAYS[1:]:
        count = 1 if way == "sdk" else 3
        found = _signals(service, way, records=count)
        for name in set(MEASURED) - OWN_TIMES:
            expected = told[name][:count]
            if way == "openllmetry" and name in UNTRACED:
                expected = np.full(count, np.nan)
            assert np.array_equal(found[name], expected, equal_nan=True), (way, name)
        assert (found["latency_ms"] > 0).all(), way


def _by_watched_client(service: Serving, engine: str) -> None:
    sender = RecordSender(service.url, service.keys[Scope.ADMIN])
    with OpenAI(base_url=f"{engine}/v1", api_key="none", max_retries=0) as plain:
        ask(watch(plain, sender=sender), model="client@v1", **QUESTION)
    assert sender.close(30)


def _by_gateway(service: Serving, engine: str) -> None:
    """Ask once more than the others: until requests are sampled, none is recorded."""
    key = service.keys[Scope.ADMIN]
    given = GatewaySettings(upstreams=(engine,), service=service.url, key=key)
    with (
        listening(assemble(given, cache=None)) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        body = {"model": "gateway"} | asked(**QUESTION)

        def sampled() -> bool:
            reply = httpx2.post(
                f"{url}/v1/chat/completions", json=body, trust_env=False, timeout=60
            )
            return "x-driftline-record" in reply.headers

        until(sampled, "the route and the share are known")
        ask(client, model="gateway", **QUESTION)
        _signals(service, "gateway", records=3)  # a slow machine's last one goes with the gateway


def _by_application(kind: str, service: Serving, engine: str) -> None:
    key = service.keys[Scope.ADMIN]
    told = {"kind": kind, "model": f"{kind}@v1", "question": QUESTION}
    told |= {"engine": engine, "into": service.url, "key": key}
    subprocess.run(
        [PYTHON, "-m", "tests.capture.spans.live"],
        input=json.dumps(told),
        cwd=ROOT,
        env={name: one for name, one in os.environ.items() if not name.startswith("PYTHON")},
        text=True,
        check=True,
        timeout=300,
    )


def _signals(service: Serving, adapter: str, *, records: int) -> Mapping[str, Any]:
    """Return the signals of an adapter's last records, in the order in which they were asked."""
    columns = until(lambda: _stored(service.database, adapter, records), f"records of {adapter}")
    return {name: one[-records:] for name, one in columns.signals.items()}


def _stored(database: Database, adapter: str, records: int) -> RecordColumns | None:
    with database.begin() as tx:
        version = versions.fetch(tx, adapter=adapter, name="v1")
        assert version is not None
        now, hour = datetime.now(UTC), timedelta(hours=1)
        found = read_window(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            start=now - hour,
            end=now + hour,
        )
    return found if len(found) >= records + (adapter == "gateway") else None
