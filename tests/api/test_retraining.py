"""A request to retrain, from drifting inputs to a signed event and a manifest."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from alerts.channels import open_channel
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.types import Blame, VerdictKind
from monitor.domain import Interval, Scope, Verdict, VerdictSeverity
from monitor.evaluate.retraining import Retrainings, RetrainSettings
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.deliverer import Deliverer
from monitor.store import audit
from monitor.store.registry import adapters
from tests import newcomers, worlds
from tests.inbox import Inbox
from tests.loopback import LOOPBACK
from tests.serving import Serving

TEXT = "redeem"


@pytest.fixture
def drifting(service: Serving) -> Serving:
    """Six new requests and twenty known ones; inputs are to blame since two hours."""
    now = datetime.now(UTC)
    onset = Interval(start=now - timedelta(hours=3), end=now - timedelta(hours=2))
    verdict = Verdict(
        kind=VerdictKind.DRIFTING,
        severity=VerdictSeverity.TICKET,
        blame=Blame.INPUT,
        reason="notice evidence 0.9",
        detectors=("input_similarity",),
        since=onset.end,
        onset=onset,
    )
    with service.database.begin() as tx:
        version = worlds.registered(tx, "support", "v1", owner="ann", now=now)
        worlds.add_reference(tx, version, now=now)
        newcomers.arrive(tx, version, now=now, text=TEXT)
        worlds.put_verdict(tx, version, verdict, drift=40.0)
        old = worlds.registered(tx, "billing", "v3", owner="bob", now=now)
        tx.execute(
            sa.text("UPDATE versions SET registered_at = :then WHERE id = :id"),
            {"then": now - timedelta(days=200), "id": old.id},
        )
    return service


def asking(service: Serving, *, words: bool = False) -> Retrainings:
    return Retrainings(
        database=service.database,
        settings=RetrainSettings(channels=("pipeline",)),
        words=words,
        base_url="https://drift.test/",
        clock=lambda: datetime.now(UTC),
    )


def delivered(service: Serving, inbox: Inbox, count: int) -> dict[str, dict[str, Any]]:
    """Send what is queued to a webhook that checks every signature; by adapter."""
    channel = open_channel(
        "webhook",
        {"url": inbox.url, "secret": inbox.secret},
        client=OutgoingClient(OutgoingPolicy(allow=LOOPBACK)),
    )
    sender = Deliverer(service.database, [ConfiguredChannel(name="pipeline", channel=channel)])
    sender.start()
    try:
        end = time.monotonic() + 20
        while len(inbox.messages) < count and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        sender.stop()
    return {message.alert["adapter"]: message.alert for message in inbox.messages}


def test_drifting_inputs_and_great_age_are_asked_for_once_each_by_a_signed_event(
    drifting: Serving,
) -> None:
    for _ in range(3):  # and by as many daemons as there are
        assert asking(drifting).turn() is False
    with Inbox() as inbox:
        told = delivered(drifting, inbox, 2)
        assert len(inbox.messages) == 2
    event = told["support"]
    assert (event["kind"], event["severity"], event["blame"]) == ("retrain", "ticket", "input")
    assert event["summary"] == "Retrain support from v1: 23 % of requests are unlike training"
    asked = event["retraining"]
    (group,) = asked.pop("groups")
    assert (group["count"], group["subjects"], group["words"]) == (6, 6, [])
    assert group["share"] == pytest.approx(6 / 26)
    since, until = (datetime.fromisoformat(asked.pop(side)) for side in ("since", "until"))
    assert until - since == pytest.approx(timedelta(hours=3), abs=timedelta(minutes=5))
    assert asked == {
        "request": asked["request"],
        "cause": "input",
        "parent": "v1",
        "replay_share": 0.123,
        "manifest": f"https://drift.test/v1/retraining/{asked['request']}/manifest",
        "compared": 26,
        "unlike": 6,
    }
    aged = told["billing"]
    assert (aged["retraining"]["cause"], aged["blame"]) == ("max_age", "unknown")
    assert aged["reason"] == "registered 200 days ago (at most 180)"
    assert (aged["retraining"]["replay_share"], aged["retraining"]["groups"]) == (0.15, [])


def test_the_manifest_names_the_records_and_nothing_else_of_them(drifting: Serving) -> None:
    asking(drifting).turn()
    with drifting.client(Scope.READ) as client:
        items = client.get("/v1/retraining", params={"adapter": "support"}).json()["items"]
        (request,) = items
        assert (request["version"], request["cause"]) == ("v1", "input")
        assert request["evidence"]["unlike"] == 6
        whole = client.get(request["manifest"])
        assert whole.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in whole.text.splitlines()]
        new = client.get(request["manifest"], params={"unlike": True}).text.splitlines()
        assert client.get("/v1/retraining/99").status_code == 404
        assert client.get("/v1/retraining/99/manifest").status_code == 404
        same = client.get(f"/v1/retraining/{request['retraining']}").json()
    assert same == request
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert (len(lines), sum(line["unlike"] for line in lines)) == (26, 6)
    assert [json.loads(line) for line in new] == [line for line in lines if line["unlike"]]
    assert set(lines[0]) == {"id", "at", "similarity", "unlike", "feedback"}


def test_the_texts_that_are_kept_become_examples(drifting: Serving) -> None:
    asking(drifting).turn()
    with drifting.database.begin() as tx:
        tx.execute(sa.text("UPDATE record_texts SET output = 'I cannot say.' WHERE id LIKE '0 %'"))
    with drifting.client(Scope.READ) as client:
        (request,) = client.get("/v1/retraining", params={"adapter": "support"}).json()["items"]
        path = f"/v1/retraining/{request['retraining']}/export"
        found = [json.loads(line) for line in client.get(path).text.splitlines()]
        shared = client.get(path, params={"format": "sharegpt", "unlike": True})
        assert client.get(path, params={"format": "csv"}).status_code == 422
        assert client.get("/v1/retraining/99/export").status_code == 404
    assert len(found) == 6, "the texts of the others are not kept"
    user = {"role": "user", "content": TEXT}
    assert found[0] == {"messages": [user, {"role": "assistant", "content": "I cannot say."}]}
    assert found[1:] == [{"messages": [user]}] * 5
    first, *_ = map(json.loads, shared.text.splitlines())
    assert first == {
        "id": f"0 {TEXT}",
        "conversations": [
            {"from": "human", "value": TEXT},
            {"from": "gpt", "value": "I cannot say."},
        ],
    }


def test_a_person_asks_too_and_past_the_cool_down_only_by_saying_so(drifting: Serving) -> None:
    path, body = "/v1/adapters/support/retraining", {"reason": "the sale brought new questions"}
    drifting.app.state.parts = replace(
        drifting.app.state.parts, retrainings=asking(drifting)
    )  # with the channel that gets the events
    with drifting.client(Scope.OPERATE) as client, drifting.client(Scope.READ) as reader:
        assert reader.post(path, json=body).status_code == 403
        asked = client.post(path, json=body)
        made = asked.json()
        assert (asked.status_code, made["cause"], made["version"]) == (201, "person", "v1")
        assert made["reason"] == "by for operate: the sale brought new questions"
        assert (made["evidence"]["unlike"], made["replay_share"]) == (6, 0.123)
        assert (
            asking(drifting).turn() is False
        )  # the cool-down is everybody's: only billing's is due
        soon = client.post(path, json=body)
        assert (soon.status_code, soon.json()["type"].split(":")[-1]) == (409, "not-possible")
        assert "within 7 days" in soon.json()["detail"]
        again = client.post(path, json=body | {"force": True}).json()
        listed = reader.get("/v1/retraining", params={"adapter": "support"}).json()["items"]
        assert [one["retraining"] for one in listed] == [again["retraining"], made["retraining"]]
        assert client.post(path, json={}).status_code == 422
        assert client.post("/v1/adapters/nobody/retraining", json=body).status_code == 404
        with drifting.database.begin() as tx:
            adapters.put(tx, name="empty")
            acts = [(one.act, one.actor) for one in audit.newest(tx, subject="support@v1")]
        none = client.post("/v1/adapters/empty/retraining", json=body)
        assert (none.status_code, "no version" in none.json()["detail"]) == (409, True)
    assert acts[:2] == [("retraining.request", "for operate")] * 2
    with Inbox() as inbox:
        delivered(drifting, inbox, 3)
        told = [one.alert for one in inbox.messages if one.alert["adapter"] == "support"]
    assert {one["retraining"]["cause"] for one in told} == {"person"}
    assert told[0]["summary"] == "Retrain support from v1: 23 % of requests are unlike training"


def test_words_of_prompts_are_told_only_to_who_opted_in(drifting: Serving) -> None:
    asking(drifting, words=True).turn()
    with drifting.client(Scope.READ) as client:
        items = client.get("/v1/retraining", params={"adapter": "support"}).json()["items"]
    assert items[0]["evidence"]["groups"][0]["words"] == [TEXT]
