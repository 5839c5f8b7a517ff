"""Whatever happens in whatever order: what people are told is true, and whole.

The invariants of the incident machine with silences, acknowledgements, groups and repeats on
top. Replaying the same events tells the same, so a crash in between is invisible.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from types import MappingProxyType

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerts.closing import Closing
from alerts.differing import update_between
from alerts.formats import labels_of
from alerts.incident import Condition, conditions
from alerts.matching import parse_matcher
from alerts.silences import Silence
from alerts.telling import Manner
from alerts.types import Blame, Kind, Reason, Severity, Status, VerdictKind
from tests.telling_world import BEGIN, World

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
REPEAT = MappingProxyType({Severity.PAGE: 4 * HOUR, Severity.TICKET: 24 * HOUR})
MANNERS = {
    "pager": Manner(repeat=REPEAT),
    "desk": Manner(wait=MINUTE / 2, interval=5 * MINUTE, together=True, repeat=REPEAT),
}
ADAPTERS = st.sampled_from(["support", "billing"])
UNKNOWN = {VerdictKind.LEARNING, VerdictKind.INSUFFICIENT, VerdictKind.ERROR}

Event = Callable[[World], None]


class OnCall(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.world = World(manners=MANNERS)
        self.events: list[Event] = []
        self.told_this_turn = 0

    def happens(self, event: Event) -> None:
        self.events.append(event)
        self.told_this_turn = len(self.world.sent)
        event(self.world)
        self.world.tick()

    @rule(
        adapter=ADAPTERS,
        verdict=st.sampled_from(VerdictKind),
        silence=st.sampled_from([None, None, *Severity]),
    )
    def evaluate(self, adapter: str, verdict: VerdictKind, silence: Severity | None) -> None:
        before = self.world.states[adapter, Kind.DRIFT]

        def event(world: World) -> None:
            for kind, condition in conditions(verdict, silence=silence).items():
                world.observe(adapter, condition, kind)

        self.happens(event)
        unknown = verdict in UNKNOWN or (verdict is VerdictKind.STABLE and silence is not None)
        if unknown:
            after = self.world.states[adapter, Kind.DRIFT]
            assert (after.phase, after.number, after.told) == (
                before.phase,
                before.number,
                before.told,
            )

    @rule(adapter=ADAPTERS, condition=st.sampled_from(Condition))
    def observe(self, adapter: str, condition: Condition) -> None:
        self.happens(lambda world: world.observe(adapter, condition))

    @rule(adapter=ADAPTERS, blame=st.sampled_from([Blame.SERVING, Blame.INPUT, Blame.UNKNOWN]))
    def blame(self, adapter: str, blame: Blame) -> None:
        """What is found next is blamed on this."""

        def event(world: World) -> None:
            world.blames[adapter] = blame

        self.happens(event)

    @rule(adapter=ADAPTERS, condition=st.sampled_from([Condition.TICKET, Condition.PAGE]))
    def goes_on(self, adapter: str, condition: Condition) -> None:
        """The same is found for a window and longer."""

        def event(world: World) -> None:
            world.observe(adapter, condition)
            world.now += 16 * MINUTE
            world.tick()
            world.observe(adapter, condition)

        self.happens(event)

    @rule(adapter=ADAPTERS, hours=st.sampled_from([1, 24]))
    def acknowledge(self, adapter: str, hours: int) -> None:
        self.happens(lambda world: world.acknowledge(adapter, lasts=hours * HOUR))

    @rule(adapter=ADAPTERS, why=st.sampled_from(Closing))
    def close(self, adapter: str, why: Closing) -> None:
        self.happens(lambda world: world.close(adapter, why))

    @rule(
        match=st.sampled_from(
            [{"adapter": "support"}, {"severity": "ticket"}, {"kind": "drift", "owner": "search"}]
        ),
        minutes=st.sampled_from([1, 60, 2880]),
    )
    def silence(self, match: dict[str, object], minutes: int) -> None:
        def event(world: World) -> None:
            made = Silence(
                id=len(world.silences) + 1,
                matcher=parse_matcher(match),
                starts_at=world.now,
                ends_at=world.now + minutes * MINUTE,
                author="ann",
                comment="maintenance",
            )
            world.silences.append(made)

        self.happens(event)

    @rule()
    def expire(self) -> None:
        self.happens(lambda world: world.silences.clear())

    @rule(seconds=st.sampled_from([1, 31, 301, 3600, 4 * 3600, 25 * 3600, 8 * 86400]))
    def wait(self, seconds: int) -> None:
        def event(world: World) -> None:
            world.now += timedelta(seconds=seconds)

        self.happens(event)

    # --- what must hold ---------------------------------------------------------------

    @invariant()
    def at_most_one_incident_of_a_key_is_open(self) -> None:
        last: dict[tuple[object, int], Status] = {}
        for key, tell in self.world.tells:
            last[key, tell.number] = tell.status
        still = [key for (key, _), status in last.items() if status is not Status.RECOVERED]
        assert len(still) == len(set(still))

    @invariant()
    def an_end_is_told_once_and_only_after_its_beginning(self) -> None:
        for channel in MANNERS:
            for name in self.world.known[channel]:
                heard = [alert.firing for _, alert in self.world.heard(channel, name)]
                assert heard[:1] != [False]
                assert all(before or after for before, after in pairwise(heard))

    @invariant()
    def what_is_open_and_not_muted_is_known(self) -> None:
        """The pager at once, the desk after the wait (a page) or the interval (a ticket).

        What is known otherwise of a page that the desk has been told waits for the interval, too.
        """
        for name, severity in self.world.firing().items():
            alert = self.world.opened[name]
            if self.world.muted(alert):
                continue
            pager = self.world.known["pager"][name].told
            assert pager is not None
            assert pager.firing
            assert pager.severity.rank >= severity.rank
            desk = self.world.known["desk"][name]
            if not desk.held:
                assert desk.told is not None
                assert desk.told.firing
                continue
            page_is_known = (
                desk.told is not None and desk.told.firing and desk.told.severity is Severity.PAGE
            )
            goes_on = page_is_known and desk.held[-1][1].status is Status.UPDATED
            calls = severity is Severity.PAGE and not goes_on
            longest = MINUTE / 2 if calls else 5.5 * MINUTE
            # in a group the latest message counts, so a ticket waits for one interval more
            latest = max([BEGIN, *(one.at for one in self.world.sent if one.channel == "desk")])
            assert self.world.now < max(desk.held[-1][0], latest) + longest

    @invariant()
    def nobody_is_told_of_what_is_muted_but_of_the_end_of_what_was_told(self) -> None:
        for one in self.world.sent[self.told_this_turn :]:
            assert not any(alert.firing and self.world.muted(alert) for alert in one.alerts)

    @invariant()
    def nobody_believes_for_long_that_what_is_over_is_open(self) -> None:
        """Silences and missing records keep no end back; the desk hears after its interval."""
        for channel, longest in (("pager", 0 * MINUTE), ("desk", 5.5 * MINUTE)):
            latest = max([BEGIN, *(one.at for one in self.world.sent if one.channel == channel)])
            for name, known in self.world.known[channel].items():
                if known.told is not None and known.told.firing and name not in self.world.opened:
                    assert known.held
                    assert self.world.now < max(known.held[-1][0], latest) + longest

    @invariant()
    def an_update_says_what_has_changed_since_the_channel_was_told_and_keeps_its_alert(
        self,
    ) -> None:
        for channel in MANNERS:
            for name in self.world.known[channel]:
                told = [alert for _, alert in self.world.heard(channel, name)]
                for before, after in pairwise(told):
                    if after.status is Status.UPDATED and after.update is not None:
                        assert update_between(before, after) == after.update
                        assert labels_of(after) == labels_of(before)
                    assert after.status is not Status.UPDATED or before.firing

    @invariant()
    def only_what_nobody_has_in_hand_is_repeated(self) -> None:
        for one in self.world.sent[self.told_this_turn :]:
            if one.reason is Reason.REPEAT:
                assert all(self.world.state_of(alert.id).ack is None for alert in one.alerts)

    @invariant()
    def nothing_is_repeated_too_soon(self) -> None:
        for channel, manner in MANNERS.items():
            for name in self.world.known[channel]:
                of_it = [
                    one
                    for one in self.world.sent
                    if one.channel == channel and any(alert.id == name for alert in one.alerts)
                ]
                for before, after in pairwise(of_it):
                    if after.reason is Reason.REPEAT:
                        assert after.at - before.at >= 4 * HOUR - manner.interval

    def teardown(self) -> None:
        again = World(manners=MANNERS)
        for event in self.events:
            event(again)
            again.tick()
        assert again.sent == self.world.sent
        assert again.states == self.world.states


OnCall.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
TestOnCall = OnCall.TestCase
