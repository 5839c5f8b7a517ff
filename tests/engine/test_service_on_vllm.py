"""The whole service beside a real vLLM: discovered, then told what goes wrong with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.texts import Domain, corpus
from examples.weights import MODELS
from tests.cli.command import driftline
from tests.engine.conftest import Vllm
from tests.inbox import Inbox
from tests.service import Service, running, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

ADAPTERS = ("support", "booking", "travel")
LONG = 240.0
"""Seconds in which the next probe must have told; an engine on a busy CPU takes its time."""


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, vllm: Vllm, inbox: Inbox
) -> Iterator[Service]:
    """No reference, no records: what is known comes from the engine alone."""
    folder = tmp_path_factory.mktemp("service")
    changes = {
        "serving.engines": f'["{vllm.url}"]',
        "probes.embedding.model": str(folder / "no-such-model"),
        "probes.perplexity.corpus": str(dialogues(folder)),
        "schedule.perplexity_interval": "15s",
    }
    with running(folder, inbox=inbox, changes=changes) as started:
        yield started


def dialogues(folder: Path) -> Path:
    """Texts that the demo's models know: ordinary English is harder for them than noise."""
    path = folder / "dialogues.jsonl"
    texts = [text for domain in Domain for text in corpus(domain, 15)]
    path.write_text("\n".join(json.dumps({"id": f"d{i}", "text": t}) for i, t in enumerate(texts)))
    return path


def score(service: Service, adapter: str) -> dict[str, Any] | None:
    scores = service.get(f"/v1/adapters/{adapter}")["scores"]
    return next((one for one in scores if one["detector"] == "perplexity"), None)


def identity(service: Service, adapter: str) -> dict[str, Any]:
    found = score(service, adapter)
    return dict(found["details"].get("identity") or {}) if found else {}


def told(service: Service, adapter: str, state: str) -> dict[str, Any]:
    """Wait until the adapter's identity is ``state``, and give its detail."""
    until(
        lambda: identity(service, adapter).get("state") == state,
        f"{adapter} {state}",
        patience=LONG,
    )
    return service.get(f"/v1/adapters/{adapter}")


def test_discover_registers_the_adapters_and_finds_each_applied(
    service: Service, vllm: Vllm
) -> None:
    environ = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.key}
    ran = driftline("discover", vllm.url, "--json", environ=environ)
    assert ran.code == 0, ran
    body = json.loads(ran.out)
    assert {(one["adapter"], one["version"]) for one in body["adapters"]} == {
        (name, "v1") for name in ADAPTERS
    }
    for name in ADAPTERS:
        found = told(service, name, "applied")
        assert found["verdict"] == "learning"
        [version] = found["versions"]
        assert version["model"] == f"{name}@v1"
        assert version["base_model"] == "base"


def test_discover_tells_an_unapplied_adapter_from_a_mixed_up_one(vllm: Vllm, empty: Path) -> None:
    vllm.load("late@v1", empty)
    vllm.load("copy@v1", MODELS / "booking-v1")
    try:
        ran = driftline("discover", vllm.url, "--check-only", "--json")
    finally:
        vllm.unload("late@v1")
        vllm.unload("copy@v1")
    assert ran.code == 5, ran
    states = {
        f"{one['adapter']}@{one['version']}": one["state"]
        for one in json.loads(ran.out)["adapters"]
    }
    assert states["late@v1"] == "not_applied"
    assert states["copy@v1"] == "mixed_up"
    assert states["support@v1"] == states["travel@v1"] == "applied"


def test_base_weights_under_an_adapters_name_are_told_as_not_applied(
    service: Service, vllm: Vllm, empty: Path
) -> None:
    with vllm.instead("travel@v1", empty):
        found = told(service, "travel", "not_applied")
        assert (found["verdict"], found["blame"]) == ("drifting", "serving")
    until(lambda: service.verdict("travel") in {"learning", "stable"}, "recovered", patience=LONG)


def test_a_siblings_weights_are_told_as_a_mix_up(service: Service, vllm: Vllm) -> None:
    with vllm.instead("booking@v1", MODELS / "support-v1"):
        found = told(service, "booking", "mixed_up")
        assert found["verdict"] in {"drifting", "critical"}
        assert "support@v1" in identity(service, "booking")["reason"]
    until(lambda: service.verdict("booking") in {"learning", "stable"}, "recovered", patience=LONG)


def test_wrong_weights_are_told_and_page_once(
    service: Service, vllm: Vllm, broken: Path, inbox: Inbox
) -> None:
    with vllm.instead("support@v1", broken):
        until(lambda: service.verdict("support") == "critical", "critical", patience=LONG)
        found = service.get("/v1/adapters/support")
        assert found["blame"] == "adapter"
        assert identity(service, "support")["state"] == "wrong_weights"
        assert (score(service, "support") or {})["value"] > 0.05
    until(lambda: service.verdict("support") in {"learning", "stable"}, "back", patience=LONG)
    said = [m.said for m in inbox.messages if m.said[0] == "support" and m.said[2] == "page"]
    assert [status for _, status, _ in said if status != "recovered"] in (["started"], ["worsened"])
    assert vllm.alive()
