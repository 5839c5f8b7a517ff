"""The pages that on-call opens first, of 1,000 adapters with 200 open incidents."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx2
from playwright.sync_api import sync_playwright

from alerts.types import Blame, VerdictKind
from benchmarks.row import Figure, Row, at_most
from benchmarks.server import postgres
from monitor.domain import Scope
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.traffic import fleet
from tests import worlds
from tests.browser import chromium
from tests.serving import Serving, serving

ADAPTERS: Final = 1_000
OPEN: Final = 200
PAGES: Final = 25
"""How many of the open incidents page; the others are tickets."""
ROUNDS: Final = 9
KIB: Final = 1024
WIDTHS: Final = {1440: 6_000, 390: 12_000}
"""Pixels of a window's width, and the most that the fleet's page may be high there."""


def run() -> Sequence[Row]:
    """Ask for the fleet and the inbox as a browser does, and for the rows alone."""
    with (
        postgres() as database,
        tempfile.TemporaryDirectory() as folder,
        serving(database, Path(folder)) as service,
        service.client() as client,
    ):
        _fill(database)
        entered = client.post("/login", data={"key": service.keys[Scope.READ]})
        if entered.headers.get("location") != "/":
            raise SystemExit(f"nobody is logged in: HTTP {entered.status_code}")
        now = datetime.now(UTC)
        spent = {
            "fleet": _milliseconds(lambda: client.get("/")),
            "inbox": _milliseconds(lambda: client.get("/incidents")),
            "rows": _milliseconds(lambda: database.run(lambda tx: fleet.fleet(tx, now=now))),
        }
        plain = _kib(client, "identity")
        packed = _kib(client, "gzip")
        heights = {width: _height(service, width) for width in WIDTHS}
    return [
        Row(
            number=22,
            metric=f"fleet page of {ADAPTERS:,} adapters with {OPEN} open incidents",
            ours=Figure(what="GET /", value=spent["fleet"], unit="ms"),
            goals=(
                at_most("300 ms", value=spent["fleet"], ceiling=300, unit="ms"),
                at_most("300 ms for the inbox", value=spent["inbox"], ceiling=300, unit="ms"),
                at_most("100 KiB", value=plain, ceiling=100, unit="KiB"),
                at_most("20 KiB a refresh, packed", value=packed, ceiling=20, unit="KiB"),
                *(
                    at_most(
                        f"{most:,} px high, {width} px wide", value=high, ceiling=most, unit="px"
                    )
                    for (width, most), high in zip(WIDTHS.items(), heights.values(), strict=True)
                ),
            ),
            limit=Figure(what="its rows read from PostgreSQL", value=spent["rows"], unit="ms"),
            note=f"Over a socket of this machine, median of {ROUNDS}; the page shows 50 adapters."
            " Each has an hour of six detectors' scores, and records.",
        )
    ]


def _fill(database: Database) -> None:
    now = datetime.now(UTC)
    with database.begin() as tx:
        begun = now - timedelta(hours=1)
        partitions.ensure(tx, {begun.date(), now.date()}, tables=["scores"])
        for number in range(ADAPTERS):
            version = worlds.registered(
                tx, f"tenant-{number:04}", "v1", owner=f"team-{number % 12}", now=now
            )
            worlds.add_reference(tx, version, now=now)
            kind = VerdictKind.STABLE
            if number < OPEN:
                kind = VerdictKind.CRITICAL if number < PAGES else VerdictKind.DRIFTING
            since = now - timedelta(minutes=number)
            verdict = worlds.a_verdict(kind, since, blame=Blame.UNKNOWN)
            worlds.put_verdict(tx, version, verdict, drift=20.0)
            worlds.put_scores(tx, version, now=now, start=begun)
            worlds.put_count(tx, version, now=now, count=200)
            if number < OPEN:
                worlds.put_change(
                    tx, version, before=VerdictKind.STABLE, after=verdict, at=verdict.since
                )
                worlds.put_incident(tx, version, verdict)


def _height(service: Serving, width: int) -> float:
    with sync_playwright() as driver, chromium(driver) as browser:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(f"{service.url}/login")
        page.fill("#key", service.keys[Scope.READ])
        page.click("button[type=submit]")
        page.wait_for_url(f"{service.url}/")
        return float(page.evaluate("document.documentElement.scrollHeight"))


def _milliseconds(ask: Callable[[], object]) -> float:
    spent = []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        ask()
        spent.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(spent[1:])


def _kib(client: httpx2.Client, encoding: str) -> float:
    with client.stream("GET", "/", headers={"accept-encoding": encoding}) as answer:
        return sum(map(len, answer.iter_raw())) / KIB
