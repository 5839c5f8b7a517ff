"""The whole evaluation over HTTP: engines on the loopback, asked as serving is."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from alerts.types import Blame, VerdictKind
from monitor.engine_addresses import EngineAddresses
from monitor.evaluate.evaluator import Ending
from monitor.probes.comparing import TOP
from monitor.probes.engine import ProbedEngine
from monitor.probes.restraint import Restraint
from tests.probed_fleet import HOUR, Fleet
from tests.probes.fake_engine import FakeEngine, serving
from tests.probes.served import LONG, Time, engines_of, served

OWN, BASE = "support@v7", "base"


@dataclass
class Levels(FakeEngine):
    """Nats per token by model."""

    levels: dict[str, float] = field(default_factory=lambda: {BASE: 0.9, OWN: 0.5})
    expectations: list[str] = field(default_factory=list)
    """Models asked for the 20 likeliest tokens of a prompt."""

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.nll = self.levels[body["model"]]
        if body.get("prompt_logprobs") == TOP:
            self.expectations.append(body["model"])
        return super().complete(path, body)


@dataclass
class Two:
    """A version that two engines hold."""

    fleet: Fleet
    engines: tuple[Levels, Levels]
    urls: tuple[str, str]

    @property
    def told(self) -> Any:
        return self.fleet.verdict()

    def expected(self) -> list[str]:
        """Models asked for expectations since the last call."""
        found = [model for engine in self.engines for model in engine.expectations]
        for engine in self.engines:
            engine.expectations.clear()
        return found


@pytest.fixture
def two(world: Any) -> Iterator[Two]:
    engines = Levels(), Levels()
    with ExitStack() as stack:
        first, second = (stack.enter_context(serving(engine)) for engine in engines)
        made = Two(Fleet(world, served(first, second, general=LONG)), engines, (first, second))
        assert made.fleet.probe() is Ending.DONE
        yield made


def test_a_version_is_registered_with_what_the_engine_says_of_itself(two: Two) -> None:
    rows = two.fleet.world.rows(
        "SELECT DISTINCT engine, source, corpus FROM perplexity_runs WHERE role = 'registration'"
    )
    assert [tuple(row) for row in rows] == [("vllm 0.32.0", "prompt_logprobs", LONG.id)]
    assert two.told.detectors == ()
    assert two.fleet.score().details["identity"]["state"] == "applied"


def test_an_engine_that_answers_with_the_base_is_told(two: Two) -> None:
    for engine in two.engines:
        engine.levels[OWN] = engine.levels[BASE]
    two.fleet.later()
    assert two.told.blame is Blame.SERVING
    assert "not applied" in two.told.reason


def test_a_base_is_asked_about_prompts_only_where_documents_do_not_tell_it_from_the_adapter(
    two: Two,
) -> None:
    assert BASE in two.expected(), "at registration"
    for engine in two.engines:
        engine.levels[OWN] = 2.0
    two.fleet.later()
    assert set(two.expected()) == {OWN}
    assert "wrong weights" in two.told.reason
    for engine in two.engines:
        engine.levels[OWN] = engine.levels[BASE]
    two.fleet.later()
    assert BASE in two.expected()
    assert "not applied" in two.told.reason


def test_a_base_that_an_engine_may_have_lent_an_adapter_puts_no_blame_on_serving(
    world: Any,
) -> None:
    engine = Levels(metrics="vllm:num_requests_running 1.0", levels={BASE: 0.5, OWN: 0.5})
    with serving(engine) as url:
        fleet = Fleet(world, served(url, general=LONG, quiet=timedelta()))
        fleet.probe()  # the base's run was stored before it is compared with
        identity = fleet.score().details["identity"]
        assert identity["state"] == "unknown"
        assert "0 of the texts were read alone, 5 needed" in identity["reason"]
        assert fleet.verdict().detectors == ()
        engine.metrics = "vllm:num_requests_running 0.0"
        fleet.later(by=12 * HOUR)
        assert "not applied: it answers as the base does" in fleet.verdict().reason


def test_one_engine_of_two_is_blamed_alone(two: Two) -> None:
    two.engines[1].levels = {BASE: 1.4, OWN: 1.0}
    while two.told.detectors == ():
        two.fleet.later()  # they are asked in turn
    assert two.told.blame is Blame.SERVING
    assert "alone moved" in two.told.reason


def test_an_upgrade_of_both_engines_is_blamed_on_the_base(two: Two) -> None:
    for engine in two.engines:
        engine.levels, engine.version = {BASE: 0.92, OWN: 0.52}, "0.33.0"
    two.fleet.later()
    assert (two.told.kind, two.told.blame) == (VerdictKind.DRIFTING, Blame.BASE)
    assert "engine vllm 0.32.0 at registration, vllm 0.33.0 now" in two.told.reason


def test_an_engine_that_breaks_while_probed_is_left_alone_and_nothing_is_said(two: Two) -> None:
    for engine in two.engines:
        engine.fail_at = len(engine.completions) + 2
    assert two.fleet.later() is Ending.POSTPONED
    asked = sum(len(engine.completions) for engine in two.engines)
    assert two.fleet.probe() is Ending.POSTPONED
    assert sum(len(engine.completions) for engine in two.engines) == asked
    assert two.told.detectors == ()


@dataclass
class Fleeting(Levels):
    """An engine that is taken away while it answers: completion ``at`` calls ``taken``."""

    taken: Callable[[], None] | None = None
    at: int = 0

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        answer = super().complete(path, body)
        if self.taken is None or len(self.completions) < self.at:
            return answer
        self.taken()
        return 0, b""


@dataclass
class Vanishing:
    """Two engines of a version; one vanishes, the first to have been asked ``after`` so much.

    Its address leaves the file, and its server ends.
    """

    fleet: Fleet
    engines: tuple[Fleeting, Fleeting]
    urls: list[str]
    clock: Time
    listed: Path
    stacks: tuple[ExitStack, ExitStack]
    stays: str = ""

    def after(self, completions: int) -> None:
        for number, one in enumerate(self.engines):
            one.taken, one.at = partial(self._take, number), len(one.completions) + completions

    def _take(self, number: int) -> None:
        for one in self.engines:
            one.taken = None
        self.stays = self.urls[1 - number]
        anew = self.listed.with_suffix(".new")
        anew.write_text(self.stays)
        anew.replace(self.listed)
        self.stacks[number].close()


@pytest.fixture
def vanishing(world: Any, tmp_path: Path) -> Iterator[Vanishing]:
    listed, clock = tmp_path / "engines", Time()
    addresses = EngineAddresses([f"file://{listed}"], monotonic=lambda: clock.at)
    engines = Fleeting(), Fleeting()
    with ExitStack() as first, ExitStack() as second:
        urls = [first.enter_context(serving(engines[0])), second.enter_context(serving(engines[1]))]
        listed.write_text("\n".join(urls))
        restraint = Restraint(share=1.0, clocks=clock.clocks)
        via = replace(served(general=LONG), engines=engines_of(addresses, restraint=restraint))
        fleet = Fleet(world, via)
        assert fleet.probe() is Ending.DONE
        yield Vanishing(fleet, engines, urls, clock, listed, (first, second))


def test_a_replica_that_vanishes_while_probed_accuses_nobody_and_the_other_one_is_asked(
    vanishing: Vanishing,
) -> None:
    fleet, world = vanishing.fleet, vanishing.fleet.world
    vanishing.after(3)
    assert fleet.later() is Ending.POSTPONED
    [gone] = set(vanishing.urls) - {vanishing.stays}
    assert fleet.verdict().detectors == ()
    vanishing.clock.at += 3_600  # an engine that ends while it is asked makes probes wait
    assert fleet.probe() is Ending.DONE
    query = "SELECT replica FROM perplexity_runs WHERE state = '{}' ORDER BY id DESC"
    assert [run.replica for run in world.rows(query.format("stopped"))] == [gone]
    assert world.rows(query.format("done"))[0].replica == vanishing.stays
    assert fleet.verdict().detectors == ()
    assert world.rows("SELECT 1 FROM incidents") == []


def test_a_replica_that_vanishes_while_a_finding_is_confirmed_does_not_hold_it_up(
    vanishing: Vanishing,
) -> None:
    for engine in vanishing.engines:
        engine.levels[OWN] = 2.0
    vanishing.after(len(LONG.documents) + 2)
    assert vanishing.fleet.later() is Ending.POSTPONED
    vanishing.clock.at += 3_600  # an engine that ends while it is asked makes probes wait
    vanishing.fleet.age(timedelta(minutes=10))
    assert vanishing.fleet.probe() is Ending.DONE
    assert vanishing.fleet.verdict().kind is VerdictKind.CRITICAL


@dataclass
class Spoiled(Levels):
    """An engine that answers as vLLM does where every log-probability of a model is NaN."""

    spoiled: frozenset[str] = frozenset()

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        status, answer = super().complete(path, body)
        if body["model"] in self.spoiled:
            return 400, b'{"error": {"message": "Out of range float values", "code": 400}}'
        return status, answer


def test_weights_with_nan_are_blamed_on_the_adapter_while_its_base_has_numbers(
    world: Any,
) -> None:
    engine = Spoiled()
    with serving(engine) as url:
        fleet = Fleet(world, served(url, general=LONG))
        fleet.probe()
        engine.spoiled = frozenset({OWN})
        assert fleet.later() is Ending.DONE
        told = fleet.verdict()
        assert (told.kind, told.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)
        assert "NaN or infinity in its weights" in told.reason
        engine.spoiled = frozenset()
        fleet.later()
        assert fleet.verdict().detectors == ()


def test_an_engine_without_numbers_for_anybody_says_nothing_of_an_adapter(world: Any) -> None:
    engine = Spoiled()
    with serving(engine) as url:
        fleet = Fleet(world, served(url, general=LONG))
        fleet.probe()
        engine.spoiled = frozenset({OWN, BASE})
        assert fleet.later() is Ending.POSTPONED
        assert fleet.verdict().detectors == ()


@dataclass
class Mixed(Levels):
    """An engine whose numbers move by .01 while it answers others too."""

    others: int = 0
    others_expected: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        scored, beside = "prompt_logprobs" in body, False
        with self.changed:
            if not scored:
                self.others += 1
                self.changed.notify_all()
            elif self.others_expected:
                before = self.others
                beside = self.changed.wait_for(lambda: self.others > before, 60)
        status, answer = super().complete(path, body)
        return status, answer.replace(b'"logprob":-0.5', b'"logprob":-0.51') if beside else answer


def test_what_other_requests_do_to_the_numbers_is_measured_as_noise(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Mixed()
    really = ProbedEngine.others

    @contextmanager
    def others(probed: ProbedEngine, texts: Sequence[str]) -> Iterator[None]:
        with really(probed, texts):
            engine.others_expected = True
            yield
            engine.others_expected = False

    monkeypatch.setattr(ProbedEngine, "others", others)
    with serving(engine) as url:
        fleet = Fleet(world, served(url, general=LONG, share=1.0))
        fleet.probe()
        (shown,) = fleet.score().details["corpora"]
        assert shown["floor"] == pytest.approx(0.01, rel=0.01)
        alone = [body for body in engine.completions if "prompt_logprobs" not in body]
        assert alone
        assert {body["model"] for body in alone} == {OWN}
        engine.levels[OWN] = 0.535
        fleet.later()
        assert fleet.verdict().detectors == ()
        engine.levels[OWN] = 0.56
        fleet.later()
        assert fleet.verdict().detectors == ("perplexity",)


def test_an_engine_that_tells_no_arithmetic_is_given_that_of_bfloat16(two: Two) -> None:
    for engine in two.engines:
        engine.levels[OWN] = 0.5133  # as an adapter that is saved again in float16 moved it
    two.fleet.later()
    assert two.told.detectors == ()
