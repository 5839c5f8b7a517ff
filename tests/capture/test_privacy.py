import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.redact import redact
from monitor.capture.subjects import digest, load_key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail ann.lee+x@mail.example.co.uk now", "mail [email] now"),
        ("call +44 20 7946 0958 today", "call [phone] today"),
        ("call (415) 555-2671.", "call [phone]."),
        ("my number 0171/5551234", "my number [phone]"),
        ("card 4111 1111 1111 1111 exp", "card [card] exp"),
        ("card 5500-0000-0000-0004", "card [card]"),
        ("amex 378282246310005", "amex [card]"),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [iban] please"),
        ("GB82WEST12345698765432", "[iban]"),
        ("from 192.168.10.7 to ::1", "from [ip] to [ip]"),
        ("host 2001:db8:85a3::8a2e:370:7334", "host [ip]"),
        ("key sk-proj_abcdefghijklmnop123", "key [secret]"),
        ("token ghp_abcdefghijklmnopqrstuvwx", "token [secret]"),
        ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
        ("password: hunter22!", "password: [secret]"),
        ("api_key='abcdef123456'", "api_key=[secret]'"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: [secret]"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "jwt [secret]"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "[secret]"),
    ],
)
def test_personal_data_and_secrets_are_masked(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "I am still waiting on my card, it has been 12 days.",
        "The token limit is 4096 and the password policy changed.",
        "Order 12345 of 2026-11-24, total 1,299.00",
        "version 1.2.3 of the app",
        "at 12:30:45 we left",
        "x = a::b",
        "step 1: open; step 2: close",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(st.text(), st.sampled_from(["ann@example.org", "4111111111111111", "+44 20 7946 0958"]))
def test_redacting_twice_changes_nothing_more_and_hides_the_value(text: str, value: str) -> None:
    once = redact(f"{text} {value} {text}")
    assert redact(once) == once
    assert f" {value} " not in once


@pytest.mark.parametrize(
    "piece", ["a" * 50, "1 ", "1-", "x@", ":", "eyJ", "-----BEGIN A", "A1 ", "password "]
)
def test_a_long_hostile_text_is_masked_in_linear_time(piece: str) -> None:
    short, long = (_cost(piece * (length // len(piece))) for length in (50_000, 200_000))
    # linear: 4 times; quadratic: 16. The hundredth of a second is for what is too short to tell
    assert long <= 8 * short + 0.01


def _cost(text: str) -> float:
    """Seconds of CPU, the least of three."""

    def once() -> float:
        begun = time.process_time()
        redact(text)
        return time.process_time() - begun

    return min(once() for _ in range(3))


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "subject.key"
    key = load_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path) == key


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "subject.key"
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="5 bytes, and a key has 32"):
        load_key(path)


def test_a_subject_is_the_same_under_one_key_and_another_under_another() -> None:
    assert digest(b"a" * 32, "ann") == digest(b"a" * 32, "ann")
    assert digest(b"a" * 32, "ann") != digest(b"a" * 32, "bob")
    assert digest(b"a" * 32, "ann") != digest(b"b" * 32, "ann")
    assert len(digest(b"a" * 32, "\ud800")) == 8
