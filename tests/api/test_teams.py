"""A team's key sees and changes nothing of another team's adapters, on any path."""

import html
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import JSONB

from alerts.matching import parse_matcher
from monitor.domain import (
    AdapterId,
    ArmKind,
    ChangeKind,
    Interval,
    Scope,
    Version,
    WeightsState,
)
from monitor.store.evaluation import reports
from monitor.store.incidents import silences
from monitor.store.incidents.incidents import incident_list
from monitor.store.people import changes, keys
from monitor.store.people.changes import Declaration
from monitor.store.registry import adapters, inspections, versions
from monitor.store.tables.evaluations import latest_scores, scores
from monitor.store.tables.incidents import incidents, outbox
from monitor.store.tables.probes import admissions
from monitor.store.tables.retrainings import retrainings
from monitor.store.tables.traffic import actions, canaries
from monitor.store.traffic import retrainings as asked_trainings
from monitor.store.traffic.retrainings import NewRetraining, RetrainCause
from monitor.traffic.arms import ArmRequest
from monitor.traffic.trial.states import Phase
from tests import worlds
from tests.serving import Serving
from tests.web import trials
from tests.web.filled import fill

TEAM: Final = {"owner": ["care-team"]}
TEAM_FACTS: Final = {"owner": "care-team"}
OWN: Final = "support"
OTHER: Final = "catalogue"
PLACE: Final = re.compile(r"{(\w+)}")


@dataclass(frozen=True, kw_only=True)
class TwoTeams:
    """A full service, a key of one team, and what a path can name of either."""

    service: Serving
    key: str
    own: Mapping[str, str]
    others: Mapping[str, str]
    names: frozenset[str]
    """The team's adapters."""
    foreign: re.Pattern[str]
    """Any name of another team's adapter."""

    def client(self) -> httpx2.Client:
        return self.service.client(key=self.key)

    @contextmanager
    def person(self, key: str = "") -> Iterator[httpx2.Client]:
        """Somebody of the team, or of another one by its key, who is logged in."""
        with self.service.client() as client:
            assert client.post("/login", data={"key": key or self.key}).status_code == 303
            yield client


@pytest.fixture
def world(service: Serving) -> TwoTeams:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        fill(tx, now=now)
        _, text = keys.create(tx, name="care", scopes=[Scope.READ, Scope.OPERATE], match=TEAM)
        known = adapters.fetch_all(tx)
        own = frozenset(one.name for one in known if one.owner == "care-team")
        for name in (OWN, OTHER):
            _add(tx, name, now=now)
        begun = now - timedelta(hours=4)  # of the others, some have canaries
        canary = trials.begin(tx, OWN, "v6", "v7", by="ann", at=begun)
        trials.watch(tx, canary, begun, now, worse=0.0, phase=Phase.RUNNING)
        foreign = {one.name for one in known} - own
        return TwoTeams(
            service=service,
            key=text,
            own=_named(tx, OWN, {one.id for one in known if one.name in own}),
            others=_named(tx, OTHER, {one.id for one in known if one.name not in own}),
            names=own,
            foreign=re.compile(rf"(?<![\w/-])({'|'.join(map(re.escape, foreign))})(?![\w/-])"),
        )


def _add(tx: Connection, adapter: str, *, now: datetime) -> None:
    """Add what the full service lacks of an adapter."""
    version = _newest(tx, adapter)
    inspections.put(tx, version_id=version.id, state=WeightsState.UNREADABLE, reason="gone")
    _answers_as(tx, version, f"{OTHER if adapter == OWN else OWN}@v1")
    window = Interval(start=now - timedelta(days=1), end=now)
    reports.ask(tx, version.id, window)
    asked_trainings.add(
        tx,
        NewRetraining(
            version=version,
            cause=RetrainCause.PERSON,
            reason="new questions",
            window=window,
            below=None,
            replay_share=0.5,
            evidence={},
        ),
        now=now,
    )


def _answers_as(tx: Connection, version: Version, model: str) -> None:
    """Let a probe and an admission have found that a version answers as another model does."""
    identity = {"identity": {"state": "mixed_up", "sibling": model, "reason": "as another does"}}
    for table in (scores, latest_scores):
        probed = (table.c.version_id == version.id, table.c.detector == "perplexity")
        known = table.update().where(*probed)
        tx.execute(known.values(details=table.c.details.op("||")(sa.cast(identity, JSONB))))
    of_it = sa.select(incidents.c.id).where(incidents.c.version_id == version.id)
    told = outbox.update().where(outbox.c.incident_id.in_(of_it))
    said = sa.cast({"answers_as": model}, JSONB)
    tx.execute(told.values(alert=outbox.c.alert.op("||")(said)))
    details = {"top1": 1.0, "distances": {model: 0.0}, "alike": [model]}
    check = {"name": "neighbours", "verdict": "warn", "number": 0.0, "limit": "", "parent": None}
    report = {"checks": [check | {"reason": "as another does", "details": details}]}
    tx.execute(
        admissions.insert().values(
            version_id=version.id,
            requested_by="ann",
            finished_at=sa.func.now(),
            verdict="warn",
            report=report,
        )
    )


def _newest(tx: Connection, adapter: str) -> Version:
    found = adapters.fetch(tx, adapter)
    assert found is not None
    return versions.of_adapter(tx, found.id)[-1]


def _named(tx: Connection, adapter: str, ids: set[AdapterId]) -> dict[str, str]:
    version = _newest(tx, adapter)
    named = {"adapter": adapter, "version": version.name, "form": "page", "channel": "on-call"}
    named |= {"name": "detector-errors"}
    named |= {"trial": str(version.id)}
    for kind, table in {
        "incident": incidents,
        "canary": canaries,
        "action": actions,
        "retraining": retrainings,
    }.items():
        of_them = sa.select(table.c.id).where(table.c.adapter_id.in_(ids))
        first = of_them.order_by(table.c.adapter_id != version.adapter_id, table.c.id).limit(1)
        named[kind] = str(tx.execute(first).scalar_one())
    sent = sa.select(outbox.c.id).join(incidents, incidents.c.id == outbox.c.incident_id)
    told = tx.execute(
        sent.where(incidents.c.adapter_id.in_(ids)).order_by(outbox.c.seq).limit(1)
    ).scalar_one()
    [report] = [one for one in reports.newest(tx, version.id) if one.version_id == version.id][:1]
    declared = changes.add(
        tx,
        Declaration(
            kind=ChangeKind.PROMPT,
            title="shorter greeting",
            adapters=(adapter,),
            begun_at=version.registered_at,
            ended_at=None,
            author="ann",
        ),
    )
    return named | {
        "delivery": str(told),
        "number": str(report.id),
        "change": str(declared.id),
        "silence": str(_silence(tx, adapter)),
    }


def _silence(tx: Connection, adapter: str) -> int:
    now = datetime.now(UTC)
    return silences.add(
        tx,
        parse_matcher({"adapter": adapter}),
        starts_at=now,
        ends_at=now + timedelta(hours=1),
        author="ann",
        comment="load test",
    ).id


def _filled(path: str, named: Mapping[str, str]) -> str:
    return PLACE.sub(lambda found: named[found[1]].replace("/", "%2F"), path)


def test_no_path_of_the_api_reads_what_is_of_another_team(world: TwoTeams) -> None:
    leaks: dict[str, Any] = {}
    with world.client() as client:
        for _, path in world.service.described("GET"):
            if PLACE.search(path):
                answer = client.get(_filled(path, world.others))
                if answer.status_code not in {403, 404}:
                    leaks[f"{path} of others"] = (answer.status_code, answer.text[:300])
            answer = client.get(_filled(path, world.own))
            if found := world.foreign.search(answer.text):
                around = answer.text[max(0, found.start() - 100) : found.end() + 100]
                leaks[path] = (answer.status_code, around)
            if answer.status_code != (403 if path in FLEET_PATHS else 200):
                leaks[path] = (answer.status_code, answer.text[:300])
    assert leaks == {}


FLEET_PATHS: Final = {"/v1/channels", "/v1/keys/clients", "/v1/receipt", "/v1/retention"}
"""Paths about the whole installation, which no team reads."""
FILTERS: Final = {"adapter": OTHER, "q": OTHER, "owner": "growth", "subject": OTHER}


def test_no_filter_finds_what_is_of_another_team(world: TwoTeams) -> None:
    leaks: dict[str, Any] = {}
    found = set()
    with world.client() as team, world.service.client(Scope.READ) as everybody:
        for path, operations in team.get("/openapi.json").json()["paths"].items():
            given = operations.get("get", {}).get("parameters", ())
            for name in {one["name"] for one in given if one["in"] == "query"} & FILTERS.keys():
                asked = f"{_filled(path, world.own)}?{name}={FILTERS[name]}"
                answer = team.get(asked)
                if answer.status_code not in {200, 403, 404} or _finds(world, answer):
                    leaks[f"{path}?{name}"] = (answer.status_code, answer.text[:300])
                if _finds(world, everybody.get(asked)):
                    found.add(f"{path}?{name}")
    assert leaks == {}
    assert found == {f"/v1/{one}" for one in FILTERED}


FILTERED: Final = {
    *("adapters?q", "adapters?owner", "audit?subject", "incidents?owner"),
    *("actions/report?adapter", "budget?adapter", "canaries?adapter", "changes?adapter"),
    *("incidents?adapter", "retraining?adapter", "scores?adapter"),
}
"""By these everybody else finds it."""


def _finds(world: TwoTeams, answer: httpx2.Response) -> bool:
    return answer.status_code == 200 and world.foreign.search(answer.text) is not None


def test_a_list_has_all_of_the_team_as_everybody_sees_it(world: TwoTeams) -> None:
    compared, differs = set(), {}
    with world.client() as team, world.service.client(Scope.READ) as everybody:
        for _, path in world.service.described("GET"):
            if PLACE.search(path) or path == "/v1/scores":  # which has more than a page, see below
                continue
            seen, known = (_items(one, path) for one in (team, everybody))
            own = [one for one in known if one.get("adapter", one.get("name")) in world.names]
            if own:
                compared.add(path)
                if seen != own:
                    differs[path] = (seen, own)
    assert compared >= {f"/v1/{name}" for name in LISTS}
    assert differs == {}


LISTS: Final = ("adapters", "incidents", "routes", "actions", "budget", "canaries", "retraining")


def test_scores_of_all_adapters_are_those_of_the_teams(world: TwoTeams) -> None:
    with world.client() as team, world.service.client(Scope.READ) as everybody:
        seen, known = (_items(one, "/v1/scores") for one in (team, everybody))
        other = team.get("/v1/scores", params={"adapter": OTHER})
    own = [one for one in known if one["adapter"] in world.names]
    assert {one["adapter"] for one in seen} <= world.names
    assert 0 < len(own) < len(known)
    assert seen[: len(own)] == own
    assert other.status_code == 404


def _items(client: httpx2.Client, path: str) -> Sequence[Mapping[str, Any]]:
    answer = client.get(path, params={"limit": 500})
    if "json" not in answer.headers.get("content-type", ""):
        return ()
    found: Sequence[Mapping[str, Any]] = answer.json().get("items", ())
    return [_without_siblings(one) for one in found] if path == "/v1/scores" else found


def _without_siblings(score: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a score where another adapter's name may stand, which not everybody sees."""
    return {name: said for name, said in score.items() if name not in {"reason", "details"}}


FLEET_PAGES: Final = {"/channels", "/keys", "/settings"}
OPEN_PAGES: Final = {"/login", "/docs", "/runbooks", "/runbooks/{name}"}


def test_no_page_shows_what_is_of_another_team(world: TwoTeams) -> None:
    leaks: dict[str, Any] = {}
    with world.person() as client:
        for path in world.service.pages("GET"):
            if path.startswith("/assets") or path in OPEN_PAGES:
                continue
            if PLACE.search(path):
                answer = client.get(_filled(path, world.others))
                if answer.status_code not in {403, 404}:
                    leaks[f"{path} of others"] = (answer.status_code, answer.text[:300])
            answer = client.get(_filled(path, world.own))
            if found := world.foreign.search(answer.text):
                around = answer.text[max(0, found.start() - 100) : found.end() + 100]
                leaks[path] = (answer.status_code, around)
            expected = 403 if path in FLEET_PAGES else 200
            if answer.status_code != expected or "could not be read" in answer.text:
                leaks[path] = (answer.status_code, answer.text[:300])
    assert leaks == {}


SEARCHES: Final = ("/?q=catalog", "/?owner=growth", "/incidents?owner=growth", "/routes?q=catalog")
"""Of pages, which show again what was searched for, so by part of a name."""


def test_no_search_of_a_page_finds_what_is_of_another_team(world: TwoTeams) -> None:
    with world.person() as person, world.person(world.service.keys[Scope.READ]) as everybody:
        seen = [path for path in SEARCHES if _finds(world, person.get(path))]
        known = [path for path in SEARCHES if _finds(world, everybody.get(path))]
    assert seen == []
    assert known == [*SEARCHES]


def test_pages_of_the_whole_installation_are_refused_in_words(world: TwoTeams) -> None:
    with world.person() as client:
        for path in FLEET_PAGES - {"/keys"}:
            answer = client.get(path, headers={"accept": "text/html"})
            assert answer.status_code == 403
            assert "of the whole installation" in answer.text
        assert FLEET_PAGES & _links(client.get("/audit")) == set()
    with world.person(world.service.keys[Scope.READ]) as client:
        assert _links(client.get("/audit")) >= FLEET_PAGES


@pytest.mark.parametrize(("model", "seen"), [(f"{OTHER}@v1", False), (f"{OWN}@v6", True)])
def test_whose_weights_answer_is_told_to_those_who_see_that_adapter(
    world: TwoTeams, model: str, *, seen: bool
) -> None:
    with world.service.database.begin() as tx:
        _answers_as(tx, _newest(tx, OWN), model)
    probed = f"/v1/adapters/{OWN}/scores?detector=perplexity&version=v7"
    with world.client() as team, world.service.client(Scope.READ) as everybody:
        for client, sees in ((team, seen), (everybody, True)):
            score = client.get(probed).json()["items"][0]
            assert score["details"]["identity"].get("sibling") == (model if sees else None)
            assert score["reason"].endswith(f"; the other adapter: {model}") is sees
        admission = f"/v1/adapters/{OWN}/versions/v7/admission"
        [check] = everybody.get(admission).json()["checks"]
        assert check["reason"] == f"as another does: {model}"
        [check] = team.get(admission).json()["checks"]
        assert (check["reason"], check["details"]) == ("as another does", {"top1": 1.0})


@pytest.mark.parametrize("owner", ["care-team", "new-team"])
def test_no_link_of_a_page_is_refused(world: TwoTeams, owner: str) -> None:
    with world.service.database.begin() as tx:
        _, text = keys.create(tx, name=owner, scopes=[Scope.OPERATE, Scope.READ],
                              match={"owner": [owner]})  # fmt: skip
    found: dict[str, str] = {}
    with world.person(text) as client:
        for path in world.service.pages("GET"):
            if path.startswith("/assets"):
                continue
            page = client.get(_filled(path, world.own))
            if page.status_code == 200:
                found |= dict.fromkeys(_links(page), path)
        refused = {link: of for link, of in found.items() if client.get(link).status_code == 403}
    assert {"/audit", "/incidents", "/docs"} <= set(found)
    assert refused == {}


def _links(page: httpx2.Response) -> set[str]:
    return {html.unescape(one) for one in re.findall(r'href="(/[^"]*)"', page.text)}


def test_no_path_changes_what_is_of_another_team(world: TwoTeams) -> None:
    done: dict[str, Any] = {}
    with world.client() as client:
        for method, path in world.service.described("POST", "PUT", "DELETE"):
            if not PLACE.search(path):
                continue
            answer = client.request(method, _filled(path, world.others), json={})
            if answer.status_code not in {403, 404}:
                done[f"{method} {path}"] = (answer.status_code, answer.text)
    with world.person() as person:
        for path in world.service.pages("POST"):
            if not PLACE.search(path):
                continue
            named = {**world.others, "key": "0" * 12}
            answer = person.post(_filled(path, named), data={"reason": "x"})
            if answer.status_code not in {403, 404}:
                done[path] = (answer.status_code, answer.text[:300])
    assert done == {}


SENT: Final = {"records", "traces", "feedback", "sampling", "routes/refusals"}
"""Paths of senders, whose items are looked at one by one: see ``tests/capture``."""


def test_what_is_named_in_a_body_must_be_the_teams(world: TwoTeams) -> None:
    change = {"kind": "prompt", "title": "x"}
    silence = {"hours": 1, "comment": "load test"}
    refused: dict[tuple[str, str], list[tuple[Any, int]]] = {
        ("POST", "/v1/canaries"): [({"adapter": OTHER, "version": "v2"}, 404)],
        ("POST", "/v1/changes"): [(change | {"adapters": [OTHER]}, 403), (change, 403)],
        ("POST", "/v1/silences"): [
            (silence | {"match": {"adapter": [OWN, OTHER]}}, 422),
            (silence | {"match": {"tier": "standard"}}, 422),
            (silence | {"match": {"owner": ["care-team", "growth"]}}, 422),
        ],
        ("POST", "/v1/references/refreeze"): [({"all": True, "cause": "x"}, 403)],
        ("POST", "/v1/routes/epoch"): [({"reason": "x"}, 403)],
        ("PUT", "/v1/kill-switch"): [({"on": True, "reason": "x"}, 403)],
        ("PUT", f"/v1/adapters/{OWN}"): [({"owner": "growth"}, 403)],
        ("PUT", "/v1/adapters/new"): [({"owner": "growth"}, 403), ({}, 403)],
        ("POST", "/v1/retention/confirm"): [({}, 403)],
    }
    whole = {one for one in world.service.described("POST", "PUT", "DELETE") if "{" not in one[1]}
    assert whole - {("POST", f"/v1/{path}") for path in SENT} <= set(refused)
    with world.client() as client, world.service.client(Scope.READ) as everybody:
        before = [everybody.get(path).json() for path in ("/v1/adapters", "/v1/silences")]
        for (method, path), bodies in refused.items():
            for body, status in bodies:
                answer = client.request(method, path, json=body)
                assert answer.status_code == status, (path, body, answer.text)
        after = [everybody.get(path).json() for path in ("/v1/adapters", "/v1/silences")]
        assert _listed(after) == _listed(before)


def _listed(found: Sequence[Any]) -> list[list[object]]:
    return [[one.get("name", one.get("silence")) for one in was["items"]] for was in found]


def test_a_form_names_nothing_of_another_team(world: TwoTeams) -> None:
    reason = {"reason": "load test"}
    whole = {path for path in world.service.pages("POST") if "{" not in path}
    assert whole - {"/login", "/logout"} == {"/silences", "/canaries", "/kill-switch"}
    with world.person() as person:
        silenced = person.post("/silences", data=reason | {"adapter": OTHER, "hours": "1"})
        assert (silenced.status_code, "adapters of your team" in silenced.text) == (422, True)
        begun = person.post("/canaries", data={"of": world.others["trial"], "how": "config"})
        assert (begun.status_code, "Not begun" in begun.text) == (422, True), begun.text
        assert person.post("/kill-switch", data=reason | {"set": "on"}).status_code == 403
        asked = reason | {"do": "approve", "action": world.others["action"]}
        approved = person.post(f"/incidents/{world.own['incident']}/do", data=asked)
        assert approved.status_code == 404


def test_a_team_works_with_its_own_adapters(world: TwoTeams) -> None:
    with world.client() as client:
        incident = f"/v1/incidents/{world.own['incident']}"
        assert client.post(f"{incident}/ack", json={}).status_code == 200
        assert client.get(incident).json()["acknowledged_by"] == "care"
        by_name = {"match": {"adapter": OWN}, "hours": 1, "comment": "load test"}
        by_owner = {"match": TEAM | {"severity": "ticket"}, "hours": 1, "comment": "load test"}
        both = (by_name, by_owner)
        made = [client.post("/v1/silences", json=body).json()["silence"] for body in both]
        listed = {one["silence"] for one in client.get("/v1/silences").json()["items"]}
        assert set(made) <= listed
        assert client.delete(f"/v1/silences/{made[0]}").status_code == 200
        new = client.put("/v1/adapters/new", json={"owner": "care-team"})
        assert new.status_code == 200, new.text
        own = client.post("/v1/changes", json={"kind": "prompt", "title": "x", "adapters": [OWN]})
        assert own.status_code == 201, own.text
        freeze = client.post(f"/v1/changes/{own.json()['change']}/end")
        assert freeze.status_code == 200
    with world.person() as person:
        page = person.get(f"/incidents/{world.own['incident']}")
        assert (page.status_code, OWN in page.text) == (200, True)


def test_the_audit_has_what_was_done_to_the_teams_adapters(world: TwoTeams) -> None:
    with world.service.client(Scope.OPERATE) as operator:
        for name in (OWN, OTHER):
            silent = {"owner": "care-team" if name == OWN else "growth"}
            assert operator.put(f"/v1/adapters/{name}", json=silent).status_code == 200
        operator.post(f"/v1/incidents/{world.own['incident']}/ack", json={})
    with world.client() as client:
        subjects = {one["subject"] for one in client.get("/v1/audit").json()["items"]}
        assert subjects >= {OWN, f"incident {world.own['incident']}"}
        assert OTHER not in subjects
        about = client.get("/v1/audit", params={"subject": OWN, "limit": 1}).json()
        assert [one["act"] for one in about["items"]] == ["adapter.put"]
        assert client.get("/v1/audit", params={"subject": OTHER}).json()["items"] == []


def test_what_the_whole_fleet_is_told_every_team_reads(world: TwoTeams) -> None:
    with world.service.client(Scope.OPERATE) as operator:
        body = {"kind": "engine", "title": "vLLM 0.33", "rebaseline": False}
        told = operator.post("/v1/changes", json=body).json()["change"]
        shared = {"kind": "prompt", "title": "both", "adapters": [OWN, OTHER]}
        both = operator.post("/v1/changes", json=shared).json()["change"]
    with world.client() as client:
        seen = client.get(f"/v1/changes/{both}").json()
        assert seen["adapters"] == [OWN], "others are left out"
        assert client.post(f"/v1/changes/{both}/end").status_code == 404
        assert client.get(f"/v1/changes/{told}").json()["title"] == "vLLM 0.33"
        assert client.post(f"/v1/changes/{told}/end").status_code == 404
        assert client.get("/v1/kill-switch").status_code == 200


def test_a_wider_silence_is_seen_where_it_holds_without_whom_else_it_is_for(
    world: TwoTeams,
) -> None:
    wide = {"match": {"adapter": [OWN, OTHER]}, "hours": 1, "comment": f"load test of {OTHER}"}
    with world.service.client(Scope.OPERATE) as operator:
        made = operator.post("/v1/silences", json=wide).json()["silence"]
        operator.delete(f"/v1/silences/{world.own['silence']}")
    with world.client() as client:
        found = client.get(f"/v1/incidents/{world.own['incident']}").json()
        acked = client.post(f"/v1/incidents/{world.own['incident']}/ack", json={})
    assert (found["silenced_by"], found["silence"]["silence"]) == (made, made)
    assert (found["silence"]["match"], found["silence"]["comment"]) == ({}, "")
    assert acked.json()["silence"] == found["silence"]
    assert world.foreign.search(acked.text) is None


def test_an_incident_of_a_base_shows_a_team_its_own_members(world: TwoTeams) -> None:
    with world.service.database.begin() as tx:
        _, text = keys.create(
            tx, name="eu", scopes=[Scope.READ, Scope.OPERATE], match={"adapter": ["sales/eu"]}
        )
        [shared] = [one.id for one in incident_list(tx) if one.base_model is not None]
    with world.service.client(key=text) as client, world.client() as others:
        seen = client.get(f"/v1/incidents/{shared}")
        assert [one["adapter"] for one in seen.json()["members"]] == ["sales/eu"]
        assert re.search("search-rewrite|onboarding", seen.text) is None
        assert client.post(f"/v1/incidents/{shared}/ack", json={}).status_code == 404
        assert others.get(f"/v1/incidents/{shared}").status_code == 404


def test_the_audit_of_others_is_not_read_by_a_name_that_looks_like_it(world: TwoTeams) -> None:
    with world.service.client(Scope.OPERATE) as operator:
        named = f"incident {world.others['incident']}"
        operator.post(f"/v1/incidents/{world.others['incident']}/ack", json={})
    with world.client() as client:
        spoof = named.replace(" ", "%20")
        assert client.put(f"/v1/adapters/{spoof}", json=TEAM_FACTS).status_code == 200
        acts = client.get("/v1/audit", params={"subject": named}).json()["items"]
    assert [one["act"] for one in acts] == ["adapter.put"]


def test_a_version_is_served_under_no_name_of_another_team(world: TwoTeams) -> None:
    with world.service.client(Scope.READ) as reader:
        model = reader.get(f"/v1/adapters/{OTHER}/versions/v1").json()["model"]
    with world.client() as client:
        put = client.put(f"/v1/adapters/{OWN}/versions/v8", json={"model": model})
        assert (put.status_code, put.json()["type"].rsplit(":", 1)[1]) == (409, "not-yours")
        assert client.put(f"/v1/adapters/{OWN}/versions/v8", json={}).status_code == 200
        assert client.put("/v1/adapters/nobodys/versions/v1", json={}).status_code == 403


def test_a_request_sees_nothing_of_the_one_before_it_on_the_same_connection(
    world: TwoTeams,
) -> None:
    """Requests that come together begin in each other's context."""
    place = urlsplit(world.service.url)
    assert place.hostname is not None
    everybody = world.service.keys[Scope.READ]
    pipelined = "".join(
        f"GET /v1/adapters/{OTHER} HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Authorization: Bearer {key}\r\n{end}\r\n"
        for key, end in ((world.key, ""), (everybody, ""), (world.key, "Connection: close\r\n"))
    )
    with socket.create_connection((place.hostname, place.port or 80), timeout=30) as wire:
        wire.sendall(pipelined.encode())
        said = b"".join(iter(lambda: wire.recv(65536), b"")).decode()
    assert re.findall(r"HTTP/1.1 (\d+)", said) == ["404", "200", "404"]


def test_the_metrics_are_those_of_the_teams_adapters(world: TwoTeams) -> None:
    with world.client() as client, world.service.client(Scope.READ) as everybody:
        seen = client.get("/metrics").text
        known = everybody.get("/metrics").text
    assert 'driftline_verdict{adapter="support"' in seen
    assert world.foreign.search(seen) is None
    assert "process_cpu_seconds_total" not in seen
    own = {line for line in known.splitlines() if f'adapter="{OWN}"' in line}
    assert own <= set(seen.splitlines())
    assert "process_cpu_seconds_total" in known


def test_who_waits_for_routes_waits_as_long_as_none_changes(world: TwoTeams) -> None:
    with world.client() as client:
        first = client.get("/v1/routes")
        tag = {"if-none-match": first.headers["etag"]}
        same = client.get("/v1/routes", headers=tag, params={"wait": 0.5})
        assert same.status_code == 304
        with world.service.database.begin() as tx:
            worlds.table.put(
                tx,
                OWN,
                arms=[ArmRequest(arm=ArmKind.STABLE, version="v6", weight=1.0)],
                expected_generation=2,
                reason="back",
                actor="ann",
                now=datetime.now(UTC),
            )
        moved = client.get("/v1/routes", headers=tag, params={"wait": 20})
    assert moved.status_code == 200
    assert {one["adapter"] for one in moved.json()["items"]} <= world.names
