"""A fleet of 200 adapters behind three replicas, and nothing configured but their addresses."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import httpx2
import pytest

from tests.probes.fake_engine import FakeEngine, serving
from tests.service import Service, Talk, running, until

pytestmark = pytest.mark.timeout(1500)

TEN_MINUTES = 600.0
"""Seconds from the start in which the fleet must have appeared and say what is applied."""
NAMES = [f"tenant-{number:03}" for number in range(200)]
MODELS: list[dict[str, str | None]] = [{"id": "base", "parent": None}]
MODELS += [{"id": f"{name}@v1", "parent": "base"} for name in NAMES]
MODELS += [{"id": "playground", "parent": "base"}]
NOTHING = '<span class="faint">–</span>'  # noqa: RUF001 (as the page writes it)
WORDS = {"applied": "applied", "not_applied": "not applied", None: "not compared yet"}
ROW = re.compile(
    r'<tr[^>]* data-row="(?P<adapter>[^"]+)">.*?<span class="faint">v1 · (?P<applied>[^<]+)</span>'
    r'.*?<td data-label="Compared">(?P<compared>.*?)</td>',
    re.DOTALL,
)


def applied(name: str) -> str:
    """Whether the engines apply an adapter: every second one they serve as its base."""
    return "applied" if int(name[-3:]) % 2 == 0 else "not_applied"


@dataclass
class NeglectfulEngine(FakeEngine):
    """An engine that answers as its base does in place of every second adapter.

    How likely a text is depends on the weights that read it.
    """

    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        name = body["model"].removesuffix("@v1")
        weights = name if name in NAMES and applied(name) == "applied" else "base"
        with self.one_at_a_time:
            self.nll = 0.5 + crc32(f"{weights} reads {body['prompt']}".encode()) / 2**32
            return super().complete(path, body)


@dataclass(frozen=True, kw_only=True)
class NewFleet:
    """A service that was started at ``at``, on the monotonic clock."""

    service: Service
    at: float

    def rows(self) -> list[dict[str, Any]]:
        return list(self.service.get("/v1/adapters")["items"])

    def until(self, so: Callable[[], bool], what: str) -> None:
        """Wait for it, at most until ten minutes after the start."""
        until(so, what, patience=max(0.0, self.at + TEN_MINUTES - time.monotonic()))

    def since(self) -> str:
        return f"{time.monotonic() - self.at:.0f} s after the start"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewFleet]:
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(NeglectfulEngine(models=MODELS))) for _ in range(3)]
        config = f"[serving]\nengines = {json.dumps(urls)}\n"
        began = time.monotonic()
        service = stack.enter_context(running(tmp_path_factory.mktemp("service"), config=config))
        yield NewFleet(service=service, at=began)


def test_all_adapters_appear_and_each_says_whether_it_is_applied(fleet: NewFleet) -> None:
    fleet.until(lambda: len(fleet.rows()) >= len(NAMES), "all appear")
    print(f"all {len(NAMES)} are registered {fleet.since()}")

    def both_told() -> bool:
        return {"applied", "not_applied"} <= {row["applied"] for row in fleet.rows()}

    fleet.until(both_told, "one that is applied, and one that is not")
    rows = {row["adapter"]: row for row in fleet.rows()}
    print(f"{sum(row['applied'] is not None for row in rows.values())} told {fleet.since()}")
    assert sorted(rows) == NAMES, "no name that does not match"
    assert {row["version"] for row in rows.values()} == {"v1"}
    wrong = {name: row["applied"] for name, row in rows.items() if not_so(name, row["applied"])}
    assert wrong == {}
    assert all(row["least_covered"] is None for row in rows.values()), "no request came yet"
    shown = on_the_page(fleet.service)
    assert sorted(shown) == NAMES
    for name, row in shown.items():
        assert row["applied"] in {WORDS[applied(name)], WORDS[None]}
        assert row["compared"] == NOTHING


@pytest.mark.slow
def test_an_adapter_shows_its_coverage_once_requests_come(fleet: NewFleet) -> None:
    """By the default intervals, which take minutes."""
    service = fleet.service
    until(lambda: len(fleet.rows()) >= len(NAMES), "all appear", patience=TEN_MINUTES)
    service.send(Talk(NAMES[0]).records(40, version="v1"))
    path = f"/v1/adapters/{NAMES[0]}"
    found = until(lambda: service.get(path)["coverage"], "its coverage", patience=TEN_MINUTES)
    print(f"{found[0]['text']} {fleet.since()}")
    assert {one["requests"] for one in found} == {40}
    assert {one["compared"] for one in found} == {0}
    assert {gap["cause"] for one in found for gap in one["gaps"]} == {"no_reference"}


def not_so(name: str, told: str | None) -> bool:
    return told not in {None, applied(name)}


def on_the_page(service: Service) -> dict[str, Mapping[str, str]]:
    """What the fleet's pages say, by adapter."""
    found: dict[str, Mapping[str, str]] = {}
    with httpx2.Client(base_url=service.url, timeout=90, trust_env=False) as client:
        client.post("/login", data={"key": service.key})
        for page in range(1, 6):
            body = client.get("/", params={"page": page}).raise_for_status().text
            found |= {row["adapter"]: row.groupdict() for row in ROW.finditer(body)}
    return found
