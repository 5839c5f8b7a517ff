from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.checks import Horizon, RecordRefused
from monitor.domain import ReferenceState, Version
from monitor.reference.lines import BaselineLine, read_line, text_hash
from monitor.reference.upload import (
    MOST_PROBLEMS,
    LineSplitter,
    UploadLimits,
    UploadRefused,
    begin_upload,
)
from monitor.store.database import Database
from monitor.store.references import references
from monitor.store.tables.references import reference_items
from tests.reference.conftest import START, Open, Send, baseline, ndjson, questions, training


def _kept(database: Database, version: Version) -> tuple[int, int]:
    def count(tx: sa.Connection) -> tuple[int, int]:
        items = tx.execute(sa.select(sa.func.count()).select_from(reference_items)).scalar_one()
        return len(references.of_version(tx, version.id)), items

    return database.run(count)


def test_a_good_upload_waits_for_a_builder(
    database: Database, version: Version, send: Send
) -> None:
    made = send([*training(questions(5)), *baseline(questions(7, start=100))])
    assert (made.state, made.generation) == (ReferenceState.BUILDING, 1)
    assert (made.n_training, made.n_baseline) == (5, 7)
    assert _kept(database, version) == (1, 12)


@given(cuts=st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_any_cut_of_the_stream_is_the_same_upload(cuts: list[int]) -> None:
    body = ndjson([*training(questions(3)), {"x": "y" * 50}]) + b'{"last": "without end"}'
    splitter, at = LineSplitter(longest=1_000), 0
    lines: list[bytes | None] = []
    for cut in cuts:
        lines += splitter.feed(body[at : at + cut])
        at += cut
    lines += splitter.feed(body[at:])
    lines += splitter.end()
    assert lines == body.split(b"\n")


def test_a_line_too_long_is_named_and_the_others_are_read(
    database: Database, version: Version
) -> None:
    limits = UploadLimits(line_bytes=2_000)
    upload = begin_upload(database, version=version, cause="c", created_by="b", limits=limits)
    long = b'{"role": "training", "text": "' + b"x" * 10_000 + b'"}\n'
    for piece in (ndjson(training(["one"])), long[:3_000], long[3_000:], b'{"role": "other"}\n'):
        upload.feed(piece)
    with pytest.raises(UploadRefused) as refused:
        upload.finish()
    assert [(p.line, p.error) for p in refused.value.problems] == [
        (2, "longer than 2000 bytes"),
        (3, 'role: must be "training" or "baseline"'),
    ]


def test_all_problems_are_counted_the_first_told_and_nothing_is_kept(
    database: Database, version: Version, send: Send
) -> None:
    bad = [{"role": "training", "txt": "wrong"}] * 30
    with pytest.raises(UploadRefused) as refused:
        send([*training(questions(600)), *bad, *baseline(questions(5, start=900))])
    assert refused.value.total == 30
    assert len(refused.value.problems) == MOST_PROBLEMS
    assert refused.value.problems[0].line == 601
    assert refused.value.problems[0].error == (
        "training: unknown field 'txt'; did you mean 'text'?"
    )
    assert _kept(database, version) == (0, 0)


@pytest.mark.parametrize(
    ("again", "shares"),
    [
        ({"prompt": "  WHERE is my card\tnumber 3 "}, "text"),
        ({"prompt": "something else", "subject": "user-1"}, "subject"),
    ],
)
def test_much_that_stands_in_both_parts_is_refused_without_quoting_it(
    database: Database, version: Version, send: Send, again: dict[str, Any], shares: str
) -> None:
    lines = [
        *training(questions(5)),
        {"role": "training", "text": "another", "subject": "user-1"},
        *baseline(questions(3, start=50)),
        *baseline(["x"], **again, id="again"),
    ]
    with pytest.raises(UploadRefused) as refused:
        send(lines)
    assert [(p.line, p.error) for p in refused.value.problems] == [
        (10, f"baseline: its {shares} is among the training lines too")
    ]
    assert _kept(database, version) == (0, 0)


@pytest.mark.parametrize(("shared", "kept"), [(1, 39), (2, 38), (3, None)])
def test_up_to_a_twentieth_that_stands_in_both_parts_is_left_out_and_counted(
    database: Database, version: Version, send: Send, shared: int, kept: int | None
) -> None:
    lines = [*training(questions(20)), *baseline(questions(40, start=20 - shared))]
    if kept is None:
        with pytest.raises(UploadRefused, match=r"among the training lines too \(3 problems"):
            send(lines)
        assert _kept(database, version) == (0, 0)
        return
    made = send(lines)
    assert (made.n_training, made.n_baseline, made.left_out) == (20, kept, shared)
    assert _kept(database, version) == (1, 20 + kept)


def test_an_upload_of_no_baseline_is_refused(send: Send) -> None:
    with pytest.raises(UploadRefused, match="no baseline lines"):
        send(training(questions(5)))


def test_training_lines_of_two_kinds_are_refused(send: Send) -> None:
    given_vector = {"role": "training", "embedding": [1.0, 0.0], "encoder": "mine"}
    with pytest.raises(
        UploadRefused, match="line 2: training: an embedding of 2 numbers by 'mine'"
    ):
        send([*training(["one"]), given_vector, *baseline(["two"])])


def test_an_aborted_upload_leaves_nothing(
    database: Database, version: Version, start_upload: Open
) -> None:
    upload = start_upload()
    upload.feed(ndjson(training(questions(1_200))))
    assert _kept(database, version) == (1, 1_000)
    upload.abort()
    upload.abort()
    assert _kept(database, version) == (0, 0)


def test_an_upload_that_lost_its_lease_says_so(database: Database, start_upload: Open) -> None:
    upload = start_upload()
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE \"references\" SET lease_until = now() - interval '1 s'"))
        assert references.claim_building(tx) is not None
    with pytest.raises(UploadRefused, match="given up"):
        upload.feed(ndjson(training(questions(600))))


HORIZON = Horizon(now=START + timedelta(days=30), retention=timedelta(days=3650))
VECTOR = {"role": "training", "embedding": [3.0, 4.0], "encoder": "e"}
RECORD = {"role": "baseline", "id": "1", "at": START.isoformat()}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"role": "base', "not JSON: Unterminated string starting at (character 10)"),
        (b"[" * 100_000, "not JSON: it is nested too deeply"),
        (b"\xff\xfe", "not JSON: it is not text in UTF-8"),
        (b"[1]", "expected an object"),
        (b"{}", "role: required"),
        (ndjson([{"role": 3}]), "role: must be"),
        (ndjson([{"role": "training"}]), "give text or embedding"),
        (ndjson([{"role": "training", "text": ""}]), "training.text"),
        (ndjson([{"role": "training", "text": " \n"}]), "text: is blank"),
        (ndjson([{"role": "training", "text": 5}]), "training.text: expected str"),
        (ndjson([{"role": "training", "text": "a", "encoder": "e"}]), "only beside embedding"),
        (ndjson([VECTOR | {"encoder": None}]), "encoder: required"),
        (ndjson([VECTOR | {"embedding": []}]), "training.embedding"),
        (ndjson([VECTOR | {"embedding": [0.0]}]), "length must be finite and above 0"),
        (ndjson([VECTOR | {"embedding": [float("nan")]}]), "length must be finite"),
        (ndjson([VECTOR | {"embedding": ["x"]}]), "training.embedding[0]: expected float"),
        (ndjson([{"role": "baseline"}]), "required, but absent"),
        (ndjson([RECORD | {"adapter": "other"}]), "adapter: this reference belongs to 'support'"),
        (ndjson([RECORD | {"version": "v9"}]), "version: this reference belongs to 'v1'"),
        (ndjson([RECORD | {"at": "2026-11-10T00:00:00"}]), "baseline.at"),
        (ndjson([RECORD | {"at": "2030-01-01T00:00:00Z"}]), "in the future"),
        (ndjson([RECORD | {"token_logprobs": [0.5]}]), "token_logprobs[0]"),
        (ndjson([RECORD | {"token_logprobs": "x"}]), "baseline.token_logprobs"),
        (ndjson([RECORD | {"tokn_logprobs": []}]), "did you mean 'token_logprobs'"),
        (ndjson([RECORD | {"embedding": [1.0]}]), "encoder: required"),
        (ndjson([RECORD | {"sample_prob": 0}]), "baseline.sample_prob"),
    ],
)
def test_a_wrong_line_gets_a_precise_error(line: bytes, error: str) -> None:
    with pytest.raises(RecordRefused) as refused:
        read_line(line, adapter="support", version="v1", horizon=HORIZON)
    assert error in str(refused.value)


def test_numbers_as_a_broken_model_writes_them_are_read() -> None:
    written = [-1.0, float("nan"), float("-inf"), -2.0, -1.0]
    line = ndjson([RECORD | {"token_logprobs": written}])
    found = read_line(line, adapter="support", version="v1", horizon=HORIZON)
    assert isinstance(found, BaselineLine)
    np.testing.assert_array_equal(found.record.token_logprobs, written)


def _aged(days: int) -> list[dict[str, object]]:
    lines = baseline(questions(40))
    lines[0]["at"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    return [*training(questions(40, of="parcel")), *lines]


def test_an_upload_may_hold_records_of_ten_years_and_none_before(send: Send) -> None:
    assert send(_aged(3649)).n_baseline == 40
    with pytest.raises(UploadRefused, match="older than"):
        send(_aged(3651))


@given(st.text(st.characters(max_codepoint=126)), st.sampled_from(["  {}", "{}\n", "{} "]))
def test_white_space_and_case_make_no_other_text(text: str, frame: str) -> None:
    key = b"k" * 32
    assert text_hash(frame.format(text), key=key) == text_hash(text, key=key)
    assert text_hash(text.casefold(), key=key) == text_hash(text, key=key)


def test_the_same_record_twice_is_refused(send: Send) -> None:
    with pytest.raises(UploadRefused, match="line 3: id: this id and time stand in line 2"):
        send([*training(["one"]), *baseline(["two"]), *baseline(["two"])])
