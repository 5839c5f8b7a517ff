"""Addresses of engines that come and go."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monitor.addresses import list_fault
from monitor.engine_addresses import LARGEST_FILE, LOOK_EVERY, EngineAddresses

ONE, TWO, THREE = (f"http://10.0.0.{number}:8000" for number in (1, 2, 3))


class Hands:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Hands:
    return Hands()


def test_what_is_written_stays_as_it_is() -> None:
    found = EngineAddresses([f"{ONE}/", f"{TWO}/v1", ONE])
    assert found.fixed
    assert found.now() == (ONE, TWO)


def test_a_file_is_read_again_and_keeps_its_addresses_while_it_gives_none(
    tmp_path: Path, clock: Hands, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "the engines"
    file.write_text(f"\ufeff# two replicas\n{ONE}\n\n{TWO}/v1  # the second\nsk-secret\n")
    found = EngineAddresses([THREE, file.as_uri()], monotonic=clock)
    assert not found.fixed
    assert found.now() == (THREE, ONE, TWO)
    file.write_text(TWO)
    assert found.now() == (THREE, ONE, TWO), "looked at a moment ago"
    for change, said in (
        (lambda: file.write_text(""), "it gives no address"),
        (lambda: file.write_bytes(b"\xff\xfe"), "UnicodeDecodeError"),
        (lambda: file.write_text(f"{ONE}\n" * (LARGEST_FILE // 10)), "is larger than"),
        (file.unlink, "is no file"),
    ):
        change()
        looked_again(found, clock)
        assert found.now() == (THREE, ONE, TWO)
        looked_again(found, clock)
        assert "".join(capfd.readouterr()).count(said) == 1
    file.write_text(TWO)
    looked_again(found, clock)
    assert found.now() == (THREE, TWO)


def test_lines_that_hold_no_address_are_named_once_and_never_quoted(
    tmp_path: Path, clock: Hands, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "engines"
    file.write_text(f"sk-secret\n{ONE}\nhttp://user:secret@host\n")
    found = EngineAddresses([file.as_uri()], monotonic=clock)
    assert found.now() == (ONE,)
    looked_again(found, clock)
    said = "".join(capfd.readouterr())
    assert said.count("no address on line 1, 3") == 1
    assert "secret" not in said


def looked_again(found: EngineAddresses, clock: Hands) -> None:
    clock.at += LOOK_EVERY
    found.now()
    for thread in threading.enumerate():
        if thread.name == "engine-addresses":
            thread.join(10)


def test_all_wait_for_the_first_look_and_nobody_for_a_later_one(clock: Hands) -> None:
    slow = threading.Event()

    def resolved(_host: str, _port: int) -> Sequence[str]:
        slow.wait(10)
        return ["10.0.0.1"]

    found = EngineAddresses(["dns+http://e:8000"], hosts_of=resolved, monotonic=clock)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(found.now) for _ in range(4)]
        slow.set()
        assert {one.result(10) for one in asked} == {(ONE,)}
    slow.clear()
    clock.at += LOOK_EVERY
    assert found.now() == (ONE,), "the name server takes its time"
    slow.set()


def test_a_list_that_nobody_asked_for_is_not_used_when_it_is_old(
    tmp_path: Path, clock: Hands
) -> None:
    file = tmp_path / "engines"
    file.write_text(ONE)
    found = EngineAddresses([file.as_uri()], monotonic=clock)
    assert found.now() == (ONE,)
    file.write_text(TWO)
    clock.at += 2 * LOOK_EVERY
    assert found.now() == (TWO,)
    file.write_text(THREE)
    found.look()
    assert found.now() == (TWO,), "it is fresh"


def test_a_name_stands_for_all_of_its_addresses(clock: Hands) -> None:
    hosts: list[Sequence[str]] = [["10.0.0.1", "10.0.0.2"], [], ["10.0.0.2", "fd00::1"]]

    def resolved(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("engines.llm.svc", 8000)
        if not (answer := hosts.pop(0)):
            raise OSError("the name server is away")
        return answer

    found = EngineAddresses(["dns+http://engines.llm.svc:8000"], hosts_of=resolved, monotonic=clock)
    assert found.now() == (ONE, TWO)
    looked_again(found, clock)
    assert found.now() == (ONE, TWO), "nobody answers for the name"
    looked_again(found, clock)
    assert found.now() == (TWO, "http://[fd00::1]:8000")


def test_the_real_resolver_knows_this_machine() -> None:
    found = EngineAddresses(["dns+http://localhost:8000"]).now()
    assert found in {("http://127.0.0.1:8000",), ("http://[::1]:8000",)}, "one of each replica"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///etc/engines", None),
        ("file://elsewhere/etc/engines", "absolute path"),
        ("dns+http://engines:8000", None),
        ("dns+http://user:pass@engines", "no credentials"),
        ("dns+engines:8000", "expected an address"),
        ("dns+HTTPS://engines:8000", "certificates name hosts"),
        ("file:///etc/engines?x", "absolute path"),
        ("dns+http://[::1:8000", "no address"),
        ("file://[x", "no address"),
        ("dns+http://_http._tcp.engines.llm.svc", None),
        ("dns+http://_http._tcp.engines.llm.svc:8000", "is in its SRV record"),
    ],
)
def test_a_list_says_what_is_wrong_with_it(address: str, said: str | None) -> None:
    fault = list_fault(address)
    assert (fault is None) is (said is None)
    assert said is None or said in (fault or "")
