"""The page of the budget, in a browser: a version that sees, one without a reference."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from detectors.types import Window
from monitor.config.sections import Config
from monitor.domain import EvaluationKind, Interval, Scope, Version
from monitor.evaluate.outlook import Outlook
from monitor.store.evaluation import evaluations, perplexity
from monitor.store.evaluation.evaluations import NewEvaluation
from monitor.store.evaluation.perplexity import RunRole, Subject
from monitor.store.registry import adapters, versions
from monitor.views.reading.budget import read
from monitor.web import budget
from tests.evaluate.conftest import baseline, ready_reference
from tests.serving import Serving

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def fleet(service: Serving) -> Serving:
    def register(tx: Connection) -> Version:
        for name in ("support", HOSTILE):
            adapter = adapters.put(tx, name=name)
            made = versions.put(tx, adapter=adapter, name="v1", model=f"{name}@v1")
            if name == "support":
                seeing = made
        return seeing

    version = service.database.run(register)
    ready_reference(service.database, version, _refusals_on_two_weekdays(baseline(count=2_000)))
    service.database.run(lambda tx: _evaluated(tx, version))
    return service


def _refusals_on_two_weekdays(window: Window) -> Window:
    known = (window.at // 86_400.0).astype(int) % 7 < 2
    rate = (np.arange(len(window)) % 20 == 0).astype(float)
    return replace(window, signals={**window.signals, "refusal": np.where(known, rate, np.nan)})


def _evaluated(tx: Connection, version: Version) -> None:
    """40 records every 15 minutes, for a day."""
    now = datetime.now(tz=UTC)
    evaluations.add(
        tx,
        [
            NewEvaluation(
                adapter_id=version.adapter_id,
                version_id=version.id,
                kind=EvaluationKind.LIVE,
                window=Interval(start=end - timedelta(minutes=15), end=end),
                state="done",
                epoch=1,
                started_at=end,
                n_records=40,
            )
            for end in (now - timedelta(minutes=15 * i) for i in range(95))
        ],
    )


def _probed(tx: Connection) -> None:
    """A run of forty minutes: nine hours of the share that is planned."""
    [support] = [one for one in versions.fetch_all(tx) if one.adapter == "support"]
    perplexity.insert_run(
        tx,
        Subject(version_id=support.id, model=support.model, corpus="general:1"),
        role=RunRole.SCHEDULED,
        documents=(),
        replica="http://engine:8000",
        seconds=0.75 * 0.1 * 9 * 3600,
    )


ROUND = "perplexity of the one version on http://engine:8000 every 9 h, in place of 6 h"


def test_how_often_an_engines_versions_are_probed_is_told(
    fleet: Serving, look: Callable[..., Any]
) -> None:
    fleet.database.run(_probed)
    with fleet.client(Scope.READ) as client:
        [one] = client.get("/v1/budget").json()["rounds"]
    assert (one["versions"], one["wanted_hours"]) == (1, 6.0)
    assert one["period_hours"] == pytest.approx(9.0)
    assert one["text"].startswith(f"{ROUND}: a round takes 40 min of the engine's time")
    looker = look()
    looker.log_in()
    looker.open("/budget")
    assert ROUND in looker.page.locator("section", has_text="How often").inner_text()


def test_the_budget_is_divided_and_its_delays_are_told(fleet: Serving) -> None:
    with fleet.client(Scope.READ) as client:
        found = client.get("/v1/budget").json()
        assert client.get("/v1/budget", params={"adapter": "nobody"}).status_code == 404
        alone = client.get("/v1/budget", params={"adapter": "support"}).json()
    with fleet.client(Scope.INGEST) as client:
        assert client.get("/v1/budget").status_code == 403
    items = found["items"]
    assert sum(item["pages_per_30_days"] for item in items) == pytest.approx(1.0)
    assert sum(item["notices_per_30_days"] for item in items) == pytest.approx(1.0)
    assert {item["adapter"] for item in items} == {"support", HOSTILE}
    [unlearned] = [item for item in items if item["adapter"] == HOSTILE]
    assert (unlearned["detector"], unlearned["blind"]) == ("all detectors", "no reference yet")
    assert {item["adapter"] for item in alone["items"]} == {"support"}
    [sees] = [i for i in items if (i["adapter"], i["detector"]) == ("support", "logit_ks")]
    assert sees["blind"] is None
    assert sees["only_tickets"] is None
    assert sees["requests_per_day"] == pytest.approx(3_800)
    [few] = [i for i in items if i["detector"] == "refusal"]
    assert few["only_tickets"] == "the reference has it of fewer than 3 weekdays"
    assert (few["pages_per_30_days"], few["notices_per_30_days"] > 0.0) == (0.0, True)
    # 40 a check, as in the published table: a shift of .5 sd pages within hours, 1 sd sooner
    half, one = (sees["delays"][drift]["page"]["hours"] for drift in ("half_sd", "one_sd"))
    assert one <= half <= 12
    assert found["tiers"] == [
        {"tier": "standard", "adapters": 1, "weight": 1.0, "pages_of_adapter": 1.0}
    ]
    # one process saw nothing of a whole day's: what is blind stands first
    order = [item["blind"] is None for item in items]
    assert order == sorted(order)


def test_who_is_granted_no_false_page_is_told_of_as_tickets(fleet: Serving) -> None:
    settings = Config().evaluation
    none = replace(settings, budget=replace(settings.budget, false_pages_per_30_days=0.0))
    outlook = Outlook(none, Config().schedule.cadences)
    now = datetime.now(tz=UTC)
    found = fleet.database.run(lambda tx: read(tx, outlook, now=now, adapter="support"))
    [sees] = [one for one in found.items if one.detector == "logit_ks"]
    assert sees.only_tickets == "no false page of it is accepted"
    half, one = (sees.told[drift].hours for drift in ("half_sd", "one_sd"))
    assert one is not None
    assert half is not None
    assert one <= half <= 12


def test_each_version_has_a_row_the_blind_first_and_obeys_no_name(
    fleet: Serving, look: Callable[..., Any]
) -> None:
    looker = look()
    looker.log_in()
    looker.click("nav a[href='/budget']")
    assert looker.page.inner_text(".lead").startswith(
        "You accept 1 false page from the fleet and 1 false ticket from each adapter in 30 days. "
        "In the last 30 days Driftline sent 0 pages: 0 marked false"
    )
    rows = looker.page.locator("table.budget > tbody > tr:not(.checks)")
    assert rows.count() == 2
    blind, seeing = rows.all_inner_texts()
    assert HOSTILE in blind
    assert "Every check is blind: no reference yet" in blind
    for words in ("support", "@v1", "standard", "3,800", " seen after "):
        assert words in seeing, words
    assert re.search(
        r"\d+ of 17 checks are blind: the baseline never measured what they look at", seeing
    )
    assert not looker.page.locator("tr", has_text="certainty of answers").last.is_visible()
    looker.page.locator("tr.checks summary").click()
    checks = looker.page.locator("tr.checks")
    told = checks.locator("tr", has_text="certainty of answers").inner_text()
    assert re.search(r"\d (min|h) ", told)
    assert "A shift of half a standard deviation: seen after" in checks.inner_text()
    assert "Blind (" in checks.inner_text()
    # nothing was sent: the receipt says so of the last 30 days by tier, and of this month
    receipt = looker.page.locator("table.receipt tbody tr").all_inner_texts()
    assert [row.split("\t")[1:2] + row.split("\t")[3:] for row in receipt] == [
        [name, "0", "0", "0", "0"] for name in ("standard", "all", "all")
    ]
    assert looker.page.locator("#more").count() == 0
    # a budget of one more adapter shows without a click, as on the other pages
    fleet.database.run(_another)
    looker.page.evaluate("refresh()")
    rows.filter(has_text="billing").wait_for()
    assert checks.locator("details").get_attribute("open") == "", "a refresh leaves it open"
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_a_long_budget_is_read_page_by_page(
    fleet: Serving, look: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "VERSIONS_A_PAGE", 1)
    looker = look()
    looker.log_in()
    looker.page.goto(f"{fleet.url}/budget")
    rows = looker.page.locator("table.budget > tbody > tr:not(.checks)")
    [first] = rows.all_inner_texts()
    looker.click("#next")
    assert "versions 2 to 2 of 2" in looker.page.inner_text("#more")
    [second] = rows.all_inner_texts()
    assert (HOSTILE in first, "support" in second) == (True, True)
    looker.page.goto(f"{fleet.url}/budget?page=1000")
    assert looker.page.locator("#next").count() == 0
    looker.click("#previous")
    assert rows.all_inner_texts() == [first]
    assert looker.complaints == []


def _another(tx: Connection) -> None:
    adapter = adapters.put(tx, name="billing")
    versions.put(tx, adapter=adapter, name="v1", model="billing@v1")
