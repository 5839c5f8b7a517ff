"""An admission from the request to the report, and what people see of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx2
import msgspec
import pytest
import sqlalchemy as sa

from detectors.checks import CheckVerdict
from examples.weights import BASE, DemoAdapter
from monitor.admission.job import Admissions
from monitor.admission.settings import AdmissionSettings
from monitor.cli.admit import junit_xml
from monitor.config.sections import Config
from monitor.daemon.parts import declare_adapters
from monitor.domain import Scope, Version
from monitor.store.database import Database
from monitor.store.errors import Conflict
from monitor.store.registry import adapters, admissions, versions
from monitor.store.registry.admissions import AdmissionRow, AdmissionState
from monitor.store.tables.people import audit
from monitor.store.tables.probes import admissions as table
from monitor.traffic.fallback.survey import targets_of
from monitor.views.admission import AdmissionBody
from tests.admission.broken_adapters import made, of_rank
from tests.serving import Serving, serving

V1, V2 = DemoAdapter.SUPPORT_V1.path, DemoAdapter.SUPPORT_V2.path
Register = Callable[..., Version]
PATH = "/v1/adapters/support/versions"


@pytest.fixture
def register(database: Database) -> Register:
    def make(name: str, uri: Path | None, **fields: Any) -> Version:
        given: dict[str, Any] = {"model": f"support@{name}", "base_model": str(BASE)} | fields
        with database.begin() as tx:
            adapter = adapters.put(tx, name="support")
            return versions.put(
                tx, adapter=adapter, name=name, uri=None if uri is None else str(uri), **given
            )

    return make


def job(database: Database) -> Admissions:
    return Admissions(database=database, settings=AdmissionSettings())


def admitted(database: Database, version: Version) -> AdmissionRow:
    """Ask for a version's admission and run it."""
    database.run(lambda tx: admissions.ask(tx, version, by="ada", request={"texts": ["secret"]}))
    assert job(database).turn()
    found = database.run(lambda tx: admissions.newest(tx, version.id))
    assert found
    return found


def checks(found: AdmissionRow) -> dict[str, dict[str, Any]]:
    assert found.report
    return {one["name"]: one for one in found.report["checks"]}


def test_a_version_is_checked_beside_its_base_and_its_parent(
    database: Database, register: Register
) -> None:
    before = admitted(database, register("v1", V1))
    found = admitted(database, register("v2", V2, parent="v1"))
    assert (before.verdict, found.verdict) == (CheckVerdict.WARN, CheckVerdict.WARN)
    assert found.admitted
    size = checks(found)["size"]
    assert size["number"] == pytest.approx(0.512, abs=0.001)
    assert size["parent"] == checks(before)["size"]["number"] == pytest.approx(0.444, abs=0.001)
    assert "the parent's is 0.444" in size["reason"]
    assert checks(found)["parent"]["number"] == pytest.approx(1.35, abs=0.01)
    assert checks(before)["parent"]["verdict"] == "skipped"


def test_a_report_is_kept_and_what_was_asked_is_not(database: Database, register: Register) -> None:
    version = register("v1", V1)
    admitted(database, version)
    with database.begin() as tx:
        assert tx.execute(sa.select(table.c.request)).scalars().all() == [None]
        entry = tx.execute(sa.select(audit).where(audit.c.act == "version.admitted")).one()
    assert (entry.actor, entry.subject) == ("ada", "support@v1")
    assert entry.details["verdict"] == "warn"


def test_a_broken_version_is_refused(
    database: Database, register: Register, tmp_path: Path
) -> None:
    folder = made(tmp_path / "flat", of_rank(3), of=V1)
    found = admitted(database, register("v2", folder))
    assert (found.verdict, found.admitted) == (CheckVerdict.REFUSE, False)
    with database.begin() as tx:
        entry = tx.execute(sa.select(audit).where(audit.c.act == "version.refused")).one()
    assert entry.details["refused"] == ["rank"]


@pytest.mark.parametrize(
    ("uri", "fields", "said"),
    [
        (None, {}, ("refuse", "its files are not readable here")),
        ("/no/such/folder", {}, ("refuse", "its files are not readable here")),
        (None, {"model": str(BASE)}, ("pass", "it is the bare base model")),
    ],
)
def test_files_out_of_reach_are_refused_and_the_base_has_none(
    database: Database,
    register: Register,
    uri: str | None,
    fields: dict[str, str],
    said: tuple[str, str],
) -> None:
    found = admitted(database, register("v1", uri, **fields))
    files = checks(found)["files"]
    assert (files["verdict"], files["reason"]) == said


def test_other_files_than_were_registered_are_refused(
    database: Database, register: Register
) -> None:
    found = checks(admitted(database, register("v1", V1, sha256="0" * 64)))
    assert found["identity"]["verdict"] == "refuse"
    assert "not 000000000000… as registered" in found["identity"]["reason"]


def test_without_the_bases_files_the_size_is_skipped_and_says_so(
    database: Database, register: Register
) -> None:
    size = checks(admitted(database, register("v1", V1, base_model="acme/absent")))["size"]
    assert (size["verdict"], size["number"]) == ("skipped", None)
    assert "acme/absent is not readable here" in size["reason"]


def test_a_folder_without_a_model_is_told_as_one_that_is_not_there(
    database: Database, register: Register, tmp_path: Path
) -> None:
    size = checks(admitted(database, register("v1", V1, base_model=str(tmp_path))))["size"]
    assert f"{tmp_path} is not readable here" in size["reason"]
    assert "safetensors" not in size["reason"]


def test_a_base_that_cannot_be_read_does_not_keep_the_adapter_from_being_checked(
    database: Database, register: Register, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"{}")
    found = checks(admitted(database, register("v1", V1, base_model=str(tmp_path))))
    assert found["size"]["verdict"] == "skipped"
    assert "the files beside it cannot be read" in found["size"]["reason"]
    assert found["rank"]["verdict"] == "pass"


def test_one_version_has_one_admission_under_way(database: Database, register: Register) -> None:
    version = register("v1", V1)
    database.run(lambda tx: admissions.ask(tx, version, by="ada", request={}))
    with pytest.raises(Conflict, match="is under way"):
        database.run(lambda tx: admissions.ask(tx, version, by="bob", request={}))


def test_a_killed_workers_admission_is_taken_over(database: Database, register: Register) -> None:
    version = register("v1", V1)
    database.run(lambda tx: admissions.ask(tx, version, by="ada", request={}))
    killed = database.run(admissions.claim)
    assert killed
    assert database.run(admissions.claim) is None
    waits = database.run(admissions.next_due)
    assert waits is not None
    assert waits > admissions.LEASE / 2
    with database.begin() as tx:
        tx.execute(table.update().values(lease_until=sa.func.now()))
    assert job(database).turn()
    late: dict[str, Any] = {"verdict": CheckVerdict.REFUSE, "report": {"checks": []}}
    assert not database.run(lambda tx: admissions.finish(tx, killed, **late))
    found = database.run(lambda tx: admissions.newest(tx, version.id))
    assert found
    assert (found.state, found.verdict) == (AdmissionState.DONE, CheckVerdict.WARN)


def test_a_change_of_the_base_makes_its_versions_unverified_until_they_are_admitted_again(
    database: Database, register: Register, tmp_path: Path
) -> None:
    version = register("v1", V1)
    admitted(database, version)
    database.run(lambda tx: admissions.require(tx, on=True))
    database.run(lambda tx: adapters.put(tx, name="billing"))

    def barred() -> dict[str, str]:
        return database.run(lambda tx: admissions.barred(tx, version.adapter_id))

    with serving(database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        for kind, names in (("engine", None), ("base", ["billing"])):
            other = {"kind": kind, "title": "another", "adapters": names}
            assert client.post("/v1/changes", json=other).status_code == 201
            assert barred() == {}
        body: dict[str, Any] = {"kind": "base", "title": "llama 3.2", "adapters": ["support"]}
        client.post("/v1/changes", json=body)
        assert barred() == {"v1": "was admitted before its base changed (llama 3.2)"}
        found = client.get(f"{PATH}/v1/admission").json()
        assert (found["verdict"], found["admitted"]) == ("warn", False)
        assert found["unverified"] == "llama 3.2"
        assert "support@v1 is unverified: its base changed since it was admitted" in _page(service)
        suite = ET.fromstring(junit_xml(msgspec.convert(found, AdmissionBody)))  # noqa: S314 (ours)
        assert suite.attrib["failures"] == "1"
        admitted(database, version)
        assert barred() == {}
        assert client.get(f"{PATH}/v1/admission").json()["unverified"] is None
        body |= {"title": "llama 4", "open": True}
        change = client.post("/v1/changes", json=body).json()["change"]
        admitted(database, version)
        assert barred() == {"v1": "was admitted before its base changed (llama 4)"}, "it goes on"
        assert client.post(f"/v1/changes/{change}/end", json={}).status_code == 200
        admitted(database, version)
        assert barred() == {}
        body = {"kind": "base", "title": "llama 5", "rebaseline": False}
        with service.client(Scope.INGEST) as sender:
            assert sender.post("/v1/changes", json=body).status_code == 403


# --- what people see ----------------------------------------------------------------------


def test_the_api_and_the_page_show_each_check(database: Database, tmp_path: Path) -> None:
    folder = made(tmp_path / "flat", of_rank(3), of=V1)
    with serving(database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        client.put(f"{PATH}/v1", json={"uri": str(folder), "base_model": str(BASE)})
        assert client.get(f"{PATH}/v1/admission").json()["type"].endswith("not-checked")
        assert "was not checked before it was served" in _page(service)
        asked = client.post(f"{PATH}/v1/admission")
        assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
        assert client.post(f"{PATH}/v1/admission").status_code == 409
        job(database).turn()
        found = client.get(f"{PATH}/v1/admission").json()
        page = _page(service)
    assert (found["state"], found["verdict"], found["admitted"]) == ("done", "refuse", False)
    rank = next(one for one in found["checks"] if one["name"] == "rank")
    assert rank["number"] == pytest.approx(0.37, abs=0.01)
    assert "support@v1 is refused: rank." in page
    assert rank["reason"] in page


def _page(service: Serving) -> str:
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        return client.get("/adapters/support").text


def test_a_report_as_junit_has_a_failure_for_each_refusal(
    database: Database, tmp_path: Path
) -> None:
    folder = made(tmp_path / "flat", of_rank(3), of=V1)
    with serving(database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        client.put(f"{PATH}/v1", json={"uri": str(folder)})
        client.post(f"{PATH}/v1/admission")
        job(database).turn()
        body = client.get(f"{PATH}/v1/admission").json()
    suite = ET.fromstring(junit_xml(msgspec.convert(body, AdmissionBody)))  # noqa: S314 (our own)
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("1", "0")
    assert int(suite.attrib["tests"]) == len(suite) == len(body["checks"])
    [failed] = suite.findall("testcase/failure")
    assert failed.attrib["message"].startswith("effective rank 0.3")
    assert suite.attrib["skipped"] == str(len(suite.findall("testcase/skipped"))) == "13"


# --- required -----------------------------------------------------------------------------


def _route(client: httpx2.Client, tag: str, **weights: float) -> httpx2.Response:
    arms = [
        {"arm": arm, "version": version, "weight": weight}
        for arm, (version, weight) in zip(("stable", "canary"), weights.items(), strict=False)
    ]
    body = {"arms": arms, "reason": "trial"}
    return client.put("/v1/routes/support", json=body, headers={"If-Match": f'"{tag}"'})


def test_where_it_is_required_an_unadmitted_version_gets_no_traffic(
    database: Database, tmp_path: Path
) -> None:
    flat = made(tmp_path / "flat", of_rank(3), of=V1)
    database.run(lambda tx: admissions.require(tx, on=True))
    with serving(database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        for name, uri in (("v1", V1), ("v2", flat), ("v3", V2)):
            body = {"uri": str(uri), "base_model": str(BASE), "parent": "v1" if uri == V2 else None}
            client.put(f"{PATH}/{name}", json=body)
        assert client.get("/v1/routes/support").status_code == 404, "the first version waits too"
        for name in ("v1", "v2"):
            client.post(f"{PATH}/{name}/admission")
            job(database).turn()
        first = client.get("/v1/routes/support").json()
        assert [arm["version"] for arm in first["arms"]] == ["v1"]
        assert first["reason"] == "first version v1 admitted"
        for name, why in (("v2", "was refused at its admission"), ("v3", "is not admitted yet")):
            said = _route(client, "1", v1=0.9, **{name: 0.1})
            assert said.status_code == 422
            assert said.json()["detail"] == f"{name} {why}: driftline admit support {name}"
            canary = client.post("/v1/canaries", json={"adapter": "support", "version": name})
            assert (canary.status_code, why in canary.json()["detail"]) == (409, True)
        client.post(f"{PATH}/v3/admission")
        job(database).turn()
        assert _route(client, "1", v1=0.9, v3=0.1).status_code == 200


def test_a_version_that_answers_when_it_becomes_required_keeps_its_traffic(
    database: Database, tmp_path: Path
) -> None:
    with serving(database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        for name in ("v1", "v2"):
            client.put(f"{PATH}/{name}", json={})
        assert _route(client, "1", v1=0.5, v2=0.5).status_code == 200
        database.run(lambda tx: admissions.require(tx, on=True))
        assert _route(client, "2", v1=1.0).status_code == 200
        assert _route(client, "3", v1=0.9, v2=0.1).status_code == 422
        database.run(lambda tx: admissions.require(tx, on=False))
        assert _route(client, "3", v1=0.9, v2=0.1).status_code == 200


def test_a_version_that_answers_stays_a_target_though_its_admission_counts_no_more(
    database: Database, tmp_path: Path
) -> None:
    def targets() -> list[str]:
        with database.begin() as tx:
            failing = versions.fetch(tx, adapter="support", name="v2")
            assert failing
            return [version.name for version in targets_of(tx, failing).usable]

    with serving(database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        for name, parent in (("v0", None), ("v1", None), ("v2", "v1")):
            client.put(f"{PATH}/{name}", json={"parent": parent})
        assert _route(client, "1", v1=0.5, v2=0.5).status_code == 200
        assert targets() == ["v1", "v0"]
        database.run(lambda tx: admissions.require(tx, on=True))
        assert targets() == ["v1"]


def test_a_failure_of_one_admission_is_stored_with_it(
    database: Database, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.admission.job.check_files", _fails)
    found = admitted(database, register("v1", V1))
    assert (found.state, found.verdict) == (AdmissionState.FAILED, None)
    assert "RuntimeError" in (found.error or "")
    assert json.dumps(found.report) == "null"


def _fails(*_given: object, **_: object) -> None:
    raise RuntimeError("the disk is gone")


def test_the_config_says_whether_it_is_required(database: Database) -> None:
    for required in (True, False):
        config = Config(admission=AdmissionSettings(required=required))
        declare_adapters(config, database)
        assert database.run(admissions.required) is required
