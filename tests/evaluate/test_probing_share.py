"""The probe that a suspicion asks for, where routine has spent an engine's share."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.types import Blame, VerdictKind
from monitor.domain import UNMEASURED, EvaluationKind
from monitor.evaluate.evaluator import Ending
from monitor.evaluate.settings import EvaluateSettings
from monitor.probes.serving import ServedProbe
from monitor.probes.share import Purpose
from monitor.store.evaluation import tasks
from monitor.views.reading import score
from tests.evaluate.test_probing_served import OWN, Levels
from tests.probed_fleet import Fleet
from tests.probes.fake_engine import serving
from tests.probes.served import LONG, Time, served

OTHER = "other@v1"
SOON = timedelta(seconds=10)


@dataclass
class Starved(Levels):
    """An engine whose machine may have no time for it."""

    time: Time = field(default_factory=Time)
    texts_last: float = 0.01

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.time.at += self.texts_last
        return super().complete(path, body)


@dataclass
class Watched:
    """A registered version with live traffic; its engine's clock is turned by hand."""

    fleet: Fleet
    engine: Starved
    probe: ServedProbe
    url: str
    time: Time

    def spend(self, purpose: Purpose, seconds: float) -> None:
        """Let probes of something else take the engine's time."""
        with self.probe.engines.restraint.of(self.url).turn(purpose) as turn, turn.request(0):
            self.time.at += seconds

    def live(self, *, shift: float = 0.0) -> None:
        """Send a window of records and evaluate it."""
        world = self.fleet.world
        world.send(200, shift=shift)
        world.database.run(
            lambda tx: tasks.request(tx, version_id=world.version.id, kinds=[EvaluationKind.LIVE])
        )
        claim = world.claim(EvaluationKind.LIVE)
        assert claim is not None
        assert self.fleet.evaluator.evaluate(claim) is Ending.DONE

    def suspect(self) -> None:
        """Let answers drift until it is told."""
        self.live()
        while self.fleet.verdict().detectors == ():
            self.live(shift=3.0)

    def asked_for(self) -> Ending | None:
        """Work on the probe that is due, if one is."""
        claim = self.fleet.world.claim(EvaluationKind.PERPLEXITY)
        return None if claim is None else self.fleet.evaluator.evaluate(claim)

    def due_in(self) -> timedelta:
        """How long until the perplexity task is due."""
        rows = self.fleet.world.rows("SELECT next_due_at FROM tasks WHERE kind = 'perplexity'")
        due: datetime = rows[0].next_due_at
        return due - datetime.now(tz=UTC)


@pytest.fixture
def watched(world: Any) -> Iterator[Watched]:
    time = Time()
    engine = Starved(time=time)
    engine.models.append({"id": OTHER, "parent": "base"})
    engine.levels[OTHER] = 0.7
    with ExitStack() as stack:
        url = stack.enter_context(serving(engine))
        probe = served(url, time=time, general=LONG)
        made = Watched(Fleet(world, probe), engine, probe, url, time)
        assert made.fleet.probe() is Ending.DONE
        assert made.fleet.later() is Ending.DONE
        yield made


def test_a_suspicion_is_probed_though_routine_has_spent_its_share(watched: Watched) -> None:
    watched.spend(Purpose.ROUTINE, 3_000)
    assert watched.fleet.later() is Ending.POSTPONED
    watched.engine.levels[OWN] = 1.0
    watched.suspect()
    assert watched.fleet.score().verdict == UNMEASURED
    assert score.score(watched.fleet.score()).verdict == UNMEASURED
    assert watched.asked_for() is Ending.DONE
    told = watched.fleet.verdict()
    assert (told.kind, told.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)
    assert "unmeasured" not in told.reason
    assert watched.fleet.score().verdict == "critical"


def test_a_refused_routine_probe_is_asked_again_when_the_share_allows(watched: Watched) -> None:
    watched.spend(Purpose.ROUTINE, 3_000)
    refusal = watched.probe.engines.restraint.of(watched.url).refusal()
    assert refusal is not None
    assert refusal.again_in is not None
    assert watched.fleet.later() is Ending.POSTPONED
    assert abs(watched.due_in() - timedelta(seconds=refusal.again_in)) < SOON


def test_a_suspicion_that_is_refused_says_so_and_is_asked_again_as_soon_as_it_may(
    watched: Watched,
) -> None:
    watched.spend(Purpose.SUSPICION, 230)
    refusal = watched.probe.engines.restraint.of(watched.url).refusal(Purpose.SUSPICION)
    assert refusal is not None
    assert refusal.again_in is not None
    watched.suspect()
    told = watched.fleet.verdict().reason
    assert "perplexity unmeasured since" in told
    assert watched.asked_for() is Ending.POSTPONED
    assert abs(watched.due_in() - timedelta(seconds=refusal.again_in)) < SOON
    watched.live(shift=3.0)
    why = "probes have had their share of the engine's time (10%); not asked again until"
    score = watched.fleet.score()
    assert score.verdict == UNMEASURED
    assert f": {why}" in score.reason
    assert f": {why}" in watched.fleet.verdict().reason
    watched.time.at += refusal.again_in
    watched.fleet.world.rows(
        "UPDATE tasks SET next_due_at = now() WHERE kind = 'perplexity' RETURNING 1"
    )
    assert watched.asked_for() is Ending.DONE
    assert watched.fleet.score().verdict == "stable"
    assert "unmeasured" not in watched.fleet.verdict().reason


def test_a_suspicion_that_an_engine_had_no_time_for_is_asked_again_within_a_minute(
    watched: Watched,
) -> None:
    watched.engine.waiting = 5.0
    watched.suspect()
    assert watched.asked_for() is Ending.POSTPONED
    assert watched.due_in() < timedelta(minutes=1)
    watched.live(shift=3.0)
    assert "the engine queues 5 requests" in watched.fleet.verdict().reason


def test_a_probe_that_began_before_the_suspicion_is_no_measure_of_it(watched: Watched) -> None:
    watched.fleet.world.rows(
        "UPDATE tasks SET next_due_at = now() WHERE kind = 'perplexity' RETURNING 1"
    )
    before = watched.fleet.world.claim(EvaluationKind.PERPLEXITY)
    watched.suspect()
    assert watched.fleet.evaluator.evaluate(before) in {Ending.DONE, Ending.NOT_DUE}
    assert watched.fleet.score().verdict == UNMEASURED
    assert watched.asked_for() is Ending.DONE
    assert watched.fleet.score().verdict == "stable"


def test_a_scheduled_probe_gives_way_to_a_suspicion(watched: Watched) -> None:
    world, other = watched.fleet.world, watched.fleet.register(OTHER)
    assert watched.fleet.probe(other) is Ending.DONE
    watched.suspect()
    world.rows(
        "UPDATE tasks SET next_due_at = now() - interval '1 day', requested_at = NULL,"
        f" next_window_start = now() - interval '7 h' WHERE kind = 'perplexity'"
        f" AND version_id = {other.id} RETURNING 1"
    )
    world.rows(
        "UPDATE tasks SET next_due_at = now() + interval '2 s' WHERE kind = 'perplexity'"
        f" AND version_id = {world.version.id} RETURNING 1"
    )
    claim = world.claim(EvaluationKind.PERPLEXITY)
    assert claim is not None
    assert claim.version_id == other.id
    watched.engine.lasts = 0.7
    assert watched.fleet.evaluator.evaluate(claim) is Ending.POSTPONED
    rows = world.rows(f"SELECT stopped FROM tasks WHERE version_id = {other.id} AND stopped <> ''")
    assert rows[0].stopped.startswith("another version's probe comes first (after ")
    assert watched.asked_for() is Ending.DONE
    assert watched.fleet.score().verdict == "stable"


def test_what_a_critical_version_waits_for_is_not_refused_for_routine(watched: Watched) -> None:
    watched.engine.levels[OWN] = 1.0
    watched.suspect()
    assert watched.asked_for() is Ending.DONE
    watched.engine.levels[OWN] = 0.5
    watched.spend(Purpose.ROUTINE, 3_000)
    for _ in range(2):
        assert watched.fleet.later() is Ending.DONE
    assert "perplexity" not in watched.fleet.verdict().detectors


def test_what_a_critical_version_waits_for_goes_before_what_was_due_longer(
    watched: Watched,
) -> None:
    world, other = watched.fleet.world, watched.fleet.register(OTHER)
    watched.engine.levels[OWN] = 1.0
    assert watched.fleet.later() is Ending.DONE
    assert watched.fleet.verdict().kind is VerdictKind.CRITICAL
    for version, age in ((other, "2 h"), (world.version, "1 s")):
        world.rows(
            f"UPDATE tasks SET next_due_at = now() - interval '{age}', requested_at = NULL"
            f" WHERE kind = 'perplexity' AND version_id = {version.id} RETURNING 1"
        )
    claimed = [world.claim(EvaluationKind.PERPLEXITY) for _ in range(2)]
    assert [claim.version_id for claim in claimed if claim] == [world.version.id, other.id]


def test_a_starved_machine_leaves_the_share_to_whoever_needs_it(watched: Watched) -> None:
    watched.engine.texts_last = 30.0
    for _ in range(12):
        assert watched.fleet.later() is Ending.DONE
    watched.engine.levels[OWN] = 1.0
    watched.suspect()
    assert watched.asked_for() is Ending.DONE
    assert watched.fleet.verdict().blame is Blame.ADAPTER


def test_versions_are_probed_as_often_as_all_of_them_can_be(watched: Watched) -> None:
    world, fleet = watched.fleet.world, watched.fleet
    fleet.evaluator = world.evaluator(
        via=watched.probe,
        cadences=dict.fromkeys(EvaluationKind, fleet.cadence),
        settings=EvaluateSettings(probe_share=1e-6),
    )
    assert fleet.later() is Ending.DONE
    # a round takes .05 s of the engine, and a millionth of its time is there for it
    needed = timedelta(seconds=0.05 / 0.75e-6)
    assert abs(watched.due_in() - needed) < timedelta(minutes=30)
    skipped = world.rows(
        "SELECT 1 FROM evaluations WHERE kind = 'perplexity' AND state = 'skipped'"
    )
    assert skipped == []
