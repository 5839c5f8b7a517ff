"""Histories of scores, and how much of the table a page of them reads."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import EvaluationId, Interval, VersionId
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.evaluation import evaluations

DETECTORS: Final = ("errors", "logit_ks", "repetition")
VERSIONS: Final = 40
MINUTE: Final = timedelta(minutes=1)


@pytest.fixture
def filled(database: Database, noon: datetime, register: Callable[[str], Any]) -> datetime:
    """A day of scores, one a minute, of three detectors of forty adapters."""
    ids = [register(f"adapter-{number}").version.id for number in range(VERSIONS)]
    with database.begin() as tx:
        partitions.ensure(tx, [(noon - timedelta(days=1)).date(), noon.date()], tables=["scores"])
        given = {"ids": ids, "detectors": list(DETECTORS), "noon": noon}
        for table, first in (("scores", 1_439), ("latest_scores", 0)):
            tx.execute(sa.text(_INSERT.format(table=table, first=first)), given)
            tx.execute(sa.text(f"ANALYZE {table}"))
    return noon


_INSERT: Final = """
    INSERT INTO {table} (version_id, detector, at, window_start, value, evidence_notice,
        evidence_page, effect, effect_low, effect_high, n_reference, n_window, minimum_detectable,
        verdict, blame, reason, evaluation_id, details)
    SELECT v, d, ended, ended - interval '1 minute', 0, 0, 0, 0, 0, 0, 100, 100, 0.1,
        'stable', 'none', 'nothing', 1, '{{}}'
    FROM unnest(CAST(:ids AS int[])) AS v, unnest(CAST(:detectors AS text[])) AS d,
        generate_series(0, {first}) AS n,
        LATERAL (SELECT CAST(:noon AS timestamptz) - n * interval '1 minute' AS ended) AS t
"""


def _read(plan: dict[str, Any]) -> Iterator[float]:
    """Give the rows of scores that each scan of a plan read."""
    if str(plan.get("Relation Name", "")).startswith("scores_"):
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield rows * plan["Actual Loops"]
    for child in plan.get("Plans", ()):
        yield from _read(child)


def _asked(tx: Connection, **wanted: Any) -> tuple[list[evaluations.ScoreRow], float]:
    """Read a page, and give the rows of scores that its statements read."""
    statements: list[tuple[str, Any]] = []

    def note(_c: object, _k: object, statement: str, given: object, *_: object) -> None:
        statements.append((statement, given))

    sa.event.listen(tx, "before_cursor_execute", note)
    page = evaluations.score_history(tx, **wanted)
    sa.event.remove(tx, "before_cursor_execute", note)
    read = 0.0
    for statement, given in statements:
        explained = tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given)
        plan = explained.scalar_one()
        plan = plan if isinstance(plan, list) else json.loads(plan)
        read += sum(_read(plan[0]["Plan"]))
    return page, read


def test_a_page_of_all_adapters_reads_little_of_a_long_span(
    database: Database, filled: datetime
) -> None:
    span = {"since": filled - timedelta(days=365), "until": filled + timedelta(days=365)}
    with database.begin() as tx:
        page, read = _asked(tx, **span, limit=100)
        last = page[-1]
        place = (last.window.end, last.detector, last.version_id)
        then, read_then = _asked(tx, **span, before=place, limit=100)
    assert len(page) == len(then) == 100
    assert [one.window.end for one in page] == [filled] * 100
    assert page[-1].detector >= then[0].detector
    in_a_piece = evaluations.FIRST_LOOK / MINUTE * len(DETECTORS) * VERSIONS
    assert max(read, read_then) <= in_a_piece < 1_440 * len(DETECTORS) * VERSIONS / 50


def test_a_page_of_one_detector_is_filled_from_as_far_back_as_it_takes(
    database: Database, filled: datetime
) -> None:
    span = {"since": filled - timedelta(hours=12), "until": filled}
    with database.begin() as tx:
        page, read = _asked(tx, **span, detector="errors", limit=10_000)
        rest, _ = _asked(tx, **span, detector="errors", limit=100_000)
    assert {one.detector for one in page} == {"errors"}
    assert page == rest[:10_000]
    assert len(rest) == 12 * 60 * VERSIONS
    assert min(one.window.end for one in rest) == span["since"]
    assert read <= 2 * (10_000 + evaluations.FIRST_LOOK / MINUTE * VERSIONS)


def test_nothing_is_found_of_adapters_without_scores(
    database: Database, noon: datetime, register: Callable[[str], Any]
) -> None:
    of = register("support")
    with database.begin() as tx:
        found, read = _asked(
            tx, adapter_id=of.adapter.id, since=noon - timedelta(days=1), until=noon, limit=10
        )
    assert (found, read) == ([], 0.0)


def _score(version_id: VersionId, at: datetime, verdict: str) -> evaluations.ScoreRow:
    return evaluations.ScoreRow(
        version_id=version_id, adapter="support", version="v7", detector="errors",
        window=Interval(start=at - MINUTE, end=at), value=0.0, evidence_notice=-3.0,
        evidence_page=-3.0, effect=0.0, effect_low=0.0, effect_high=0.0, n_reference=100,
        n_window=3, minimum_detectable=0.1, winner=None, verdict=verdict, blame="unknown",
        reason="", evaluation_id=EvaluationId(1), details={},
    )  # fmt: skip


THINNED: Final = [
    (0, "stable", True),
    (1, "stable", False),
    (5, "drifting", True),
    (6, "drifting", True),
    (7, "stable", True),
    (8, "stable", False),
    # with no requests for 20 minutes
    (29, "stable", True),
    (30, "stable", True),
    (31, "stable", False),
]
"""Minutes past noon, what a score says, and whether it joins a thinned history."""


@pytest.mark.parametrize("thinned", [True, False])
def test_what_says_the_same_joins_a_thinned_history_once_a_quarter(
    database: Database, noon: datetime, support: Any, *, thinned: bool
) -> None:
    version_id = support.version.id
    with database.begin() as tx:
        partitions.ensure(tx, [noon.date()], tables=["scores"])
    for minute, verdict, _ in THINNED:
        row = _score(version_id, noon + minute * MINUTE, verdict)
        with database.begin() as tx:
            evaluations.put_scores(tx, [row], thinned=[version_id] if thinned else [])
        (newest,) = database.run(evaluations.latest_scores_of)
        assert (newest.window.end, newest.verdict) == (row.window.end, verdict)
    with database.begin() as tx:
        found = tx.execute(sa.text("SELECT at FROM scores ORDER BY at")).scalars().all()
    assert found == [noon + minute * MINUTE for minute, _, kept in THINNED if kept or not thinned]
