import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from monitor.capture.assemble import Admitted
from monitor.capture.directory import Resolved
from monitor.capture.errors import Malformed, Overloaded, TooLarge, Unavailable, Unsupported
from monitor.capture.intake import Intake, IntakeOutcome
from monitor.capture.packing import pack_f16
from monitor.capture.parse import Rejected
from monitor.capture.queue import QueueBounds
from monitor.capture.refusal import refusing
from monitor.capture.wire import Record
from monitor.domain import Adapter, AdapterId, VersionId
from monitor.reference.baseline import from_admitted
from monitor.store.database import Database
from monitor.store.records import capture_counts
from monitor.store.registry import adapters, versions

JSON = "application/json"
Send = Callable[..., IntakeOutcome]
Make = Callable[..., dict[str, Any]]


def _rows(database: Database, query: str) -> list[dict[str, Any]]:
    with database.begin() as tx:
        return [dict(row) for row in tx.execute(sa.text(query)).mappings()]


def _totals(database: Database, adapter: Adapter) -> dict[str, int]:
    with database.begin() as tx:
        since = datetime.now(UTC) - timedelta(hours=2)
        return capture_counts.totals(tx, adapter_id=adapter.id, since=since)


@pytest.fixture(scope="module")
def idle(postgres: str) -> Iterator[Intake]:
    """An intake over a database without tables: what is refused must not get that far."""
    database = Database(postgres)
    intake = Intake(database, subject_key=b"k" * 32)
    intake.start()
    yield intake
    assert intake.close()
    database.close()


@pytest.mark.usefixtures("support")
def test_an_accepted_record_is_seen_by_another_connection_at_once(
    send: Send, record: Make, database: Database
) -> None:
    assert send(record()).accepted == 1
    other = Database(database.engine.url.render_as_string(hide_password=False))
    assert len(_rows(other, "SELECT id FROM records")) == 1
    other.close()


def test_the_same_bytes_again_are_duplicates_and_counted(
    send: Send, record: Make, database: Database, support: Adapter
) -> None:
    first = send(record(), record(id="r2"))
    again = send(record(), record(id="r2"))
    assert (first.accepted, first.duplicates) == (2, 0)
    assert (again.accepted, again.duplicates) == (0, 2)
    assert _totals(database, support) == {"accepted": 2, "duplicates": 2}
    assert len(_rows(database, "SELECT id FROM records")) == 2


@pytest.mark.usefixtures("support")
def test_one_bad_record_does_not_lose_the_good_ones(send: Send, record: Make) -> None:
    outcome = send(record(), record(id="r2", status="ok"), record(id="r3", adapter="nobody"))
    assert outcome.accepted == 1
    assert outcome.rejected == [
        Rejected(index=1, error="records[1].status: expected int | null, got str")
    ]
    said = "records[2].adapter: unknown adapter 'nobody'; register it with PUT /v1/adapters/nobody"
    assert outcome.held == [Rejected(index=2, error=said)]


@pytest.mark.usefixtures("support")
def test_what_was_measured_is_stored_and_what_was_not_is_null(
    send: Send, record: Make, database: Database
) -> None:
    logprobs = [-0.001, -1.0, -2.0, -1.0, float("nan")]
    send(
        record(
            prompt="hi there",
            output="one two three",
            token_logprobs=logprobs,
            top_logprobs=[[np.log(0.5), np.log(0.25)]] * 5,
            finish_reason="length",
            subject="ann",
            temperature=0.7,
            latency_ms=12.5,
            status=200,
            feedback={"csat": 4},
        )
    )
    (row,) = _rows(
        database, "SELECT r.*, c.stratum FROM records r JOIN contexts c ON c.id = context_id"
    )
    assert row["sum_nll"] == pytest.approx(4.001, abs=1e-6)
    assert row["mean_nll"] == pytest.approx(4.001 / 4, abs=1e-6)
    assert (row["non_finite"], row["missing"], row["n_tokens"]) == (1, False, 5)
    assert row["near_certain"] == 0.25
    # .5 ln 2 + .25 ln 4 + the remaining quarter as one outcome: .25 ln 4; as float16 has them
    assert row["entropy"] == pytest.approx(float(np.float16(1.5 * np.log(2))))
    assert row["margin"] == pytest.approx(float(np.float16(np.log(2))))
    assert (row["truncated"], row["empty"], row["loop"], row["refusal"]) == (
        True,
        False,
        False,
        False,
    )
    assert row["stratum"] == "temperature=0.7"
    assert len(bytes(row["subject"])) == 8
    (tokens,) = _rows(database, "SELECT * FROM record_tokens")
    stored = np.frombuffer(bytes(tokens["nll"]), dtype="<f2")
    np.testing.assert_allclose(stored, [0.001, 1, 2, 1, np.nan], rtol=1e-3)
    assert _rows(database, "SELECT name, value FROM feedback") == [{"name": "csat", "value": 4.0}]
    (pending,) = _rows(database, "SELECT prompt, output FROM pending_texts")
    assert pending == {"prompt": "hi there", "output": None}


@pytest.mark.usefixtures("support")
def test_no_logprobs_is_not_measured_and_three_are_missing(
    send: Send, record: Make, database: Database
) -> None:
    send(record(id="none"), record(id="few", token_logprobs=[-1.0] * 3))
    rows = _rows(database, "SELECT id, missing, mean_nll FROM records ORDER BY id")
    assert rows == [
        {"id": "few", "missing": True, "mean_nll": None},
        {"id": "none", "missing": None, "mean_nll": None},
    ]


@pytest.mark.usefixtures("support")
def test_a_refusal_is_told_by_its_words_or_by_its_end(
    send: Send, record: Make, database: Database
) -> None:
    outcome = send(
        record(id="broken", output="I can't help with that. \ud83d\0"),
        record(id="end", output="", finish_reason="content_filter"),
        record(id="help", output="Here you are. \udc00", finish_reason="stop"),
        record(id="unsaid", finish_reason="content_filter"),
    )
    assert outcome.accepted == 4
    rows = _rows(database, "SELECT id, refusal FROM records ORDER BY id")
    assert [(row["id"], row["refusal"]) for row in rows] == [
        ("broken", True),
        ("end", True),
        ("help", False),
        ("unsaid", None),
    ]


@pytest.mark.usefixtures("support")
def test_patterns_of_the_house_count_in_live_records_and_in_baselines(
    open_intake: Callable[..., Intake], send: Send, record: Make, database: Database, tmp_path: Path
) -> None:
    own = tmp_path / "house.txt"
    own.write_text("ask your branch\n")
    answer = record(output="Please ask your branch.")
    assert send(answer, by=open_intake(refusal_patterns=(own,))).accepted == 1
    assert [row["refusal"] for row in _rows(database, "SELECT refusal FROM records")] == [True]
    nowhere = Resolved(AdapterId(0), VersionId(0), None)
    admitted = [Admitted(msgspec.convert(answer, Record), nowhere, 1.0, None, None)]
    for refuses, told in ((refusing([own]), 1.0), (refusing([]), 0.0)):
        assert from_admitted(admitted, [None], refuses=refuses).signals["refusal"] == [told]


@pytest.mark.usefixtures("support")
def test_only_an_answer_that_was_to_have_a_form_is_invalid_or_not(
    send: Send, record: Make, database: Database
) -> None:
    outcome = send(
        record(id="broken", valid=False),
        record(id="free", output="{"),
        record(id="kept", valid=True),
        record(id="wrong", valid="no"),
    )
    assert outcome.accepted == 3
    rows = _rows(database, "SELECT id, invalid FROM records ORDER BY id")
    assert [(row["id"], row["invalid"]) for row in rows] == [
        ("broken", True),
        ("free", None),
        ("kept", False),
    ]


@pytest.mark.usefixtures("support")
def test_packed_and_plain_numbers_give_the_same_signals(
    send: Send, record: Make, database: Database
) -> None:
    logprobs = [-0.5, -0.25, -2.0, -0.001953125, -4.0]  # exact in float16
    packed = pack_f16(logprobs)
    send(record(id="a", token_logprobs=logprobs), record(id="b", token_logprobs_f16=packed))
    query = "SELECT sum_nll, mean_nll, p95_nll, near_certain, n_tokens FROM records ORDER BY id"
    plain, short = _rows(database, query)
    assert plain == short


@pytest.mark.usefixtures("support")
def test_texts_are_kept_only_when_opted_in(
    open_intake: Callable[..., Intake], send: Send, record: Make, database: Database
) -> None:
    both = open_intake(store_text=True)
    none = open_intake(embed_prompts=False)
    send(record(id="both", prompt="p\0", output="o"), by=both)
    send(record(id="none", prompt="p", output="o"), by=none)
    assert _rows(database, "SELECT record_id, prompt, output FROM pending_texts") == [
        {"record_id": "both", "prompt": "p\N{REPLACEMENT CHARACTER}", "output": "o"}
    ]


@pytest.mark.usefixtures("support")
def test_an_embedding_that_came_along_waits_for_its_similarity(
    send: Send, record: Make, database: Database
) -> None:
    send(record(embedding=[3.0, 4.0], encoder="mini"))
    (row,) = _rows(database, "SELECT encoder, embedding, prompt FROM pending_texts")
    assert (row["encoder"], row["prompt"]) == ("mini", None)
    np.testing.assert_allclose(
        np.frombuffer(bytes(row["embedding"]), dtype="<f2"), [0.6, 0.8], atol=1e-3
    )


@pytest.mark.usefixtures("support")
def test_ndjson_and_gzip_are_read(intake: Intake, record: Make) -> None:
    lines = b"\n".join(json.dumps(record(id=f"r{n}")).encode() for n in range(3)) + b"\n\n{bad"
    outcome = intake.records(
        gzip.compress(lines),
        content_type="application/x-ndjson; charset=utf-8",
        content_encoding="gzip",
    )
    assert outcome.accepted == 3
    (rejected,) = outcome.rejected
    assert rejected.index == 3
    assert "not JSON" in rejected.error


@pytest.mark.usefixtures("support")
def test_back_dated_records_find_their_partitions(
    send: Send, record: Make, database: Database
) -> None:
    now = datetime.now(UTC)
    days = [0.0, 5.0, 13.0, 20.0, 89.9]
    sent = [
        record(id=f"r{n}", at=(now - timedelta(days=day)).isoformat(), token_logprobs=[-1.0] * 5)
        for n, day in enumerate(days)
    ]
    assert send(*sent).accepted == 5
    kept = _rows(database, "SELECT id FROM record_tokens ORDER BY id")
    assert [row["id"] for row in kept] == ["r0", "r1", "r2"]  # token arrays: 14 days


@pytest.mark.usefixtures("support")
def test_token_arrays_are_not_stored_unless_asked(
    open_intake: Callable[..., Intake], send: Send, record: Make, database: Database
) -> None:
    ahead = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    sent = [
        record(id="now", token_logprobs=[-1.0] * 5),
        record(id="ahead", at=ahead, token_logprobs=[-1.0] * 5),
    ]
    assert send(*sent, by=open_intake()).accepted == 2
    assert _rows(database, "SELECT mean_nll FROM records WHERE id = 'now'") == [{"mean_nll": 1.0}]
    assert _rows(database, "SELECT id FROM record_tokens") == []


@pytest.mark.usefixtures("support")
def test_a_longer_retention_takes_older_records(
    open_intake: Callable[..., Intake], send: Send, record: Make
) -> None:
    old = record(at=(datetime.now(UTC) - timedelta(days=120)).isoformat())
    assert len(send(old).rejected) == 1
    assert send(old, by=open_intake(retention=timedelta(days=200))).accepted == 1


def test_a_version_and_arm_come_from_the_route_where_they_are_not_named(
    send: Send, record: Make, database: Database, support: Adapter
) -> None:
    arms = [
        {"arm": "stable", "version": "v7", "model": "support@v7", "weight": 0.9},
        {"arm": "canary", "version": "v8", "model": "support@v8", "weight": 0.1},
    ]
    with database.begin() as tx:
        versions.put(tx, adapter=support, name="v8", model="support@v8")
        tx.execute(
            sa.text(
                "INSERT INTO routes (adapter_id, generation, arms, reason, actor, since)"
                " VALUES (:adapter, 1, CAST(:arms AS jsonb), 'test', 'test', now())"
            ),
            {"adapter": support.id, "arms": json.dumps(arms)},
        )
    send(record(id="a"), record(id="b", arm="canary"), record(id="c", version="v8"))
    query = """SELECT r.id, v.name, c.arm FROM records r JOIN versions v ON v.id = r.version_id
        JOIN contexts c ON c.id = r.context_id ORDER BY r.id"""
    assert [tuple(row.values()) for row in _rows(database, query)] == [
        ("a", "v7", "stable"),
        ("b", "v8", "canary"),
        ("c", "v8", "canary"),
    ]


def test_a_record_may_follow_the_registration_of_its_version(
    send: Send, record: Make, database: Database, support: Adapter
) -> None:
    (early,) = send(record(version="v8")).held
    assert early.error.startswith("records[0].version: unknown version 'v8'")
    with database.begin() as tx:
        versions.put(tx, adapter=support, name="v8", model="support@v8")
    deadline = time.monotonic() + 10
    while not send(record(version="v8")).accepted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert send(record(version="v8")).duplicates == 1


Held = Callable[[int, int], None]


@pytest.fixture
def held(database: Database, support: Adapter) -> Held:
    """Let yesterday and the same weekday a week ago have held so many requests."""

    def hold(yesterday: int, week_ago: int) -> None:
        with database.begin() as tx:
            tx.execute(sa.text("UPDATE adapters SET created_at = :at"), {"at": _midnight(-9)})
            for days, count in ((-1, yesterday), (-7, week_ago)):
                at = _midnight(days, hours=23)
                capture_counts.add(tx, {(support.id, at, "accepted"): count})

    return hold


def test_sampling_drops_are_counted_and_the_probability_is_recorded(
    open_intake: Callable[..., Intake],
    send: Send,
    record: Make,
    database: Database,
    held: Held,
) -> None:
    held(24_000, 24_000)
    sampled = open_intake(target_per_day=12_000)
    first = send(*[record(id=f"r{n}", sample_prob=0.5) for n in range(1000)], by=sampled)
    again = send(*[record(id=f"r{n}", sample_prob=0.5) for n in range(1000)], by=sampled)
    # binomial(1,000, .5): 500 with a standard deviation of 16; five of them
    assert 421 <= first.accepted <= 579
    assert first.sampled_out == 1000 - first.accepted
    assert (again.duplicates, again.sampled_out) == (first.accepted, first.sampled_out)
    probabilities = {row["sample_prob"] for row in _rows(database, "SELECT * FROM records")}
    assert probabilities == {0.25}
    counted = _rows(database, "SELECT * FROM capture_counts WHERE outcome = 'sampled_out'")
    assert sum(row["count"] for row in counted) == 2 * first.sampled_out
    canary = send(*[record(id=f"c{n}", arm="canary") for n in range(50)], by=sampled)
    assert canary.accepted == 50


@pytest.mark.usefixtures("support")
def test_an_import_decides_nothing_about_the_traffic_that_follows(
    open_intake: Callable[..., Intake], send: Send, record: Make
) -> None:
    now = datetime.now(UTC)
    imported = [
        record(id=f"old{n}", at=(now - timedelta(days=9, minutes=n)).isoformat())
        for n in range(1000)
    ]
    for start in range(0, 3000, 1000):
        old = [one | {"id": f"{one['id']}-{start}"} for one in imported]
        assert send(*old).accepted == 1000
    sampled = open_intake(target_per_day=2_000)
    live = send(*[record(id=f"r{n}") for n in range(400)], by=sampled)
    assert (live.accepted, live.sampled_out) == (400, 0)


@pytest.mark.usefixtures("support")
def test_a_burst_within_the_days_target_is_kept_whole(
    open_intake: Callable[..., Intake], send: Send, record: Make
) -> None:
    sampled = open_intake(target_per_day=400)
    for start in range(0, 300, 30):
        one = send(*[record(id=f"r{n}") for n in range(start, start + 30)], by=sampled)
        assert (one.accepted, one.sampled_out) == (30, 0)


def test_a_flood_from_the_first_minute_is_kept_to_a_bound_and_counted(
    open_intake: Callable[..., Intake],
    send: Send,
    record: Make,
    database: Database,
    support: Adapter,
) -> None:
    sampled = open_intake(target_per_day=100)
    outcomes = [
        send(*[record(id=f"r{n}") for n in range(start, start + 10)], by=sampled)
        for start in range(0, 1000, 10)
    ]
    kept = sum(one.accepted for one in outcomes)
    # 100 (1 + log 10), a little more for the steps of a tenth, and five deviations
    assert 230 <= kept <= 420
    assert kept + sum(one.sampled_out for one in outcomes) == 1000
    assert sum(_totals(database, support).values()) == 1000
    weights = [1 / row["sample_prob"] for row in _rows(database, "SELECT * FROM records")]
    # from their probabilities all that came: sqrt(sum((1 - p) / p^2)) is 60
    assert sum(weights) == pytest.approx(1000, abs=300)


def test_a_new_intake_goes_by_what_others_counted(
    open_intake: Callable[..., Intake],
    send: Send,
    record: Make,
    held: Held,
) -> None:
    held(40_000, 40_000)
    for number in range(2):
        sampled = open_intake(target_per_day=4_000)
        ids = [record(id=f"r{n}") for n in range(1000)]
        taken = send(*ids, by=sampled)
        # binomial(1,000, .1): 100 with a standard deviation of 9.5; five of them
        assert 53 <= taken.accepted + taken.duplicates <= 147
        assert (taken.accepted == 0) == (number == 1), "the same ones are kept"


@pytest.mark.parametrize("days", [(10, 40_000), (40_000, 10)])
def test_one_quiet_day_of_those_that_tell_is_enough_to_begin_with_everything(
    open_intake: Callable[..., Intake],
    send: Send,
    record: Make,
    held: Held,
    days: tuple[int, int],
) -> None:
    held(*days)
    taken = send(*[record(id=f"r{n}") for n in range(300)], by=open_intake(target_per_day=4_000))
    assert (taken.accepted, taken.sampled_out) == (300, 0)


def test_a_day_in_which_the_adapter_became_known_says_only_how_busy_it_may_get(
    database: Database, support: Adapter
) -> None:
    now = datetime.now(UTC)
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE adapters SET created_at = :at"), {"at": _midnight(-1, hours=5)})
        capture_counts.add(tx, {(support.id, _midnight(-1, hours=9), "accepted"): 900})
        capture_counts.add(tx, {(support.id, _midnight(-2), "sampled_out"): 77})
        found = capture_counts.days(tx, support.id, now=now)
    assert found == capture_counts.Days(today=0, quieter=0, busier=900)


def _held(
    database: Database, adapter: Adapter, yesterday: int, week_ago: int | None = None
) -> None:
    """Let yesterday and the same weekday a week ago have held so many requests."""
    counts = {-1: yesterday, -7: yesterday if week_ago is None else week_ago}
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE adapters SET created_at = :at"), {"at": _midnight(-9)})
        for days, count in counts.items():
            capture_counts.add(tx, {(adapter.id, _midnight(days, hours=23), "accepted"): count})


def _midnight(days: int, *, hours: int = 0) -> datetime:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=days, hours=hours)


@pytest.mark.usefixtures("support")
def test_feedback_is_idempotent_and_checked_item_by_item(
    intake: Intake, record: Make, database: Database
) -> None:
    at = record()["at"]
    good = {"adapter": "support", "id": "r1", "at": at, "name": "csat", "value": 4}
    wrong = [
        good | {"value": float("nan")},
        good | {"adapter": "nobody"},
        good | {"vlaue": 3},
        good | {"at": "2001-01-01T00:00:00Z"},
        good | {"name": "cs\nat"},
    ]
    body = json.dumps({"feedback": [good, *wrong]}).encode()
    first = intake.feedback(body, content_type=JSON)
    again = intake.feedback(body, content_type=JSON)
    assert (first.accepted, first.duplicates, len(first.rejected)) == (1, 0, 5)
    assert (again.accepted, again.duplicates) == (0, 1)
    assert [one.index for one in first.rejected] == [1, 2, 3, 4, 5]
    assert first.rejected[4].error == "feedback[5].name: has characters that cannot be printed"
    assert first.rejected[2].error == ("feedback[3]: unknown field 'vlaue'; did you mean 'value'?")
    assert len(_rows(database, "SELECT * FROM feedback")) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "error"),
    [
        (b"", JSON, None, Malformed),
        (b"{", JSON, None, Malformed),
        (b"[]", JSON, None, Malformed),
        (b'{"record": []}', JSON, None, Malformed),
        (b'{"records": 1}', JSON, None, Malformed),
        (b'{"records": [NaN, ', JSON, None, Malformed),
        (b'{"records": NaN}', JSON, None, Malformed),
        (b'{"records": [], "x": NaN}', JSON, None, Malformed),
        (b"\xff\xfe", JSON, None, Malformed),
        (b'{"records": [' + b"[" * 100_000, JSON, None, Malformed),
        (b'{"records": [' + b"9" * 5000 + b", NaN]}", JSON, None, Malformed),
        (b"{}", "text/plain", None, Unsupported),
        (b"{}", "", None, Unsupported),
        (b"{}", JSON, "br", Unsupported),
        (b"not gzip", JSON, "gzip", Malformed),
        (gzip.compress(b'{"records": []}', mtime=0)[:-9], JSON, "gzip", Malformed),
        (gzip.compress(b" " * (9 * 1024 * 1024), mtime=0), JSON, "gzip", TooLarge),
        (gzip.compress(b" " * (3 * 1024 * 1024), mtime=0), JSON, "gzip", TooLarge),
        (b" " * (8 * 1024 * 1024 + 1), JSON, None, TooLarge),
        (b'{"records": [' + b"1," * 1000 + b"1]}", JSON, None, TooLarge),
        (b"1\n" * 1001, "application/x-ndjson", None, TooLarge),
    ],
)
def test_a_wrong_request_is_refused_whole(
    idle: Intake, body: bytes, content_type: str, encoding: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        idle.records(body, content_type=content_type, content_encoding=encoding)
    assert idle.depth() == (0, 0)


@pytest.mark.usefixtures("support")
def test_an_empty_request_is_fine(intake: Intake) -> None:
    outcome = intake.records(b'{"records": []}', content_type=JSON)
    assert outcome == IntakeOutcome(accepted=0, duplicates=0, sampled_out=0, rejected=[], held=[])


@pytest.mark.usefixtures("support")
def test_a_full_queue_refuses_and_every_accepted_record_is_stored(
    open_intake: Callable[..., Intake], record: Make, database: Database
) -> None:
    narrow = open_intake(bounds=QueueBounds(rows=60, rows_per_commit=20, linger=0.0))
    bodies = [
        json.dumps({"records": [record(id=f"r{n}-{k}") for k in range(20)]}).encode()
        for n in range(60)
    ]
    refused: list[Overloaded] = []

    def post(body: bytes) -> int:
        try:
            return narrow.records(body, content_type=JSON).accepted
        except Overloaded as error:
            refused.append(error)
            return 0

    with database.begin() as blocker:  # nothing can be written while this lasts
        blocker.execute(sa.text("LOCK TABLE records IN SHARE MODE"))
        with ThreadPoolExecutor(16) as pool:
            answers = [pool.submit(post, body) for body in bodies]
            deadline = time.monotonic() + 20
            while len(refused) < 50 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert narrow.depth()[0] <= 60
            blocker.rollback()
            accepted = sum(answer.result() for answer in answers)
    assert len(refused) >= 50
    assert all(error.status == 429 and 5 <= error.retry_after <= 30 for error in refused)
    assert len(_rows(database, "SELECT id FROM records")) == accepted
    assert narrow.depth() == (0, 0)


@pytest.mark.usefixtures("support")
def test_a_database_that_does_not_confirm_is_said_and_the_resend_stores_once(
    open_intake: Callable[..., Intake], send: Send, record: Make, database: Database
) -> None:
    hasty = open_intake(bounds=QueueBounds(linger=0.0, patience=0.3))
    send(record(id="warm"), by=hasty)
    with database.begin() as blocker:
        blocker.execute(sa.text("LOCK TABLE records IN SHARE MODE"))
        with pytest.raises(Unavailable, match="nothing is stored twice"):
            send(record(), by=hasty)
    patient = open_intake()
    resent = send(record(), by=patient)
    assert resent.accepted + resent.duplicates == 1
    assert len(_rows(database, "SELECT id FROM records WHERE id = 'r1'")) == 1


@pytest.mark.usefixtures("support")
def test_many_threads_resending_in_any_order_store_each_record_once(
    send: Send, record: Make, database: Database
) -> None:
    rng = np.random.default_rng(3)
    orders = [rng.permutation(200) for _ in range(8)]

    def client(order: Any) -> int:
        sent = [record(id=f"r{n}") for n in order]
        return sum(send(*sent[start : start + 50]).accepted for start in range(0, 200, 50))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(client, orders)) == 200
    assert len(_rows(database, "SELECT id FROM records")) == 200


@pytest.mark.usefixtures("support")
def test_closing_writes_what_waits_and_then_refuses(
    open_intake: Callable[..., Intake], send: Send, record: Make, database: Database
) -> None:
    intake = open_intake(bounds=QueueBounds(linger=0.2))
    answer: list[IntakeOutcome] = []
    sender = threading.Thread(target=lambda: answer.append(send(record(), by=intake)))
    sender.start()
    while intake.depth() == (0, 0) and not answer:
        time.sleep(0.001)
    assert intake.close()
    sender.join()
    assert answer[0].accepted == 1
    with pytest.raises(Overloaded):
        send(record(id="late"), by=intake)
    assert len(_rows(database, "SELECT id FROM records")) == 1


def test_an_unregistered_fleet_holds_every_record(send: Send, record: Make) -> None:
    assert len(send(record(), record(id="b")).held) == 2


def test_a_version_without_a_route_or_sibling_is_found_and_two_are_not_guessed(
    send: Send, record: Make, database: Database
) -> None:
    with database.begin() as tx:
        lone = adapters.put(tx, name="support")
        versions.put(tx, adapter=lone, name="v1", model="support@v1")
        both = adapters.put(tx, name="travel")
        for name in ("v1", "v2"):
            versions.put(tx, adapter=both, name=name, model=f"travel@{name}")
    send(record(), record(adapter="travel"))
    rows = _rows(database, "SELECT version_id FROM records ORDER BY adapter_id")
    assert [row["version_id"] is None for row in rows] == [False, True]
