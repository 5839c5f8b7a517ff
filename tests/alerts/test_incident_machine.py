"""Whatever is seen in whatever order, on-call hears a story that makes sense."""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerts.closing import Closing
from alerts.incident import (
    Acknowledged,
    Closed,
    Condition,
    Event,
    IncidentPhase,
    IncidentState,
    Observed,
    Tell,
    conditions,
    from_json,
    step,
    to_json,
)
from alerts.types import Kind, Severity, Status, VerdictKind
from alerts.updating import Fact

STORY = re.compile(r"S U* W? U* (R (O U* W? U* R)* (O U* W? U*)?)?".replace(" ", ""))
LETTERS = {
    Status.STARTED: "S",
    Status.WORSENED: "W",
    Status.UPDATED: "U",
    Status.RECOVERED: "R",
    Status.REOPENED: "O",
}
WINDOW = timedelta(minutes=15)
FACTS = {Condition.TICKET, Condition.PAGE}
WEEK = timedelta(days=7)


class OneKeysStory(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.state = IncidentState()
        self.events: list[tuple[Event, datetime]] = []
        self.told: list[Tell] = []

    def advance(self, event: Event) -> None:
        before = self.state
        self.state, effects = step(before, event, self.now, window=WINDOW)
        # A crash between two evaluations leaves only what was stored.
        stored = from_json(json.loads(json.dumps(to_json(before))))
        assert step(stored, event, self.now, window=WINDOW) == (self.state, effects)
        assert len(effects) <= 1
        self.events.append((event, self.now))
        self.told.extend(effects)

    @rule(
        condition=st.sampled_from(Condition),
        times=st.integers(1, 4),
    )
    def observe(self, condition: Condition, times: int) -> None:
        for _ in range(times):
            self.advance(Observed(condition=condition))

    @rule(
        condition=st.sampled_from(sorted(FACTS)),
        blame=st.sampled_from(["", "serving", "input"]),
        times=st.integers(1, 4),
    )
    def find(self, condition: Condition, blame: str, times: int) -> None:
        gist = {Fact.SEVERITY: condition.value, Fact.BLAME: blame}
        for _ in range(times):
            self.advance(Observed(condition=condition, gist=gist))
            self.now += WINDOW / 2

    @rule(verdict=st.sampled_from(VerdictKind), silence=st.sampled_from([None, *Severity]))
    def evaluate(self, verdict: VerdictKind, silence: Severity | None) -> None:
        phase = self.state.phase
        drift = conditions(verdict, silence=silence)[Kind.DRIFT]
        self.advance(Observed(condition=drift))
        if verdict in {VerdictKind.LEARNING, VerdictKind.INSUFFICIENT, VerdictKind.ERROR}:
            assert self.state.phase is phase

    @rule(hours=st.integers(1, 48))
    def acknowledge(self, hours: int) -> None:
        told = len(self.told)
        self.advance(Acknowledged(by="ada", lasts=timedelta(hours=hours)))
        assert len(self.told) == told

    @rule(why=st.sampled_from(Closing))
    def close(self, why: Closing) -> None:
        self.advance(Closed(why=why))
        assert self.state.phase is IncidentPhase.OK

    @rule(hours=st.sampled_from([0, 1, 24, 7 * 24, 8 * 24]))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(hours=st.integers(1, 3))
    def clock_jumps_back(self, hours: int) -> None:
        self.now -= timedelta(hours=hours)

    def story(self, number: int) -> list[Tell]:
        return [tell for tell in self.told if tell.number == number]

    @invariant()
    def each_incident_reads_as_a_story(self) -> None:
        for number in range(1, self.state.number + 1):
            letters = "".join(LETTERS[tell.status] for tell in self.story(number))
            assert STORY.fullmatch(letters), letters

    @invariant()
    def at_most_the_newest_incident_is_open(self) -> None:
        for number in range(1, self.state.number):
            assert self.story(number)[-1].status is Status.RECOVERED
        if self.told:
            opened = self.told[-1].status is not Status.RECOVERED
            assert opened == (self.state.phase is not IncidentPhase.OK)

    @invariant()
    def people_know_what_is_open_and_nothing_else(self) -> None:
        if self.state.phase is IncidentPhase.OK:
            assert (self.state.told, self.state.ack) == (None, None)
        else:
            assert self.state.told is self.told[-1].severity

    @invariant()
    def what_goes_on_is_as_urgent_as_it_was_told_and_no_news_is_no_update(self) -> None:
        for earlier, later in pairwise(self.told):
            if later.status is Status.UPDATED:
                assert (later.severity, later.since) == (earlier.severity, earlier.since)
        for known in self.state.known:
            assert all(before != after for before, after in pairwise(known.told))

    @invariant()
    def only_a_week_old_recovery_is_reopened(self) -> None:
        for earlier, later in zip(self.told, self.told[1:], strict=False):
            if later.status is Status.REOPENED:
                assert earlier.closing in {None, Closing.OUT_OF_SERVICE}
                assert later.at - earlier.at <= WEEK

    @invariant()
    def a_replay_tells_the_same(self) -> None:
        state = IncidentState()
        told: list[Tell] = []
        for event, at in self.events:
            state, effects = step(state, event, at, window=WINDOW)
            told.extend(effects)
        assert (state, told) == (self.state, self.told)


OneKeysStory.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestOneKeysStory = OneKeysStory.TestCase
