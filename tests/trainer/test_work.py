"""From a request to an admitted version, through the service's API, whatever comes between."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from examples.weights import BASE, DemoAdapter
from monitor.cli.client import Service
from monitor.cli.training import TrainersService
from monitor.domain import Interval, Scope
from monitor.engine_addresses import EngineAddresses
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.registry import versions
from monitor.store.tables.retrainings import trainings as trainings_table
from monitor.store.traffic import retrainings, trainings
from monitor.store.traffic.retrainings import NewRetraining, RetrainCause
from monitor.trainer import files
from monitor.trainer.errors import ServiceAway, TrainingFailed, TrainingLost
from monitor.trainer.examples import write
from monitor.trainer.files import FitPlan, FitResult, written
from monitor.trainer.serving import TrainerEngines
from monitor.trainer.settings import AfterAdmission, LabelPolicy, TextSource, TrainerSettings
from monitor.trainer.work import TrainerWork
from tests import newcomers, worlds
from tests.admission.broken_adapters import made, scaled, unchanged
from tests.cli.command import ROOT, driftline
from tests.cli.test_admit import working
from tests.loopback import LOOPBACK
from tests.probes.fake_engine import FakeEngine
from tests.probes.fake_engine import serving as engine_of
from tests.service import until
from tests.serving import Serving, serving
from tests.trainer.trainee import example

pytestmark = pytest.mark.timeout(300)

SOUND = DemoAdapter.SUPPORT_V1.path
STEPS = ("texts", "labels", "mix", "train", "register", "admit")
LOG = """
import json, pathlib, sys
counted = pathlib.Path(sys.argv[1])
counted.write_text(counted.read_text() + "x" if counted.exists() else "x")
for line in sys.stdin:
    said = f"about {line.strip()}"
    print(json.dumps({"id": line.strip(), "prompt": said, "completion": "yes", "accepted": True}))
"""


class Killed(BaseException):
    """As if the worker were gone: nothing catches it."""


@dataclass
class World:
    """A service with a request to retrain support@v1, and what a worker needs for it."""

    service: Serving
    folder: Path
    request: int
    settings: TrainerSettings
    stack: ExitStack
    trained: list[FitPlan] = field(default_factory=list)
    shown: list[tuple[str, str]] = field(default_factory=list)
    change: Callable[..., Any] = unchanged
    engines: tuple[str, ...] = ()

    def work(self, show: Callable[[str], None] = lambda _: None, **settings: Any) -> TrainerWork:
        http = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))

        def told(step: str, _progress: float, note: str) -> None:
            self.shown.append((step, note))
            show(step)

        key = self.service.keys[Scope.ADMIN]
        opened = self.stack.enter_context(Service(lambda: (self.service.url, key)))
        return TrainerWork(
            api=TrainersService(opened),
            http=http,
            engines=TrainerEngines(addresses=EngineAddresses(self.engines), http=http),
            settings=replace(self.settings, **settings),
            show=told,
            fit=self.fit,
        )

    def fit(self, folder: Path, plan: FitPlan, *, memory: int, tell: Any) -> FitResult:
        """Train in no time: the parent's weights, nearly."""
        del memory
        path = folder / files.RESULT
        if not path.exists():
            self.trained.append(plan)
            tell(0.5, "half")
            made(folder / files.ADAPTER, self.change, of=SOUND, size=1.01)
            result = FitResult(
                parent_nll=1.0, held_out_nll=0.8, steps=9, examples=20, left_out=0, seconds=1.0,
                training=["a"], held_out=["b"], earlier=["c"] * 20,
            )  # fmt: skip
            written(path, msgspec.json.encode(result))
        return msgspec.json.decode(path.read_bytes(), type=FitResult)

    def state(self) -> Mapping[str, Any]:
        with self.service.client(Scope.READ) as client:
            found: Mapping[str, Any] = client.get(f"/v1/retraining/{self.request}").json()
        return found["training"]


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    now = datetime.now(UTC)
    write(tmp_path / "support-v1.jsonl", [example(n) for n in range(100, 200)])
    (tmp_path / "log.py").write_text(LOG)
    settings = TrainerSettings(
        texts=TextSource.COMMAND,
        command=(sys.executable, str(tmp_path / "log.py"), str(tmp_path / "fetched")),
        labels=LabelPolicy.ACCEPTED,
        training=str(tmp_path / "{adapter}-{version}.jsonl"),
        base=str(BASE),
        into=tmp_path / "retrained",
        least=20,
    )
    with serving(database, tmp_path) as service, working(database):
        with database.begin() as tx:
            version = worlds.registered(tx, "support", "v1", owner="ann", now=now)
            worlds.add_reference(tx, version, now=now)
            newcomers.arrive(tx, version, now=now, text="redeem")
            new = NewRetraining(
                version=version,
                cause=RetrainCause.PERSON,
                reason="asked",
                window=Interval(start=now - timedelta(hours=1), end=now),
                below=None,
                replay_share=0.2,
                evidence={},
            )
            request = retrainings.add(tx, new, now=now).id
        with service.client(Scope.ADMIN) as client:
            body = {"uri": str(SOUND), "base_model": str(BASE)}
            assert client.put("/v1/adapters/support/versions/v1", json=body).is_success
        with ExitStack() as stack:
            yield World(service, tmp_path, request, settings, stack)


def test_a_request_becomes_an_admitted_version_with_all_that_it_is_made_of(world: World) -> None:
    ended = world.work().train(world.request)
    assert (ended.state, ended.made) == ("done", "v1-r1")
    assert ended.note == "support@v1-r1 is admitted"
    with world.service.client(Scope.READ) as client:
        found = client.get("/v1/adapters/support/versions/v1-r1").json()
        assert client.get("/v1/adapters/support/versions/v1-r1/admission").json()["verdict"] in {
            "pass",
            "warn",
        }
    assert (found["parent"], found["uri"]) == ("v1", str(world.folder / "retrained/support/v1-r1"))
    assert found["metadata"]["metrics"]["held_out_nll"] == 0.8
    assert found["metadata"]["hyper_parameters"]["labels"] == "accepted"
    assert len(found["metadata"]["training_data_hash"]) == 64
    state = world.state()
    assert (state["state"], state["step"], state["made"]) == ("done", "admit", "v1-r1")
    assert list(dict.fromkeys(step for step, _ in world.shown)) == list(STEPS)
    assert ("mix", "13 new examples, 3 of earlier training") in world.shown
    assert found["base_model"] == str(BASE)
    assert found["metadata"]["hyper_parameters"]["replay"] == 0.2
    left = {one.name for one in (world.folder / "retrained" / ".work").glob("1-*/*")}
    assert left.isdisjoint({"examples.jsonl", "training.jsonl", "adapter", "result.json"})
    with world.service.database.begin() as tx:
        acts = audit.newest(tx, subject="support@v1")
    steps = [one.details["step"] for one in reversed(acts) if one.act == "retraining.step"]
    assert steps == ["labels", "mix", "train", "register", "admit", "admit"]
    with pytest.raises(TrainingFailed, match="its training is over: done"):
        world.work().train(world.request)


@pytest.mark.parametrize("step", STEPS)
def test_one_that_was_killed_at_any_step_goes_on_where_it_was(world: World, step: str) -> None:
    def kill(at: str) -> None:
        if at == step:
            raise Killed

    with pytest.raises(Killed):
        world.work(kill).train(world.request)
    assert world.state()["state"] == "running"
    ended = world.work().train(world.request)
    assert (ended.state, ended.made) == ("done", "v1-r1")
    assert (world.folder / "fetched").read_text() == "x", "texts are fetched once"
    assert len(world.trained) == 1
    with world.service.database.begin() as tx:
        support = versions.fetch(tx, adapter="support", name="v1-r1")
        assert support is not None
        assert [one.name for one in versions.of_adapter(tx, support.adapter_id)] == ["v1", "v1-r1"]


def test_a_worker_that_is_killed_takes_its_training_with_it(world: World) -> None:
    """Really killed, while its own process trains: nothing goes on writing."""
    told = {
        "DRIFTLINE_URL": world.service.url,
        "DRIFTLINE_KEY": world.service.keys[Scope.ADMIN],
        "DRIFTLINE_TRAINER__TEXTS": "command",
        "DRIFTLINE_TRAINER__COMMAND": json.dumps(list(world.settings.command)),
        "DRIFTLINE_TRAINER__LABELS": "accepted",
        "DRIFTLINE_TRAINER__TRAINING": world.settings.training,
        "DRIFTLINE_TRAINER__BASE": str(BASE),
        "DRIFTLINE_TRAINER__INTO": str(world.settings.into),
        "DRIFTLINE_TRAINER__LEAST": "20",
    }
    words = [sys.executable, "-m", "monitor", "retraining", "run", "1"]
    environ = os.environ | told | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=world.folder, env=environ, stderr=subprocess.PIPE) as worker:
        until(lambda: _fitting(world.folder), "a training runs")
        worker.kill()
    until(lambda: not _fitting(world.folder), "the training has ended with it")
    assert world.state()["step"] == "train"


def _fitting(folder: Path) -> list[Path]:
    """The processes that train in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode("utf-8", "replace")
            if "monitor.trainer.fitting" in words and str(folder) in words:
                found.append(path)
    return found


def test_a_version_is_loaded_tried_and_only_once(world: World) -> None:
    """A worker that is killed after the canary began begins no other and admits no more."""
    engine = FakeEngine(models=[{"id": "base", "parent": None}])
    engine.models.append({"id": "support@v1-r1", "parent": "base"})
    with engine_of(engine) as url:
        world.engines = (url,)
        with pytest.raises(Killed):
            world.work(_at("canary"), then=AfterAdmission.CANARY).train(world.request)
        ended = world.work(then=AfterAdmission.CANARY).train(world.request)
        assert ended.note == "support@v1-r1 is admitted; canary 1 began"
        again = world.work(then=AfterAdmission.CANARY)
        with world.service.database.begin() as tx:
            tx.execute(trainings_table.update().values(state="running"))
        assert again.train(world.request).note == ended.note
    with world.service.client(Scope.READ) as client:
        assert len(client.get("/v1/canaries").json()["items"]) == 1


def _at(step: str) -> Callable[[str], None]:
    def kill(at: str) -> None:
        if at == step:
            raise Killed

    return kill


def test_an_engine_that_does_not_serve_it_fails_and_keeps_what_was_trained(world: World) -> None:
    engine = FakeEngine(models=[{"id": "base", "parent": None}])
    with engine_of(engine) as url:
        world.engines = (url,)
        with pytest.raises(TrainingFailed, match="does not serve support@v1-r1"):
            world.work().train(world.request)
        assert world.state()["state"] == "failed"
        engine.models.append({"id": "support@v1-r1", "parent": "base"})
        assert world.work().train(world.request).state == "done"
    assert len(world.trained) == 1


def test_names_lead_nowhere_but_into_the_folder(world: World) -> None:
    hostile = "../../out/{parent}"
    ended = world.work(version=hostile).train(world.request)
    assert ended.made == "../../out/v1"
    inside = world.folder / "retrained" / "support"
    assert [one.name for one in inside.iterdir()] == ["%2E.%2F..%2Fout%2Fv1"]
    assert not (world.folder / "out").exists()


def test_other_settings_use_nothing_that_was_gathered_before(world: World) -> None:
    with pytest.raises(Killed):
        world.work(_at("train")).train(world.request)
    assert world.work(seed=7).train(world.request).state == "done"
    assert (world.folder / "fetched").read_text() == "xx"
    assert [plan.seed for plan in world.trained] == [7]


def test_a_version_that_does_not_pass_is_refused_and_may_be_tried_again(world: World) -> None:
    world.change = scaled(np.nan)
    ended = world.work().train(world.request)
    assert ended.state == "refused"
    assert "finite: " in ended.note
    assert world.state()["state"] == "refused"
    world.change = unchanged
    with pytest.raises(TrainingFailed, match="its training is over: refused"):
        world.work().train(world.request)
    again = world.work().train(world.request, again=True)
    assert (again.state, again.made) == ("done", "v1-r1.2")


def test_what_is_missing_of_the_data_is_refused_with_its_reason(world: World) -> None:
    for settings, said in (
        ({"labels": LabelPolicy.NONE}, 'trainer.labels is "none"'),
        ({"training": ""}, "trainer.training names no file"),
        ({"training": "gone.jsonl"}, "gone.jsonl: No such file"),
        ({"least": 100}, "26 of 26 texts have an answer to learn from"),
    ):
        ended = world.work(**settings).train(world.request, again=True)
        assert (ended.state, ended.made) == ("refused", None)
        assert said in ended.note
    assert world.trained == []
    without = world.work(training="", replay=0.0).train(world.request, again=True)
    assert without.state == "done"


def test_nobody_is_tried_of_whom_nothing_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = world.fit

    def fit(*words: Any, **told: Any) -> FitResult:
        return msgspec.structs.replace(whole(*words, **told), earlier=[])

    monkeypatch.setattr(world, "fit", fit)
    ended = world.work(then=AfterAdmission.CANARY).train(world.request)
    assert ended.state == "refused"
    assert "nobody knows what it forgot" in ended.note


def test_a_person_ends_it_at_any_time_and_a_request_before_it_begins(world: World) -> None:
    cancel = f"/v1/retraining/{world.request}/cancel"

    def refuse(step: str) -> None:
        if step == "train":
            with world.service.client(Scope.OPERATE) as client:
                assert client.post(cancel, json={"reason": "not now"}).is_success

    with pytest.raises(TrainingLost, match="cancelled: not now"):
        world.work(refuse).train(world.request)
    assert (world.state()["state"], world.state()["note"]) == ("cancelled", "not now")
    with pytest.raises(TrainingFailed, match="its training is over: cancelled"):
        world.work().train(world.request)


def test_two_workers_never_train_one_request(world: World) -> None:
    def second(step: str) -> None:
        if step == "train":
            with pytest.raises(TrainingFailed, match="another worker trains in"):
                world.work().train(world.request)
            with pytest.raises(TrainingFailed, match="trains it since"):
                world.work(into=world.folder / "elsewhere").train(world.request)

    assert world.work(second).train(world.request).state == "done"
    assert len(world.trained) == 1


def test_one_that_lost_its_training_to_another_writes_nothing_more(world: World) -> None:
    def taken(step: str) -> None:
        if step == "train":
            with world.service.database.begin() as tx:
                tx.execute(trainings_table.update().values(lease_until=datetime.now(UTC)))
                trainings.begin(tx, world.request, worker="another")

    with pytest.raises(TrainingLost, match="is not this worker's to train any more"):
        world.work(taken).train(world.request)
    assert (world.state()["worker"], world.state()["state"]) == ("another", "running")


def test_a_service_that_is_away_for_a_while_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other call is answered, and its answer lost: what was done is not done twice."""
    monkeypatch.setattr("monitor.trainer.reporting.REPORT_S", 0.05)
    calls = count()
    for name in ("get", "post", "put"):
        whole = getattr(TrainersService, name)

        def call(*words: Any, _whole: Any = whole, **told: Any) -> Any:
            found = _whole(*words, **told)
            if next(calls) % 2:
                raise ServiceAway("it restarts")
            return found

        monkeypatch.setattr(TrainersService, name, call)
    ended = world.work(then=AfterAdmission.CANARY).train(world.request)
    assert (ended.state, ended.made) == ("done", "v1-r1")


def test_a_step_without_a_word_keeps_the_training_and_hears_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.trainer.reporting.REPORT_S", 0.05)
    whole = world.fit

    def slow(folder: Path, plan: FitPlan, *, memory: int, tell: Any) -> FitResult:
        with world.service.client(Scope.OPERATE) as client:
            client.post(f"/v1/retraining/{world.request}/cancel", json={"reason": "stop"})
        until(lambda: _lost(tell), "it is told")
        return whole(folder, plan, memory=memory, tell=tell)

    monkeypatch.setattr(world, "fit", slow)
    with pytest.raises(TrainingLost, match="cancelled: stop"):
        world.work().train(world.request)


def _lost(tell: Any) -> bool:
    try:
        tell.__self__.alive()
    except TrainingLost:
        return True
    return False


def test_by_command_it_is_trained_listed_and_refused(world: World) -> None:
    told = {
        "DRIFTLINE_URL": world.service.url,
        "DRIFTLINE_KEY": world.service.keys[Scope.ADMIN],
        "DRIFTLINE_TRAINER__INTO": str(world.folder / "retrained"),
    }
    write(world.folder / "support-v1.jsonl", [])
    ran = driftline("retraining", "run", environ=told)
    assert ran.code == 4, ran
    assert 'request 1: refused: trainer.labels is "none"' in ran.out
    assert "texts" in ran.err
    listed = driftline("retraining", "list", environ=told)
    assert "refused" in listed.out
    over = driftline("retraining", "run", "1", environ=told)
    assert (over.code, "is over: refused" in over.err) == (1, True)
    none = driftline("retraining", "run", environ=told)
    assert (none.code, "no request waits" in none.out) == (0, True)
    late = driftline("retraining", "cancel", "1", "--reason", "why", environ=told)
    assert (late.code, "its training is over" in late.err) == (1, True)
    wrong = driftline("retraining", "run", environ=told | {"DRIFTLINE_TRAINER__EPOCHS": "0"})
    assert "trainer.epochs: must be above 0" in wrong.err
    for words in (("1", "--watch"), ("--watch", "--again")):
        assert "leave REQUEST and --again out" in driftline("retraining", "run", *words).err


def test_a_folder_that_cannot_be_made_is_named_without_a_traceback(world: World) -> None:
    (world.folder / "file").touch()
    told = {
        "DRIFTLINE_URL": world.service.url,
        "DRIFTLINE_KEY": world.service.keys[Scope.ADMIN],
        "DRIFTLINE_TRAINER__INTO": str(world.folder / "file" / "retrained"),
    }
    ran = driftline("retraining", "run", environ=told)
    assert (ran.code, "Traceback" in ran.err) == (1, False)
    assert f"request {world.request}: [Errno 20] Not a directory" in ran.err
