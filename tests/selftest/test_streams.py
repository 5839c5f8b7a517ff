import numpy as np
import pytest

from detectors.evidence import absorb, window_increments
from detectors.null import Null, equal_weights
from detectors.types import Budget, Floats, Process, State, Window
from monitor.selftest.streams import Growths, Streams, alarms

CHECK, SHARE = 900.0, 40.0
STRETCHES, PER_STRETCH = 3, 8


def null(weights: Floats) -> Null:
    k = weights.size
    return Null(
        names=tuple(f"s{i}:rate" for i in range(k)),
        mean=np.full(k, 0.3),
        sd=np.full(k, 0.45),
        deff=np.ones(k),
        upper=np.full(k, 0.31),
        indicator=np.ones(k, dtype=np.bool_),
        units=np.full(k, 1_000),
        weights=weights,
    )


@pytest.mark.parametrize("weights", [equal_weights(3), np.array([0.5, 0.3, 0.2])])
def test_streams_alarm_exactly_where_the_service_would(weights: Floats) -> None:
    rng = np.random.default_rng(1)
    fitted = null(weights)
    sizes = rng.integers(0, 6, size=STRETCHES * PER_STRETCH)
    sizes[::5] = 0
    hits = (rng.random((int(sizes.sum()), 3)) < 0.45).astype(np.float64)
    grown = window_increments(fitted, Process.NOTICE, hits, sizes=sizes)
    growths = Growths(
        by=grown.reshape(STRETCHES, PER_STRETCH, *grown.shape[1:]),
        units=(sizes > 0).reshape(STRETCHES, PER_STRETCH),
        weights=weights,
    )
    streams = Streams.drawn(growths, streams=5, checks=400, rng=rng)
    rung = alarms(growths, streams, share=SHARE, check_seconds=CHECK)
    first = alarms(growths, streams, share=SHARE, check_seconds=CHECK, once=True)
    assert rung.any(axis=1).all(), "a comparison of silence proves nothing"
    for stream in range(5):
        assert rung[stream].tolist() == _followed(fitted, growths, streams, stream)
        assert first[stream].argmax() == rung[stream].argmax()
        assert first[stream].sum() == 1


def _followed(fitted: Null, growths: Growths, streams: Streams, stream: int) -> list[bool]:
    state, found = State(), []
    for check in range(streams.checks):
        place = int(streams.first[stream]) + check
        stretch, turn = streams.order[stream, place // PER_STRETCH], place % PER_STRETCH
        none = np.empty(0)
        window = Window(start=CHECK * check, end=CHECK * (check + 1), at=none, signals={})
        step = absorb(
            fitted,
            state,
            window,
            {Process.NOTICE: growths.by[stretch, turn]},
            units={Process.NOTICE: int(growths.units[stretch, turn])},
            budget=Budget(notice=SHARE, page=0.0),
        )
        state = step.state
        found.append(step.evidence[Process.NOTICE] >= 0.0)
    return found


def test_without_a_share_nothing_alarms() -> None:
    growths = Growths(
        by=np.full((1, 2, 5, 1), 9.0), units=np.ones((1, 2), dtype=np.bool_), weights=np.ones(1)
    )
    streams = Streams.drawn(growths, streams=2, checks=10, rng=np.random.default_rng(2))
    assert not alarms(growths, streams, share=0.0, check_seconds=CHECK).any()
