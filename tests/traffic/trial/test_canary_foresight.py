"""Whether a canary can be decided at its adapter's own traffic, said before it is waited for."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from detectors.feedback import Directions
from detectors.trial_plan import Wanted, choices
from monitor.store.database import Database
from monitor.store.records import capture_counts
from monitor.store.traffic import canaries, canary_looks
from monitor.store.traffic.canaries import CanaryRow
from monitor.traffic.trial.foresight import LONGEST, Foreseen, foresee, foresee_ways, step_of
from monitor.traffic.trial.gauges import TrialPace, Worth, gathered
from monitor.traffic.trial.guards import GuardKind, guards_of
from monitor.traffic.trial.prospect import WayKind, advice, prospect, warning, ways
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import CanaryState, CanaryStep, NotPossible, Phase
from tests.traffic.trial.conftest import HOUR, NOW, Trial

DAY = timedelta(days=1)
SETTINGS = CanarySettings(signals=("mean_nll",), read_back=timedelta())
RANK = Worth(kind=GuardKind.RANK, request=3.0, copy=1.0)
SUCCESS = Worth(kind=GuardKind.RATE, request=1 / 0.1275, copy=1 / 0.0765)


@pytest.fixture
def trial(database: Database, tmp_path: Path) -> Trial:
    return Trial(database=database, folder=tmp_path, settings=SETTINGS)


def counted_yesterday(trial: Trial, accepted: int, *, sampled_out: int = 0) -> None:
    """The version in charge answered so many in the day before now."""
    trial.send("v7", min(accepted, 2_000), DAY, arm="stable", solved=0.85, shift=0.0, errors=0.0)
    known = trial.version("v7").adapter_id
    hour = trial.now - HOUR
    with trial.database.begin() as tx:
        counts = {(known, hour, "accepted"): accepted, (known, hour, "sampled_out"): sampled_out}
        capture_counts.add(tx, counts)


def seen(trial: Trial, canary: CanaryRow) -> Foreseen:
    with trial.database.begin() as tx:
        row = canaries.fetch(tx, canary.id)
        last = canary_looks.last_measured(canary_looks.looks(tx, canary.id))
        found = foresee(tx, row, last, settings=trial.settings, now=trial.now)
    assert found is not None
    return found


def test_at_500_requests_a_day_the_first_step_is_said_to_reach_nothing(trial: Trial) -> None:
    counted_yesterday(trial, 500)
    found = seen(trial, trial.start())
    [first, *_] = found.prospect.steps
    assert found.prospect.requests_per_day == 500
    assert first.requests_at == NOW + 8 * DAY
    assert (first.asked_at, first.decided) == (NOW + 4 * DAY, False)
    assert found.warning == (
        "at 500 requests a day step 1 (5 %) reaches 200 requests of v8 on 2026-03-10 12:00;"
        " a person is asked on 2026-03-06 12:00 already"
    )
    assert found.advice is not None
    assert "`driftline canary start support v8 --step 0.5:" in found.advice
    assert "`driftline canary start support v8 --shadow` on 2026-03-0" in found.advice


def test_what_is_advised_may_be_begun_in_the_place_of_what_is_under_way(trial: Trial) -> None:
    counted_yesterday(trial, 500)
    first = trial.start()
    with pytest.raises(NotPossible, match=f"canary {first.id} of v8 is under way"):
        trial.start()
    half = CanaryStep(weight=0.5, lasts=8 * DAY, requests=200)
    second = trial.start(steps=(half,))
    assert trial.state(first).phase is Phase.SUPERSEDED
    assert trial.weights() == {"v7": 0.5, "v8": 0.5}
    found = seen(trial, second)
    assert (found.warning, found.prospect.promotable) == (None, True)
    assert found.prospect.verdict_at is not None
    assert found.prospect.verdict_at <= NOW + 8.5 * DAY


def test_a_canary_that_runs_speaks_for_itself(trial: Trial) -> None:
    """Nothing was counted; after four hours at 24,000 a day it has some 200 requests of 5 %."""
    canary = trial.start()
    before = seen(trial, canary)
    assert before.warning is not None
    assert before.warning.startswith("no request was counted")
    trial.pass_by(4.5, every=HOUR / 2, per_hour=1_000)
    found = seen(trial, canary)
    assert found.prospect.requests_per_day == pytest.approx(24_000, rel=0.25)
    assert (found.warning, found.prospect.known) == (None, True)
    [first, *_] = found.prospect.steps
    assert first.slowest == "feedback.solved"
    assert first.requests_at == trial.now
    # 85 % succeed: some .8 days from the begin, by the spread of so few answers
    assert NOW + 0.5 * DAY < (first.inside_at or NOW) < NOW + 1.5 * DAY
    assert found.prospect.verdict_at is not None


def test_ways_are_compared_before_any_is_begun(trial: Trial) -> None:
    counted_yesterday(trial, 2_000, sampled_out=2_000)
    guards = trial.orders.guards("support")

    def at(per_day: float | None = None) -> dict[WayKind, datetime | None]:
        with trial.database.begin() as tx:
            found = foresee_ways(
                tx, "support", guards, settings=SETTINGS, now=NOW, requests_per_day=per_day
            )
        return {way.kind: way.prospect.verdict_at for way in found}

    counted = at()
    assert counted[WayKind.STEPS] is None
    one, shadow = counted[WayKind.ONE], counted[WayKind.SHADOW]
    assert one is not None
    assert shadow is not None
    assert shadow < one < NOW + 6 * DAY
    assert at(40_000)[WayKind.STEPS] == NOW + 1.5 * DAY
    with trial.database.begin() as tx:
        assert foresee_ways(tx, "nobody", guards, settings=SETTINGS, now=NOW) == ()


@pytest.mark.parametrize(("per_day", "copies"), [(500.0, 500), (1e-9, 0)])
def test_a_step_is_made_of_whatever_a_plan_chose(per_day: float, copies: int) -> None:
    """A shadow, of which no bound is known, ends after its least time of a day, or never."""
    wanted = Wanted(
        rate=0.85, drop=0.1, margin=0.05, critical=False, guardrails=1, requests_per_day=per_day
    )
    [choice] = choices(wanted, [0.5])
    step = step_of(choice)
    assert step.lasts >= min(choice.days, LONGEST / DAY) * DAY
    assert step.lasts <= LONGEST
    pace = TrialPace(requests_per_day=per_day, copies_per_day=per_day, worth={})
    found = ways(pace, (), SETTINGS, now=NOW, one=step)
    assert found[1].plan.steps == (step,)
    assert [way.copies for way in found] == [0, 0, copies]


def test_only_what_was_recorded_is_reckoned_with(trial: Trial) -> None:
    counted_yesterday(trial, 0)
    guards = trial.orders.guards("support")
    with trial.database.begin() as tx:
        [steps, *_] = foresee_ways(
            tx, "support", guards, settings=SETTINGS, now=NOW, requests_per_day=40_000
        )
    assert steps.prospect.known is False
    said = warning(steps.prospect, version="v8", control="v7")
    assert said is not None
    assert said.startswith("too few answers of v7")


@pytest.mark.parametrize(("critical", "copy"), [((), 0.0), (("feedback.solved",), SUCCESS.copy)])
def test_what_only_people_say_holds_up_no_shadow_unless_it_is_critical(
    critical: tuple[str, ...], copy: float
) -> None:
    pace = TrialPace(
        requests_per_day=500,
        copies_per_day=500,
        worth={"mean_nll": RANK, "feedback.solved": SUCCESS},
    )
    sums = {"mean_nll": {"value": 0.0, "information": 80.0, "planned": 400.0, "kind": "rank"}}
    silent = {"value": 0.0, "information": 0.0, "planned": None, "kind": None}
    found = gathered(
        pace,
        {"latest": sums | {"feedback.solved": silent}},
        CanaryState(phase=Phase.RUNNING, placed=True, step_since=NOW, clock_since=NOW),
        CanaryStep(weight=0.0, lasts=DAY, requests=200),
        guards_of(SETTINGS.signals, Directions(higher_is_better=("solved",)), critical),
        seen=100,
        until=NOW + DAY / 5,
        now=NOW + DAY / 5,
    )
    assert found.worth["feedback.solved"].copy == copy
    assert found.worth["mean_nll"].copy == pytest.approx(80 / 100)


@pytest.mark.parametrize(
    ("per_day", "said", "advised"),
    [
        (500, "reaches 200 requests", "--step 0.5:"),
        (2_000, "feedback.solved", "--step 0.1:"),
        (20_000, None, "--step 0.01:"),
    ],
)
def test_what_is_said_follows_the_traffic(per_day: float, said: str | None, advised: str) -> None:
    guards = guards_of(SETTINGS.signals, Directions(higher_is_better=("solved",)), ())
    worth = {"mean_nll": RANK, "feedback.solved": SUCCESS}
    pace = TrialPace(requests_per_day=per_day, copies_per_day=per_day, worth=worth)
    found = ways(pace, guards, SETTINGS, now=NOW)
    [steps, one, _] = found
    assert one.prospect.promotable
    told = warning(steps.prospect, version="v8", control="v7")
    assert (told is None) if said is None else (told is not None and said in told)
    assert advised in (advice(found, adapter="support", version="v8") or "")
    later = prospect(replace(pace, ran=0.5, seen=10), steps.plan, guards, SETTINGS, now=NOW)
    assert later.steps[0].asked_at == NOW + 3.5 * DAY
