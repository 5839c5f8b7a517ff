"""Adapters that engines list are registered, those whose names say what they are."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from monitor.capture.telemetry.names import TelemetrySettings
from monitor.config.places import ServingSection
from monitor.config.sections import Config
from monitor.daemon import loops
from monitor.daemon.arrivals import Arrivals
from monitor.daemon.worker import Sleep, WorkerParts
from monitor.kubernetes import Cluster
from monitor.probes.declared import Declarations
from monitor.schedule import Pulse
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.registry import adapters, admissions, versions
from monitor.store.traffic import routes
from monitor.store.wakeups import WakeUps
from tests.kubernetes_api import KubernetesApi
from tests.probes.fake_engine import FakeEngine
from tests.probes.fake_engine import serving as engine_of
from tests.probes.served import engines_of
from tests.service import running, until

STACK = "/apis/production-stack.vllm.ai/v1alpha1/namespaces/models/loraadapters"
BRIX = "/apis/model.aibrix.ai/v1alpha1/namespaces/models/modeladapters"
MODELS: list[dict[str, str | None]] = [
    {"id": "base", "parent": None},
    {"id": "support@v7", "parent": "base", "root": "/adapters/support/v7"},
    {"id": "billing@v1", "parent": "base", "root": "org/billing"},
    {"id": "playground", "parent": "base"},
    {"id": f"{'x' * 200}@v1", "parent": "base"},
]


OF_AIBRIX: dict[str, Any] = {
    "metadata": {
        "name": "support-v7",
        "labels": {
            "driftline/adapter": "support",
            "driftline/version": "v7",
            "driftline/owner": "care",
        },
    },
    "spec": {"baseModel": "base", "artifactURL": "s3://adapters/support/v7"},
}
"""A resource of AIBrix, which loads an adapter under the resource's own name."""
AIBRIX = [one | {"id": str(one["id"]).replace("support@", "support-")} for one in MODELS]
"""The same as AIBrix has its engines serve them."""


def arrivals(
    database: Database, *urls: str, pattern: str = "{adapter}@{version}", **more: Any
) -> Arrivals:
    names = TelemetrySettings(pattern=pattern)
    return Arrivals(database=database, engines=engines_of(urls), names=names, **more)


def test_what_an_engine_lists_is_registered_once_and_gets_its_route(database: Database) -> None:
    with engine_of(FakeEngine(models=MODELS)) as one, engine_of(FakeEngine(models=MODELS)) as two:
        found = arrivals(database, one, two)
        found.turn()
        found.turn()
        another = arrivals(database, one)
        another.turn()
    assert another.results["support@v7"] == "already, as support@v7"
    assert found.results["support@v7"] == "new"
    assert found.results["playground"] == "its name does not match capture.telemetry.pattern"
    assert len(found.results) == 4
    with database.begin() as tx:
        support = versions.fetch(tx, adapter="support", name="v7")
        billing = versions.fetch(tx, adapter="billing", name="v1")
        route = routes.get(tx, "support")
        told = [one.subject for one in audit.newest(tx, limit=50) if one.act == "version.found"]
        known = [one.name for one in adapters.fetch_all(tx)]
    assert support is not None
    assert (support.model, support.uri) == ("support@v7", "/adapters/support/v7")
    assert support.base_model == "base"
    assert billing is not None
    assert billing.uri is None, "an id of a hub is no folder"
    assert route is not None
    assert [(arm.version, arm.weight) for arm in route.arms] == [("v7", 1.0)]
    assert sorted(told) == ["billing@v1", "support@v7"]
    assert sorted(known) == ["billing", "support"]


def test_an_adapter_of_kserve_with_two_names_is_registered_once(database: Database) -> None:
    models = [one | {"id": f"publishers/llm/models/{one['id']}"} for one in MODELS]
    with engine_of(FakeEngine(models=[*models, *MODELS])) as url:
        found = arrivals(database, url)
        found.turn()
    assert {name for name, done in found.results.items() if done == "new"} == {
        "support@v7",
        "billing@v1",
    }
    with database.begin() as tx:
        assert sorted(one.name for one in adapters.fetch_all(tx)) == ["billing", "support"]


def test_what_its_cluster_declares_of_it_is_registered_too(
    database: Database, tmp_path: Path
) -> None:
    with KubernetesApi(tmp_path) as api, engine_of(FakeEngine(models=AIBRIX)) as url:
        api.have(BRIX, [OF_AIBRIX])
        declarations = Declarations(["models"], cluster=lambda: api.cluster)
        arrivals(database, url, declarations=declarations).turn()
    with database.begin() as tx:
        support = versions.fetch(tx, adapter="support", name="v7")
        facts = {one.name: (one.owner, dict(one.labels)) for one in adapters.fetch_all(tx)}
    assert support is not None
    assert (support.model, support.uri) == ("support-v7", "s3://adapters/support/v7")
    assert facts == {"support": ("care", {}), "billing": (None, {})}


def test_a_name_without_a_version_is_told_and_found_once_its_resource_is_labelled(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with database.begin() as tx:
        owner = adapters.put(tx, name="play")
        versions.put(tx, adapter=owner, name="v1", model="playground", base_model="base")
    with KubernetesApi(tmp_path) as api, engine_of(FakeEngine(models=AIBRIX)) as url:
        api.have(BRIX, [OF_AIBRIX | {"metadata": {"name": "support-v7"}}])
        declarations = Declarations(["models"], cluster=lambda: api.cluster)
        found = arrivals(database, url, declarations=declarations)
        found.turn()
        found.turn()
        before = found.results["support-v7"]
        api.have(BRIX, [OF_AIBRIX])
        found.turn()
    assert before == (
        "its name does not match capture.telemetry.pattern; nor do labels driftline/adapter and"
        " driftline/version of its resource name it"
    )
    assert found.results["support-v7"] == "new"
    assert found.results["playground"] == "already, as play@v1"
    said = "".join(capfd.readouterr())
    assert said.count("adapter_left_alone") == 2, "that, and one whose name is too long"
    assert "support-v7" in said


def test_a_pattern_without_an_at_sign_reads_names_of_kubernetes(database: Database) -> None:
    with engine_of(FakeEngine(models=AIBRIX[:2])) as url:
        arrivals(database, url, pattern="{adapter}-{version}").turn()
    with database.begin() as tx:
        assert versions.fetch(tx, adapter="support", name="v7") is not None


def test_what_its_cluster_declares_is_asked_for_until_it_is_read(
    database: Database, tmp_path: Path
) -> None:
    asked: list[str] = []
    source = {"adapterName": "support@v7", "type": "s3", "repository": "adapters/support/v7"}
    of_stack = {
        "metadata": {"name": "support-v7", "labels": {"driftline/owner": "care"}},
        "spec": {"baseModel": "llama", "adapterSource": source},
    }
    with KubernetesApi(tmp_path) as api, engine_of(FakeEngine(models=MODELS[:3])) as url:

        def cluster() -> Cluster:
            asked.append("its lists")
            return api.cluster

        api.have(STACK, [of_stack])
        found = arrivals(database, url, declarations=Declarations(["models"], cluster=cluster))
        api.refuse = 503
        found.turn()
        with database.begin() as tx:
            early = versions.fetch(tx, adapter="support", name="v7")
            found_by = [
                one.details for one in audit.newest(tx, limit=50) if "found_by" in one.details
            ]
            billing = adapters.fetch(tx, "billing")
            adapters.put(tx, name="billing", owner="ann")
        found.turn()
        api.refuse = None
        found.turn()
        found.turn()
    assert early is not None
    assert (early.uri, early.metadata) == ("/adapters/support/v7", {"found_by": "engine"})
    assert found_by == [{"found_by": "engine"}] * 2
    assert billing is not None
    assert len(asked) == 3, "not again once all was read"
    assert found.results["support@v7"] == "already, as support@v7"
    with database.begin() as tx:
        support = versions.fetch(tx, adapter="support", name="v7")
        owners = {one.name: one.owner for one in adapters.fetch_all(tx)}
    assert support is not None
    assert (support.uri, support.metadata) == ("s3://adapters/support/v7", {"found_by": "cluster"})
    assert support.base_model == "base", "as its engine serves it"
    assert owners == {"support": "care", "billing": "ann"}


def test_one_that_contradicts_its_registration_keeps_no_other_from_its_own(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    with database.begin() as tx:
        owner = adapters.put(tx, name="support")
        versions.put(tx, adapter=owner, name="v7", model="elsewhere", base_model="base")
    with engine_of(FakeEngine(models=MODELS)) as url:
        found = arrivals(database, url)
        found.turn()
    assert found.results["support@v7"].startswith("refused: ")
    assert found.results["billing@v1"] == "new"
    assert "adapter_refused" in "".join(capfd.readouterr())


def test_one_that_is_registered_by_hand_stays_as_it_is(database: Database) -> None:
    with database.begin() as tx:
        owner = adapters.put(tx, name="help")
        versions.put(tx, adapter=owner, name="spring", model="support@v7", base_model="base")
    with engine_of(FakeEngine(models=MODELS)) as url:
        found = arrivals(database, url)
        found.turn()
    assert found.results["support@v7"] == "already, as help@spring"


def test_one_that_is_registered_by_hand_waits_for_no_declaration(
    database: Database, tmp_path: Path
) -> None:
    with database.begin() as tx:
        owner = adapters.put(tx, name="help")
        versions.put(tx, adapter=owner, name="spring", model="support@v7", base_model="base")
    asked: list[str] = []
    with KubernetesApi(tmp_path) as api, engine_of(FakeEngine(models=MODELS[:2])) as url:

        def cluster() -> Cluster:
            asked.append("its lists")
            return api.cluster

        api.refuse = 503
        found = arrivals(database, url, declarations=Declarations(["models"], cluster=cluster))
        found.turn()
        found.turn()
    assert found.results["support@v7"] == "already, as help@spring"
    assert len(asked) == 1


@pytest.mark.parametrize(("register", "running_loops"), [(True, ["arrivals"]), (False, [])])
def test_what_appears_is_left_to_people_where_the_config_says_so(
    *, register: bool, running_loops: Sequence[str]
) -> None:
    section = ServingSection(engines=("http://engine:8000",), register=register)
    parts = SimpleNamespace(
        config=Config(serving=section), database=None, serving=SimpleNamespace(engines=None)
    )
    sleep = Sleep(pulse=Pulse(), wakeups=cast("WakeUps", None))
    found = loops._arriving(cast("WorkerParts", parts), sleep)  # noqa: SLF001
    assert [one.name for one in found] == running_loops


def test_where_admission_is_required_it_waits_without_traffic(database: Database) -> None:
    with database.begin() as tx:
        admissions.require(tx, on=True)
    with engine_of(FakeEngine(models=MODELS)) as url:
        arrivals(database, url).turn()
    with database.begin() as tx:
        assert versions.fetch(tx, adapter="support", name="v7") is not None
        assert routes.get(tx, "support") is None


def test_a_pattern_without_a_version_makes_the_first_one(database: Database) -> None:
    with engine_of(FakeEngine(models=MODELS[:1] + MODELS[3:4])) as url:
        arrivals(database, url, pattern="{adapter}").turn()
    with database.begin() as tx:
        assert versions.fetch(tx, adapter="playground", name="v1") is not None


def test_a_service_registers_what_appears_while_it_runs(tmp_path: Path) -> None:
    engine = FakeEngine(models=MODELS[:2])
    with (
        engine_of(engine) as url,
        running(tmp_path, changes={"serving.engines": f'["{url}"]'}) as service,
    ):

        def listed() -> Sequence[str]:
            return [one["adapter"] for one in service.get("/v1/adapters")["items"]]

        until(lambda: "support" in listed(), "support is registered")
        engine.models = MODELS
        until(lambda: "billing" in listed(), "billing is registered", patience=60)
        assert "playground" not in listed()
