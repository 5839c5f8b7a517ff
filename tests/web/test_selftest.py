"""The self-test on an adapter's page."""

from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa

from monitor.store.evaluation import selftests
from monitor.store.tables.probes import selftests as table
from monitor.store.tables.references import references
from monitor.store.tables.registry import versions
from tests import worlds
from tests.serving import Serving
from tests.web.conftest import Looker


def _told(hours: float | None) -> dict[str, object]:
    power = {"share": 0.995, "interval": [0.972, 1.0]}
    requests = None if hours is None else 160.0 * hours
    return {
        "within_day": power, "within_week": power,
        "median_hours": hours, "median_requests": requests,
    }  # fmt: skip


REPORT = {
    "requests_per_day": 3_840.0,
    "injections": [
        {
            "text": "<b>mean NLL +0.5 sd</b>", "detectors": ["logit_ks"],
            "notice": _told(1.75), "page": _told(None) | {"within_week": None},
        },
        {"text": "new topics", "detectors": ["x"], "notice": _told(3.0), "page": None},
    ],
    "false_alarms": {
        "notice": {"per_30_days": 0.01, "interval": [0.0, 0.04], "promised": 1.0, "kept": True},
        "page": {"per_30_days": 3.0, "interval": [2.0, 4.0], "promised": 0.25, "kept": False},
    },
}  # fmt: skip


def test_a_self_test_is_shown_where_the_adapter_is(
    service: Serving, look: Callable[..., Looker]
) -> None:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
        of = sa.select(versions.c.id).where(versions.c.name == "v7").scalar_subquery()
        made = sa.select(references.c.id).where(references.c.version_id == of).scalar_subquery()
        tx.execute(
            table.insert().values(
                version_id=of, reference_id=made, report=REPORT, finished_at=sa.func.now()
            )
        )
    looker = look()
    looker.log_in()
    looker.open_reasons("/adapters/support?version=v7")
    shown = looker.page.locator("[data-live=selftest]")
    text = shown.inner_text()
    for words in (
        "<b>mean NLL +0.5 sd</b>",
        "1.8 h",
        "not seen",
        "not known",
        "promised 1",
        "not kept",
    ):
        assert words in text, words
    with service.database.begin() as tx:
        selftests.ask(tx, tx.execute(sa.select(of)).scalar_one())
    looker.open_reasons("/adapters/support?version=v7")
    assert "it begins when a worker is free" in shown.inner_text()
    looker.open_reasons("/adapters/sales%2Feu")
    assert "driftline selftest sales/eu" in shown.inner_text()
    assert looker.complaints == []


def test_a_self_test_of_a_short_baseline_says_what_it_cannot_tell(
    service: Serving, look: Callable[..., Looker]
) -> None:
    caveat = "How many false alarms come is not known"
    quiet = {"notice": None, "page": None}
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
        of = sa.select(versions.c.id).where(versions.c.name == "v7").scalar_subquery()
        made = sa.select(references.c.id).where(references.c.version_id == of).scalar_subquery()
        report = REPORT | {"caveat": caveat, "false_alarms": quiet}
        tx.execute(table.insert().values(version_id=of, reference_id=made, report=report))
        left_out = sa.text("request = request || '{\"left_out\": 12}'::jsonb")
        tx.execute(sa.text(f'UPDATE "references" SET {left_out}'))
    looker = look()
    looker.log_in()
    looker.open_reasons("/adapters/support?version=v7")
    text = looker.page.locator("[data-live=selftest]").inner_text()
    assert caveat in text
    assert "all of it fitted on and replayed" in text
    assert "kept" not in text
    assert "lines left out, also among training: 12" in looker.page.locator("main").inner_text()
