import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from standardwebhooks import Webhook

from examples.demo.processes import Processes, ProcessFailedError, free_port
from examples.demo.receiver import ForgedError, Receiver, new_secret, verify

BODY = b'{"adapter":"support","version":"v2","severity":"page","status":"started"}'


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


# Processes


def test_a_process_writes_its_log_and_is_ended_with_its_children(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        server = processes.start("server", ["http.server", str(port := free_port()), "-b", "::1"])
        # -b ::1 keeps it off 127.0.0.1, where free_port looked; only its life matters here.
        time.sleep(0.1)
        processes.require_alive()
        assert alive(server.handle.pid)
        assert port > 0
    assert not server.alive
    assert server.log.is_file()


def test_a_process_that_ended_is_reported_with_its_log(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.start("wrong", ["json.tool", "/no/such/file"])
        process.handle.wait()
        with pytest.raises(ProcessFailedError, match=r"wrong ended with status \d+.*wrong\.log"):
            process.wait_until_ready("http://127.0.0.1:9", seconds=5)
        assert "/no/such/file" in process.tail()


def test_a_program_that_runs_to_its_end_is_not_missed_afterwards(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.run("right", ["this"])
        with pytest.raises(ProcessFailedError, match="wrong ended with status"):
            processes.run("wrong", ["json.tool", "/no/such/file"])
        processes.require_alive()


def test_a_program_that_may_end_is_not_missed_either(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.start("brief", ["this"], lasting=False)
        process.handle.wait()
        processes.require_alive()
        assert not process.alive


def test_a_process_that_is_not_ready_in_time_says_what_it_answered(tmp_path: Path) -> None:
    port = free_port()
    with Processes(tmp_path) as processes:
        arguments = ["http.server", str(port), "-b", "127.0.0.1", "-d", str(tmp_path)]
        process = processes.start("server", arguments)
        process.wait_until_ready(f"http://127.0.0.1:{port}/", seconds=20)
        with pytest.raises(ProcessFailedError, match="not ready in 0 s: 404"):
            process.wait_until_ready(f"http://127.0.0.1:{port}/absent", seconds=0.3)


def test_the_usual_port_is_taken_when_it_is_free_and_left_when_it_is_not() -> None:
    usual = free_port()
    assert free_port(usual) == usual
    with socket.create_server(("127.0.0.1", usual)):
        assert free_port(usual) != usual


def test_an_interrupt_while_the_stage_is_set_ends_every_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--once"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        while not (started := _children(demo.pid)):
            assert demo.poll() is None
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        told = demo.stdout.read()
        assert demo.wait(timeout=60) == 130
    assert "interrupted" in told
    assert not [pid for pid in started if alive(pid)]
    assert not list(tmp_path.iterdir())


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [
        int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()
    ]


# The receiver


def test_signatures_of_the_reference_implementation_are_believed() -> None:
    secret, now = new_secret(), int(time.time())
    headers = _signed(secret, BODY)
    assert verify(secret, headers, BODY, now=now) == "msg_1"


@pytest.mark.parametrize("harm", ["body", "secret", "old", "future", "unsigned", "no id"])
def test_whatever_is_not_signed_freshly_for_these_bytes_is_refused(harm: str) -> None:
    secret, body, now = new_secret(), BODY, time.time()
    headers = _signed(secret, BODY)
    match harm:
        case "body":
            body += b" "
        case "secret":
            secret = new_secret()
        case "old":
            now += 301
        case "future":
            now -= 302
        case "unsigned":
            del headers["webhook-signature"]
        case "no id":
            del headers["webhook-id"]
        case _:
            raise AssertionError(harm)
    with pytest.raises(ForgedError):
        verify(secret, headers, body, now=now)


def test_a_message_sent_twice_is_kept_once_and_a_forged_one_never() -> None:
    secret = new_secret()
    with Receiver(free_port(), secret=secret) as receiver:
        headers = _signed(secret, BODY)
        twice = [httpx2.post(receiver.url, content=BODY, headers=headers) for _ in range(2)]
        forged = httpx2.post(receiver.url, content=BODY, headers=_signed(new_secret(), BODY))
        assert [answer.status_code for answer in (*twice, forged)] == [204, 204, 401]
        (kept,) = receiver.messages
        assert receiver.forged == 1
    assert (kept.subject, kept.severity, kept.status) == ("support@v2", "page", "started")


def _signed(secret: str, body: bytes) -> dict[str, str]:
    at = datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode()),
    }
