"""From a request to an admitted version, through the service's API, whatever comes between."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerts.outgoing import OutgoingClient
from examples.weights import BASE, DemoAdapter
from monitor.cli.client import Service
from monitor.cli.training import TrainersService
from monitor.domain import Interval, Scope
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.registry import versions
from monitor.store.tables import trainings as trainings_table
from monitor.store.traffic import retrainings, trainings
from monitor.store.traffic.retrainings import NewRetraining, RetrainCause
from monitor.trainer import plan as files
from monitor.trainer.errors import ServiceAway, TrainingFailed, TrainingLost
from monitor.trainer.examples import write
from monitor.trainer.plan import FitPlan, FitResult
from monitor.trainer.serving import TrainerEngines
from monitor.trainer.settings import LabelPolicy, TextSource, TrainerSettings
from monitor.trainer.work import TrainerWork
from tests import newcomers, worlds
from tests.admission.broken_adapters import made, scaled, unchanged
from tests.cli.command import driftline
from tests.cli.test_admit import working
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

    def work(self, show: Callable[[str], None] = lambda _: None, **settings: Any) -> TrainerWork:
        http = OutgoingClient()

        def told(step: str, _progress: float, note: str) -> None:
            self.shown.append((step, note))
            show(step)

        key = self.service.keys[Scope.ADMIN]
        opened = self.stack.enter_context(Service(lambda: (self.service.url, key)))
        return TrainerWork(
            api=TrainersService(opened),
            http=http,
            engines=TrainerEngines(urls=(), http=http),
            settings=replace(self.settings, **settings),
            show=told,
            fit=self.fit,
        )

    def fit(self, folder: Path, plan: FitPlan, *, memory: int, tell: Any) -> FitResult:
        """Train in no time: the parent's weights, nearly."""
        del memory
        tell(0.5, "half")
        self.trained.append(plan)
        target = folder / files.ADAPTER
        if not target.exists():
            made(target, self.change, of=SOUND, size=1.01)
        return FitResult(
            parent_nll=1.0, held_out_nll=0.8, steps=9, examples=20, left_out=0, seconds=1.0,
            training=["a"], held_out=["b"], earlier=["c"],
        )  # fmt: skip

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
    assert ("mix", "26 new examples, 6 of earlier training") in world.shown
    with world.service.database.begin() as tx:
        acts = audit.about(tx, "support@v1")
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
    with world.service.database.begin() as tx:
        tx.execute(trainings_table.update().values(state="running", finished_at=None))
    ended = world.work().train(world.request)
    assert (ended.state, ended.made) == ("done", "v1-r1")
    assert (world.folder / "fetched").read_text() == "x", "texts are fetched once"
    with world.service.database.begin() as tx:
        support = versions.fetch(tx, adapter="support", name="v1-r1")
        assert support is not None
        assert [one.name for one in versions.of_adapter(tx, support.adapter_id)] == ["v1", "v1-r1"]


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
    monkeypatch.setattr("monitor.trainer.work.REPORT_S", 0.0)
    work = world.work()
    calls = 0
    whole = work.api.put

    def put(path: str, body: object) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise ServiceAway("it restarts")
        return whole(path, body)

    monkeypatch.setattr(TrainersService, "put", lambda _self, path, body: put(path, body))
    assert work.train(world.request).state == "done"


def test_by_command_it_is_trained_listed_and_refused(world: World) -> None:
    told = {
        "DRIFTLINE_URL": world.service.url,
        "DRIFTLINE_KEY": world.service.keys[Scope.ADMIN],
        "DRIFTLINE_TRAINER__INTO": str(world.folder / "retrained"),
    }
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
