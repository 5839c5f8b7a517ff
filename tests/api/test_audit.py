"""What a person does by the API or a page is written down, with the name of their key."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.matching import parse_matcher
from monitor.domain import ChangeKind, Interval, Scope
from monitor.incident.smoke import SmokeTest
from monitor.outbox.channels import ChannelFacts
from monitor.probes.corpus import Document
from monitor.probes.smoke import Questioner, SmokeAnswer
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.incidents import incidents, silences
from monitor.store.people import changes, keys
from monitor.store.registry import versions
from monitor.store.tables.incidents import outbox
from monitor.store.tables.references import references
from monitor.store.tables.traffic import actions
from monitor.store.traffic import retrainings
from monitor.store.traffic.actions import ActionState
from monitor.store.traffic.retrainings import NewRetraining, RetrainCause
from tests.serving import Serving, serving
from tests.web.filled import Filled, fill

NOW: Final = datetime.now(UTC)
DAY: Final = {"start": (NOW - timedelta(days=1)).isoformat(), "end": NOW.isoformat()}
WHY: Final = {"reason": "load test"}
MODEL: Final = "/v1/adapters/{adapter}/versions/{version}"
OTHER: Final = {"adapter": "catalogue", "version": "v1"}

DONE: Final[Mapping[str, Mapping[str, Any]]] = {
    "PUT /v1/adapters/{adapter}": {"json": {"owner": "care-team"}},
    f"PUT {MODEL}": {"json": {}},
    "POST /v1/adapters/{adapter}/evaluations": {},
    "POST /v1/adapters/{adapter}/selftest": {},
    "POST /v1/adapters/{adapter}/report": {},
    f"POST {MODEL}/admission": {},
    f"POST {MODEL}/reference": {"json": {"freeze": DAY}},
    f"POST {MODEL}/reference/learn": {"of": OTHER},
    f"POST {MODEL}/reference/approve": {"json": {"generation": 1}},
    "POST /v1/references/refreeze": {"json": {"all": True, "cause": "load test"}},
    "POST /v1/adapters/{adapter}/retraining": {"json": WHY | {"force": True}},
    "POST /v1/retraining/{retraining}/training": {"json": {"worker": "gpu-1"}},
    "PUT /v1/retraining/{retraining}/training": {"json": {"epoch": 1, "step": "labels"}},
    "POST /v1/retraining/{retraining}/cancel": {"json": WHY},
    "PUT /v1/routes/{adapter}": {
        "headers": {"if-match": '"2"'},
        "json": WHY | {"arms": [{"arm": "stable", "version": "v7", "weight": 1.0}]},
    },
    "POST /v1/actions/{action}/approve": {},
    "POST /v1/canaries": {"json": {"adapter": "billing", "version": "v2", "shadow": True}},
    "POST /v1/canaries/{canary}/pause": {"json": WHY},
    "POST /v1/canaries/{canary}/resume": {"json": WHY},
    "POST /v1/canaries/{canary}/promote": {"json": WHY | {"force": True}},
    "POST /v1/canaries/{canary}/abort": {"json": WHY, "of": {"canary": "held"}},
    "POST /v1/incidents/{incident}/ack": {},
    "POST /v1/incidents/{incident}/answers": {},
    "POST /v1/incidents/{incident}/accept": {"json": WHY},
    "POST /v1/incidents/{incident}/false": {"json": WHY, "of": {"incident": "travel"}},
    "POST /v1/silences": {
        "json": {"match": {"adapter": "support"}, "hours": 1, "comment": "load test"}
    },
    "DELETE /v1/silences/{silence}": {},
    "POST /v1/changes": {"json": {"kind": "prompt", "title": "shorter greeting"}},
    "POST /v1/changes/{change}/end": {},
    "POST /v1/channels/{channel}/test": {"params": {"wait": 0.2}},
    "POST /v1/deliveries/{delivery}/replay": {},
    "POST /v1/retention/confirm": {},
    "POST /v1/routes/epoch": {"json": WHY},
    "PUT /v1/kill-switch": {"json": WHY | {"on": True}},
}
"""A request of each path that succeeds, in this order."""
PRESSED: Final[Mapping[str, Mapping[str, Any]]] = {
    "/adapters/{adapter}/report": {},
    "/adapters/{adapter}/approve": {
        "data": {"version": "v1", "generation": "1"}, "of": {"adapter": "legal-summaries"},
    },
    "/incidents/{incident}/do": {"data": {"do": "ack"}, "of": {"incident": "canary"}},
    "/incidents/{incident}/answers": {},
    "/kill-switch": {"data": WHY | {"set": "off"}},
    "/silences": {"data": WHY | {"adapter": "support", "hours": "1"}},
    "/silences/{silence}/expire": {"of": {"silence": "second"}},
    "/canaries": {"data": {"how": "config"}},
    "/canaries/{canary}/order": {"data": WHY | {"order": "abort"}, "of": {"canary": "checked"}},
    "/deliveries/{delivery}/replay": {"of": {"delivery": "second"}},
    "/keys/{key}/revoke": {},
}  # fmt: skip
"""The same of the pages' forms."""
NOT_WRITTEN: Final = {
    "POST /v1/records": "traffic",
    "POST /v1/traces": "traffic",
    "POST /v1/feedback": "traffic",
    "POST /v1/sampling": "counts of traffic",
    "POST /v1/routes/refusals": "a router says what it holds, over and over",
    "/actions/{action}/approve": "one action waits here: the API's path approves it the same way",
    "/login": "changes nothing, and what is done with the key is written",
    "/logout": "changes nothing but for a key that a provider's login made: see test_oidc.py",
}
"""Why a path is not among them."""


class Quiet:
    """Stands for engines whose models answer nothing."""

    def __init__(self) -> None:
        self.engines = self

    def base_of(self, model: str) -> str:
        return f"base of {model}"

    def answers(
        self, model: str, prompts: Sequence[Document], *, until: float
    ) -> list[SmokeAnswer]:
        del model, until
        return [SmokeAnswer(text="") for _ in prompts]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A full service, and what its paths can name."""

    service: Serving
    named: Mapping[str, str]
    others: Mapping[tuple[str, str], str]
    """By kind and word of ``of``: other things of the kind."""

    def path(self, template: str, of: Mapping[str, str]) -> str:
        chosen = {kind: self.others.get((kind, word), word) for kind, word in of.items()}
        named = {**self.named, **chosen}
        return re.sub(r"{(\w+)}", lambda found: named[found[1]].replace("/", "%2F"), template)

    def written(
        self, client: httpx2.Client, method: str, place: str, how: Mapping[str, Any]
    ) -> str:
        """Do it; return what is wrong with what was written of it."""
        sent = {name: value for name, value in how.items() if name != "of"}
        before = self.service.database.run(lambda tx: audit.newest(tx, limit=1))
        answer = client.request(method, self.path(place, how.get("of", {})), **sent)
        if answer.status_code not in {200, 201, 202, 303}:
            return f"{answer.status_code}: {answer.text[:300]}"
        since = before[0].id if before else 0
        found = self.service.database.run(audit.newest)
        new = [f"{one.act} by {one.actor}" for one in found if one.id > since]
        return "" if any(one.endswith(" by for admin") for one in new) else f"written: {new}"


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Iterator[Desk]:
    smoke = SmokeTest(
        questioner=cast("Questioner", Quiet()), default=[Document(id="one", text="And now?")]
    )
    channels = [ChannelFacts(name="desk", kind="log")]
    with serving(database, tmp_path, smoke=smoke, known_channels=channels) as service:
        with database.begin() as tx:
            filled = fill(tx, now=NOW)
            named, others = _named(tx, filled)
        yield Desk(service=service, named=named, others=others)


def _named(
    tx: Connection, filled: Filled
) -> tuple[Mapping[str, str], Mapping[tuple[str, str], str]]:
    tx.execute(references.update().values(approved_by=None))
    first, second = tx.execute(sa.select(outbox.c.id).order_by(outbox.c.seq).limit(2)).scalars()
    tx.execute(outbox.update().where(outbox.c.id.in_([first, second])).values(state="dead"))
    waits = sa.select(actions.c.id).where(actions.c.state == ActionState.AWAITING_APPROVAL.value)
    [travel] = [one.id for one in incidents.incident_list(tx) if one.adapter == "travel-assistant"]
    [key] = [one.id for one in keys.fetch_all(tx) if one.name == "for ingest"]
    silent, other = (_silence(tx) for _ in range(2))
    named = {
        "adapter": "support",
        "version": "v7",
        "incident": filled.told["drift"],
        "canary": filled.tried["running"],
        "action": tx.execute(waits).scalar_one(),
        "retraining": _retraining(tx),
        "silence": silent,
        "change": _open_change(tx),
        "channel": "desk",
        "delivery": first,
        "key": key,
    }
    others: Mapping[tuple[str, str], object] = {
        ("incident", "travel"): travel,
        ("silence", "second"): other,
        ("delivery", "second"): second,
        **{("incident", word): one for word, one in filled.told.items()},
        **{("canary", word): one for word, one in filled.tried.items()},
    }
    return {kind: str(one) for kind, one in named.items()}, {
        kind: str(one) for kind, one in others.items()
    }


def _silence(tx: Connection) -> int:
    return silences.add(
        tx,
        parse_matcher({"adapter": "support"}),
        starts_at=NOW,
        ends_at=NOW + timedelta(days=1),
        author="ann",
        comment="load test",
    ).id


def _open_change(tx: Connection) -> int:
    return changes.add(
        tx,
        changes.Declaration(
            kind=ChangeKind.PROMPT,
            title="longer greeting",
            adapters=None,
            begun_at=NOW,
            ended_at=None,
            author="ann",
        ),
    ).id


def _retraining(tx: Connection) -> int:
    version = versions.fetch(tx, adapter="support", name="v7")
    assert version is not None
    new = NewRetraining(
        version=version,
        cause=RetrainCause.PERSON,
        reason="new questions",
        window=Interval(start=NOW - timedelta(days=1), end=NOW),
        below=None,
        replay_share=0.5,
        evidence={},
    )
    return retrainings.add(tx, new, now=NOW).id


def test_every_path_that_changes_something_says_whether_it_is_written_down(desk: Desk) -> None:
    api = [f"{method} {path}" for method, path in desk.service.described("POST", "PUT", "DELETE")]
    pages = list(desk.service.pages("POST"))
    assert sorted([*DONE, *PRESSED, *NOT_WRITTEN]) == sorted([*api, *pages])


def test_what_a_person_does_is_written_down_with_their_name(desk: Desk) -> None:
    trial = desk.service.database.run(lambda tx: versions.fetch(tx, adapter="billing", name="v2"))
    assert trial is not None
    wrong: dict[str, str] = {}
    with desk.service.client(Scope.ADMIN) as client:
        for path, how in DONE.items():
            method, _, place = path.partition(" ")
            wrong[path] = desk.written(client, method, place, how)
    with desk.service.client() as person:
        person.post("/login", data={"key": desk.service.keys[Scope.ADMIN]})
        for place, how in PRESSED.items():
            form = {**how, "data": {"of": str(trial.id), **how.get("data", {})}}
            wrong[place] = desk.written(person, "POST", place, form)
    assert {path: why for path, why in wrong.items() if why} == {}
