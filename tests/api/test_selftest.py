"""Self-tests over HTTP: asked for, waiting, done."""

from datetime import timedelta

import numpy as np

from detectors.types import Budget, Window
from monitor.domain import ReferenceId, Scope
from monitor.selftest.testing import SelfTestSubject, run
from monitor.store.evaluation import selftests
from monitor.store.registry import adapters, versions
from monitor.store.tables.references import references
from tests.serving import Serving

PATH = "/v1/adapters/support/selftest"


def _report() -> dict[str, object]:
    rng = np.random.default_rng(1)
    at = np.sort(rng.uniform(0.0, 43_200.0, 800))
    signals = {"mean_nll": rng.gamma(4.0, 0.2, at.size), "loop": np.zeros(at.size)}
    window = Window(start=at[0], end=at[-1] + 1.0, at=at, signals=signals)
    shares = {
        "logit_ks": Budget(notice=0.5, page=0.0),
        "repetition": Budget(notice=0.5, page=1.0),
        "latency": Budget(notice=0.0, page=0.0),
    }
    question = SelfTestSubject(
        baseline=window, shares=shares, per_day=900.0, check_seconds=7_200.0, seed=1, streams=3
    )
    return run(question)


def test_a_self_test_is_asked_for_and_its_report_read(service: Serving) -> None:
    with service.database.begin() as tx:
        support = adapters.put(tx, name="support")
        version = versions.put(tx, adapter=support, name="v1", model="support@v1")
        reference = tx.execute(
            references.insert()
            .values(
                version_id=version.id, generation=3, state="ready", source="auto",
                cause="test", created_by="someone",
            )
            .returning(references.c.id)
        ).scalar_one()  # fmt: skip
    with service.client(Scope.READ) as client:
        first = client.get(PATH).json()
        assert (first["state"], first["report"], first["version"]) == ("never", None, "v1")
        assert client.post(PATH).status_code == 403
        assert client.get("/v1/adapters/nobody/selftest").status_code == 404
    with service.client(Scope.OPERATE) as client:
        asked = client.post(PATH)
        assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
    report = _report()
    with service.database.begin() as tx:
        held = selftests.claim(tx, scheduled=[], every=timedelta())
        assert held is not None
        selftests.finish(tx, held, reference_id=ReferenceId(reference), report=report)
    with service.client(Scope.READ) as client:
        found = client.get(PATH, params={"version": "v1"}).json()
    assert (found["state"], found["generation"], found["error"]) == ("done", 3, None)
    assert found["report"] == report
    assert "latency" in found["report"]["not_tested"]
