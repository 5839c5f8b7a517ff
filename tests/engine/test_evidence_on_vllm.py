"""What the service measures on a real vLLM holds for the weights it measured, and no longer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from examples.weights import MODELS
from tests.engine.conftest import Vllm
from tests.engine.test_service_on_vllm import LONG, dialogues, identity
from tests.inbox import Inbox
from tests.service import Service, baseline, running, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

WATCHED = "support"
SOUND = MODELS / "support-v2"
"""Other weights than version 1 has: the same under two names would be told as a mix-up."""
READ_TWICE = """
    SELECT last.id FROM perplexity_runs AS last JOIN versions ON versions.id = last.version_id
    WHERE name = %s AND role = 'confirmation' AND last.state = 'done'
    AND last.id = (SELECT max(id) FROM perplexity_runs AS run WHERE version_id = versions.id)
    AND NOT EXISTS (
        SELECT 1 FROM evaluations AS judged WHERE judged.version_id = versions.id
        AND kind = 'perplexity' AND finished_at >= last.at
    )
"""
"""The newest run of a version, where it confirms the one before it and is not judged yet."""
BASE_READ = """
    SELECT count(*), count(*) FILTER (
        WHERE abs(theirs.sum_nll - ours.sum_nll) < 0.001 * ours.sum_nll
    )
    FROM perplexity_runs AS base JOIN perplexity_documents AS theirs
    ON theirs.run_id = base.id JOIN perplexity_runs AS own ON own.corpus = base.corpus
    JOIN perplexity_documents AS ours ON ours.run_id = own.id AND ours.document = theirs.document
    WHERE base.version_id IS NULL AND own.version_id IS NOT NULL
"""
"""Documents read of the base, and those of which it says what the adapter says: it was lent it."""
AT_A_TIME = 3
AT_ONCE = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """When the service started again, and the pages that had gone out by then."""

    at: datetime
    pages: int


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened


@pytest.fixture
def service(tmp_path: Path, vllm: Vllm, inbox: Inbox) -> Iterator[Service]:
    """It may move traffic, and probes as soon as the last probe has ended."""
    changes = {
        "service.mode": "auto",
        "serving.engines": f'["{vllm.url}"]',
        "serving.register": "false",  # when a version is registered is part of the test
        "probes.embedding.model": str(tmp_path / "no-such-model"),
        "probes.perplexity.corpus": str(dialogues(tmp_path)),
        "probes.perplexity.budget": "0.9",
        "schedule.perplexity_interval": "6s",
        "routing.fleet_budget": "10",
        "routing.evidence_age": "90s",
    }
    with running(tmp_path / "s", inbox=inbox, changes=changes) as started:
        yield started


@pytest.fixture
def second(vllm: Vllm) -> Iterator[str]:
    """Sound weights under the name of the version in charge."""
    name = f"{WATCHED}@v2"
    vllm.load(name, SOUND)
    yield name
    vllm.unload(name)


@pytest.fixture
def restarted(service: Service, vllm: Vllm, broken: Path, inbox: Inbox, second: str) -> Restarted:
    """Kill the service between two readings of bad weights and their verdict; put them right."""
    service.register(WATCHED, "v1", model=f"{WATCHED}@v1", base_model="base")
    service.register(WATCHED, "v2", model=second, parent="v1", base_model="base")
    set_route(service, "v2")
    service.upload(WATCHED, "v2", baseline(1_200))
    for version in ("v1", "v2"):
        until(partial(probes, service, version), f"a probe of {version}", patience=LONG)

    reload(vllm, second, broken)
    reloaded = datetime.now(UTC)
    page = until(lambda: pages(inbox), "the page", patience=LONG)[0]
    assert (page["blame"], page["version"]) == ("adapter", "v2")
    until(lambda: in_charge(service) == "v1", "traffic on v1", patience=LONG)
    times_are_of_what_was_done(service, reloaded=reloaded, moved=datetime.now(UTC))

    kill_within_a_probe(service, "v2")
    reload(vllm, second, SOUND)
    before = Restarted(at=datetime.now(UTC), pages=len(pages(inbox)))
    service.start()
    return before


def test_weights_that_were_put_right_before_a_restart_page_no_more(
    service: Service, inbox: Inbox, restarted: Restarted
) -> None:
    is_sound_again(service, since=restarted.at)
    assert len(pages(inbox)) == restarted.pages


def test_weights_that_were_put_right_move_nothing_against_a_person(
    service: Service, inbox: Inbox, restarted: Restarted
) -> None:
    [incident] = service.get("/v1/incidents", open=True, adapter=WATCHED)["items"]
    said = service.call(
        "POST", f"/v1/incidents/{incident['incident']}/false", json={"reason": "weights put right"}
    )
    assert said.status_code == 200, said.text
    set_route(service, "v2")
    is_sound_again(service, since=datetime.now(UTC))
    assert service.verdict(WATCHED) == "insufficient"  # sound, and without traffic
    assert len(pages(inbox)) == restarted.pages
    assert in_charge(service) == "v2"


def is_sound_again(service: Service, *, since: datetime) -> None:
    """Wait for three probes; two are enough to recover, if neither tells what was read before."""

    def ended() -> list[dict[str, Any]]:
        found = [one for one in probes(service, "v2") if moment(one, "finished_at") > since]
        return sorted(found, key=lambda one: moment(one, "finished_at"))

    until(lambda: len(ended()) >= 3, "three probes", patience=LONG)
    verdicts = [one["verdict"] for one in ended()]
    assert set(verdicts[1:]) <= {"insufficient", "stable"}, verdicts


def kill_within_a_probe(service: Service, version: str) -> None:
    """Kill the service after both readings of a probe are stored, before they are judged."""
    with service.stored() as database:
        read = until(
            lambda: database.execute(READ_TWICE, (version,)).fetchone(),
            "two readings that nobody has judged",
            patience=LONG,
        )
        service.kill()
        assert database.execute(READ_TWICE, (version,)).fetchone() == read


def times_are_of_what_was_done(service: Service, *, reloaded: datetime, moved: datetime) -> None:
    """An incident opens when a probe has told, not when it began; a route is since its move."""
    [incident] = service.get("/v1/incidents", open=True, adapter=WATCHED)["items"]
    opened = datetime.fromisoformat(incident["opened_at"])
    bad = [one for one in probes(service, "v2") if one["verdict"] in {"drifting", "critical"}]
    told = min(bad, key=lambda one: moment(one, "finished_at"))
    assert moment(told, "finished_at") > reloaded
    assert abs(opened - moment(told, "finished_at")) < AT_ONCE
    assert opened - moment(told, "started_at") > AT_ONCE  # so the two can be told apart
    changes = service.get(f"/v1/routes/{WATCHED}/history")["items"]
    since = [datetime.fromisoformat(one["since"]) for one in changes]
    assert since == sorted(since, reverse=True)
    assert opened <= since[0] <= moved


def test_a_base_that_is_registered_beside_traffic_of_one_adapter_accuses_nobody(
    service: Service, vllm: Vllm, inbox: Inbox
) -> None:
    """An engine may lend the adapter of a batch to the base: such a reading is no registration.

    vLLM does so in most runs of this test. Where it did not, the base was read as it is.
    """
    with traffic(vllm, f"{WATCHED}@v1") as answered, service.stored() as database:
        service.register(WATCHED, "v1", model=f"{WATCHED}@v1", base_model="base")
        found = until(lambda: identity(service, WATCHED) or None, "what it is", patience=LONG)
        read, lent = database.execute(BASE_READ).fetchone() or (0, 0)
        assert found["state"] == ("applied" if read and not lent else "unknown"), (found, lent)
    until(lambda: identity(service, WATCHED).get("state") == "applied", "applied", patience=LONG)
    ended = len(probes(service, "v1"))
    until(lambda: len(probes(service, "v1")) > ended, "a probe without traffic", patience=LONG)
    assert len(answered) > 0
    assert identity(service, WATCHED)["state"] == "applied"
    assert [message.alert["reason"] for message in inbox.messages] == []


@contextmanager
def traffic(vllm: Vllm, model: str) -> Iterator[list[str]]:
    """Requests of one adapter, some at a time and without a pause; gives the answers so far."""
    answered: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answered.append(vllm.answer(model, "Where is my parcel?", tokens=128))

    asking = [threading.Thread(target=ask) for _ in range(AT_A_TIME)]
    for one in asking:
        one.start()
    try:
        yield answered
    finally:
        over.set()
        for one in asking:
            one.join()


def reload(vllm: Vllm, name: str, folder: Path) -> None:
    vllm.unload(name)
    vllm.load(name, folder)


def set_route(service: Service, version: str) -> None:
    known = service.call("GET", f"/v1/routes/{WATCHED}").headers["etag"]
    arms = [{"arm": "stable", "version": version, "weight": 1.0}]
    service.put(f"/v1/routes/{WATCHED}", {"arms": arms, "reason": "release"}, **{"If-Match": known})


def in_charge(service: Service) -> str:
    arms = service.get(f"/v1/routes/{WATCHED}")["arms"]
    return str(next(one["version"] for one in arms if one["weight"] == 1.0))


def probes(service: Service, version: str) -> list[dict[str, Any]]:
    """Probes of a version that have been judged, the newest first."""
    path = f"/v1/adapters/{WATCHED}/evaluations"
    found = service.get(path, version=version, limit=200)["items"]
    return [one for one in found if (one["kind"], one["state"]) == ("perplexity", "done")]


def pages(inbox: Inbox) -> list[dict[str, Any]]:
    """Pages that say that something began or became worse."""
    alerts = [message.alert for message in inbox.messages]
    begun = {"started", "worsened"}
    return [one for one in alerts if one["severity"] == "page" and one["status"] in begun]


def moment(evaluation: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(evaluation[name])
