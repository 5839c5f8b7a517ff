"""What an adapter's own baseline would show: the API and the section of its page."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from detectors.smallest_seen import SHARES
from monitor.domain import EvaluationKind, Interval, Scope, Version
from monitor.evaluate import plan as planning
from monitor.evaluate.plan import Plans
from monitor.store.evaluation import evaluations
from monitor.store.evaluation.evaluations import NewEvaluation, ScoreRow
from monitor.store.registry import adapters, versions
from tests.evaluate.conftest import baseline, ready_reference
from tests.serving import Serving
from tests.web.test_budget import _evaluated

TIMES = ("hour", "day", "week")


@pytest.fixture
def version(service: Serving) -> Version:
    def register(tx: Connection) -> Version:
        for name in ("support", "quiet"):
            adapter = adapters.put(tx, name=name)
            made = versions.put(tx, adapter=adapter, name="v1", model=f"{name}@v1")
            if name == "support":
                seeing = made
        return seeing

    made = service.database.run(register)
    ready_reference(service.database, made, baseline(count=2_000))
    service.database.run(lambda tx: _evaluated(tx, made))
    return made


@pytest.fixture
def plan(service: Serving, version: Version) -> dict[str, Any]:
    with service.client(Scope.READ) as client:
        found = client.get(f"/v1/adapters/{version.adapter}/plan").json()
    assert isinstance(found, dict)
    return found


def item(plan: dict[str, Any], fault: str) -> dict[str, Any]:
    [one] = [one for one in plan["items"] if one["fault"] == fault]
    assert isinstance(one, dict)
    return one


def test_a_plan_tells_of_each_kind_the_smallest_fault_by_time(plan: dict[str, Any]) -> None:
    assert (plan["adapter"], plan["power"]) == ("support", 0.8)
    less = item(plan, "all answers less certain, by perplexity")
    assert (less["version"], less["detector"], less["unit"]) == ("v1", "logit_ks", "ratio")
    assert less["requests_per_day"] == pytest.approx(3_800)
    garbage = item(plan, "answers that are garbage")
    for fault in (less, garbage):
        for told in ("ticket", "page"):
            hour, day, week = (fault[told][time]["size"] for time in TIMES)
            assert hour >= day >= week > 0.0
    assert garbage["ticket"]["day"]["size"] in SHARES
    assert garbage["ticket"]["day"]["text"].endswith(" %")


def test_what_a_reference_never_measured_is_told_with_its_reason(plan: dict[str, Any]) -> None:
    entropy = item(plan, "entropy")
    assert entropy["ticket"] == entropy["page"] == dict.fromkeys(TIMES)
    assert "never measured" in entropy["note"]


def test_a_signal_that_never_varied_promises_nothing(plan: dict[str, Any]) -> None:
    shorter = item(plan, "all answers shorter")
    assert shorter["ticket"] == shorter["page"] == dict.fromkeys(TIMES)
    assert shorter["note"] == "no size of it within a week"


def test_a_probe_that_was_never_made_promises_nothing(plan: dict[str, Any]) -> None:
    probe = item(plan, "perplexity of the fixed corpora")
    assert probe["page"] == dict.fromkeys(TIMES)
    assert probe["note"] == "no probe has compared it yet"


def test_an_adapter_without_a_reference_or_a_name_has_no_plan(
    service: Serving, version: Version
) -> None:
    del version
    with service.client(Scope.READ) as client:
        quiet = client.get("/v1/adapters/quiet/plan").json()["items"]
        assert client.get("/v1/adapters/nobody/plan").status_code == 404
        assert client.get("/v1/adapters/support/plan?version=v9").status_code == 404
    assert [one["note"] for one in quiet][:1] == ["no reference yet"]
    with service.client(Scope.INGEST) as client:
        assert client.get("/v1/adapters/support/plan").status_code == 403


def test_an_answer_is_kept_until_traffic_or_the_budget_changes(
    service: Serving, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out: list[str] = []
    module: Any = planning
    find = module.families_of

    def noted(detector: str, reference: Any) -> Any:
        worked_out.append(detector)
        return find(detector, reference)

    monkeypatch.setattr(planning, "families_of", noted)
    plans: Plans = service.app.state.parts.plans
    now = datetime.now(tz=UTC)

    def read(at: datetime) -> list[Any]:
        return service.database.run(lambda tx: plans.read(tx, version.adapter, now=at))

    first = read(now)
    again = read(now)
    assert again == first
    assert len(worked_out) == len(set(worked_out)) > 0


def test_the_page_shows_the_plan(version: Version, look: Callable[..., Any]) -> None:
    looker = look()
    looker.log_in()
    looker.open_reasons(f"/adapters/{version.adapter}")
    rows = looker.page.locator("table.plan tbody tr")
    told = rows.filter(has_text="answers that are garbage").inner_text()
    assert told.count(" %") == 6
    said = looker.page.inner_text("section[aria-labelledby=plan-title]")
    assert "entropy (the baseline never measured any of: entropy, margin)" in said
    assert "perplexity of the fixed corpora (no probe has compared it yet)" in said
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_a_probe_shows_in_its_period_what_its_noise_and_documents_let_it(
    service: Serving, version: Version
) -> None:
    """A floor of .002 and 2 % either way, every 6 hours: no probe in the hour, four in the day."""
    service.database.run(lambda tx: _probed(tx, version))
    with service.client(Scope.READ) as client:
        plan = client.get(f"/v1/adapters/{version.adapter}/plan").json()
    probe = item(plan, "perplexity of the fixed corpora")
    assert probe["requests_per_day"] is None
    assert probe["note"] == "probed every 6 h, sooner on suspicion"
    assert probe["ticket"]["hour"] is probe["page"]["hour"] is None
    assert probe["ticket"]["day"]["size"] == pytest.approx(math.expm1(4 * 0.002))
    # one probe would need 7 %; of four the second that is 5 % above with a lower end above 0 pages
    assert probe["page"]["day"]["size"] == pytest.approx(0.05)


def _probed(tx: Connection, version: Version) -> None:
    now = datetime.now(tz=UTC)
    window = Interval(start=now - timedelta(hours=6), end=now)
    made = evaluations.add(
        tx,
        [
            NewEvaluation(
                adapter_id=version.adapter_id,
                version_id=version.id,
                kind=EvaluationKind.PERPLEXITY,
                window=window,
                state="done",
                epoch=1,
                started_at=now,
            )
        ],
    )
    score = ScoreRow(
        version_id=version.id,
        adapter=version.adapter,
        version=version.name,
        detector="perplexity",
        window=window,
        value=0.0,
        evidence_notice=-1.0,
        evidence_page=-1.0,
        effect=0.0,
        effect_low=-0.02,
        effect_high=0.02,
        n_reference=50,
        n_window=50,
        minimum_detectable=0.02,
        winner=None,
        verdict="stable",
        blame="unknown",
        reason="unchanged",
        evaluation_id=made[version.id, now],
        details={"noise_floor": 0.002},
    )
    evaluations.put_scores(tx, [score])
