"""A month of on-call for a fleet: simulated requests, the real evidence, the real verdicts.

Requests come from the simulated populations of the benchmarks, with day effects of .1 sd;
the evidence process, the policy, the incident machine and the rules of telling are the
service's own. Only the effect is shorter: Cliff's delta of the mean NLL over the last day.
Each adapter has 14 days of reference and 4 requests in 15 minutes.

Some adapters really drift: by one sd, for three days. Of those a part drifts again five days
after it was over, which is the same incident.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

import numpy as np
import pytest

from alerts.incident import conditions
from alerts.message import Alert
from alerts.telling import Manner
from alerts.types import Kind, Reason, Severity, Status, VerdictKind
from benchmarks.statistics.alarms import Asked, check_increments, evidence
from benchmarks.statistics.streams import (
    CHECK_SECONDS,
    CHECKS_PER_DAY,
    MONDAY,
    UNPUBLISHED,
    Drift,
    per_day,
    source,
)
from detectors import rank_reference
from detectors.logit_ks import LOGIT_KS
from detectors.rank_reference import Placement
from detectors.scores import subject_checks
from detectors.types import Effect, Floats, Process
from monitor.policy import Facts, Memory, PolicySettings, ReferenceStage, judge
from monitor.policy.facts import DetectorFact
from tests.telling_world import BEGIN, World

SEED = 11_262_026
PER_CHECK = 4
POPULATION = 30_000
REFERENCE_DAYS = 14
DAY_EFFECT, SIZE, LASTS, PAUSE = 0.1, 1.0, 72.0, 120.0
AGAIN_AFTER = LASTS + PAUSE
MARGIN = 0.2
POLICY = PolicySettings()
DESK = Manner(
    wait=timedelta(seconds=30),
    interval=timedelta(minutes=5),
    together=True,
    by=("owner", "blame", "adapter"),
    repeat=MappingProxyType({Severity.PAGE: timedelta(hours=4)}),
)
OPEN = {VerdictKind.DRIFTING, VerdictKind.CRITICAL}
LOOKS = (timedelta(minutes=1), timedelta(minutes=6))
"""After each check, when those who wait are looked at again."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """When an adapter really drifts, in hours of the month; nothing: never."""

    name: str
    onsets: tuple[float, ...] = ()
    lasts: float = LASTS

    def shift(self, hours: Floats, _z: Floats, rng: np.random.Generator) -> Floats:
        """What every request is moved by, in sd; the reference comes before hour 0."""
        month = hours - 24.0 * REFERENCE_DAYS
        moved = DAY_EFFECT * per_day(hours * 3600.0, rng)
        for onset in self.onsets:
            moved = moved + SIZE * ((month >= onset) & (month < onset + self.lasts))
        return np.asarray(moved)


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """An adapter's month: evidence and effect ``(C,)`` at each check, growth ``(C, L, K)``."""

    evidence: dict[Process, Floats]
    growth: dict[Process, Floats]
    delta: Floats
    half_width: float


def followed(story: Story, *, days: int, fleet: int, number: int) -> Followed:
    rng = np.random.default_rng([SEED, number])
    drift = Drift(
        name=story.name,
        change=story.shift,
        hours=24.0 * (REFERENCE_DAYS + days),
        notice=UNPUBLISHED,
        page=UNPUBLISHED,
        page_rare=UNPUBLISHED,
    )
    stream = source(POPULATION).drifted(drift, per_check=PER_CHECK, start=MONDAY, rng=rng)
    first = REFERENCE_DAYS * CHECKS_PER_DAY * PER_CHECK
    reference = LOGIT_KS.fit(stream.window(0, first))
    live = stream.window(first, stream.at.size)
    placed = rank_reference.place(reference, live)
    groups = subject_checks(live.at, live.subjects, check_seconds=CHECK_SECONDS)
    placement = Placement(values=placed.values, u=placed.u, groups=groups)
    everything = np.ones(len(live), dtype=np.bool_)
    units = rank_reference.units_of(reference, live, placement, only=everything)
    start = MONDAY + CHECK_SECONDS * CHECKS_PER_DAY * REFERENCE_DAYS
    checks = days * CHECKS_PER_DAY
    budgets = {Process.NOTICE: 1.0, Process.PAGE: 1.0 / fleet}
    asked = {
        one: check_increments(reference.null, one, units, start=start, checks=checks)
        for one in (Asked(process=p, budget=budgets[p]) for p in Process)
    }
    growth = {one.process: grown for one, grown in asked.items()}
    found = evidence(asked, weights=reference.null.weights)
    ranks = placed.u[:, 0].reshape(checks, PER_CHECK).mean(axis=1)
    day = np.convolve(ranks, np.full(CHECKS_PER_DAY, 1.0 / CHECKS_PER_DAY))[:checks]
    return Followed(
        evidence={one.process: said.evidence for one, said in found.items()},
        growth=growth,
        delta=2.0 * day - 1.0,
        half_width=1.96 * 2.0 / np.sqrt(12.0 * CHECKS_PER_DAY * PER_CHECK),
    )


def fell(growth: Floats, check: int) -> bool:
    """Whether the winner of the last days lost over the recovery window for every bet."""
    window = max(-(-POLICY.recovery_records // PER_CHECK), CHECKS_PER_DAY)
    if check < window:
        return False
    winner = int(
        growth[max(0, check - 4 * CHECKS_PER_DAY) : check + 1].sum(axis=0).max(axis=0).argmax()
    )
    return bool((growth[check - window + 1 : check + 1, :, winner].sum(axis=0) < -1.0).all())


def facts_at(month: Followed, check: int) -> Facts:
    delta, wide = float(month.delta[check]), month.half_width
    recent = Effect(value=delta, lo=delta - wide, hi=delta + wide, n=CHECKS_PER_DAY * PER_CHECK)
    return Facts(
        at=BEGIN + timedelta(seconds=CHECK_SECONDS) * (check + 1),
        reference=ReferenceStage.APPROVED,
        detectors=(
            DetectorFact(
                detector="logit_ks",
                hard=False,
                model_side=True,
                margin=MARGIN,
                evidence_notice=float(month.evidence[Process.NOTICE][check]),
                evidence_page=float(month.evidence[Process.PAGE][check]),
                winner="mean_nll:up",
                effect=recent,
                recent=recent,
                fell_notice=fell(month.growth[Process.NOTICE], check),
                fell_page=fell(month.growth[Process.PAGE], check),
            ),
        ),
        n_day=CHECKS_PER_DAY * PER_CHECK,
    )


def verdicts(month: Followed) -> Iterator[VerdictKind]:
    """Judge check after check, as the service does; nothing is asked of a calm one."""
    memory = Memory()
    calm = judge(memory, facts_at(month, 0), POLICY).verdict.kind
    for check in range(month.delta.size):
        crosses = max(float(month.evidence[process][check]) for process in Process) >= 0.0
        if not memory.crossings and not crosses:
            yield VerdictKind(calm.value)
            continue
        judged = judge(memory, facts_at(month, check), POLICY)
        memory = judged.memory
        yield VerdictKind(judged.verdict.kind.value)


def live(stories: list[Story], *, days: int) -> World:
    """Let the fleet live for so many days, and on-call be told."""
    world = World(manners={"desk": DESK})
    months = {
        story.name: verdicts(followed(story, days=days, fleet=len(stories), number=number))
        for number, story in enumerate(stories)
    }
    last: dict[str, VerdictKind] = {}
    for check in range(days * CHECKS_PER_DAY):
        at = BEGIN + timedelta(seconds=CHECK_SECONDS) * (check + 1)
        world.now = at
        for name, judged in months.items():
            verdict = next(judged)
            # of what is calm the same again is no news; of what is open it may have held
            if last.get(name) is not verdict or verdict in OPEN:
                world.observe(name, conditions(verdict)[Kind.DRIFT])
            last[name] = verdict
        for look in (timedelta(), *LOOKS):
            world.now = at + look
            world.tick()
    return world


def check(world: World, stories: list[Story], *, days: int) -> dict[str, object]:
    """Hold what on-call was told to what was promised."""
    sent = [
        (one.at, alert)
        for one in world.sent
        if one.reason is not Reason.REPEAT
        for alert in one.alerts
    ]
    news = [(at, alert) for at, alert in sent if alert.status is not Status.UPDATED]
    drifting = {story.name: story for story in stories if story.onsets}
    quiet = [(at, alert) for at, alert in news if alert.adapter not in drifting and alert.firing]
    pages = sum(alert.severity is Severity.PAGE for _, alert in quiet)
    months = days / 30.0
    # false pages: Poisson with at most 1 a month for the fleet; 5 or more have P < .4 %
    assert pages <= 4
    # false tickets: at most 1 a month for each of them; three standard deviations
    expected = months * (len(stories) - len(drifting))
    assert len(quiet) - pages <= expected + 3.0 * np.sqrt(expected)
    for name, story in drifting.items():
        _hold_to_its_drifts(story, [(at, one) for at, one in news if one.adapter == name])
    return {
        "days": days,
        "adapters": len(stories),
        "false pages": pages,
        "false tickets": len(quiet) - pages,
        "pages a day": round(
            sum(a.severity is Severity.PAGE for _, a in news if a.firing) / days, 3
        ),
        "tickets a day": round(
            sum(a.severity is Severity.TICKET for _, a in news if a.firing) / days, 3
        ),
        "updates a day": round((len(sent) - len(news)) / days, 3),
        "repeats": sum(one.reason is Reason.REPEAT for one in world.sent),
    }


def _hold_to_its_drifts(story: Story, heard: list[tuple[datetime, Alert]]) -> None:
    """Each drift is paged once; one that comes back is the same incident, open still or again."""
    last: Alert | None = None
    for onset in story.onsets:
        begin, end = (BEGIN + timedelta(hours=hours) for hours in (onset, onset + AGAIN_AFTER))
        before = [one for at, one in heard if at < begin]
        during = [one for at, one in heard if begin <= at < end and one.firing]
        if before and before[-1].firing:
            assert during == [], f"{story.name} was open still, and is told again"
            continue
        assert [one.severity for one in during].count(Severity.PAGE) == 1, (story.name, during)
        assert during[0].status is (Status.STARTED if last is None else Status.REOPENED)
        assert last is None or during[0].number == last.number
        assert len(during) <= 2, f"{story.name}: at most a ticket, then the page"
        last = during[-1]


def fleet(adapters: int, *, drifting: int, twice: int, days: int) -> list[Story]:
    """Adapters of which some drift, the first of them twice; all recover within the month."""
    rng = np.random.default_rng(SEED)
    latest = 24.0 * days - AGAIN_AFTER
    stories = []
    for number in range(adapters):
        onset = float(rng.uniform(12.0, max(13.0, latest - (number < twice) * AGAIN_AFTER)))
        onsets = (onset, onset + AGAIN_AFTER) if number < twice else (onset,)
        stories.append(Story(name=f"adapter-{number}", onsets=onsets if number < drifting else ()))
    return stories


def test_weeks_of_a_small_fleet_are_told_as_they_were() -> None:
    stories = fleet(8, drifting=3, twice=1, days=18)
    told = check(live(stories, days=18), stories, days=18)
    # three drifts and one that came back: a ticket and a page each, that no page is left of it
    # before it recovers, and nothing else
    assert told == {
        "days": 18,
        "adapters": 8,
        "false pages": 0,
        "false tickets": 0,
        "pages a day": round(4 / 18, 3),
        "tickets a day": round(4 / 18, 3),
        "updates a day": round(4 / 18, 3),
        "repeats": told["repeats"],
    }


def test_a_drift_that_comes_and_goes_every_six_hours_is_one_incident_and_one_page() -> None:
    story = Story(name="flapping", onsets=tuple(12.0 * turn for turn in range(1, 21)), lasts=6.0)
    world = live([story], days=11)
    heard = [alert for one in world.sent if one.reason is not Reason.REPEAT for alert in one.alerts]
    # the evidence has to fall for more than a day, so it never recovers in between
    assert [(alert.number, alert.status, alert.severity) for alert in heard] in (
        [(1, Status.STARTED, Severity.PAGE)],
        [(1, Status.STARTED, Severity.TICKET), (1, Status.WORSENED, Severity.PAGE)],
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_month_of_a_hundred_adapters_is_told_as_it_was() -> None:
    stories = fleet(100, drifting=10, twice=3, days=30)
    told = check(live(stories, days=30), stories, days=30)
    print(told)  # the figures of docs/channels.md
