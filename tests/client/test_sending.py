"""The application's records reach the service, or are counted; the application never notices."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from driftline.client import RecordSender
from driftline.client.sending import AT_EXIT
from tests.docs.pages import ROOT
from tests.loopback import Receiver, answer, raw, reset
from tests.service import PATIENCE, until

TAKEN = json.dumps({"accepted": 1, "duplicates": 0, "sampled_out": 0, "rejected": []}).encode()
KEY = "dl_key"


def _sender(receiver: Receiver, **more: Any) -> RecordSender:
    return RecordSender(f"http://{receiver.host}:{receiver.port}/", KEY, **more)


def _lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(body).splitlines()]


def test_records_go_together_with_the_key() -> None:
    with Receiver([answer(202, body=TAKEN)]) as receiver:
        sender = _sender(receiver)
        for name in ("a", "b\ud83d"):
            sender.add({"id": name})
        assert sender.close(30)
    (seen,) = receiver.seen
    assert (seen.method, seen.path) == ("POST", "/v1/records")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["content-type"] == "application/x-ndjson"
    assert _lines(seen.body) == [{"id": "a"}, {"id": "b\ud83d"}]
    assert sender.counts == {"accepted": 1}


@pytest.mark.parametrize(
    "trouble",
    [
        answer(429, headers={"Retry-After": "0"}),
        answer(503),
        answer(507),
        reset,
        raw(b"HTTP/1.1 202 x\r\n\r\nnot json"),
    ],
)
def test_what_may_succeed_later_is_sent_again(
    trouble: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftline.client.sending._FIRST_PAUSE", 0.01)
    with Receiver([trouble, answer(202, body=TAKEN)]) as receiver:
        sender = _sender(receiver)
        sender.add({"id": "a"})
        assert sender.flush(30)
    assert [_lines(seen.body) for seen in receiver.seen[-2:]] == [[{"id": "a"}]] * 2
    assert sender.counts == {"accepted": 1}


def test_what_is_refused_for_good_is_counted_and_not_sent_again() -> None:
    rejected = json.dumps({"accepted": 0, "rejected": [{"index": 0, "error": "records[0]"}]})
    with Receiver([answer(401), answer(202, body=rejected.encode())]) as receiver:
        sender = _sender(receiver)
        for _ in range(2):
            sender.add({"id": "a"})
            assert sender.flush(30)
    assert len(receiver.seen) == 2
    assert sender.counts == {"refused": 1, "rejected": 1}


def test_a_redirect_is_not_followed_since_the_key_is_for_one_address() -> None:
    with Receiver([answer(202, body=TAKEN)]) as other:
        place = f"http://{other.host}:{other.port}/v1/records"
        with Receiver([answer(302, headers={"Location": place})]) as receiver:
            sender = _sender(receiver)
            sender.add({"id": "a"})
            assert sender.flush(30)
    assert not other.seen
    assert sender.counts == {"refused": 1}


def test_the_queue_is_bounded_and_what_finds_no_room_is_counted() -> None:
    held = threading.Event()

    def hold(_: Any) -> None:
        held.wait(60)

    with Receiver([hold]) as receiver:
        sender = _sender(receiver, waiting=3)
        sender.add({"id": "under way"})
        until(lambda: receiver.seen, "the first is under way")
        for place in range(5):
            sender.add({"id": str(place)})
        assert sender.counts == {"dropped": 2}
        assert not sender.close(0.01)
        held.set()


def test_a_record_that_is_no_json_is_counted() -> None:
    with Receiver() as receiver:
        sender = _sender(receiver)
        sender.add({"id": object()})
        assert sender.counts == {"unread": 1}


def test_nothing_is_taken_once_it_is_closed() -> None:
    with Receiver([answer(202, body=TAKEN)]) as receiver:
        sender = _sender(receiver)
        assert sender.close(1)
        sender.add({"id": "late"})
        assert sender.counts == {"dropped": 1}


def test_a_forked_process_sends_for_itself() -> None:
    with Receiver([answer(202, body=TAKEN)]) as receiver:
        code = f"""
import os
from driftline.client import RecordSender
sender = RecordSender("http://{receiver.host}:{receiver.port}", "k")
sender.add({{"id": "parent"}})
assert sender.flush(30)
child = os.fork()
if not child:
    sender.add({{"id": "child"}})
    os._exit(0 if sender.flush(30) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False)
        assert done.returncode == 0
    assert [_lines(seen.body)[0]["id"] for seen in receiver.seen] == ["parent", "child"]


def _ended(
    receiver: Receiver, code: str = "", *, within: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    begun = f"""
import os, sys
from driftline.client import RecordSender, sending
sending._TIMEOUT = 3600.0
sending.AT_EXIT = {within}
sender = RecordSender("http://{receiver.host}:{receiver.port}", "k")
sender.add({{"id": "a"}})
"""
    command = [sys.executable, "-W", "ignore", "-c", begun + code]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize(("code", "status"), [("", 0), ("sys.exit(3)", 3), ("1 / 0", 1)])
def test_what_waits_when_the_interpreter_ends_is_sent(code: str, status: int) -> None:
    with Receiver([answer(202, body=TAKEN)]) as receiver:
        done = _ended(receiver, code)
    assert (done.returncode, bool(done.stderr)) == (status, status == 1)
    assert [_lines(seen.body) for seen in receiver.seen] == [[{"id": "a"}]]


def test_a_service_that_does_not_answer_holds_up_no_exit() -> None:
    held = threading.Event()

    def hold(_: Any) -> None:
        held.wait()

    with Receiver([hold]) as receiver:
        done = _ended(receiver, within=AT_EXIT)
        held.set()
    assert (done.returncode, done.stderr) == (
        0,
        "driftline did not take all records before the process ended\n",
    )


def test_a_service_that_takes_nothing_fails_no_exit() -> None:
    with Receiver([answer(503)]) as receiver:
        done = _ended(receiver)
    assert done.returncode == 0
    assert set(done.stderr.splitlines()) == {
        "driftline takes no records: status 503",
        "driftline did not take all records before the process ended",
    }


def test_it_says_so_when_a_batch_is_not_taken_as_it_is_closed() -> None:
    with Receiver([answer(503)]) as receiver:
        sender = _sender(receiver)
        sender.add({"id": "a"})
        assert not sender.close(30)
    assert sender.counts == {"dropped": 1}


def test_a_forked_process_that_ends_leaves_its_parents_records_alone() -> None:
    with Receiver([answer(202, body=TAKEN)]) as receiver:
        done = _ended(receiver, "child = os.fork()\nif child: os.waitpid(child, 0)")
    assert (done.returncode, done.stderr) == (0, "")
    assert [_lines(seen.body) for seen in receiver.seen] == [[{"id": "a"}]]


def test_a_record_for_which_no_thread_can_start_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with Receiver([answer(202, body=TAKEN)]) as receiver:
        sender = _sender(receiver)
        with monkeypatch.context() as ending:
            ending.setattr(threading.Thread, "start", refuse)
            sender.add({"id": "a"})
        assert sender.counts == {"dropped": 1}
        sender.add({"id": "b"})
        assert sender.close(30)
    assert [_lines(seen.body) for seen in receiver.seen] == [[{"id": "b"}]]


def test_an_address_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTLINE_URL", raising=False)
    with pytest.raises(ValueError, match="DRIFTLINE_URL"):
        RecordSender()
    monkeypatch.setenv("DRIFTLINE_URL", "http://driftline:8440")
    RecordSender()


def test_the_client_loads_itself_and_the_standard_library_alone() -> None:
    code = "import sys, driftline.client; print(*sys.modules)"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.split())
    beside = {name.split(".")[0] for name in loaded} - {*sys.stdlib_module_names, "__main__"}
    assert beside == {"driftline"}
