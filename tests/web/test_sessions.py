"""Session cookies: only ours, only in time, only until the logout."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.web.sessions import Sessions

NOW = datetime(2026, 3, 4, 14, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_cookie_is_read_back_until_it_expires() -> None:
    sessions = Sessions(b"s" * 32, lasts=HOUR)
    cookie = sessions.begin("key-1", now=NOW)
    found = sessions.read(cookie, now=NOW + HOUR - timedelta(seconds=1))
    assert found is not None
    assert found.key_id == "key-1"
    assert sessions.read(cookie, now=NOW + HOUR) is None


def test_a_cookie_of_another_secret_or_an_ended_session_is_refused() -> None:
    sessions = Sessions(b"s" * 32, lasts=HOUR)
    cookie = sessions.begin("key-1", now=NOW)
    assert Sessions(b"t" * 32, lasts=HOUR).read(cookie, now=NOW) is None
    found = sessions.read(cookie, now=NOW)
    assert found is not None
    sessions.end(found)
    assert sessions.read(cookie, now=NOW) is None


@given(st.text(max_size=200))
def test_anything_else_is_no_session(cookie: str) -> None:
    assert Sessions(b"s" * 32, lasts=HOUR).read(cookie, now=NOW) is None


@given(st.integers(0, 400), st.characters(codec="latin-1"))
def test_no_changed_character_keeps_a_cookie_good(place: int, character: str) -> None:
    sessions = Sessions(b"s" * 32, lasts=HOUR)
    cookie = sessions.begin("key-1", now=NOW)
    place %= len(cookie)
    changed = cookie[:place] + character + cookie[place + 1 :]
    assert changed == cookie or sessions.read(changed, now=NOW) is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sessions(b"short", lasts=HOUR)
