"""A database with something for every page to show."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.domain import Interval
from monitor.store.evaluation import reports
from monitor.store.registry import versions
from tests import asked
from tests.web import asking, kinds, moves, trials


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Numbers to open pages by: a report of ``support``, canaries, and incidents by kind."""

    report: int
    tried: Mapping[str, int]
    told: Mapping[str, int]


def fill(tx: Connection, *, now: datetime) -> Filled:
    moves.seed(tx, now=now)
    tried = trials.seed(tx, now=now)
    told = kinds.seed(tx, now=now)
    asking.seed(tx)
    report = _reported(tx, now=now)
    listed = versions.fetch(tx, adapter="search-rewrite", name="v1")
    assert listed is not None
    asked.arrive(tx, listed, now=now)
    return Filled(report=report, tried=tried, told=told)


def _reported(tx: Connection, *, now: datetime) -> int:
    """Draw a report, as a worker does."""
    version = versions.fetch(tx, adapter="support", name="v7")
    assert version is not None
    number = reports.ask(tx, version.id, Interval(start=now - timedelta(days=1), end=now))
    held = reports.claim(tx)
    assert held is not None
    facts = {"n_window": 612, "n_reference": 12_480, "generation": 1, "signals": ["entropy"],
             "rates": ["refusal"], "texts": [], "left_out": ["latency_ms"]}  # fmt: skip
    reports.finish(tx, held, facts=facts, page=b"", snapshot=b"")
    return number
