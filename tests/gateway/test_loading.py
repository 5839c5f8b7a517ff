"""Which adapters are worth a place in an engine's memory."""

import pytest

from monitor.gateway.advice import Adviser
from monitor.gateway.loading import ENOUGH, Loaded, Loading

A, B, C = Loaded("a", "v1"), Loaded("b", "v1"), Loaded("c", "v1")


def seen(loading: Loading, one: Loaded, *, same: float, switched: float, switches: int = 8) -> None:
    for _ in range(ENOUGH):
        loading.observe(one, same, switched=False)
    for _ in range(switches):
        loading.observe(one, switched, switched=True)


def test_the_versions_with_most_time_to_save_are_kept() -> None:
    loading = Loading(2)
    seen(loading, A, same=0.050, switched=0.080)
    seen(loading, B, same=0.050, switched=0.060, switches=60)
    seen(loading, C, same=0.050, switched=0.053)
    assert loading.switch_seconds(A) == pytest.approx(0.030)
    assert loading.to_keep() == [B, A]  # 60 x 10 ms, 8 x 30 ms; c: 8 x 3 ms


def test_nothing_is_recommended_where_switches_cost_nothing() -> None:
    loading = Loading(2)
    seen(loading, A, same=0.050, switched=0.054)
    assert loading.to_keep() == ()


def test_a_few_streams_say_nothing() -> None:
    loading = Loading(2)
    seen(loading, A, same=0.050, switched=0.500, switches=ENOUGH - 1)
    assert loading.switch_seconds(A) is None
    assert loading.to_keep() == ()


def test_a_person_is_told_once_and_again_when_it_changes(
    capfd: pytest.CaptureFixture[str],
) -> None:
    loading = Loading(1)
    adviser = Adviser(loading, places=1)
    adviser.look()
    seen(loading, A, same=0.050, switched=0.080)
    adviser.look()
    adviser.look()
    seen(loading, B, same=0.050, switched=0.060, switches=60)
    adviser.look()
    told = [line for line in "".join(capfd.readouterr()).splitlines() if "keep_loaded" in line]
    assert len(told) == 2
    assert "a@v1: a switch costs 30.0 ms" in told[0]
    assert "b@v1: a switch costs 10.0 ms" in told[1]
