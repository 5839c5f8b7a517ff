from datetime import UTC, datetime, timedelta

import pytest

from alerts.closing import Closing
from alerts.incident import (
    Acknowledged,
    Closed,
    Condition,
    Effects,
    Event,
    IncidentKey,
    IncidentState,
    Observed,
    blindness,
    conditions,
    from_json,
    step,
    to_json,
)
from alerts.types import Kind, Severity, Status, VerdictKind
from alerts.updating import Fact

START = datetime(2026, 3, 4, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TICKET, PAGE = Observed(condition=Condition.TICKET), Observed(condition=Condition.PAGE)
CLEAR, UNKNOWN = Observed(condition=Condition.CLEAR), Observed(condition=Condition.UNKNOWN)


def run(
    *events: Event,
    state: IncidentState | None = None,
    every: timedelta = MINUTE,
) -> tuple[IncidentState, Effects]:
    state = state or IncidentState()
    told: Effects = ()
    for turn, event in enumerate(events):
        state, effects = step(state, event, START + turn * every)
        told += effects
    return state, told


def statuses(*events: Event) -> list[str]:
    return [f"{t.status}#{t.number}:{t.severity}" for t in run(*events)[1]]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([CLEAR, CLEAR, UNKNOWN], [], id="nothing happens"),
        pytest.param([TICKET, TICKET, TICKET], ["started#1:ticket"], id="told once"),
        pytest.param([PAGE, TICKET, PAGE], ["started#1:page"], id="a page does not worsen again"),
        pytest.param(
            [TICKET, PAGE, PAGE], ["started#1:ticket", "worsened#1:page"], id="worsens once"
        ),
        pytest.param(
            [TICKET, CLEAR, CLEAR], ["started#1:ticket", "recovered#1:ticket"], id="recovers once"
        ),
        pytest.param(
            [TICKET, PAGE, TICKET, CLEAR],
            ["started#1:ticket", "worsened#1:page", "recovered#1:page"],
            id="recovers as urgently as it was told",
        ),
        pytest.param([TICKET, UNKNOWN, UNKNOWN], ["started#1:ticket"], id="unknown ends nothing"),
        pytest.param(
            [PAGE, CLEAR, TICKET, PAGE, CLEAR],
            [
                "started#1:page",
                "recovered#1:page",
                "reopened#1:ticket",
                "worsened#1:page",
                "recovered#1:page",
            ],
            id="a return within a week keeps its number",
        ),
    ],
)
def test_each_change_is_told_once(events: list[Event], expected: list[str]) -> None:
    assert statuses(*events) == expected


def test_a_return_after_seven_days_is_a_new_incident() -> None:
    week = timedelta(days=7)
    recovered, _ = run(TICKET, CLEAR)
    at = recovered.recovered_at
    assert at is not None
    _, just_in_time = step(recovered, TICKET, at + week)
    _, too_late = step(recovered, TICKET, at + week + timedelta(seconds=1))
    assert (just_in_time[0].status, just_in_time[0].number) == (Status.REOPENED, 1)
    assert (too_late[0].status, too_late[0].number) == (Status.STARTED, 2)


def test_a_clock_that_jumps_back_tells_nothing() -> None:
    firing, _ = run(PAGE)
    state, told = step(firing, PAGE, START - timedelta(hours=1))
    assert (state, told) == (firing, ())


def test_an_acknowledgement_ends_by_itself() -> None:
    state, told = run(TICKET, Acknowledged(by="ada", lasts=timedelta(hours=1)))
    assert state.ack is not None
    assert len(told) == 1
    before, _ = step(state, UNKNOWN, state.ack.until - timedelta(seconds=1))
    after, _ = step(state, UNKNOWN, state.ack.until)
    assert before.ack == state.ack
    assert after.ack is None


def test_worse_than_what_was_acknowledged_is_unacknowledged() -> None:
    assert run(TICKET, Acknowledged(by="ada"), TICKET)[0].ack is not None
    assert run(TICKET, Acknowledged(by="ada"), PAGE)[0].ack is None


def test_what_another_detector_finds_is_in_nobodys_hand() -> None:
    def found(*detectors: str) -> Observed:
        return Observed(condition=Condition.TICKET, detectors=detectors)

    taken = Acknowledged(by="ada")
    state, told = run(found("length"), taken, found("length"), UNKNOWN, found())
    assert state.ack is not None
    state, told = run(found("length"), taken, found("refusal", "length"))
    assert (state.ack, state.found, len(told)) == (None, ("length", "refusal"), 1)
    # what is gone and found again was in his hand, and after the end all is forgotten
    both = (found("length", "refusal"), taken, found("length"), found("refusal"))
    assert run(*both)[0].ack is not None
    assert run(*both, CLEAR, found("length"))[0].found == ("length",)
    # as a release before this one wrote it
    assert run(found(), taken, found("length"))[0].ack is not None
    assert from_json(to_json(state)) == state


def test_nothing_open_can_be_neither_acknowledged_nor_closed() -> None:
    events = (Acknowledged(by="ada"), Closed(why=Closing.FALSE_PAGE))
    assert run(*events) == (IncidentState(), ())


@pytest.mark.parametrize("why", [one for one in Closing if one is not Closing.OUT_OF_SERVICE])
def test_closing_tells_why_and_what_follows_is_another_incident(why: Closing) -> None:
    _, told = run(PAGE, Closed(why=why), PAGE)
    assert [tell.status for tell in told] == [Status.STARTED, Status.RECOVERED, Status.STARTED]
    assert told[1].closing is why
    assert told[2].number == 2


def test_a_version_that_comes_back_into_service_as_it_was_is_the_same_incident() -> None:
    gone, _ = run(PAGE, Closed(why=Closing.OUT_OF_SERVICE))
    assert gone.closing is Closing.OUT_OF_SERVICE
    again, told = run(PAGE, state=gone)
    assert [(tell.status, tell.number) for tell in told] == [(Status.REOPENED, 1)]
    assert again.closing is None


HELD = 15 * MINUTE


def blamed(blame: str, *detectors: str, condition: Condition = Condition.TICKET) -> Observed:
    gist = {Fact.SEVERITY: condition.value, Fact.BLAME: blame}
    return Observed(condition=condition, detectors=detectors, gist=gist)


def test_an_incident_that_goes_on_is_told_anew_once_what_is_known_has_held_for_a_window() -> None:
    _, told = run(*[blamed("serving")] * 2, *[blamed("input")] * 5, every=HELD)
    assert [(tell.status, tell.number, tell.severity) for tell in told] == [
        (Status.STARTED, 1, Severity.TICKET),
        (Status.UPDATED, 1, Severity.TICKET),
    ]
    assert told[1].at - told[0].at == 3 * HELD
    assert told[1].since == told[0].since


def test_what_recovers_before_it_held_is_not_told_anew() -> None:
    _, told = run(blamed("serving"), blamed("input"), CLEAR, every=HELD)
    assert [tell.status for tell in told] == [Status.STARTED, Status.RECOVERED]


def test_whoever_has_it_in_hand_keeps_it_when_more_is_known_of_it() -> None:
    ack = Acknowledged(by="ann")
    after, told = run(blamed("serving"), ack, *[blamed("input")] * 2, every=HELD)
    assert told[-1].status is Status.UPDATED
    assert after.ack is not None
    found: list[Event] = [
        blamed("serving", "latency"),
        ack,
        *[blamed("input", "input_similarity")] * 2,
    ]
    after, told = run(*found, every=HELD)
    assert told[-1].status is Status.UPDATED
    assert after.ack is None, "another detector has found something"


def test_a_page_that_was_told_as_a_ticket_by_now_rises_at_once_and_is_in_nobodys_hands() -> None:
    page, ticket = (blamed("input", condition=one) for one in (Condition.PAGE, Condition.TICKET))
    after, told = run(page, ticket, ticket, Acknowledged(by="ann"), page, every=HELD)
    assert [(tell.status, tell.severity) for tell in told] == [
        (Status.STARTED, Severity.PAGE),
        (Status.UPDATED, Severity.PAGE),
        (Status.UPDATED, Severity.PAGE),
    ]
    assert after.ack is None


def test_an_unknown_verdict_neither_breaks_nor_fulfils_what_has_to_hold() -> None:
    _, told = run(blamed("serving"), blamed("input"), UNKNOWN, UNKNOWN, every=HELD)
    assert [tell.status for tell in told] == [Status.STARTED]


def test_a_state_that_an_earlier_release_wrote_is_read_and_learns_what_was_told() -> None:
    before, _ = run(blamed("serving"))
    old = {name: said for name, said in to_json(before).items() if name not in {"known", "lead"}}
    old["clears"] = 0
    after, told = run(*[blamed("input")] * 3, state=from_json(old), every=HELD)
    assert told == ()
    assert after.known[-1].told in {("input",), ("ticket",)}


@pytest.mark.parametrize("verdict", list(VerdictKind))
@pytest.mark.parametrize("silence", [None, *Severity])
def test_only_a_stable_verdict_with_data_clears_drift(
    verdict: VerdictKind, silence: Severity | None
) -> None:
    clears = conditions(verdict, silence=silence)[Kind.DRIFT] is Condition.CLEAR
    assert clears == (verdict is VerdictKind.STABLE and silence is None)


@pytest.mark.parametrize("silence", [None, *Severity])
@pytest.mark.parametrize(
    "verdict", [v for v in VerdictKind if v not in {VerdictKind.DRIFTING, VerdictKind.CRITICAL}]
)
def test_missing_data_and_errors_never_fire_drift(
    verdict: VerdictKind, silence: Severity | None
) -> None:
    drift = conditions(verdict, silence=silence)[Kind.DRIFT]
    assert drift in {Condition.CLEAR, Condition.UNKNOWN}


def test_silence_and_errors_are_incidents_of_their_own() -> None:
    silent = conditions(VerdictKind.STABLE, silence=Severity.TICKET)
    assert silent[Kind.NO_DATA] is Condition.TICKET
    assert conditions(VerdictKind.STABLE, silence=Severity.PAGE)[Kind.NO_DATA] is Condition.PAGE
    assert conditions(VerdictKind.STABLE)[Kind.NO_DATA] is Condition.CLEAR
    failing = conditions(VerdictKind.ERROR)
    assert failing[Kind.ERROR] is Condition.TICKET
    assert failing[Kind.NO_DATA] is Condition.UNKNOWN
    assert conditions(VerdictKind.DRIFTING)[Kind.ERROR] is Condition.CLEAR


def test_a_version_is_blind_until_an_evaluation_that_has_counted_finds_enough() -> None:
    assert blindness(VerdictKind.STABLE, known=True, blind=True) is Condition.TICKET
    assert blindness(VerdictKind.CRITICAL, known=True, blind=True) is Condition.TICKET
    assert blindness(VerdictKind.STABLE, known=True, blind=False) is Condition.CLEAR
    assert blindness(VerdictKind.STABLE, known=False, blind=False) is Condition.UNKNOWN
    assert blindness(VerdictKind.ERROR, known=True, blind=False) is Condition.UNKNOWN


def test_an_incident_is_named_alike_in_all_its_messages_and_apart_from_others() -> None:
    key = IncidentKey(adapter="support", version="v7", kind=Kind.DRIFT)
    assert key.dedup_key(3) == "driftline:support@v7:drift:3"
    long = IncidentKey(adapter="a" * 128, version="b" * 128, kind=Kind.DRIFT)
    assert len(long.dedup_key(1)) <= 255  # PagerDuty Events v2: dedup_key, 255 characters
    assert long.dedup_key(1) != long.dedup_key(2)


@pytest.mark.parametrize(
    "damage",
    [
        {"phase": "burning"},
        {"number": -1},
        {"number": "1"},
        {"told": "email"},
        {"since": "2026-03-04T14:00:00"},
        {"number": 0.5},
        {"ack": {"by": "ada"}},
    ],
    ids=str,
)
def test_a_damaged_state_is_refused(damage: dict[str, object]) -> None:
    state, _ = run(TICKET)
    assert from_json(to_json(state)) == state
    with pytest.raises(ValueError, match="not the state of an incident"):
        from_json(to_json(state) | damage)
