"""Latest score of every series of a fleet, and one adapter's week, asked of PostgreSQL."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from benchmarks.row import Figure, Row, at_most
from benchmarks.server import postgres

ADAPTERS: Final = 500
DETECTORS: Final = 8
PER_SERIES: Final = 500
ROUNDS: Final = 9

_SCORE: Final = (
    "v.id, 'detector_' || d, {at}, {at} - interval '15 minutes', .1, -1, -2, .1, 0, .2,"
    " 10000, 40, .2, NULL, 'stable', 'unknown', 'evidence -1 below 0', 1, '{{}}'::jsonb"
)
_COLUMNS: Final = (
    "version_id, detector, at, window_start, value, evidence_notice, evidence_page, effect,"
    " effect_low, effect_high, n_reference, n_window, minimum_detectable, winner, verdict,"
    " blame, reason, evaluation_id, details"
)
_WANTED: Final = "version_id, detector, at, value, evidence_page, verdict"
_NEWEST: Final = "date_trunc('hour', now()) - n * interval '5 minutes'"

_QUERIES: Final[Mapping[str, str]] = {
    "ours": f"SELECT {_WANTED} FROM latest_scores",
    "distinct on": f"SELECT DISTINCT ON (version_id, detector) {_WANTED} FROM scores"
    " ORDER BY version_id, detector, at DESC",
    "lateral": f"SELECT s.* FROM latest_scores l CROSS JOIN LATERAL (SELECT {_WANTED}"
    " FROM scores s WHERE s.version_id = l.version_id AND s.detector = l.detector"
    " ORDER BY at DESC LIMIT 1) s",
    "limit": "SELECT * FROM packed_latest",
}


def run() -> Sequence[Row]:
    """Ask for the latest score of 4,000 series in four ways, in turns."""
    with postgres() as database:
        with database.begin() as tx:
            tx.execute(sa.text("SET LOCAL statement_timeout = 0"))
            _fill(tx)
        with database.engine.connect() as connection:
            connection.execute(sa.text("SET statement_timeout = 0"))
            spent = _milliseconds(connection)
    return [
        Row(
            number=11,
            metric=f"latest score of {ADAPTERS * DETECTORS:,} series",
            ours=_ms("a table of the latest, kept by each evaluation", spent["ours"]),
            goals=(at_most("5 ms of SQL", value=spent["ours"], ceiling=5, unit="ms"),),
            peers=(
                _ms("DISTINCT ON over the history", spent["distinct on"]),
                _ms("LATERAL, one probe a series", spent["lateral"]),
            ),
            limit=_ms("the same rows in a table of nothing else", spent["limit"]),
            note=f"Executor time of EXPLAIN ANALYZE (TIMING OFF), median of {ROUNDS} rounds;"
            f" history of {PER_SERIES} scores a series.",
        )
    ]


def _fill(tx: Connection) -> None:
    tx.execute(
        sa.text("INSERT INTO adapters (name) SELECT 'adapter-' || n FROM generate_series(1, :n) n"),
        {"n": ADAPTERS},
    )
    tx.execute(
        sa.text(
            "INSERT INTO versions (adapter_id, name, model) SELECT id, 'v1', name FROM adapters"
        )
    )
    source = f"FROM versions v, generate_series(1, {DETECTORS}) d"
    history = f"{source}, generate_series(0, {PER_SERIES - 1}) n"
    tx.execute(
        sa.text(
            f"INSERT INTO scores ({_COLUMNS}) SELECT {_SCORE.format(at=_NEWEST)} {history}"
            " ORDER BY n DESC"
        )
    )
    newest = _SCORE.format(at="date_trunc('hour', now())")
    tx.execute(sa.text(f"INSERT INTO latest_scores ({_COLUMNS}) SELECT {newest} {source}"))
    tx.execute(sa.text(f"CREATE TABLE packed_latest AS SELECT {_WANTED} FROM latest_scores"))
    for table in ("scores", "latest_scores", "packed_latest"):
        tx.execute(sa.text(f"ANALYZE {table}"))


def _milliseconds(connection: Connection) -> dict[str, float]:
    seen: dict[str, list[float]] = {name: [] for name in _QUERIES}
    for turn in range(-1, ROUNDS):
        for name, query in _QUERIES.items():
            plan = connection.execute(
                sa.text(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}")
            ).scalar_one()
            if turn >= 0:
                seen[name].append(plan[0]["Execution Time"] + plan[0]["Planning Time"])
    return {name: statistics.median(times) for name, times in seen.items()}


def _ms(what: str, value: float) -> Figure:
    return Figure(what=what, value=value, unit="ms SQL")
