from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.probes.errors import ProbeFailed
from monitor.probes.restraint import FIRST_PAUSE, LONGEST_PAUSE, Restraint
from monitor.probes.share import Purpose
from tests.probes.fake_engine import FakeEngine, serving
from tests.probes.served import BASE, CORPUS, SUPPORT, Time, served

MINUTE = 60.0


def test_an_engine_that_failed_a_probe_is_left_alone_for_five_minutes() -> None:
    time, engine = Time(), FakeEngine(fail_at=1)
    with serving(engine) as url:
        probe = served(url, time=time)
        stopped = probe.score(SUPPORT, CORPUS).stopped
        assert stopped == "the engine answered HTTP 500 (after 0 documents)"
        time.at = 4.9 * MINUTE
        told = (
            r"the engine failed a probe at 12:04 UTC \(HTTP 500\); "
            r"not asked again until 12:09 UTC"
        )
        for target in (SUPPORT, BASE):
            with pytest.raises(ProbeFailed, match=told) as caught:
                probe.score(target, CORPUS)
            assert not caught.value.asked
        with pytest.raises(ProbeFailed, match=told):
            probe.read(SUPPORT, ["text"])
        assert len(engine.completions) == 1
        time.at = 5.1 * MINUTE
        engine.fail_at = None
        assert probe.score(SUPPORT, CORPUS).stopped is None


def test_pauses_double_up_to_an_hour_and_a_good_run_ends_them() -> None:
    time, engine = Time(), FakeEngine(fail_at=1, status=0)
    with serving(engine) as url:
        probe = served(url, time=time)

        def fail() -> float:
            assert probe.score(SUPPORT, CORPUS).stopped is not None
            began = time.at
            while probe.engines.restraint.of(url).refusal() is not None:
                time.at += MINUTE
            return (time.at - began) / MINUTE

        pauses = [fail() for _ in range(6)]
        assert pauses == [5, 10, 20, 40, 60, 60]
        engine.fail_at = None
        assert probe.score(SUPPORT, CORPUS).stopped is None
        engine.fail_at = 1
        assert fail() == 5


def test_a_few_documents_before_each_failure_do_not_shorten_the_pauses() -> None:
    time, engine = Time(), FakeEngine()
    with serving(engine) as url:
        probe = served(url, time=time)
        for pause in (5, 10):
            engine.fail_at = len(engine.completions) + 3
            assert len(probe.score(SUPPORT, CORPUS).documents) == 2
            time.at += (pause - 0.5) * MINUTE
            assert probe.engines.restraint.of(url).refusal() is not None
            time.at += 1 * MINUTE
            assert probe.engines.restraint.of(url).refusal() is None


def test_what_broke_one_replica_does_not_travel_to_the_next() -> None:
    time, engines = Time(), [FakeEngine(fail_at=1), FakeEngine(fail_at=1)]
    with serving(engines[0]) as one, serving(engines[1]) as two:
        probe = served(one, two, time=time)
        probe.score(SUPPORT, CORPUS)
        with pytest.raises(ProbeFailed, match="failed a probe"):
            probe.score(SUPPORT, CORPUS)
        assert [len(engine.completions) for engine in engines] == [1, 0]
        time.at = 5.1 * MINUTE
        engines[1].fail_at = None
        assert probe.score(SUPPORT, CORPUS).replica == two
        # one run that ended well opens the others, except what fails again and again
        assert probe.score(SUPPORT, CORPUS).stopped is not None
        assert [len(engine.completions) for engine in engines] == [2, 5]


@pytest.mark.parametrize("status", [429, 503])
def test_an_engine_that_names_a_time_is_obeyed(status: int) -> None:
    time = Time()
    with serving(FakeEngine(fail_at=1, status=status, retry_after="600")) as url:
        probe = served(url, time=time)
        assert probe.score(SUPPORT, CORPUS).stopped is not None
        told = (
            rf"the engine asked at 12:04 UTC to be left alone \(HTTP {status}\); "
            r"not asked again until 12:14 UTC"
        )
        time.at = 599
        with pytest.raises(ProbeFailed, match=told):
            probe.score(SUPPORT, CORPUS)
        time.at = 601
        assert probe.engines.restraint.of(url).refusal() is None


def test_a_refusal_to_serve_is_no_failure_of_the_others() -> None:
    time, busy = Time(), FakeEngine(fail_at=1, status=429, retry_after="30")
    with serving(busy) as one, serving(FakeEngine()) as two:
        probe = served(one, two, time=time)
        assert probe.score(SUPPORT, CORPUS).stopped is not None
        assert probe.score(SUPPORT, CORPUS).replica == two
        time.at = 31
        assert probe.engines.restraint.of(one).refusal() is None


def test_an_engine_that_knows_no_such_model_is_not_paused() -> None:
    with serving(FakeEngine(fail_at=1, status=404)) as url:
        probe = served(url)
        assert probe.score(SUPPORT, CORPUS).stopped is not None
        assert probe.engines.restraint.of(url).refusal() is None


def test_a_run_that_was_under_way_when_another_engine_failed_opens_nothing() -> None:
    time = Time()
    restraint = Restraint(clocks=time.clocks)
    with restraint.of("well").turn() as well:
        with restraint.of("sick").turn() as sick:
            sick.failed("HTTP 500")
        well.answered()
    assert str(restraint.of("well").refusal()).startswith("another engine failed a probe")
    time.at = 5.1 * MINUTE
    assert restraint.of("well").refusal() is None


# --- the share of an engine's time ----------------------------------------------------------


def spend(
    restraint: Restraint, time: Time, seconds: float, purpose: Purpose = Purpose.ROUTINE
) -> None:
    with restraint.of("e").turn(purpose) as turn, turn.request(0):
        time.at += seconds


def test_routine_takes_its_part_of_the_share_and_no_more() -> None:
    time = Time()
    restraint = Restraint(share=0.1, clocks=time.clocks)
    # an hour's share is 360 s, and half of it is the reserve; a probe that began below that
    # ends, and its excess is paid for
    spend(restraint, time, 100)
    spend(restraint, time, 200)
    with pytest.raises(ProbeFailed, match=r"their share of the engine's time \(10%\); not asked"):
        spend(restraint, time, 1)
    # 180 + 30 (grown in 300 s) - 300 is 90 s too much: 15 minutes
    time.at += 14 * MINUTE
    assert restraint.of("e").refusal() is not None
    time.at += 2 * MINUTE
    assert restraint.of("e").refusal() is None
    assert restraint.of("other").refusal() is None


def test_a_suspicion_is_asked_while_routine_is_refused() -> None:
    time = Time()
    restraint = Restraint(share=0.1, clocks=time.clocks)
    spend(restraint, time, 2_000)
    refused = restraint.of("e").refusal()
    assert refused is not None
    for purpose in (Purpose.SUSPICION, Purpose.CONFIRMATION, Purpose.RETURN):
        spend(restraint, time, 5, purpose)
    with pytest.raises(ProbeFailed) as caught:
        spend(restraint, time, 1)
    assert caught.value.again_in is not None
    time.at += caught.value.again_in
    spend(restraint, time, 1)


def test_the_soonest_of_several_refusals_is_told() -> None:
    time = Time()
    with serving(FakeEngine()) as one, serving(FakeEngine()) as two:
        probe = served(one, two, time=time)
        for url, seconds in ((one, 600), (two, 300)):
            with probe.engines.restraint.of(url).turn() as turn, turn.request(0):
                time.at += seconds
        with pytest.raises(ProbeFailed) as caught:
            probe.score(SUPPORT, CORPUS)
        soonest = probe.engines.restraint.of(two).refusal()
        assert soonest is not None
        assert caught.value.again_in == soonest.again_in
        assert probe.on(Purpose.SUSPICION).score(SUPPORT, CORPUS).stopped is None


@dataclass
class Starved(FakeEngine):
    """An engine whose machine has no time for it: a text takes what ``Time`` says."""

    time: Time = field(default_factory=Time)
    texts_last: float = 0.01

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.time.at += self.texts_last
        return super().complete(path, body)


def test_a_starved_machine_does_not_eat_the_share() -> None:
    time = Time()
    engine = Starved(time=time)
    with serving(engine) as url:
        probe = served(url, time=time)
        quiet = probe.score(SUPPORT, CORPUS)
        engine.texts_last = 30.0
        for _ in range(40):
            run = probe.score(SUPPORT, CORPUS)
            assert run.stopped is None
    assert quiet.seconds == pytest.approx(0.05)
    assert run.seconds is not None
    assert run.seconds < 0.11
    # each took 150 s of the clock: two would have been all that routine may have
    assert time.at > 40 * 150


def test_a_refused_text_is_no_measure_of_the_pace() -> None:
    time = Time()
    engine = Starved(time=time, longest=2, texts_last=0.001)
    with serving(engine) as url:
        probe = served(url, time=time)
        probe.score(SUPPORT, CORPUS)  # most are refused at once as too long
        engine.longest, engine.texts_last = 512, 1.0
        spent = [probe.score(SUPPORT, CORPUS).seconds for _ in range(2)]
    assert spent[1] is not None
    assert spent[1] < 0.1  # one text was answered quickly, and is the measure


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_a_pause_is_between_five_minutes_and_an_hour(outcomes: list[bool]) -> None:
    time = Time()
    restraint = Restraint(share=1.0, clocks=time.clocks)
    keeper = restraint.of("e")
    row = 0
    for well in outcomes:
        with keeper.turn() as turn:
            turn.answered()
            if not well:
                turn.failed("HTTP 500")
        row = 0 if well else row + 1
        began = time.at
        while keeper.refusal() is not None:
            time.at += MINUTE
        paused = time.at - began
        assert paused == (0 if row == 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (row - 1)))
