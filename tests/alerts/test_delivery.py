import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery import DeliveryFailed, receipt, retry_after_seconds
from alerts.outgoing import Reply


def outcome(status: int, **headers: str) -> DeliveryFailed | None:
    reply = Reply(status=status, headers=headers, body_start=b"")
    try:
        receipt(reply, target="https://hooks.example/…", now=0.0)
    except DeliveryFailed as failure:
        return failure
    return None


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_taken(status: int) -> None:
    assert outcome(status) is None


@pytest.mark.parametrize("status", [400, 410, 413, 415, 422])
def test_what_refuses_these_very_bytes_is_permanent(status: int) -> None:
    failure = outcome(status)
    assert failure is not None
    assert (failure.permanent, failure.status) == (True, status)


@pytest.mark.parametrize(
    "status", [301, 302, 307, 308, 401, 403, 404, 408, 425, 429, 500, 502, 503, 504, 599, 199, 999]
)
def test_everything_else_is_tried_again(status: int) -> None:
    failure = outcome(status)
    assert failure is not None
    assert (failure.permanent, failure.status) == (False, status)
    assert str(status) in failure.reason


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 60.0),
        ("Wed, 31 Dec 1969 23:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:01:00 -0000", 60.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_or_ignored(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, now=0.0) == seconds


@given(header=st.text(max_size=60))
def test_no_retry_after_breaks_the_reader(header: str) -> None:
    seconds = retry_after_seconds(header, now=0.0)
    assert seconds is None or seconds >= 0


def test_the_receivers_wish_travels_with_the_failure() -> None:
    failure = outcome(429, **{"retry-after": "17"})
    assert failure is not None
    assert failure.retry_after == 17.0
