"""Records wait for their version, in bounded memory and for a bounded time."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.capture import held
from monitor.capture.directory import Sender
from monitor.capture.errors import Unavailable
from monitor.capture.held import HeldRecords, RecordNames
from monitor.capture.intake import Intake, IntakeOutcome
from monitor.capture.wire import Record
from monitor.domain import Adapter
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from tests.service import until

HOUR = timedelta(hours=1)
ANN = Sender(name="ann")


class Shelf:
    """Registered names, what was taken in for them, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.registered: set[str] = set()
        self.taken: list[tuple[str, list[str]]] = []
        self.seconds = 0.0
        self.failing = False

    def held(self, hold: timedelta = HOUR) -> HeldRecords:
        """A buffer whose looks the test makes itself."""
        return HeldRecords(
            hold=hold,
            is_registered=lambda wanted, _: wanted.adapter in self.registered,
            take=self._take,
            monotonic=lambda: self.seconds,
        )

    def _take(self, records: Sequence[Record], sender: Sender) -> None:
        if self.failing:
            raise Unavailable(retry_after=5)
        self.taken.append((sender.name, [one.id for one in records]))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def _record(name: str, adapter: str = "new", **more: Any) -> Record:
    return Record(id=name, adapter=adapter, at=datetime.now(UTC), **more)


def test_records_go_in_once_their_adapter_is_registered(shelf: Shelf) -> None:
    holding = shelf.held()
    assert holding.hold(_record("a"), ANN)
    assert holding.hold(_record("b", adapter="other"), ANN)
    assert holding.hold(_record("c"), ANN)
    holding.look()
    assert shelf.taken == []
    shelf.registered.add("new")
    holding.look()
    assert shelf.taken == [("ann", ["a", "c"])]
    assert holding.waiting() == {"other": 1}


def test_what_was_held_is_the_record_that_came() -> None:
    taken: list[Record] = []
    holding = HeldRecords(
        hold=HOUR,
        is_registered=lambda wanted, _: wanted == RecordNames("new", "v2", None),
        take=lambda records, _: taken.extend(records),
    )
    came = _record(
        "a",
        version="v2",
        prompt="ü → \N{REPLACEMENT CHARACTER}",
        token_logprobs=[-0.5, None, float("nan")],
        token_entropy_f16=b"\x00\x3c",
        stop=("a", "b"),
        feedback={"csat": 4.0},
    )
    assert holding.hold(came, ANN)
    holding.look()
    (kept,) = taken
    assert repr(kept) == repr(came), "NaN is not equal to itself"


def test_each_sender_keeps_its_own(shelf: Shelf) -> None:
    holding = shelf.held()
    for sender in (ANN, Sender(name="bob"), ANN):
        holding.hold(_record(f"of-{sender.name}"), sender)
    shelf.registered.add("new")
    holding.look()
    assert shelf.taken == [("ann", ["of-ann", "of-ann"]), ("bob", ["of-bob"])]


def test_records_are_dropped_after_an_hour(shelf: Shelf) -> None:
    holding = shelf.held()
    holding.hold(_record("early"), ANN)
    shelf.seconds = 1_800.0
    holding.hold(_record("late"), ANN)
    shelf.seconds = 3_601.0
    holding.look()
    assert holding.waiting() == {"new": 1}
    shelf.registered.add("new")
    holding.look()
    assert shelf.taken == [("ann", ["late"])]
    assert holding.waiting() == {}


def test_what_cannot_be_taken_now_waits_for_the_next_look(shelf: Shelf) -> None:
    holding = shelf.held()
    holding.hold(_record("a"), ANN)
    shelf.registered.add("new")
    shelf.failing = True
    holding.look()
    assert holding.waiting() == {"new": 1}
    shelf.failing = False
    holding.look()
    assert shelf.taken == [("ann", ["a"])]


def test_a_name_that_fails_keeps_no_other_waiting(shelf: Shelf) -> None:
    taken: list[str] = []

    def take(records: Sequence[Record], _sender: Sender) -> None:
        if records[0].adapter == "bad":
            raise Unavailable(retry_after=5)
        taken.extend(one.id for one in records)

    holding = HeldRecords(
        hold=HOUR, is_registered=lambda *_: True, take=take, monotonic=lambda: shelf.seconds
    )
    for adapter in ("bad", "good"):
        holding.hold(_record(f"of-{adapter}", adapter=adapter), ANN)
    holding.look()
    assert taken == ["of-good"]
    assert holding.waiting() == {"bad": 1}
    shelf.seconds = 3_601.0
    holding.look()
    assert holding.waiting() == {}, "nothing waits for longer, whatever fails"


def test_many_records_go_in_by_requests(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "AT_ONCE", 2)
    holding = shelf.held()
    for number in range(5):
        holding.hold(_record(str(number)), ANN)
    shelf.registered.add("new")
    holding.look()
    assert [ids for _, ids in shelf.taken] == [["0", "1"], ["2", "3"], ["4"]]


def test_memory_is_bounded_in_bytes_and_names(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MOST_BYTES", 2_000)
    monkeypatch.setattr(held, "MOST_NAMES", 2)
    holding = shelf.held()
    assert holding.hold(_record("a"), ANN)
    assert holding.hold(_record("b", adapter="second"), ANN)
    assert not holding.hold(_record("c", adapter="third"), ANN)
    assert not holding.hold(_record("d", prompt="x" * 2_000), ANN)
    assert holding.hold(_record("e"), ANN)
    shelf.seconds = 4_000.0
    holding.look()
    assert holding.hold(_record("f", adapter="third", prompt="x" * 1_500), ANN)


def test_a_hold_of_nothing_refuses(shelf: Shelf) -> None:
    holding = shelf.held(timedelta(0))
    assert not holding.hold(_record("a"), ANN)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks every few milliseconds."""
    monkeypatch.setattr(held, "LOOK_EVERY", 0.05)


@pytest.mark.usefixtures("quick", "support")
def test_a_version_registered_later_has_its_first_records(
    intake: Intake,
    send: Callable[..., IntakeOutcome],
    record: Callable[..., dict[str, Any]],
    database: Database,
    support: Adapter,
) -> None:
    early = [record(id="r1", version="v8"), record(id="r2", adapter="fresh", version="v1")]
    outcome = send(*early, record(id="r3"))
    assert (outcome.accepted, [one.index for one in outcome.held]) == (1, [0, 1])
    assert intake.held() == 2
    with database.begin() as tx:
        versions.put(tx, adapter=support, name="v8", model="support@v8")
        fresh = adapters.put(tx, name="fresh")
        versions.put(tx, adapter=fresh, name="v1", model="fresh@v1")
    until(lambda: not intake.held(), "the held records are taken")
    with database.begin() as tx:
        stored = tx.execute(sa.text("SELECT id FROM records ORDER BY id")).scalars().all()
    assert stored == ["r1", "r2", "r3"]


@pytest.mark.usefixtures("support")
def test_a_wrong_record_is_refused_at_once_and_not_held(
    intake: Intake, send: Callable[..., IntakeOutcome], record: Callable[..., dict[str, Any]]
) -> None:
    outcome = send(record(adapter="fresh", embedding=[1.0]))
    (refused,) = outcome.rejected
    assert "encoder: required beside embedding" in refused.error
    assert intake.held() == 0


@pytest.mark.usefixtures("support")
def test_a_key_for_other_adapters_holds_nothing(
    intake: Intake, record: Callable[..., dict[str, Any]]
) -> None:
    body = json.dumps({"records": [record(adapter="fresh")]}).encode()
    for match, held_now in (({"adapter": ["tax"]}, 0), ({"adapter": ["fresh"]}, 1)):
        bound = Sender(name=f"bound {held_now}", match=match)
        outcome = intake.records(body, content_type="application/json", sender=bound)
        assert (len(outcome.held), len(outcome.rejected)) == (held_now, 1 - held_now)


def _by(sender: Sender, intake: Intake, *records: dict[str, Any]) -> IntakeOutcome:
    body = json.dumps({"records": records}).encode()
    return intake.records(body, content_type="application/json", sender=sender)


@pytest.mark.usefixtures("quick")
def test_what_a_team_sends_for_an_adapter_without_owner_is_stored_once_it_is_the_teams(
    intake: Intake, record: Callable[..., dict[str, Any]], database: Database, support: Adapter
) -> None:
    care = Sender(name="care", match={"owner": ["care"]})
    sent = [record(id=f"r{n}") for n in range(held.AT_ONCE + 1)]
    assert len(_by(care, intake, *sent).held) == len(sent)
    time.sleep(5 * held.LOOK_EVERY)  # a few looks, which leave them where they are
    assert intake.held() == len(sent)
    with database.begin() as tx:
        adapters.put(tx, name=support.name, owner="care")
    until(lambda: not intake.held(), "the held records are taken")
    with database.begin() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM records")).scalar_one() == len(sent)


@pytest.mark.usefixtures("support")
def test_a_team_is_told_of_anothers_adapter_as_of_one_that_nobody_registered(
    intake: Intake, record: Callable[..., dict[str, Any]], database: Database
) -> None:
    with database.begin() as tx:
        adapters.put(tx, name="theirs", owner="growth")
        theirs = adapters.put(tx, name="versioned", owner="growth")
        versions.put(tx, adapter=theirs, name="v1", model="versioned@v1")
    wrong = {"embedding": [1.0]}
    for match in ({"owner": ["care"]}, {"adapter": ["mine"]}):
        care = Sender(name="care", match=match)
        answers = set()
        for name in ("nobodys", "theirs", "versioned", "support"):
            one = record(adapter=name)
            sent = one, one | {"version": "v1"}, one | {"version": "v2"}, one | wrong
            said = str(_by(care, intake, *sent)).replace(name, "NAME")
            answers.add(said)
        assert len(answers) == 1
        assert "or one that this key may not send for; register it" in said


@pytest.mark.usefixtures("quick", "support")
def test_nothing_held_is_written_while_the_disk_is_full(
    *,
    intake: Intake,
    send: Callable[..., IntakeOutcome],
    record: Callable[..., dict[str, Any]],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    support: Adapter,
) -> None:
    send(record(version="v8"))
    full = [True, True, True]
    monkeypatch.setattr(database.room, "full", lambda: bool(full and full.pop()))
    with database.begin() as tx:
        versions.put(tx, adapter=support, name="v8", model="support@v8")
    until(lambda: not intake.held(), "the held record is taken")
    assert full == []


@pytest.mark.usefixtures("support")
def test_without_holding_an_unknown_version_is_refused(
    open_intake: Callable[..., Intake],
    send: Callable[..., IntakeOutcome],
    record: Callable[..., dict[str, Any]],
) -> None:
    strict = open_intake(hold_unregistered=timedelta(0))
    outcome = send(record(), record(id="r2", version="v8"), by=strict)
    assert (outcome.accepted, len(outcome.rejected), outcome.held) == (1, 1, [])
