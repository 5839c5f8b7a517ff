"""How much is compared, wherever the API tells a verdict."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from detectors.identity import IdentityState
from monitor.domain import Scope
from monitor.policy.coverage import to_json
from monitor.policy.probed import IdentityMemory
from monitor.store.evaluation import verdicts
from monitor.store.registry import adapters, versions
from monitor.store.tables.evaluations import scores
from tests import worlds
from tests.serving import Serving
from tests.uncompared import LIVE, TOLD, blind

NOW = datetime.now(UTC)
SINCE = NOW - timedelta(hours=30)


@pytest.fixture
def fleet(service: Serving) -> Serving:
    with service.database.begin() as tx:
        worlds.seed(tx, now=NOW, days=0.2)
        version = versions.fetch(tx, adapter="billing", name="v1")
        assert version is not None
        blind(tx, version, now=NOW, since=SINCE)
    return service


def _get(fleet: Serving, path: str, **params: str) -> Any:
    with fleet.client(Scope.READ) as client:
        return client.get(path, params=params).json()


def test_an_adapter_says_what_each_detector_compares_and_why_not_the_rest(fleet: Serving) -> None:
    found = _get(fleet, "/v1/adapters/billing")
    assert found["verdict"] == "blind"
    least, whole = found["coverage"]
    assert (least["detector"], least["requests"], least["compared"]) == ("logit_ks", 100, 8)
    assert (least["ratio"], least["of_expected"]) == (0.08, 0.08)
    assert datetime.fromisoformat(least["since"]) == SINCE
    [gap] = least["gaps"]
    assert (gap["cause"], gap["value"], gap["requests"]) == ("settings", "temperature 0.7", 92)
    assert gap["text"] == "use temperature 0.7, which the reference does not cover"
    assert least["text"] == f"certainty of answers compared 8 of 100 requests; {TOLD}"
    assert (whole["detector"], whole["ratio"], whole["gaps"]) == ("errors", 1.0, [])
    assert [one["requests"] for one in found["coverage_last_day"]] == [100, 100]
    assert found["sampling"]["sampled_out"] == 36_112
    assert "aside; no loss" in found["sampling"]["text"]
    assert found["least_covered"] == least
    assert found["mend"] == "driftline reference learn billing v1"


def test_the_blind_stand_between_the_failing_and_the_quiet(fleet: Serving) -> None:
    items = _get(fleet, "/v1/adapters")["items"]
    words = [item["verdict"] for item in items]
    assert words[:5] == ["critical", "drifting", "error", "blind", "insufficient"]
    by_name = {item["adapter"]: item["least_covered"] for item in items}
    assert by_name["billing"]["of_expected"] == 0.08
    assert by_name["legal-summaries"] is None


def test_the_fleet_says_of_each_adapter_whether_it_is_applied(fleet: Serving) -> None:
    with fleet.database.begin() as tx:
        version = versions.fetch(tx, adapter="billing", name="v1")
        assert version is not None
        row = verdicts.current(tx, version_id=version.id)
        assert row is not None
        told = IdentityMemory(at=NOW, state=IdentityState.NOT_APPLIED, reason="as the base")
        memory = replace(row.memory, identity=told)
        verdicts.put(tx, version_id=version.id, verdict=row.verdict, memory=memory, size=None)
    by_name = {item["adapter"]: item["applied"] for item in _get(fleet, "/v1/adapters")["items"]}
    assert (by_name["billing"], by_name["sales/eu"]) == ("not_applied", None)
    with fleet.client(Scope.READ) as client:
        client.post("/login", data={"key": fleet.keys[Scope.READ]})
        page = client.get("/").text
    assert "v1 · not applied" in page
    assert "v1 · not compared yet" in page


def test_scores_and_evaluations_carry_their_windows_coverage(fleet: Serving) -> None:
    with fleet.database.begin() as tx:
        stored = {"coverage": to_json(LIVE), "more": 1}
        tx.execute(sa.update(scores).where(scores.c.detector == "logit_ks").values(details=stored))
    score = _get(fleet, "/v1/adapters/billing/scores", detector="logit_ks")["items"][0]
    assert (score["coverage"]["compared"], score["coverage"]["requests"]) == (2, 25)
    assert set(score["details"]) == {"more", "evidence_notice", "winner"}
    other = _get(fleet, "/v1/adapters/billing/scores", detector="entropy")["items"][0]
    assert other["coverage"] is None
    newest = _get(fleet, "/v1/adapters/billing/evaluations")["items"]
    live = next(one for one in newest if one["kind"] == "live")
    assert [one["compared"] for one in live["coverage"]] == [2]


def test_the_receipt_accounts_for_what_was_not_compared(fleet: Serving) -> None:
    [found] = _get(fleet, "/v1/receipt")["coverage"]
    assert (found["adapter"], found["version"]) == ("billing", "v1")
    assert found["blind_hours"] == pytest.approx(30.0, abs=0.5)
    assert found["least"]["text"] == f"certainty of answers compared 8 of 100 requests; {TOLD}"


def test_a_self_test_says_what_it_holds_for(fleet: Serving) -> None:
    found = _get(fleet, "/v1/adapters/billing/selftest")
    assert found["coverage"][0]["compared"] == 8


def test_coverage_is_a_metric_beside_what_to_expect_of_it(fleet: Serving) -> None:
    with fleet.client(Scope.READ) as client:
        text = client.get("/metrics").text
    values = {
        (sample.name, sample.labels["detector"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("driftline_coverage")
    }
    assert values == {
        ("driftline_coverage_ratio", "logit_ks"): 0.08,
        ("driftline_coverage_expected_ratio", "logit_ks"): 1.0,
        ("driftline_coverage_ratio", "errors"): 1.0,
        ("driftline_coverage_expected_ratio", "errors"): 1.0,
    }


def test_an_adapter_without_requests_has_no_coverage(service: Serving) -> None:
    with service.database.begin() as tx:
        adapters.put(tx, name="bare")
    found = _get(service, "/v1/adapters/bare")
    assert (found["coverage"], found["coverage_last_day"], found["least_covered"]) == ([], [], None)
    assert found["mend"] is None
    assert found["sampling"] == {"requests": 0, "sampled_out": 0, "text": None}
