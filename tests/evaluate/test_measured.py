"""A measurement proves nothing of what came after it: the demo's engine, asked over HTTP."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from safetensors.torch import load_file, save_file
from sqlalchemy import Connection

from alerts.outgoing import Reply
from alerts.types import VerdictKind
from examples.corrupt import Corruption, corrupt_adapter
from examples.texts import Domain, corpus
from examples.weights import DemoAdapter
from monitor.domain import ArmKind
from monitor.evaluate.evaluator import Ending
from monitor.probes.corpus import Corpus, Document
from monitor.probes.errors import ProbeFailed
from monitor.probes.perplexity import PerplexityRun, PerplexitySettings
from monitor.probes.restraint import Restraint
from monitor.probes.serving import ServedProbe
from monitor.store import clock
from monitor.store.evaluation import probing
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from tests.loopback import unused_port
from tests.probed_fleet import Fleet
from tests.probes.served import HTTP, engines_of

pytestmark = pytest.mark.timeout(400)

OWN = "support@v7"
SOUND = DemoAdapter.SUPPORT_V1.path
TEXTS = corpus(Domain.SUPPORT)[:16]
CORPUS = Corpus(
    name="small",
    documents=tuple(Document(id=f"d{number}", text=text) for number, text in enumerate(TEXTS)),
)


@dataclass
class Engine:
    """The demo's engine in a process of its own, and what operators do to it."""

    url: str
    client: httpx2.Client

    def serve(self, folder: Path) -> None:
        """Put a folder's weights under the adapter's name."""
        self.client.post("/v1/unload_lora_adapter", json={"lora_name": OWN})
        body = {"lora_name": OWN, "lora_path": str(folder)}
        self.client.post("/v1/load_lora_adapter", json=body).raise_for_status()


@dataclass
class Wire:
    """What lies between probe and engine: it counts, and lets things happen on the way.

    ``at`` says what happens before the n-th text is asked for; ``lent`` is how many texts a
    base is still answered about with the adapter.
    """

    asked: int = 0
    at: dict[int, Callable[[], None]] = field(default_factory=dict)
    lent: int = 0

    def get(self, url: str, **more: Any) -> Reply:
        return HTTP.get(url, **more)

    def post(self, url: str, *, body: bytes, **more: Any) -> Reply:
        sent = json.loads(body)
        if "prompt_logprobs" in sent:
            self.asked += 1
            self.at.pop(self.asked, lambda: None)()
            if sent["model"] == "base" and sent["prompt_logprobs"] == 0 and self.lent:
                self.lent -= 1
                body = json.dumps({**sent, "model": OWN}).encode()
        return HTTP.post(url, body=body, **more)

    def after(self, texts: int, act: Callable[[], None]) -> None:
        """Let something happen before the text after so many more."""
        self.at[self.asked + texts + 1] = act


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy(ServedProbe):
    """A probe whose engine has time for so many runs; None: for any number."""

    allowed: list[int | None] = field(default_factory=lambda: [None])

    def score(self, target: Any, corpus: Corpus, *, replica: str | None = None) -> PerplexityRun:
        left = self.allowed[0]
        if left == 0:
            raise ProbeFailed("probes have had their share", permanent=False, asked=False)
        self.allowed[0] = None if left is None else left - 1
        return ServedProbe.score(self, target, corpus, replica=replica)


@pytest.fixture(scope="module")
def process() -> Iterator[Engine]:
    port = unused_port()
    command = [sys.executable, "-m", "examples.engine", "--port", str(port)]
    with (
        subprocess.Popen([*command, "--adapter", f"{OWN}={SOUND}"]) as running,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client,
    ):
        try:
            _wait(client, running)
            yield Engine(f"http://127.0.0.1:{port}", client)
        finally:
            running.terminate()


def _wait(client: httpx2.Client, running: subprocess.Popen[bytes]) -> None:
    until = datetime.now(tz=UTC) + timedelta(seconds=240)
    while running.poll() is None and datetime.now(tz=UTC) < until:
        time.sleep(0.1)
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx2.TransportError:
            pass
    pytest.fail("the engine did not become healthy")


@pytest.fixture
def engine(process: Engine) -> Engine:
    process.serve(SOUND)
    return process


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "broken"
    corrupt_adapter(SOUND, folder, seed=7, how=Corruption.NOISE)
    return folder


@dataclass
class Watched:
    """A version that the engine serves, registered by its first probe."""

    fleet: Fleet
    engine: Engine
    wire: Wire
    via: Busy

    def stopped(self) -> str | None:
        (row,) = self.fleet.world.database.run(probing.probe_rows)
        return str(row.stopped) if row.stopped else None

    def set_route(self, actor: str = "ann") -> None:
        def work(tx: Connection) -> None:
            arm = ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)
            table.put(
                tx, "support", arms=[arm], expected_generation=0, reason="mine", actor=actor,
                now=clock.now(tx),
            )  # fmt: skip

        self.fleet.world.database.run(work)


@pytest.fixture
def unregistered(world: Any, engine: Engine) -> Watched:
    wire = Wire()
    via = Busy(
        general=CORPUS,
        engines=engines_of([engine.url], http=wire, restraint=Restraint(share=1.0)),
        http=wire,
        settings=PerplexitySettings(),
    )
    return Watched(Fleet(world, via), engine, wire, via)


@pytest.fixture
def watched(unregistered: Watched) -> Watched:
    assert unregistered.fleet.probe() is Ending.DONE
    return unregistered


def found_and_stopped(watched: Watched, broken: Path) -> None:
    """Read broken weights twice, and have no time to ask the base."""
    watched.engine.serve(broken)
    watched.via.allowed[0] = 2
    assert watched.fleet.later() is Ending.POSTPONED
    watched.via.allowed[0] = None


def test_weights_that_are_broken_and_stay_so_are_told(watched: Watched, broken: Path) -> None:
    found_and_stopped(watched, broken)
    assert watched.fleet.probe() is Ending.DONE
    assert watched.fleet.verdict().kind is VerdictKind.CRITICAL


def test_after_a_restart_nothing_is_told_of_weights_that_are_gone(
    watched: Watched, broken: Path
) -> None:
    found_and_stopped(watched, broken)
    watched.engine.serve(SOUND)
    assert watched.fleet.probe(owner="the next process") is Ending.DONE
    assert watched.fleet.verdict().detectors == ()
    assert watched.fleet.world.reactions[-1].allowed is False


def test_without_a_restart_nothing_is_told_of_weights_that_are_gone(
    watched: Watched, broken: Path
) -> None:
    found_and_stopped(watched, broken)
    watched.engine.serve(SOUND)
    while watched.fleet.probe() is not Ending.DONE:
        assert "gone since" in str(watched.stopped()) or "replaced" in str(watched.stopped())
    assert watched.fleet.verdict().detectors == ()


def test_weights_that_are_replaced_within_a_run_void_it(watched: Watched, broken: Path) -> None:
    watched.wire.after(5, lambda: watched.engine.serve(broken))
    assert watched.fleet.later() is Ending.POSTPONED
    assert watched.stopped() == "the weights were replaced while they were measured"
    assert watched.fleet.verdict().detectors == ()


def test_a_route_that_is_set_while_broken_weights_are_read_voids_what_was_read(
    watched: Watched, broken: Path
) -> None:
    watched.engine.serve(broken)
    watched.wire.after(5, watched.set_route)
    assert watched.fleet.later() is Ending.POSTPONED
    assert str(watched.stopped()).startswith("the route was set at")
    assert watched.fleet.verdict().detectors == ()
    assert watched.fleet.probe() is Ending.DONE  # asked anew, it still holds
    told = watched.fleet.world.reactions[-1]
    assert told.allowed
    (route,) = watched.fleet.world.rows("SELECT since FROM routes")
    assert told.measured_from > route.since


def test_what_driftline_itself_does_to_a_route_voids_nothing(
    watched: Watched, broken: Path
) -> None:
    watched.engine.serve(broken)
    watched.wire.after(5, lambda: watched.set_route("driftline:action-1"))
    assert watched.fleet.later() is Ending.DONE
    assert watched.fleet.verdict().kind is VerdictKind.CRITICAL


def test_a_finding_begins_when_it_is_told_and_says_when_it_was_measured(
    watched: Watched, broken: Path
) -> None:
    watched.engine.serve(broken)
    assert watched.fleet.later() is Ending.DONE
    (read,) = watched.fleet.world.rows(
        "SELECT max(read_at) AS last, min(read_at) AS first FROM perplexity_documents"
        " JOIN perplexity_runs ON id = run_id WHERE role IN ('scheduled', 'confirmation')"
    )
    assert watched.fleet.verdict().since >= read.last
    assert watched.fleet.world.reactions[-1].measured_from == read.first


# --- contradictory identity -----------------------------------------------------------------


def identity_of(watched: Watched) -> Any:
    return watched.fleet.score().details["identity"]


def test_a_base_that_answers_with_the_adapter_once_is_read_again(unregistered: Watched) -> None:
    unregistered.wire.lent = len(TEXTS)
    assert unregistered.fleet.probe() is Ending.DONE
    assert identity_of(unregistered)["state"] == "applied"
    assert identity_of(unregistered)["gap"] > 0.05


def test_a_base_that_keeps_answering_with_the_adapter_is_unknown_until_readings_agree(
    unregistered: Watched, broken: Path
) -> None:
    unregistered.wire.lent = 1_000
    assert unregistered.fleet.probe() is Ending.DONE
    assert identity_of(unregistered)["state"] == "unknown"
    assert "a fault of the measurement" in identity_of(unregistered)["reason"]
    unregistered.fleet.later()
    assert identity_of(unregistered)["state"] == "unknown"
    unregistered.wire.lent = 0
    unregistered.fleet.later()
    assert identity_of(unregistered)["state"] == "applied"
    assert unregistered.fleet.verdict().detectors == ()
    unregistered.engine.serve(broken)
    unregistered.fleet.later()
    assert "base model unchanged" in unregistered.fleet.verdict().reason


# --- the floor ------------------------------------------------------------------------------


def saved(folder: Path, how: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """Save the adapter again, tensor by tensor."""
    corrupt_adapter(SOUND, folder, seed=0, how=Corruption.SCALED)
    tensors = load_file(SOUND / "adapter_model.safetensors")
    kept = {name: how(tensor).contiguous() for name, tensor in tensors.items()}
    save_file(kept, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def to_bits(tensor: torch.Tensor, bits: int) -> torch.Tensor:
    """Round each row to so many bits, as quantisation does."""
    step = tensor.float().abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
    return torch.where(step > 0, torch.round(tensor / step) * step, 0.0)


def test_saving_again_stays_below_the_floor_and_damage_above_it(
    watched: Watched, tmp_path: Path
) -> None:
    for name, how in {
        "bfloat16": lambda tensor: tensor.bfloat16(),
        "float32": lambda tensor: tensor.float(),
        "8 bits": lambda tensor: to_bits(tensor, 8),
    }.items():
        watched.engine.serve(saved(tmp_path / name, how))
        watched.fleet.later()
        assert watched.fleet.verdict().detectors == (), name
    for damage in Corruption:
        corrupt_adapter(SOUND, tmp_path / damage, seed=7, how=damage)
        watched.engine.serve(tmp_path / damage)
        watched.fleet.later()
        (shown,) = watched.fleet.score().details["corpora"]
        assert shown["changed"], damage
