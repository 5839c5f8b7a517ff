"""The whole service beside a real vLLM: discovered, then told what goes wrong with it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from examples.texts import Domain, corpus
from examples.weights import MODELS
from tests.cli.command import driftline
from tests.engine.conftest import Vllm
from tests.inbox import Inbox
from tests.service import Service, baseline, running, until

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
        "serving.register": "false",  # adapters come and go, and `discover` is what is tested
        "probes.embedding.model": str(folder / "no-such-model"),
        "probes.perplexity.corpus": str(dialogues(folder)),
        "probes.perplexity.budget": "0.9",
        "schedule.perplexity_interval": "8s",
    }
    with running(folder, inbox=inbox, changes=changes) as started:
        yield started


def dialogues(folder: Path, *, each: int = 5) -> Path:
    """Texts that the demo's models know: ordinary English is harder for them than noise."""
    path = folder / "dialogues.jsonl"
    texts = [text for domain in Domain for text in corpus(domain, each)]
    path.write_text("\n".join(json.dumps({"id": f"d{i}", "text": t}) for i, t in enumerate(texts)))
    return path


def score(service: Service, adapter: str) -> dict[str, Any] | None:
    scores = service.get(f"/v1/adapters/{adapter}")["scores"]
    return next((one for one in scores if one["detector"] == "perplexity"), None)


def identity(service: Service, adapter: str) -> dict[str, Any]:
    found = score(service, adapter)
    return dict(found["details"].get("identity") or {}) if found else {}


def heard(inbox: Inbox, adapter: str) -> list[dict[str, Any]]:
    """What people were told of an adapter's drift, the first message first."""
    alerts = [message.alert for message in inbox.messages]
    return [one for one in alerts if (one["adapter"], one["kind"]) == (adapter, "drift")]


def told(service: Service, adapter: str, state: str) -> dict[str, Any]:
    """Wait until the adapter's identity is ``state``, and give its detail."""
    until(
        lambda: identity(service, adapter).get("state") == state,
        f"{adapter} {state}",
        patience=LONG,
    )
    return service.get(f"/v1/adapters/{adapter}")


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


def test_discover_registers_the_adapters_and_finds_each_applied(
    service: Service, vllm: Vllm, tmp_path: Path
) -> None:
    environ = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.key}
    prompts = str(dialogues(tmp_path, each=2))
    ran = driftline("discover", vllm.url, "--prompts", prompts, "--json", environ=environ)
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


def test_base_weights_under_an_adapters_name_are_told_as_not_applied(
    service: Service, vllm: Vllm, empty: Path, inbox: Inbox
) -> None:
    with vllm.instead("travel@v1", empty):
        found = told(service, "travel", "not_applied")
        assert found["verdict"] in {"drifting", "critical"}
        assert found["blame"] == "serving"
        first = until(lambda: heard(inbox, "travel"), "told", patience=LONG)[0]
        assert (first["blame"], first["cause"]) == ("serving", "serving")
    until(lambda: service.verdict("travel") in {"learning", "stable"}, "recovered", patience=LONG)


def test_a_siblings_weights_are_told_as_a_mix_up(
    service: Service, vllm: Vllm, inbox: Inbox
) -> None:
    with vllm.instead("booking@v1", MODELS / "support-v1"):
        found = told(service, "booking", "mixed_up")
        assert found["verdict"] in {"drifting", "critical"}
        assert identity(service, "booking")["sibling"] == "support@v1"
        first = until(lambda: heard(inbox, "booking"), "told", patience=LONG)[0]
        assert first["answers_as"] == "support@v1"
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
    waking = [status for _, status, _ in said if status not in {"recovered", "updated"}]
    assert waking in (["started"], ["worsened"])
    assert vllm.alive()


def test_an_adapter_that_the_engine_does_not_know_pages_with_seven_users(
    service: Service, vllm: Vllm, inbox: Inbox
) -> None:
    """Every request is a 404 of the real engine, under settings that the reference has not."""
    service.register("lost", "v1", model="lost@v1", base_model="base")
    service.upload("lost", "v1", [one | {"status": 200, "max_tokens": 20} for one in baseline(400)])
    asked = {"model": "lost@v1", "prompt": "hello", "max_tokens": 2}
    for _ in range(3):  # seven users are seven voices in a window; twelve or so are needed
        replies = [vllm.http.post("/v1/completions", json=asked) for _ in range(21)]
        assert {reply.status_code for reply in replies} == {404}
        service.send([failure(reply.status_code, i % 7) for i, reply in enumerate(replies)])
        service.evaluate("lost")
    page = until(
        lambda: [one for one in heard(inbox, "lost") if one["severity"] == "page"],
        "the page",
        patience=LONG,
    )[0]
    assert " of 7 subjects" in page["reason"]


def failure(status: int, user: int) -> dict[str, Any]:
    return {
        "id": uuid4().hex,
        "adapter": "lost",
        "version": "v1",
        "at": datetime.now(UTC).isoformat(),
        "status": status,
        "max_tokens": 2,
        "subject": f"user-{user}",
    }
