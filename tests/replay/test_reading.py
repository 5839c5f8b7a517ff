"""What a file holds, what of it is refused, and what is said about it."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftline.formats.lines import Form
from monitor.replay.errors import ReplayFailed
from monitor.replay.reading import LogReading, ReadLog, read_log, split
from monitor.replay.training import read_training
from monitor.replay.watch import Unwatched
from tests.replay.conftest import BagOfWords, Talk, Write

BEGIN = datetime(2026, 11, 3, tzinfo=UTC)
WORDS = BagOfWords()


def talk(count: int, **fields: Any) -> list[dict[str, Any]]:
    named = {"adapter": "support", "version": "v7"} | fields
    return Talk(**named).records(count, begin=BEGIN, over=timedelta(days=1))


def read(path: Path, **given: Any) -> ReadLog:
    return read_log(path, LogReading(**given), embed=WORDS, watch=Unwatched())


def test_bad_lines_are_told_and_cost_nothing_else(write: Write) -> None:
    lines: list[object] = [*talk(20)]
    lines[3:3] = ["no object", {"adapter": "support", "id": "x", "at": "yesterday"}]
    lines[9:9] = [talk(1)[0] | {"token_logprobs": [0.7] * 24}, talk(1)[0] | {"status": "fine"}]
    found = read(write("log.jsonl", lines))
    assert len(found.records["support@v7"]) == 20
    assert (found.tally.lines, found.tally.n_bad) == (24, 4)
    assert [one.line for one in found.tally.bad] == [4, 5, 10, 11]
    reasons = " ".join(one.reason for one in found.tally.bad)
    for said in ("expected an object", "at: is no time", "above 0", "record.status: expected int"):
        assert said in reasons


def test_strict_stops_at_the_first_bad_line(write: Write) -> None:
    with pytest.raises(ReplayFailed, match="line 2: expected an object"):
        read(write("log.jsonl", [talk(1)[0], 7]), strict=True)


def test_an_unsorted_log_is_read_in_order_of_time(write: Write) -> None:
    records = talk(30)
    found = read(write("log.jsonl", records[::-1])).records["support@v7"]
    assert (np.diff(found.at) >= 0).all()
    straight = read(write("other.jsonl", records)).records["support@v7"]
    assert np.array_equal(found.signals["mean_nll"], straight.signals["mean_nll"])


def test_a_compressed_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, talk(5))).encode()))
    assert len(read(path).records["support@v7"]) == 5
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ReplayFailed, match=r"log\.jsonl\.gz"):
        read(path)


def test_several_versions_are_named_and_counted(write: Write) -> None:
    lines = [*talk(12), *talk(7, version="v8"), *talk(3, adapter="sales")]
    path = write("log.jsonl", lines)
    with pytest.raises(ReplayFailed, match=r"support@v7 \(12\), support@v8 \(7\), sales@v7 \(3\)"):
        read(path)
    assert {k: len(v) for k, v in read(path, apart=True).records.items()} == {
        "support@v7": 12,
        "support@v8": 7,
        "sales@v7": 3,
    }
    one = read(path, adapter="support@v8")
    assert [*one.records] == ["support@v8"]
    assert one.tally.passed_over == {"support@v7": 12, "sales@v7": 3}
    assert len(read(path, adapter="sales").records["sales@v7"]) == 3
    with pytest.raises(ReplayFailed, match="nothing of 'nobody'; it has sales@v7, support@v7"):
        read(path, adapter="nobody")


def test_failures_without_a_model_belong_to_the_only_one_there_is(write: Write) -> None:
    failed = {"custom_id": "f", "response": {"status_code": 503, "body": {"error": {}}}}
    path = write("log.jsonl", [*talk(5), failed])
    found = read(path, per_day=100.0)
    assert [*found.records] == ["support@v7"]
    assert np.nansum(found.records["support@v7"].signals["error"]) == 1


def test_records_without_a_time_need_a_rate(write: Write) -> None:
    lines = [{k: v for k, v in one.items() if k != "at"} for one in talk(48)]
    path = write("log.jsonl", lines)
    with pytest.raises(ReplayFailed, match=r"have no time; --rate"):
        read(path)
    at = read(path, per_day=24.0).records["support@v7"].at
    assert np.diff(at) == pytest.approx(np.full(47, 3600.0))


def test_the_times_of_a_batch_say_nothing(write: Write) -> None:
    lines = Talk(adapter="support").records(60, begin=BEGIN, over=timedelta(seconds=9))
    with pytest.raises(ReplayFailed, match=r"60 records within \d s look like the export"):
        read(write("log.jsonl", lines))
    assert len(read(write("log.jsonl", lines), per_day=100.0).records["support"]) == 60


def test_a_form_that_is_given_is_not_guessed(write: Write) -> None:
    path = write("log.jsonl", talk(3))
    assert "support@v7" in read(path, form=Form.DRIFTLINE).records
    with pytest.raises(ReplayFailed, match="no record in 3 lines; line 1: a request of a batch"):
        read(path, form=Form.BATCH)


def test_a_missing_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ReplayFailed, match="No such file"):
        read(tmp_path / "nothing.jsonl")


def test_the_first_records_are_cut_off_by_number_or_time(write: Write) -> None:
    records = read(write("log.jsonl", talk(40))).records["support@v7"]
    first, rest = split(records, 15)
    assert (len(first), len(rest)) == (15, 25)
    assert first.at[-1] <= rest.at[0]
    early, _ = split(records, timedelta(hours=6))
    assert early.at[-1] < records.at[0] + 6 * 3600
    assert len(split(records, 100)[1]) == 0


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        ([{"role": "training", "text": "a b"}, {"role": "baseline", "id": "1"}], 1),
        ([{"prompt": "a b"}, {"text": "c"}, {"messages": [{"role": "user", "content": "d"}]}], 3),
    ],
)
def test_training_texts_are_read_as_they_are_kept(
    write: Write, lines: list[object], texts: int
) -> None:
    found = read_training(write("t.jsonl", lines), WORDS, key=b"k", watch=Unwatched())
    assert found is not None
    assert (len(found.index), found.encoder) == (texts, WORDS.encoder)


def test_plain_lines_are_training_texts(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("where is my card\n\nhow do i pay\n")
    found = read_training(path, WORDS, key=b"k", watch=Unwatched())
    assert found is not None
    assert len(found.index) == 2
    assert read_training(path, WORDS, key=b"k", watch=Unwatched(), only_role=True) is None


def test_training_texts_of_a_baseline_do_not_mind_its_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "baseline.jsonl"
    path.write_text('{"role": "training", "text": "a b"}\n{"at": \n' + "{" * 100_000 + "\n")
    found = read_training(path, WORDS, key=b"k", watch=Unwatched(), only_role=True)
    assert found is not None
    assert len(found.index) == 1
    path.write_text('{"role": "training", "text": 3}\n')
    with pytest.raises(ReplayFailed, match=r"baseline\.jsonl, line 1: training\.text"):
        read_training(path, WORDS, key=b"k", watch=Unwatched(), only_role=True)


def test_a_training_line_without_a_text_is_named(write: Write) -> None:
    path = write("t.jsonl", [{"prompt": "a"}, {"label": 3}])
    with pytest.raises(ReplayFailed, match=r"t\.jsonl, line 2: no text, prompt or messages"):
        read_training(path, WORDS, key=b"k", watch=Unwatched())
