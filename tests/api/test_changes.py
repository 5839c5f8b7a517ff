"""Declaring changes: what is taken, who may, what is written down, and the fresh start."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from monitor.domain import Scope
from monitor.store.registry import adapters, versions
from monitor.store.tables.people import audit
from monitor.store.tables.probes import perplexity_runs
from monitor.store.tables.registry import changes
from tests import worlds
from tests.serving import Serving

ENGINE = {"kind": "engine", "title": "vLLM 0.32 to 0.33"}
PROMPT = {"kind": "prompt", "title": "shorter greeting"}


@pytest.fixture
def fleet(service: Serving) -> Serving:
    """Three adapters, the perplexity of each registered."""
    with service.database.begin() as tx:
        for name in ("legal", "support", "travel"):
            adapter = adapters.put(tx, name=name)
            version = versions.put(tx, adapter=adapter, name="v1", model=f"{name}@v1")
            tx.execute(
                perplexity_runs.insert().values(
                    version_id=version.id,
                    corpus="general",
                    model=version.model,
                    role="registration",
                    state="done",
                )
            )
    return service


@pytest.fixture
def operator(fleet: Serving) -> Iterator[httpx2.Client]:
    with fleet.client(Scope.OPERATE) as client:
        yield client


@pytest.fixture
def ingester(fleet: Serving) -> Iterator[httpx2.Client]:
    with fleet.client(Scope.INGEST) as client:
        yield client


@pytest.fixture
def reader(fleet: Serving) -> Iterator[httpx2.Client]:
    with fleet.client(Scope.READ) as client:
        yield client


def declare(client: httpx2.Client, **body: Any) -> Any:
    answer = client.post("/v1/changes", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def acts(service: Serving) -> list[tuple[str, str, str]]:
    with service.database.begin() as tx:
        rows = tx.execute(sa.select(audit).order_by(audit.c.id))
        return [(row.actor, row.act, row.subject) for row in rows if row.act != "key.create"]


def retired(service: Serving) -> int:
    query = sa.select(sa.func.count()).where(perplexity_runs.c.retired_at.is_not(None))
    with service.database.begin() as tx:
        return int(tx.execute(query).scalar_one())


# --- what is taken ------------------------------------------------------------------------


def test_a_change_is_over_when_it_begins_unless_said_otherwise(operator: httpx2.Client) -> None:
    made = declare(operator, **PROMPT)
    assert made["begun_at"] == made["ended_at"]
    assert datetime.now(UTC) - datetime.fromisoformat(made["begun_at"]) < timedelta(minutes=1)
    assert made["adapters"] is None
    assert made["author"] == "for operate"
    past = datetime.now(UTC) - timedelta(days=30)
    begun, ended = past.isoformat(), (past + timedelta(hours=1)).isoformat()
    lasted = declare(operator, **PROMPT, begun_at=begun, ended_at=ended)
    assert datetime.fromisoformat(lasted["ended_at"]) == past + timedelta(hours=1)


def test_what_is_declared_is_what_is_answered(
    operator: httpx2.Client, reader: httpx2.Client
) -> None:
    answer = operator.post(
        "/v1/changes",
        json={
            **PROMPT,
            "adapters": ["travel", "support", "travel"],
            "details": {"commit": "4711abc", "replicas": 3},
        },
    )
    made = answer.json()
    assert made["adapters"] == ["support", "travel"]
    assert made["details"] == {"commit": "4711abc", "replicas": 3}
    shown = reader.get(answer.headers["location"]).json()
    assert {**shown, "rebaselined": None} == made


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"kind": "weather"}, "#/kind"),
        ({"title": ""}, "#/title"),
        ({"title": "   "}, "#/title"),
        ({"title": "x" * 201}, "#/title"),
        ({"title": "red \x1b[31m"}, "#/title"),
        ({"title": "two\nlines"}, "#/title"),
        ({"title": "turned \u202e round"}, "#/title"),
        ({"adapters": []}, "#/adapters"),
        ({"details": {"a": "b\x00"}}, "#/details/a"),
        ({"details": {"a": True}}, "#/details/a"),
        ({"details": {"a": ["list"]}}, "#/details/a"),
        ({"details": {str(i): i for i in range(21)}}, "#/details"),
        ({"details": {"id": "x"}}, "#"),
        ({"open": True, "ended_at": "2026-11-24T10:00:00Z"}, "#"),
        ({"open": True, "rebaseline": False}, "#"),
        ({"begun_at": "2026-11-24T10:00:00"}, "#/begun_at"),
        ({"author": "somebody else"}, "#/author"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_place(
    operator: httpx2.Client, wrong: dict[str, Any], pointer: str
) -> None:
    answer = operator.post("/v1/changes", json={**PROMPT, **wrong})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert operator.post("/v1/changes", json=PROMPT).status_code == 201


@pytest.mark.parametrize(
    ("begun", "ended", "said"),
    [
        (timedelta(minutes=11), None, "begun_at: more than 10 minutes in the future"),
        (timedelta(days=-91), None, "begun_at: older than the 90 days kept"),
        (timedelta(hours=-1), timedelta(hours=-2), "ended_at: before it began"),
        (timedelta(hours=-1), timedelta(minutes=11), "ended_at: more than 10 minutes in the"),
    ],
)
def test_a_time_out_of_reach_is_refused(
    operator: httpx2.Client, begun: timedelta, ended: timedelta | None, said: str
) -> None:
    now = datetime.now(UTC)
    body = {**PROMPT, "begun_at": (now + begun).isoformat()}
    if ended is not None:
        body["ended_at"] = (now + ended).isoformat()
    answer = operator.post("/v1/changes", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_an_unknown_adapter_is_named(operator: httpx2.Client, fleet: Serving) -> None:
    answer = operator.post("/v1/changes", json={**ENGINE, "adapters": ["support", "legl"]})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "adapters: no adapter is called 'legl'"
    assert acts(fleet) == []


# --- the same id --------------------------------------------------------------------------


def test_the_same_id_is_the_same_change(operator: httpx2.Client, fleet: Serving) -> None:
    body = {**ENGINE, "id": "deploy-4711"}
    first = declare(operator, **body)
    assert first["rebaselined"] == {"versions": 3}
    again = operator.post("/v1/changes", json=body)
    assert again.status_code == 200
    assert again.json() == {**first, "rebaselined": None}
    assert again.headers["location"] == f"/v1/changes/{first['change']}"
    assert len(acts(fleet)) == 2  # the change and its fresh start
    other = operator.post("/v1/changes", json={**body, "title": "vLLM 0.34"})
    assert other.status_code == 409
    assert other.json()["type"] == "urn:driftline:problem:change-differs"


# --- who may ------------------------------------------------------------------------------


def test_a_key_that_only_sends_may_say_what_happened(ingester: httpx2.Client) -> None:
    declare(ingester, **PROMPT)
    made = declare(ingester, **ENGINE, rebaseline=False)
    assert made["rebaselined"] is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (ENGINE, "Re-baselining"),
        ({"kind": "base", "title": "another base"}, "Re-baselining"),
        ({**PROMPT, "open": True}, "Opening a change"),
    ],
)
def test_what_moves_driftline_itself_needs_operate(
    ingester: httpx2.Client, fleet: Serving, body: dict[str, Any], said: str
) -> None:
    answer = ingester.post("/v1/changes", json=body)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith(said)
    assert answer.json()["type"] == "urn:driftline:problem:scope-missing"
    assert retired(fleet) == 0
    assert acts(fleet) == []


def test_ending_needs_operate_and_declaring_more_than_read(
    ingester: httpx2.Client, reader: httpx2.Client, operator: httpx2.Client
) -> None:
    made = declare(operator, **ENGINE, open=True)
    assert ingester.post(f"/v1/changes/{made['change']}/end").status_code == 403
    answer = reader.post("/v1/changes", json=PROMPT)
    assert answer.status_code == 403
    assert "'ingest' or 'operate'" in answer.json()["detail"]
    assert ingester.get("/v1/changes").status_code == 403


# --- the fresh start ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["engine", "base"])
def test_the_end_of_an_engine_change_re_baselines_the_fleet_in_one_audited_act(
    operator: httpx2.Client, fleet: Serving, kind: str
) -> None:
    made = declare(operator, kind=kind, title="the next one", open=True)
    assert (made["ended_at"], made["rebaselined"]) == (None, None)
    assert retired(fleet) == 0
    place = f"/v1/changes/{made['change']}/end"
    over = operator.post(place).json()
    assert over["rebaselined"] == {"versions": 3}
    assert retired(fleet) == 3
    # ended twice is ended once
    again = operator.post(place)
    assert again.status_code == 200
    assert again.json() == {**over, "rebaselined": None}
    subject = f"change {made['change']}"
    assert acts(fleet) == [
        ("for operate", "change.begin", subject),
        ("for operate", "change.end", subject),
        ("for operate", "perplexity.rebaseline", subject),
    ]
    with fleet.database.begin() as tx:
        query = sa.select(audit.c.details).where(audit.c.act == "perplexity.rebaseline")
        details = tx.execute(query).scalar_one()
    assert details["versions"] == 3
    assert details["title"] == "the next one"


def test_only_the_adapters_named_start_afresh(operator: httpx2.Client, fleet: Serving) -> None:
    made = declare(operator, **ENGINE, adapters=["support"])
    assert made["rebaselined"] == {"versions": 1}
    assert retired(fleet) == 1


def test_a_fresh_start_can_be_declined(operator: httpx2.Client, fleet: Serving) -> None:
    made = declare(operator, **ENGINE, open=True)
    answer = operator.post(f"/v1/changes/{made['change']}/end", json={"rebaseline": False})
    assert answer.json()["rebaselined"] is None
    assert declare(operator, **ENGINE, rebaseline=False)["rebaselined"] is None
    assert declare(operator, **PROMPT)["rebaselined"] is None
    assert retired(fleet) == 0


def test_an_end_before_the_beginning_is_refused(operator: httpx2.Client) -> None:
    made = declare(operator, **ENGINE, open=True)
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    place = f"/v1/changes/{made['change']}/end"
    answer = operator.post(place, json={"ended_at": before})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "ended_at: before it began"
    assert operator.post("/v1/changes/99/end").status_code == 404


# --- what is shown ------------------------------------------------------------------------


def test_changes_are_listed_by_adapter_time_and_page(
    operator: httpx2.Client, reader: httpx2.Client
) -> None:
    now = datetime.now(UTC)
    for hours, adapters_named in ((3, None), (2, ["support"]), (1, ["travel"])):
        begun = (now - timedelta(hours=hours)).isoformat()
        declare(operator, **PROMPT, begun_at=begun, adapters=adapters_named)
    going = declare(operator, **ENGINE, open=True)["change"]

    def listed(**params: Any) -> list[int]:
        answer = reader.get("/v1/changes", params=params)
        assert answer.status_code == 200, answer.text
        return [item["change"] for item in answer.json()["items"]]

    everything = listed()
    assert everything[0] == going
    assert listed(adapter="support") == [everything[0], everything[2], everything[3]]
    assert listed(open="true") == [going]
    assert listed(since=(now - timedelta(hours=1.5)).isoformat()) == everything[:2]
    assert listed(until=(now - timedelta(hours=1.5)).isoformat()) == everything[2:]
    assert listed(since="0001-01-01T00:00:00+14:00", until="9999-12-31T23:59:59-14:00")
    first = reader.get("/v1/changes", params={"limit": 3}).json()
    rest = reader.get("/v1/changes", params={"limit": 3, "cursor": first["next"]}).json()
    assert [item["change"] for item in first["items"] + rest["items"]] == everything
    assert rest["next"] is None
    assert reader.get("/v1/changes", params={"adapter": "nobody"}).status_code == 404
    assert reader.get("/v1/changes", params={"cursor": "eyJ9"}).status_code == 422


def test_an_engine_change_under_way_stands_at_its_adapters(
    operator: httpx2.Client, reader: httpx2.Client
) -> None:
    made = declare(operator, **ENGINE, adapters=["support"], open=True)
    shown = reader.get("/v1/adapters/support").json()["change_under_way"]
    assert (shown["change"], shown["title"]) == (made["change"], ENGINE["title"])
    assert reader.get("/v1/adapters/travel").json()["change_under_way"] is None
    operator.post(f"/v1/changes/{made['change']}/end")
    assert reader.get("/v1/adapters/support").json()["change_under_way"] is None


def test_an_incident_lists_what_was_declared_about_its_onset(service: Serving) -> None:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=0.2)
        (incident,) = [
            row.id for row in worlds.incidents.incident_list(tx, limit=10)
            if (row.adapter, row.kind) == ("support", "drift")
        ]  # fmt: skip
    with service.client(Scope.ADMIN) as client:
        found = client.get(f"/v1/incidents/{incident}").json()
        assert found["changes"] == []
        start = datetime.fromisoformat(found["onset"]["start"])
        for minutes, fields in (
            (-10, ENGINE),  # within the margin of 15 minutes
            (-20, PROMPT),  # too early
            (0, {**PROMPT, "adapters": ["travel-assistant"]}),  # another adapter's
        ):
            begun = (start + timedelta(minutes=minutes)).isoformat()
            declare(client, **fields, begun_at=begun)
        [change] = client.get(f"/v1/incidents/{incident}").json()["changes"]
    assert (change["kind"], change["title"]) == ("engine", ENGINE["title"])
    assert change["author"] == "for admin"
    assert change["text"].endswith(" before the onset)")


def test_no_declaration_is_kept_when_its_fresh_start_fails(
    operator: httpx2.Client, fleet: Serving
) -> None:
    with fleet.database.begin() as tx:
        tx.execute(sa.text("ALTER TABLE perplexity_runs ADD CHECK (retired_at IS NULL) NOT VALID"))
    assert operator.post("/v1/changes", json=ENGINE).status_code == 500
    with fleet.database.begin() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(changes)).scalar_one() == 0
    assert acts(fleet) == []
