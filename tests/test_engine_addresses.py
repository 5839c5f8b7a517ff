"""Addresses of engines that come and go."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from monitor.engine_addresses import LOOK_EVERY, EngineAddresses, list_fault

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
    file = tmp_path / "engines"
    file.write_text(f"# two replicas\n{ONE}\n\n{TWO}/v1  # the second\nsk-secret\n")
    found = EngineAddresses([THREE, file.as_uri()], monotonic=clock)
    assert not found.fixed
    assert found.now() == (THREE, ONE, TWO)
    file.write_text(TWO)
    assert found.now() == (THREE, ONE, TWO), "looked at a moment ago"
    for change in (lambda: file.write_text(""), file.unlink):
        clock.at += LOOK_EVERY
        change()
        assert found.now() == (THREE, ONE, TWO)
    clock.at += LOOK_EVERY
    file.write_text(TWO)
    assert found.now() == (THREE, TWO)
    said = "".join(capfd.readouterr())
    assert "engine_address_refused" in said
    assert "it gives no address" in said
    assert "FileNotFoundError" in said
    assert "secret" not in said


def test_a_file_that_is_no_text_gives_nothing_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "engines"
    file.write_bytes(b"\xff\xfe")
    assert EngineAddresses([file.as_uri()]).now() == ()
    assert "UnicodeDecodeError" in "".join(capfd.readouterr())


def test_a_name_stands_for_all_of_its_addresses(clock: Hands) -> None:
    hosts: list[Sequence[str]] = [["10.0.0.1", "10.0.0.2"], [], ["10.0.0.2", "fd00::1"]]

    def resolved(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("engines.llm.svc", 8000)
        if not (answer := hosts.pop(0)):
            raise OSError("the name server is away")
        return answer

    found = EngineAddresses(
        ["dns+http://engines.llm.svc:8000"], addresses_of=resolved, monotonic=clock
    )
    assert found.now() == (ONE, TWO)
    clock.at += LOOK_EVERY
    assert found.now() == (ONE, TWO), "nobody answers for the name"
    clock.at += LOOK_EVERY
    assert found.now() == (TWO, "http://[fd00::1]:8000")


def test_the_real_resolver_knows_this_machine() -> None:
    found = EngineAddresses(["dns+http://localhost:8000"]).now()
    assert set(found) <= {"http://127.0.0.1:8000", "http://[::1]:8000"}
    assert found


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///etc/engines", None),
        ("file://elsewhere/etc/engines", "absolute path"),
        ("dns+http://engines:8000", None),
        ("dns+http://user:pass@engines", "no credentials"),
        ("dns+engines:8000", "expected an address"),
    ],
)
def test_a_list_says_what_is_wrong_with_it(address: str, said: str | None) -> None:
    fault = list_fault(address)
    assert (fault is None) is (said is None)
    assert said is None or said in (fault or "")
