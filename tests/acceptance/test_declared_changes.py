"""An engine's upgrade moves every adapter's perplexity a little: declared, nobody is told."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.inbox import Inbox
from tests.probes.fake_engine import FakeEngine, serving
from tests.service import Service, running, until

ADAPTERS = ("billing", "support", "travel")
LEVELS = {"base": 0.9, "billing@v1": 0.5, "support@v1": 0.6, "travel@v1": 0.7}
"""Nats per token that each model finds of a text."""
FOUR_PERCENT = math.log(1.04)
"""Nats per token by which a perplexity is 4 % higher: more than rounding moves an engine that does
not say its arithmetic, less than what pages."""


class Upgradable(FakeEngine):
    """An engine whose next release reads every text ``moved`` nats per token worse."""

    moved = 0.0

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.nll = LEVELS[body["model"]] + self.moved
        return super().complete(path, body)


@dataclass
class Fleet:
    """Three adapters on one engine, their perplexity registered."""

    service: Service
    inbox: Inbox
    engine: Upgradable

    def probes(self, adapter: str) -> list[datetime]:
        """When each probe of an adapter that came to an end began, newest first."""
        page = self.service.get(f"/v1/adapters/{adapter}/evaluations", limit=100)
        done = [one for one in page["items"] if one["kind"] == "perplexity"]
        return [datetime.fromisoformat(one["started_at"]) for one in done]

    def probed_since(self, at: datetime, times: int) -> bool:
        return all(sum(begun > at for begun in self.probes(a)) >= times for a in ADAPTERS)

    def declare(self, path: str = "", **body: Any) -> Any:
        answer = self.service.call("POST", f"/v1/changes{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def incidents(self, **wanted: str) -> list[Any]:
        return list(self.service.get("/v1/incidents", limit=100, **wanted)["items"])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("service")
    engine = Upgradable(models=[{"id": m, "parent": "base" if "@" in m else None} for m in LEVELS])
    with Inbox() as inbox, serving(engine) as url:
        changes = {
            "serving.engines": f'["{url}"]',
            "schedule.perplexity_interval": "2s",
            "probes.perplexity.corpus": str(_corpus(folder)),
            "probes.perplexity.budget": "1.0",
        }
        with running(folder / "own", inbox=inbox, changes=changes) as service:
            for adapter in ADAPTERS:
                service.register(adapter, "v1", base_model="base")
            made = Fleet(service, inbox, engine)
            until(lambda: all(made.probes(a) for a in ADAPTERS), "perplexity is registered")
            yield made


def _corpus(folder: Path) -> Path:
    path = folder / "corpus.jsonl"
    words = " ".join(["transfer", "account", "balance", "statement"] * 5)
    lines = [json.dumps({"id": f"d{i}", "text": f"{i} {words}"}) for i in range(40)]
    path.write_text("\n".join(lines))
    return path


def _now(fleet: Fleet) -> datetime:
    """The service's own time, which stamps the evaluations."""
    made = fleet.declare(kind="other", title="a mark in time")
    return datetime.fromisoformat(made["created_at"])


def test_a_declared_engine_change_wakes_nobody_and_starts_perplexity_afresh(
    fleet: Fleet,
) -> None:
    begun = fleet.declare(kind="engine", title="0.32 to 0.33", open=True)
    shown = fleet.service.get("/v1/adapters/support")["change_under_way"]
    assert shown["change"] == begun["change"]

    def held_up() -> bool:
        stopped = [
            event["version_id"]
            for event in fleet.service.events("probe_stopped")
            if event["reason"] == "engine change under way: 0.32 to 0.33"
        ]
        return len(set(stopped)) == len(ADAPTERS)

    until(held_up, "no adapter is probed while the engine changes")
    fleet.engine.moved += FOUR_PERCENT
    over = fleet.declare(f"/{begun['change']}/end")
    assert over["rebaselined"] == {"versions": len(ADAPTERS)}
    # the first probe afterwards registers, the ones after it compare
    ended = _now(fleet)
    until(lambda: fleet.probed_since(ended, times=2), "every adapter is probed again, twice")
    assert fleet.incidents() == []
    assert fleet.inbox.messages == []


def test_the_same_change_undeclared_is_found_blamed_on_the_base_and_closed_when_declared(
    fleet: Fleet,
) -> None:
    at = _now(fleet)
    fleet.engine.moved += FOUR_PERCENT

    def all_belong() -> bool:
        opened = fleet.incidents(open="true")
        if len(opened) != 1:
            return False
        detail = fleet.service.get(f"/v1/incidents/{opened[0]['incident']}")
        return len(detail["members"]) == len(ADAPTERS)

    until(all_belong, "one incident is about every adapter")
    [about] = fleet.incidents(open="true")
    assert (about["base_model"], about["adapter"]) == ("base", None)
    assert (about["blame"], about["severity"]) == ("base", "ticket")
    until(lambda: fleet.inbox.messages, "people are told")
    assert [message.said for message in fleet.inbox.messages] == [("", "started", "ticket")]
    over = fleet.declare(
        kind="engine", title="0.33 to 0.34", begun_at=at.isoformat(), ended_at=at.isoformat()
    )
    assert over["rebaselined"] == {"versions": len(ADAPTERS)}
    until(lambda: fleet.incidents(open="true") == [], "what is explained is closed")
    detail = fleet.service.get(f"/v1/incidents/{about['incident']}")
    assert "0.33 to 0.34" in [change["title"] for change in detail["changes"]]
