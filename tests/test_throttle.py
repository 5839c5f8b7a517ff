"""Buckets: a burst at once, then a rate, and never more however one asks."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from monitor.api.access import AccessSettings
from monitor.domain import Scope
from monitor.store.database import Database
from monitor.throttle import BUCKETS, Allowance, Throttle
from tests.serving import serving

TWO_AT_ONCE = Allowance(per_second=0.5, burst=2.0)


def test_a_burst_then_one_every_two_seconds() -> None:
    now = [0.0]
    throttle = Throttle(TWO_AT_ONCE, clock=lambda: now[0])
    assert [throttle.take("ann") for _ in range(3)] == [0.0, 0.0, 2.0]
    now[0] = 1.0
    assert throttle.wait("ann") == 1.0
    now[0] = 2.0
    assert throttle.take("ann") == 0.0
    assert throttle.take("bob") == 0.0


@given(st.lists(st.floats(0.0, 10.0), max_size=60))
def test_no_pattern_of_calls_gets_more_than_burst_and_rate_allow(pauses: list[float]) -> None:
    now = [0.0]
    throttle = Throttle(TWO_AT_ONCE, clock=lambda: now[0])
    let_in = 0
    for pause in pauses:
        now[0] += pause
        let_in += throttle.take("ann") == 0.0
    assert let_in <= TWO_AT_ONCE.burst + TWO_AT_ONCE.per_second * now[0] + 1e-6


def test_the_table_of_buckets_does_not_grow_without_end() -> None:
    throttle = Throttle(TWO_AT_ONCE, clock=lambda: 0.0)
    for i in range(BUCKETS + 10):
        throttle.take(str(i))
    assert len(throttle._buckets) == BUCKETS  # noqa: SLF001 - how many it remembers shows nowhere else


def test_a_key_that_asks_too_often_is_told_when_to_come_again(
    database: Database, tmp_path: Path
) -> None:
    access = AccessSettings(per_key=Allowance(per_second=0.1, burst=3.0))
    with serving(database, tmp_path, access=access) as service:
        with service.client(Scope.READ) as client:
            answers = [client.get("/v1/adapters") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        with service.client(Scope.ADMIN) as other:
            assert other.get("/v1/adapters").status_code == 200
